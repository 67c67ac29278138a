// One message: who, when, what, what it answers, reactions, who has read up to here, and what can be
// done with it. The actions are there while the message is pointed at or has the focus.

import { type KeyboardEvent, memo, type ReactNode, useRef, useState } from 'react';
import type { Message } from '../client/message.js';
import { EmojiDialog } from './EmojiDialog.js';
import { Avatar, called, senderName } from './people.js';
import { ReactionBar } from './ReactionBar.js';
import { useTexts } from './texts.js';
import { clock, Day, Time } from './time.js';
import type { ChatState } from './useChat.js';

export interface MessageActions {
  onReply(message: Message): void;
  onThread?(message: Message): void;
  onJump(messageId: number): void;
  onEdit(message: Message | null): void;
}

export interface MessageItemProps {
  readonly message: Message;
  readonly chat: ChatState;
  readonly parent: Message | undefined;
  readonly isFirstOfDay: boolean;
  readonly isFirstOfGroup: boolean;
  readonly isFirstUnread: boolean;
  /** Pointed at, or in focus: its actions are there. */
  readonly isActive: boolean;
  /** The one that the tab key leads to. */
  readonly isTabStop: boolean;
  readonly isEditing: boolean;
  /** Who has read up to here, and no further. */
  readonly readers: readonly (number | string)[];
  readonly actions: MessageActions;
}

const QUICK = ['👍', '❤️', '😂'];
const READERS_SHOWN = 5;

function Toolbar({ message, chat, actions }: MessageItemProps) {
  const { labels } = useTexts();
  const [isPicking, setPicking] = useState(false);
  const [isSure, setSure] = useState(false);
  const isOwn = message.sender.id === chat.userId;
  const react = (emoji: string) => chat.sendReaction(message.id, emoji);
  const remove = () => (isSure ? chat.deleteMessage(message.id) : setSure(true));
  const plain = (label: string, onClick: () => void, text: ReactNode = label) => (
    <button key={label} type="button" className="lq-plain" aria-label={label} title={label} onClick={onClick}>
      {text}
    </button>
  );
  const name = senderName(message.sender, chat, labels);
  return (
    <div className="lq-toolbar" role="toolbar" aria-label={labels.actions(name)}>
      {QUICK.map((emoji) => plain(labels.react(emoji), () => react(emoji), emoji))}
      {plain(labels.reactMore, () => setPicking(true), '☺+')}
      {plain(labels.reply, () => actions.onReply(message))}
      {isOwn && plain(labels.edit, () => actions.onEdit(message))}
      {isOwn && plain(isSure ? labels.deleteSure : labels.delete, remove)}
      {isPicking && (
        <EmojiDialog
          onClose={() => setPicking(false)}
          onPick={(emoji) => {
            setPicking(false);
            react(emoji);
          }}
        />
      )}
    </div>
  );
}

function Editor({ message, chat, actions }: MessageItemProps) {
  const { labels } = useTexts();
  const [text, setText] = useState(message.content);
  const place = useRef<HTMLDivElement>(null);
  const close = () => {
    // The focus stays where the editing was.
    place.current?.closest('article')?.focus();
    actions.onEdit(null);
  };
  const save = () => {
    if (chat.editMessage(message.id, text)) close();
  };
  const keyed = (event: KeyboardEvent) => {
    event.stopPropagation();
    if (event.nativeEvent.isComposing) return;
    if (event.key === 'Escape') close();
    if (event.key !== 'Enter' || event.shiftKey) return;
    event.preventDefault();
    save();
  };
  return (
    <div className="lq-editor" ref={place}>
      <textarea
        // biome-ignore lint/a11y/noAutofocus: editing was asked for
        autoFocus
        className="lq-field"
        aria-label={labels.edit}
        value={text}
        rows={Math.min(8, text.split('\n').length)}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={keyed}
      />
      <button type="button" className="lq-button" disabled={!text.trim()} onClick={save}>
        {labels.save}
      </button>
      <button type="button" className="lq-plain" onClick={close}>
        {labels.cancel}
      </button>
    </div>
  );
}

function Quote({ message, chat, parent, actions }: MessageItemProps) {
  const { labels } = useTexts();
  const id = message.parent_message_id;
  if (id === null) return null;
  const name = parent ? senderName(parent.sender, chat, labels) : '';
  return (
    <button type="button" className="lq-quote" onClick={() => actions.onJump(id)}>
      <span className="lq-unseen">{parent ? labels.inReplyTo(name) : ''}</span>
      {parent ? `${name}: ${parent.is_deleted ? labels.deleted : parent.content}` : labels.earlier}
    </button>
  );
}

