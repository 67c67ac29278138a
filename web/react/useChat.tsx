// The hook, and the provider that tells it where the server is. `useChat` gives everything that the
// guide's `useWebSocket` gave, under the same names and in the same shapes, and what came since.

import {
  createContext,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import type { Chat, Snapshot } from '../client/chat.js';
import type { ConversationId } from '../client/frames.js';
import { english, type Labels } from './labels.js';
import { Registry, type RoomOptions } from './registry.js';
import { TextsContext } from './texts.js';

export interface ChatActions {
  readonly sendMessage: Chat['sendMessage'];
  readonly sendTypingIndicator: Chat['sendTypingIndicator'];
  readonly sendReadReceipt: Chat['sendReadReceipt'];
  readonly sendReaction: Chat['sendReaction'];
  readonly editMessage: Chat['editMessage'];
  readonly deleteMessage: Chat['deleteMessage'];
  /** A failed message: send it once more, or forget it. */
  readonly retry: Chat['retry'];
  readonly discard: Chat['discard'];
  /** Pages: while `hasMore`, while `hasNewer`. */
  readonly loadOlder: Chat['loadOlder'];
  readonly loadNewer: Chat['loadNewer'];
  readonly jumpTo: Chat['jumpTo'];
  readonly jumpToNewest: Chat['jumpToNewest'];
  /** The client behind it, for everything else. */
  readonly chat: Chat;
}

export interface ChatState extends Snapshot, ChatActions {}

interface Shared {
  readonly registry: Registry;
  readonly options: RoomOptions;
}

const SharedContext = createContext<Shared | null>(null);
let alone: Registry | undefined;

export interface ChatProviderProps extends RoomOptions {
  /** Texts in another language; what is left out is English. */
  readonly labels?: Partial<Labels>;
  /** For dates and times; the browser's if left out. */
  readonly locale?: string;
  readonly children: ReactNode;
}

export function ChatProvider({ children, labels, locale, ...options }: ChatProviderProps) {
  const [registry] = useState(() => new Registry());
  const texts = useMemo(() => ({ labels: { ...english, ...labels }, locale }), [labels, locale]);
  const shared = { registry, options };
  return (
    <SharedContext.Provider value={shared}>
      <TextsContext.Provider value={texts}>{children}</TextsContext.Provider>
    </SharedContext.Provider>
  );
}

/** The conversation, live. Without an id nothing is connected. */
export function useChat(
  conversationId: ConversationId | null | undefined,
  options: RoomOptions = {},
): ChatState {
  const shared = useContext(SharedContext);
  alone ??= new Registry();
  const registry = shared?.registry ?? alone;
  const id =
    conversationId === null || conversationId === undefined || conversationId === '' ? null : conversationId;
  const all = { ...shared?.options, ...options };
  const latest = useRef(all);
  latest.current = all;
  const url = all.url;
  const place = useMemo(() => registry.place(id ?? '', latest.current), [registry, id, url]);
  place.options = all;
  useEffect(() => (id === null ? undefined : registry.retain(place)), [registry, place, id]);
  const { chat } = place;
  const snapshot = useSyncExternalStore(chat.subscribe, chat.snapshot, chat.snapshot);
  return useMemo(() => ({ ...snapshot, ...actions(chat) }), [snapshot, chat]);
}

/** The same functions for as long as the conversation is the same. */
function actions(chat: Chat): ChatActions {
  const { sendMessage, sendTypingIndicator, sendReadReceipt, sendReaction, editMessage, deleteMessage } =
    chat;
  const { retry, discard, loadOlder, loadNewer, jumpTo, jumpToNewest } = chat;
  const writing = {
    sendMessage,
    sendTypingIndicator,
    sendReadReceipt,
    sendReaction,
    editMessage,
    deleteMessage,
  };
  return { ...writing, retry, discard, loadOlder, loadNewer, jumpTo, jumpToNewest, chat };
}
