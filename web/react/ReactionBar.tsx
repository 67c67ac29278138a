// The reactions of a message: who gave which, give one, take it back.

import { useState } from 'react';
import type { Message } from '../client/message.js';
import { EmojiDialog } from './EmojiDialog.js';
import { called, type Names } from './people.js';
import { useTexts } from './texts.js';

export interface ReactionBarProps {
  readonly message: Message;
  readonly names: Names;
  readonly onReact: (messageId: number, emoji: string) => void;
}

export function ReactionBar({ message, names, onReact }: ReactionBarProps) {
  const { labels } = useTexts();
  const [isPicking, setPicking] = useState(false);
  const kinds = Object.entries(message.reaction_counts);
  if (kinds.length === 0) return null;
  return (
    <div className="lq-reactions">
      {kinds.map(([emoji, count]) => {
        const ids = message.reactions[emoji] ?? [];
        const who = ids.map((id) => called(id, names, labels));
        if (count > ids.length) who.push(labels.more(count - ids.length));
        const isYours = names.userId !== null && ids.includes(names.userId);
        const label = labels.reaction(emoji, count, who, isYours);
        return (
          <button
            key={emoji}
            type="button"
            className="lq-chip"
            aria-pressed={isYours}
            aria-label={label}
            title={label}
            onClick={() => onReact(message.id, emoji)}
          >
            <span aria-hidden="true">{emoji}</span> {count}
          </button>
        );
      })}
      <button
        type="button"
        className="lq-chip"
        aria-label={labels.reactMore}
        onClick={() => setPicking(true)}
      >
        +
      </button>
      {isPicking && (
        <EmojiDialog
          onClose={() => setPicking(false)}
          onPick={(emoji) => {
            setPicking(false);
            onReact(message.id, emoji);
          }}
        />
      )}
    </div>
  );
}
