// Where messages are written. It never refuses for want of a connection: what is sent waits.

import { type ChangeEvent, type KeyboardEvent, useEffect, useId, useRef, useState } from 'react';
import type { Message } from '../client/message.js';
import { EmojiDialog } from './EmojiDialog.js';
import { senderName } from './people.js';
import { useTexts } from './texts.js';
import type { ChatState } from './useChat.js';

export interface ComposerProps {
  readonly chat: ChatState;
  /** The message that is answered. */
  readonly replyTo?: Message | null;
  readonly onReplied?: () => void;
  /** Arrow up in an empty field. */
  readonly onEditLast?: () => void;
}

const LEFT_SHOWN = 500;
const TYPING_IDLE_MS = 2_500;

export function Composer({ chat, replyTo = null, onReplied, onEditLast }: ComposerProps) {
  const { labels } = useTexts();
  const [text, setText] = useState('');
  const [isPicking, setPicking] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  const idle = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const id = useId();
  const left = chat.contentCharsMax - [...text.trim()].length;
  const isSendable = text.trim() !== '' && left >= 0;
  const { sendTypingIndicator } = chat;

  const answered = replyTo?.id;
  useEffect(() => {
    if (answered !== undefined) field.current?.focus();
  }, [answered]);
  useEffect(() => () => clearTimeout(idle.current), []);
  useEffect(() => {
    const area = field.current;
    if (!area) return;
    area.style.height = 'auto';
    // Browsers that size fields by their content do not need this, and the others get the same.
    if (text) area.style.height = `${Math.min(area.scrollHeight + 2, 200)}px`;
  }, [text]);

  const typed = (next: string) => {
    setText(next);
    clearTimeout(idle.current);
    sendTypingIndicator(next !== '');
    if (next) idle.current = setTimeout(() => sendTypingIndicator(false), TYPING_IDLE_MS);
  };
  const send = () => {
    if (!isSendable) return;
    if (chat.sendMessage(text, replyTo?.id ?? null) === null) return;
    clearTimeout(idle.current);
    setText('');
    onReplied?.();
    field.current?.focus();
  };
  const keyed = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
    if (event.key === 'Escape' && replyTo) onReplied?.();
    if (event.key === 'ArrowUp' && text === '') {
      event.preventDefault();
      onEditLast?.();
    }
    if (event.key !== 'Enter' || event.shiftKey) return;
    event.preventDefault();
    send();
  };
  const insert = (emoji: string) => {
    const at = field.current?.selectionStart ?? text.length;
    typed(text.slice(0, at) + emoji + text.slice(at));
    setPicking(false);
    // After the dialog has given the focus back to its button.
    setTimeout(() => field.current?.focus());
  };

  return (
    <form
      className="lq-composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {replyTo && (
        <p className="lq-replying">
          <span>
            {labels.replyingTo(senderName(replyTo.sender, chat, labels))}: {replyTo.content}
          </span>
          {onReplied && (
            <button type="button" className="lq-plain" aria-label={labels.cancel} onClick={onReplied}>
              ✕
            </button>
          )}
        </p>
      )}
      <textarea
        ref={field}
        className="lq-field"
        rows={1}
        dir="auto"
        value={text}
        aria-label={labels.message}
        aria-describedby={`${id}-hint`}
        aria-invalid={left < 0}
        placeholder={labels.message}
        onChange={(event: ChangeEvent<HTMLTextAreaElement>) => typed(event.target.value)}
        onKeyDown={keyed}
      />
      <button
        type="button"
        className="lq-plain lq-emoji"
        aria-label={labels.emoji}
        onClick={() => setPicking(true)}
      >
        ☺
      </button>
      <button type="submit" className="lq-button" disabled={!isSendable}>
        {labels.send}
      </button>
      <small id={`${id}-hint`} className={left < LEFT_SHOWN ? 'lq-left' : 'lq-unseen'}>
        {left < LEFT_SHOWN ? labels.left(left) : labels.hint}
      </small>
      {isPicking && <EmojiDialog onPick={insert} onClose={() => setPicking(false)} />}
    </form>
  );
}
