// The client without a framework: `@loquat/react/client`.

export { Chat, type ChatOptions, createChat, type Problem, type Snapshot } from './chat.js';
export type { Phase, Status, TokenProvider, TokenReason } from './connection.js';
export type { Environment, Socket } from './environment.js';
export type { ConversationId, Sender, UserId } from './frames.js';
export type { Delivery, Message } from './message.js';
export { nameOf } from './people.js';
