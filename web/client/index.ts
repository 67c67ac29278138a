// The client without a framework: `@loquat/react/client`.

export { Chat, type ChatOptions, createChat, type Problem, type Snapshot } from './chat';
export type { Phase, Status, TokenProvider, TokenReason } from './connection';
export type { Environment, Socket } from './environment';
export type { ConversationId, Sender, UserId } from './frames';
export type { Delivery, Message } from './message';
export { nameOf } from './people';