function Failure({ message, chat }: MessageItemProps) {
  const { labels } = useTexts();
  return (
    <p className="lq-failed" role="alert">
      {labels.failed(message.error ?? '')}
      <button type="button" className="lq-plain" onClick={() => chat.retry(message.key)}>
        {labels.retry}
      </button>
      <button type="button" className="lq-plain" onClick={() => chat.discard(message.key)}>
        {labels.discard}
      </button>
    </p>
  );
}

function DeliveryState({ message }: MessageItemProps) {
  const { labels } = useTexts();
  const label = message.status === 'sending' ? labels.sending : labels.stored;
  return (
    <span className="lq-delivery" role="img" aria-label={label} title={label}>
      {message.status === 'sending' ? '◷' : '✓'}
    </span>
  );
}

function Readers({ readers, chat }: MessageItemProps) {
  const { labels } = useTexts();
  if (readers.length === 0) return null;
  const names = readers.map((id) => called(id, chat, labels));
  return (
    <p className="lq-readers">
      <span className="lq-unseen">{labels.readBy(names)}</span>
      {readers.slice(0, READERS_SHOWN).map((id, at) => (
        <Avatar key={id} id={id} name={names[at] ?? ''} isSmall />
      ))}
      {readers.length > READERS_SHOWN && <span aria-hidden="true">+{readers.length - READERS_SHOWN}</span>}
    </p>
  );
}

function Body(props: MessageItemProps) {
  const { message, isEditing } = props;
  const { labels } = useTexts();
  if (message.is_deleted) return <p className="lq-text lq-gone">{labels.deleted}</p>;
  if (isEditing) return <Editor {...props} />;
  return (
    <p className="lq-text" dir="auto">
      {message.content}
      {message.is_edited && <span className="lq-edited"> ({labels.edited})</span>}
    </p>
  );
}

export const MessageItem = memo(function MessageItem(props: MessageItemProps) {
  const {
    message,
    chat,
    actions,
    isFirstOfDay,
    isFirstOfGroup,
    isFirstUnread,
    isActive,
    isTabStop,
    isEditing,
  } = props;
  const { labels, locale } = useTexts();
  const isOwn = message.sender.id === chat.userId;
  const name = senderName(message.sender, chat, labels);
  const isUsable = message.id > 0 && !message.is_deleted && !isEditing;
  const classes = ['lq-message', isOwn && 'lq-own', isFirstOfGroup && 'lq-first', isActive && 'lq-active'];
  return (
    <>
      {isFirstOfDay && <Day at={message.created_at} />}
      {isFirstUnread && <p className="lq-new">{labels.newLine}</p>}
      <article
        className={classes.filter(Boolean).join(' ')}
        data-key={message.key}
        tabIndex={isTabStop ? 0 : -1}
        aria-label={`${name}, ${clock(new Date(message.created_at), locale)}`}
      >
        {isFirstOfGroup && <Avatar id={message.sender.id} name={name} />}
        <div className="lq-body">
          {isFirstOfGroup && (
            <p className="lq-head">
              <strong>{name}</strong>
              {chat.onlineUsers[String(message.sender.id)] && <span className="lq-dot" aria-hidden="true" />}
              <Time at={message.created_at} />
            </p>
          )}
          <Quote {...props} />
          <div className="lq-line">
            <Body {...props} />
            {isOwn && !message.is_deleted && message.status !== 'failed' && <DeliveryState {...props} />}
            <Readers {...props} />
          </div>
          {message.status === 'failed' && <Failure {...props} />}
          {!message.is_deleted && <ReactionBar message={message} names={chat} onReact={chat.sendReaction} />}
          {message.reply_count > 0 && actions.onThread && (
            <button
              type="button"
              className="lq-plain lq-thread-link"
              onClick={() => actions.onThread?.(message)}
            >
              {labels.replies(message.reply_count)}
            </button>
          )}
        </div>
        {isActive && isUsable && <Toolbar {...props} />}
      </article>
    </>
  );
}, isSame);

/** A row is rendered again only for what it shows: the list changes far more often than its messages. */
function isSame(one: MessageItemProps, other: MessageItemProps): boolean {
  const { chat, readers, ...rest } = one;
  const { chat: otherChat, readers: otherReaders, ...otherRest } = other;
  const keys = Object.keys(rest) as (keyof typeof rest)[];
  const id = String(one.message.sender.id);
  return (
    keys.every((key) => rest[key] === otherRest[key]) &&
    readers.length === otherReaders.length &&
    readers.every((reader, at) => reader === otherReaders[at]) &&
    chat.names === otherChat.names &&
    chat.userId === otherChat.userId &&
    chat.chat === otherChat.chat &&
    chat.onlineUsers[id] === otherChat.onlineUsers[id]
  );
}
