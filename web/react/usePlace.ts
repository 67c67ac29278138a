// Where in the conversation one is: at the end, which is then kept; or elsewhere, which is then kept. What
// comes into sight is paged in where it is missing, and counts as read.

import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { VirtualizerHandle } from 'virtua';
import type { Message } from '../client/message.js';
import type { ChatState } from './useChat.js';

const END_PX = 48;
const PAGE_PX = 600;
const GIVEN_UP_MS = 200;

export interface Place {
  readonly list: RefObject<VirtualizerHandle | null>;
  readonly isAtEnd: boolean;
  /** To a message, held or not. */
  jump(messageId: number): void;
  toNewest(): void;
  scrolled(): void;
  resized(): void;
}

/** `reached` is told of the message that was jumped to. */
export function usePlace(
  chat: ChatState,
  messages: readonly Message[],
  reached: (message: Message) => void,
): Place {
  const list = useRef<VirtualizerHandle>(null);
  const isPinned = useRef(true);
  const wantsEnd = useRef(false);
  const [isAtEnd, setAtEnd] = useState(true);
  const [wanted, setWanted] = useState<number | null>(null);
  const latest = useRef(chat);
  latest.current = chat;
  useSent(chat, wantsEnd);

  const toEnd = useCallback(() => {
    const { length } = latest.current.messages;
    if (length > 0) list.current?.scrollToIndex(length - 1, { align: 'end' });
  }, []);
  const before = useRef({ offset: 0, size: 0 });
  const look = useCallback(() => {
    const [handle, now] = [list.current, latest.current];
    if (!handle || handle.viewportSize === 0 || now.messages.length === 0) return;
    const [offset, size] = [handle.scrollOffset, handle.scrollSize];
    // Only going up leaves the end. What is measured anew moves it, too, and is followed.
    const isMoved = offset < before.current.offset - 1 && size >= before.current.size;
    before.current = { offset, size };
    const isKept = isPinned.current && !isMoved;
    const isEnd = !now.hasNewer && (isKept || size - handle.viewportSize - offset < END_PX);
    isPinned.current = isEnd;
    setAtEnd(isEnd);
    page(handle, now, isEnd);
    read(handle, now, isEnd);
    now.chat.follow(isEnd);
  }, []);
  // After each change: stay at the end, or go to what was asked for.
  useLayoutEffect(() => {
    const at = wanted === null ? -1 : messages.findIndex(({ id }) => id === wanted);
    const message = messages[at];
    if (message) {
      isPinned.current = false;
      list.current?.scrollToIndex(at, { align: 'center' });
      reached(message);
      setWanted(null);
    } else if (wanted === null && (isPinned.current || (wantsEnd.current && !chat.hasNewer))) {
      isPinned.current = true;
      wantsEnd.current = false;
      toEnd();
    }
  }, [messages, chat.hasNewer, wanted, toEnd, reached]);
  useLooks(look, [messages, chat.hasMore, chat.hasNewer, chat.isLoading]);

  const jump = useCallback((messageId: number) => {
    setWanted(messageId);
    // Where there is no such message, it is not waited for.
    const given = () => setWanted((now) => (now === messageId ? null : now));
    void latest.current.jumpTo(messageId).then(() => setTimeout(given, GIVEN_UP_MS));
  }, []);
  const toNewest = () => {
    wantsEnd.current = chat.hasNewer;
    if (chat.hasNewer) void chat.jumpToNewest();
    else toEnd();
  };
  // What was held before the list was shown has its place, and is read, only when it has been measured.
  const resized = () => {
    if (isPinned.current) toEnd();
    look();
  };
  return { list, isAtEnd, jump, toNewest, scrolled: look, resized };
}

/** Asks for what is missing near what is in sight. */
function page({ scrollOffset, viewportSize, scrollSize }: VirtualizerHandle, now: ChatState, isEnd: boolean) {
  if (now.isLoading) return;
  const isShort = scrollSize < viewportSize + PAGE_PX;
  const below = scrollSize - viewportSize - scrollOffset;
  // At the end the start is near only where there is little between them.
  if (now.hasMore && scrollOffset < PAGE_PX && (isShort || !isEnd)) void now.loadOlder();
  else if (now.hasNewer && below < PAGE_PX) void now.loadNewer();
}

/** Tells how far was read: down to the lowest message in sight. */
function read(handle: VirtualizerHandle, now: ChatState, isEnd: boolean) {
  if (document.visibilityState === 'hidden') return;
  const { scrollOffset, viewportSize } = handle;
  let at = isEnd ? now.messages.length - 1 : handle.findItemIndex(scrollOffset + viewportSize - 4);
  // What is not stored yet has no id to tell.
  while (at > 0 && (now.messages[at]?.id ?? 0) < 0) at -= 1;
  const lowest = now.messages[at];
  if (lowest && !lowest.is_read) now.sendReadReceipt(lowest.id);
}

/** Whoever writes wants to see it, wherever they were. */
function useSent({ lastSent }: ChatState, wantsEnd: RefObject<boolean>): void {
  const before = useRef(lastSent);
  useLayoutEffect(() => {
    if (before.current !== lastSent) wantsEnd.current = true;
    before.current = lastSent;
  }, [lastSent, wantsEnd]);
}

/** Looks after each change of these, and when the page comes into sight. */
function useLooks(look: () => void, changes: readonly unknown[]): void {
  useEffect(look, [look, ...changes]);
  useEffect(() => {
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, [look]);
}
