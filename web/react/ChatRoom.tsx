// A conversation, whole: its state, its messages, who types, and where one writes.

import { useCallback, useEffect, useState } from 'react';
import type { ConversationId } from '../client/frames.js';
import type { Message } from '../client/message.js';
import { Composer } from './Composer.js';
import { MessageList } from './MessageList.js';
import type { RoomOptions } from './registry.js';
import { Thread } from './Thread.js';
import { useTexts } from './texts.js';
import { type ChatState, useChat } from './useChat.js';

export interface ChatRoomProps {
  readonly conversationId: ConversationId;
  readonly title?: string;
  /** The page's if left out, which follows the system. */
  readonly theme?: 'light' | 'dark';
  readonly className?: string;
  readonly options?: RoomOptions;
}

function useSecondsUntil(at: number | null): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (at === null) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [at]);
  return at === null ? 0 : Math.max(0, Math.ceil((at - now) / 1_000));
}

/** Whether there is a connection, and if not, why and until when. */
export function ConnectionStatus({ chat }: { chat: ChatState }) {
  const { labels } = useTexts();
  const { phase, retry_at, reason } = chat.status;
  const seconds = useSecondsUntil(retry_at);
  const isFinal = phase === 'closed';
  const text =
    phase === 'open'
      ? labels.connected
      : isFinal
        ? labels.closed(reason)
        : phase === 'waiting'
          ? labels.reconnecting(seconds)
          : labels.connecting;
  return (
    <p className="lq-connection" data-phase={phase}>
      <span className="lq-lamp" aria-hidden="true" />
      {/* The countdown is not read out each second. */}
      <span role="status" aria-label={phase === 'waiting' ? labels.reconnecting(0) : text}>
        {text}
      </span>
      {(phase === 'waiting' || isFinal) && (
        <button type="button" className="lq-plain" onClick={() => chat.chat.reconnect()}>
          {labels.connectNow}
        </button>
      )}
    </p>
  );
}

/** Nothing of one conversation is kept for the next. */
export function ChatRoom(props: ChatRoomProps) {
  return <Room key={props.conversationId} {...props} />;
}

function Room({ conversationId, title, theme, className, options }: ChatRoomProps) {
  const { labels } = useTexts();
  const chat = useChat(conversationId, options);
  const [replyTo, setReplyTo] = useState<Message | null>(null);
  const [editing, setEditing] = useState<string | null>(null);
  const [thread, setThread] = useState<number | null>(null);
  const replied = useCallback(() => setReplyTo(null), []);
  const edit = useCallback((message: Message | null) => setEditing(message?.key ?? null), []);
  const openThread = useCallback((message: Message) => setThread(message.id), []);
  const typing = Object.values(chat.typingUsers);
  const online = Object.keys(chat.onlineUsers).map((id) => chat.names[id] ?? labels.user(id));
  const editLast = () => {
    const isOwn = ({ sender, id, is_deleted }: Message) => sender.id === chat.userId && id > 0 && !is_deleted;
    edit(chat.messages.findLast(isOwn) ?? null);
  };
  return (
    <section
      className={`loquat ${className ?? ''}`}
      data-theme={theme}
      aria-label={title ?? String(conversationId)}
    >
      <header className="lq-header">
        <h2>{title ?? String(conversationId)}</h2>
        <p className="lq-online" title={online.join(', ')}>
          {labels.online(chat.onlineCount)}
        </p>
        <ConnectionStatus chat={chat} />
      </header>
      <div className="lq-main">
        <div className="lq-room">
          <MessageList
            chat={chat}
            onReply={setReplyTo}
            onThread={openThread}
            editing={editing}
            onEdit={edit}
          />
          <p className="lq-typing" role="status">
            {typing.length > 0 && labels.typing(typing)}
          </p>
          <Composer chat={chat} replyTo={replyTo} onReplied={replied} onEditLast={editLast} />
        </div>
        {thread !== null && <Thread chat={chat} messageId={thread} onClose={() => setThread(null)} />}
      </div>
    </section>
  );
}
