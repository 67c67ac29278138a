// `@loquat/react`: the hook, the components, and the client's types that they speak in.

export type { Problem, Snapshot } from '../client/chat.js';
export type { Status, TokenProvider, TokenReason } from '../client/connection.js';
export type { ConversationId, Sender, UserId } from '../client/frames.js';
export type { Delivery, Message } from '../client/message.js';
export { ChatRoom, type ChatRoomProps, ConnectionStatus } from './ChatRoom.js';
export { Composer, type ComposerProps } from './Composer.js';
export { english, type Labels } from './labels.js';
export { MessageList, type MessageListProps } from './MessageList.js';
export { ReactionBar, type ReactionBarProps } from './ReactionBar.js';
export type { RoomOptions } from './registry.js';
export { Thread, type ThreadProps } from './Thread.js';
export { ChatProvider, type ChatProviderProps, type ChatState, useChat } from './useChat.js';
