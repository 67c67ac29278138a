// Every text that a person reads, and how times are put. All of it can be given in another language.

export interface Labels {
  messages: string;
  message: string;
  send: string;
  hint: string;
  empty: string;
  loading: string;
  connected: string;
  connecting: string;
  reconnecting: (seconds: number) => string;
  closed: (reason: string) => string;
  connectNow: string;
  online: (count: number) => string;
  typing: (names: readonly string[]) => string;
  jump: (count: number) => string;
  newLine: string;
  today: string;
  yesterday: string;
  edited: string;
  deleted: string;
  sending: string;
  stored: string;
  failed: (code: string) => string;
  retry: string;
  discard: string;
  actions: (name: string) => string;
  react: (emoji: string) => string;
  reactMore: string;
  reaction: (emoji: string, count: number, names: readonly string[], isYours: boolean) => string;
  reply: string;
  replyingTo: (name: string) => string;
  replies: (count: number) => string;
  inReplyTo: (name: string) => string;
  earlier: string;
  thread: string;
  edit: string;
  save: string;
  cancel: string;
  close: string;
  delete: string;
  deleteSure: string;
  readBy: (names: readonly string[]) => string;
  more: (count: number) => string;
  emoji: string;
  left: (characters: number) => string;
  you: string;
  user: (id: string) => string;
}

const listed = (names: readonly string[]) =>
  names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
const many = (count: number, one: string) => `${count} ${one}${count === 1 ? '' : 's'}`;

const WHY: Readonly<Record<string, string>> = {
  forbidden: 'You may not enter this conversation.',
  kicked: 'You were removed from this conversation.',
  too_many_connections: 'You have too many connections open.',
  token_missing: 'Please log in.',
  token_expired: 'Your session has ended: please log in again.',
  token_revoked: 'Your session has ended: please log in again.',
};
const WHY_NOT: Readonly<Record<string, string>> = {
  forbidden: 'not allowed',
  too_long: 'too long',
  parent_not_found: 'the message it answers is gone',
};

export const english: Labels = {
  messages: 'Messages',
  message: 'Message',
  send: 'Send',
  hint: 'Enter sends, Shift and Enter start a new line, arrow up edits your last message.',
  empty: 'No messages yet. Say hello!',
  loading: 'Loading…',
  connected: 'Connected',
  connecting: 'Connecting…',
  reconnecting: (seconds) => (seconds > 1 ? `Offline, next try in ${seconds} s` : 'Offline, trying again'),
  closed: (reason) => WHY[reason] ?? 'The server has closed this connection.',
  connectNow: 'Connect now',
  online: (count) => `${count} online`,
  typing: (names) =>
    names.length > 3
      ? 'Several people are typing…'
      : `${listed(names)} ${names.length === 1 ? 'is' : 'are'} typing…`,
  jump: (count) => (count > 0 ? many(count, 'new message') : 'Newest messages'),
  newLine: 'New',
  today: 'Today',
  yesterday: 'Yesterday',
  edited: 'edited',
  deleted: 'Message deleted',
  sending: 'Sending',
  stored: 'Stored',
  failed: (code) => `Not sent: ${WHY_NOT[code] ?? 'the server refused it'}`,
  retry: 'Try again',
  discard: 'Discard',
  actions: (name) => `Actions for ${name}’s message`,
  react: (emoji) => `React with ${emoji}`,
  reactMore: 'Another reaction',
  reaction: (emoji, count, names, isYours) =>
    `${emoji} ${count}: ${listed(names)}${isYours ? '. Press to take yours back' : ''}`,
  reply: 'Reply',
  replyingTo: (name) => `Replying to ${name}`,
  replies: (count) => (count === 1 ? '1 reply' : `${count} replies`),
  inReplyTo: (name) => `In reply to ${name}`,
  earlier: 'an earlier message',
  thread: 'Thread',
  edit: 'Edit',
  save: 'Save',
  cancel: 'Cancel',
  close: 'Close',
  delete: 'Delete',
  deleteSure: 'Really delete?',
  readBy: (names) => `Read by ${listed(names)}`,
  more: (count) => `${count} more`,
  emoji: 'Emoji',
  left: (characters) => `${characters} characters left`,
  you: 'You',
  user: (id) => `User ${id}`,
};
