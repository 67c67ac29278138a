// The messages, of which only those in sight are in the document: 100,000 scroll as 100 do. It stays at
// the end while one is there, keeps its place when older messages are loaded, pages in what is missing,
// and tells how far one has read.

import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { Virtualizer } from 'virtua';
import type { Message } from '../client/message.js';
import { type MessageActions, MessageItem } from './MessageItem.js';
import { senderName } from './people.js';
import { useTexts } from './texts.js';
import { dayOf } from './time.js';
import { type Active, useActive } from './useActive.js';
import type { ChatState } from './useChat.js';
import { usePlace } from './usePlace.js';
import { useShift } from './useShift.js';

export interface MessageListProps {
  readonly chat: ChatState;
  readonly onReply?: (message: Message) => void;
  readonly onThread?: (message: Message) => void;
  /** The key of the message that is being edited. */
  readonly editing?: string | null;
  readonly onEdit?: (message: Message | null) => void;
}

const GROUP_MS = 5 * 60_000;
const NOBODY: readonly (number | string)[] = [];

const isGrouped = (before: Message | undefined, message: Message) =>
  before !== undefined &&
  before.sender.id === message.sender.id &&
  message.parent_message_id === null &&
  Date.parse(message.created_at) - Date.parse(before.created_at) < GROUP_MS;

/** Those whose newest read message this is; nobody needs to be told that they have read themselves. */
function lastReaders(message: Message, next: Message | undefined, me: number | string | null) {
  const isHere = (id: number | string) =>
    id !== me && !(next && next.id > 0 && (next.read_by.includes(id) || next.sender.id === id));
  const here = message.read_by.filter(isHere);
  return here.length ? here : NOBODY;
}

/** What came in since the last look, for those who listen. */
function useAnnouncement({ messages, userId, names }: ChatState): string {
  const { labels } = useTexts();
  const [text, setText] = useState('');
  const seen = useRef<number | null>(null);
  const last = messages.findLast(({ status }) => status === 'stored');
  useEffect(() => {
    const before = seen.current;
    // What was there before one came is read by going through it.
    if (!last) return;
    seen.current = Math.max(before ?? 0, last.id);
    const isNew = before !== null && last.id > before && last.sender.id !== userId;
    if (isNew) setText(`${senderName(last.sender, { names, userId }, labels)}: ${last.content}`);
  });
  return text;
}

type Handlers = Pick<MessageListProps, 'onReply' | 'onThread' | 'onEdit'>;

/** The same object as long as the handlers are the same: rows are rendered again when it changes. */
function useActions(handlers: Handlers, onJump: (messageId: number) => void): MessageActions {
  const { onReply, onThread, onEdit } = handlers;
  return useMemo(
    () => ({
      onReply: (message) => onReply?.(message),
      onEdit: (message) => onEdit?.(message),
      onJump,
      ...(onThread ? { onThread } : {}),
    }),
    [onReply, onEdit, onThread, onJump],
  );
}

interface Rows {
  readonly chat: ChatState;
  readonly messages: readonly Message[];
  readonly active: Active;
  readonly newFrom: number | null;
  readonly editing: string | null;
  readonly actions: MessageActions;
}

function row({ chat, messages, active, newFrom, editing, actions }: Rows, message: Message, at: number) {
  const before = messages[at - 1];
  const isFirstOfDay = !before || dayOf(before.created_at) !== dayOf(message.created_at);
  const answered = message.parent_message_id;
  return (
    <MessageItem
      key={message.key}
      message={message}
      chat={chat}
      parent={answered === null ? undefined : chat.chat.message(answered)}
      isFirstOfDay={isFirstOfDay}
      isFirstOfGroup={isFirstOfDay || message.id === newFrom || !isGrouped(before, message)}
      isFirstUnread={message.id === newFrom}
      isActive={active.key !== null && at === active.at}
      isTabStop={at === active.at}
      isEditing={editing === message.key}
      readers={lastReaders(message, messages[at + 1], chat.userId)}
      actions={actions}
    />
  );
}

export function MessageList({ chat, editing = null, ...handlers }: MessageListProps) {
  const { labels } = useTexts();
  const [messages, shift] = useShift(chat.messages);
  const scroller = useRef<HTMLElement>(null);
  const show = (at: number) => place.list.current?.scrollToIndex(at, { align: 'nearest' });
  const active = useActive(messages, scroller, show);
  const { set } = active;
  const reached = useCallback(({ key }: Message) => set(key), [set]);
  const place = usePlace(chat, messages, reached);
  const actions = useActions(handlers, place.jump);
  const rows = { chat, messages, active, newFrom: useFirstUnread(chat), editing, actions };
  const announcement = useAnnouncement(chat);
  const isEmpty = messages.length === 0;
  return (
    <div className="lq-list">
      <section ref={scroller} className="lq-scroll" aria-label={labels.messages} {...active.handlers}>
        {chat.isLoading && !isEmpty && <p className="lq-loading">{labels.loading}</p>}
        {isEmpty && <p className="lq-empty">{chat.isLoading ? labels.loading : labels.empty}</p>}
        <div className="lq-space" />
        <Virtualizer
          ref={place.list}
          scrollRef={scroller}
          as="ol"
          item="li"
          data={messages}
          shift={shift}
          onScroll={place.scrolled}
          onResize={place.resized}
          keepMounted={active.at >= 0 ? [active.at] : []}
        >
          {(message, at) => row(rows, message, at)}
        </Virtualizer>
      </section>
      {!place.isAtEnd && (
        <button type="button" className="lq-button lq-jump" onClick={place.toNewest}>
          ↓ {labels.jump(chat.unreadCount)}
        </button>
      )}
      <p className="lq-unseen" role="status" aria-live="polite">
        {announcement}
      </p>
    </div>
  );
}

/** The first message that was not read when the conversation was opened: it stays marked. */
function useFirstUnread({ messages, unreadCount, chat }: ChatState): number | null {
  const found = useRef<{ chat: unknown; id: number | null } | null>(null);
  if (found.current?.chat !== chat) found.current = null;
  if (!found.current && messages.length > 0) {
    const first = unreadCount > 0 ? messages.find(({ is_read }) => !is_read) : undefined;
    found.current = { chat, id: first?.id ?? null };
  }
  return found.current?.id ?? null;
}
