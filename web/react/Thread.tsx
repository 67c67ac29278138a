// A message and what answers it, beside the conversation. Answers that are not held are fetched once; what
// happens later comes with the conversation.

import { useEffect, useState } from 'react';
import type { Message } from '../client/message.js';
import { Composer } from './Composer.js';
import { Avatar, senderName } from './people.js';
import { useTexts } from './texts.js';
import { Time } from './time.js';
import type { ChatState } from './useChat.js';

export interface ThreadProps {
  readonly chat: ChatState;
  readonly messageId: number;
  readonly onClose: () => void;
}

function Entry({ message, chat }: { message: Message; chat: ChatState }) {
  const { labels } = useTexts();
  const name = senderName(message.sender, chat, labels);
  return (
    <li className="lq-message lq-first">
      <Avatar id={message.sender.id} name={name} />
      <div className="lq-body">
        <p className="lq-head">
          <strong>{name}</strong>
          <Time at={message.created_at} />
        </p>
        <p className="lq-text" dir="auto">
          {message.is_deleted ? labels.deleted : message.content}
        </p>
      </div>
    </li>
  );
}

function useAnswers({ chat, messages }: ChatState, messageId: number): readonly Message[] {
  const [fetched, setFetched] = useState<readonly Message[]>([]);
  useEffect(() => {
    let isWanted = true;
    // Without them those that are held are shown.
    chat.replies(messageId).then(
      (found) => isWanted && setFetched(found),
      () => {},
    );
    return () => {
      isWanted = false;
    };
  }, [chat, messageId]);
  const held = messages.filter(({ parent_message_id }) => parent_message_id === messageId);
  const known = new Set(held.map(({ id }) => id));
  const sent = held.filter(({ id }) => id < 0);
  const stored = [...fetched.filter(({ id }) => !known.has(id)), ...held.filter(({ id }) => id > 0)];
  return [...stored.sort((one, other) => one.id - other.id), ...sent];
}

export function Thread({ chat, messageId, onClose }: ThreadProps) {
  const { labels } = useTexts();
  const [first] = useState(() => chat.chat.message(messageId));
  // It may have left the window since.
  const parent = chat.chat.message(messageId) ?? first;
  const answers = useAnswers(chat, messageId);
  return (
    <aside className="lq-thread" aria-label={labels.thread}>
      <header className="lq-header">
        <h3>{labels.thread}</h3>
        <button type="button" className="lq-plain" aria-label={labels.close} onClick={onClose}>
          ✕
        </button>
      </header>
      <ol className="lq-answers">
        {parent && <Entry message={parent} chat={chat} />}
        {answers.map((message) => (
          <Entry key={message.key} message={message} chat={chat} />
        ))}
      </ol>
      {parent && !parent.is_deleted && <Composer chat={chat} replyTo={parent} />}
    </aside>
  );
}
