// One message as the page is shown it, and what an event makes of it. Pure: messages are never
// changed in place.

import type { Event, PastMessage, Sender, UserId, WireMessage } from './frames.js';
import { LISTED_USERS_MAX } from './limits.js';

export type Delivery = 'sending' | 'stored' | 'failed';

export interface Message {
  /** Negative while the server has given none. */
  readonly id: number;
  /** The same from the first keystroke on: for lists. */
  readonly key: string;
  /** 0 while it is not stored. */
  readonly seq: number;
  readonly content: string;
  readonly sender: Sender;
  readonly parent_message_id: number | null;
  readonly created_at: string;
  readonly is_edited: boolean;
  readonly edited_at: string | null;
  readonly is_deleted: boolean;
  /** Who gave each, in the order in which they came; at most 50 are named. */
  readonly reactions: Readonly<Record<string, readonly UserId[]>>;
  readonly reaction_counts: Readonly<Record<string, number>>;
  /** Who has read it, without its sender; at most 50 are named. */
  readonly read_by: readonly UserId[];
  /** By you; your own always are. */
  readonly is_read: boolean;
  readonly reply_count: number;
  readonly status: Delivery;
  /** Why it failed: a code of the server's error table. */
  readonly error: string | null;
  /** All events up to this seq are in here. */
  readonly as_of: number;
}

export const DELETED = 'Message deleted';
const NOBODY: Sender = { id: 0, email: '', first_name: '', last_name: '' };

const BLANK = {
  is_edited: false,
  edited_at: null,
  is_deleted: false,
  reactions: {},
  reaction_counts: {},
  read_by: [],
  is_read: false,
  reply_count: 0,
  status: 'stored',
  error: null,
} as const;

export function fromEvent(message: WireMessage, seq: number, client_msg_id: string | undefined): Message {
  const { id, content, parent_message_id, created_at, is_edited } = message;
  const sender = message.sender ?? NOBODY;
  const key = client_msg_id ?? `#${id}`;
  return { ...BLANK, id, key, seq, content, sender, parent_message_id, created_at, is_edited, as_of: seq };
}

export function fromPast(past: PastMessage, as_of: number): Message {
  const reactions = Object.entries(past.reactions ?? {});
  return {
    ...fromEvent(past, past.seq, undefined),
    edited_at: past.edited_at,
    is_deleted: past.is_deleted,
    reactions: Object.fromEntries(reactions.map(([emoji, { ids }]) => [emoji, ids])),
    reaction_counts: Object.fromEntries(reactions.map(([emoji, { count }]) => [emoji, count])),
    reply_count: past.reply_count,
    as_of,
  };
}

/** A message that waits to be stored. */
export function fromDraft(draft: Pick<Message, 'id' | 'key' | 'content' | 'sender' | 'created_at'>): Message {
  return { ...BLANK, seq: 0, parent_message_id: null, as_of: 0, is_read: true, ...draft };
}

/** `me` is named even where the list is full: whether the reaction is yours must be known. */
export function withReaction(message: Message, emoji: string, user: UserId, isAdded: boolean): Message {
  const ids = message.reactions[emoji] ?? [];
  const count = message.reaction_counts[emoji] ?? ids.length;
  if (isAdded && ids.includes(user)) return message;
  if (!isAdded && count === 0) return message;
  const others = ids.filter((id) => id !== user);
  const named = isAdded ? [...others, user].slice(-LISTED_USERS_MAX) : others;
  const left = count + (isAdded ? 1 : -1);
  const reactions = { ...message.reactions, [emoji]: named };
  const reaction_counts = { ...message.reaction_counts, [emoji]: left };
  if (left <= 0) {
    delete reactions[emoji];
    delete reaction_counts[emoji];
  }
  return { ...message, reactions, reaction_counts };
}

export const withContent = (message: Message, content: string, edited_at: string | null): Message =>
  message.is_deleted ? message : { ...message, content, is_edited: true, edited_at };

export const withoutContent = (message: Message): Message => ({
  ...message,
  content: DELETED,
  is_deleted: true,
  reactions: {},
  reaction_counts: {},
});

/** The message after an event about it; the same object when the event is in it already. */
export function changed(message: Message, event: Event): Message {
  if (event.seq <= message.as_of) return message;
  const next = { ...message, as_of: event.seq };
  switch (event.type) {
    case 'message_edit':
      return withContent(next, event.content, event.edited_at);
    case 'message_delete':
      return withoutContent(next);
    case 'message_reaction':
      return withReaction(next, event.emoji, event.user_id, event.action === 'added');
    case 'chat_message':
      return { ...next, reply_count: next.reply_count + 1 };
  }
}

/** The message that an event changes; a new one changes the one it answers. */
export const subject = (event: Event): number | null =>
  event.type === 'chat_message' ? event.message.parent_message_id : event.message_id;
