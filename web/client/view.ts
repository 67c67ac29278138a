// What a page is shown: the messages that are held, with what waits to be stored laid over them. Pure.

import type { UserId } from './frames.js';
import { type Message, withContent, withoutContent, withReaction } from './message.js';
import type { Entry } from './outbox.js';

/** Edits, deletes and reactions show before they are stored, and go again when they are refused. */
export function laidOver(message: Message, entries: readonly Entry[], me: UserId): Message {
  let shown = message;
  for (const { command } of entries) {
    if (command.type === 'chat_message' || command.message_id !== message.id || shown.is_deleted) continue;
    if (command.type === 'message_edit') shown = withContent(shown, command.content, shown.edited_at);
    else if (command.type === 'message_delete') shown = withoutContent(shown);
    else if ((shown.reactions[command.emoji] ?? []).includes(me) !== (command.action === 'add')) {
      shown = withReaction(shown, command.emoji, me, command.action === 'add');
    }
  }
  return shown;
}

export function visible(
  held: readonly Message[],
  entries: readonly Entry[],
  me: UserId,
  isAtEnd: boolean,
): readonly Message[] {
  if (entries.length === 0) return held;
  const about = new Set<number>();
  for (const { command } of entries) if (command.type !== 'chat_message') about.add(command.message_id);
  const shown = about.size
    ? held.map((message) => (about.has(message.id) ? laidOver(message, entries, me) : message))
    : [...held];
  // A stored message whose event is on its way comes before those that only wait.
  if (isAtEnd) for (const { draft } of entries) if (draft) shown.push(draft);
  return shown;
}
