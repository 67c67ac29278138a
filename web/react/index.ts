// `@loquat/react`: the hook, the components, and the client's types that they speak in.

export type { Problem, Snapshot } from '../client/chat';
export type { Status, TokenProvider, TokenReason } from '../client/connection';
export type { ConversationId, Sender, UserId } from '../client/frames';
export type { Delivery, Message } from '../client/message';
export { ChatRoom, type ChatRoomProps, ConnectionStatus } from './ChatRoom';
export { Composer, type ComposerProps } from './Composer';
export { english, type Labels } from './labels';
export { MessageList, type MessageListProps } from './MessageList';
export { ReactionBar, type ReactionBarProps } from './ReactionBar';
export type { RoomOptions } from './registry';
export { Thread, type ThreadProps } from './Thread';
export { ChatProvider, type ChatProviderProps, type ChatState, useChat } from './useChat';
