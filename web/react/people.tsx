// What people are called, and the small round pictures that stand for them.

import type { CSSProperties } from 'react';
import type { Sender, UserId } from '../client/frames.js';
import { nameOf } from '../client/people.js';
import type { Labels } from './labels.js';
import type { ChatState } from './useChat.js';

export type Names = Pick<ChatState, 'names' | 'userId'>;

export function called(id: UserId, { names, userId }: Names, labels: Labels): string {
  return names[String(id)] ?? (id === userId ? labels.you : labels.user(String(id)));
}

export function senderName(sender: Sender, names: Names, labels: Labels): string {
  const isNamed = sender.first_name || sender.last_name || sender.email;
  return isNamed ? nameOf(sender) : called(sender.id, names, labels);
}

function hue(id: UserId): number {
  let sum = 0;
  for (const letter of String(id)) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 360;
  return (sum * 47) % 360;
}

function initials(name: string): string {
  const words = name.split(/\s+/).filter(Boolean);
  const picked = words.length > 1 ? [words[0], words.at(-1)] : words;
  return picked
    .map((word) => [...(word ?? '')][0] ?? '')
    .join('')
    .toUpperCase();
}

export function Avatar({ id, name, isSmall = false }: { id: UserId; name: string; isSmall?: boolean }) {
  const style = { '--lq-hue': hue(id) } as CSSProperties;
  return (
    <span
      className={isSmall ? 'lq-avatar lq-small' : 'lq-avatar'}
      style={style}
      title={name}
      aria-hidden="true"
    >
      {initials(name)}
    </span>
  );
}
