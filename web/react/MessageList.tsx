// The messages, of which only those in sight are in the document: 100,000 scroll as 100 do. It stays at
// the end while one is there, keeps its place when older messages are loaded, pages in what is missing,
// and tells how far one has read.

import {
  type KeyboardEvent,
  type SyntheticEvent,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
} from 'react';
import { Virtualizer, type VirtualizerHandle } from 'virtua';
import type { Message } from '../client/message.js';
import { type MessageActions, MessageItem } from './MessageItem.js';
import { senderName } from './people.js';
import { useTexts } from './texts.js';
import { dayOf } from './time.js';
import type { ChatState } from './useChat.js';

export interface MessageListProps {
  readonly chat: ChatState;
  readonly onReply?: (message: Message) => void;
  readonly onThread?: (message: Message) => void;
  /** The key of the message that is being edited. */
  readonly editing?: string | null;
  readonly onEdit?: (message: Message | null) => void;
}

const END_PX = 48;
const PAGE_PX = 600;
const GROUP_MS = 5 * 60_000;
const GIVEN_UP_MS = 200;
const NOBODY: readonly (number | string)[] = [];

const isGrouped = (before: Message | undefined, message: Message) =>
  before !== undefined &&
  before.sender.id === message.sender.id &&
  message.parent_message_id === null &&
  Date.parse(message.created_at) - Date.parse(before.created_at) < GROUP_MS;

/** Those whose newest read message this is; nobody needs to be told that they have read themselves. */
function lastReaders(message: Message, next: Message | undefined, me: number | string | null) {
  const isHere = (id: number | string) =>
    id !== me && !(next && next.id > 0 && (next.read_by.includes(id) || next.sender.id === id));
  const here = message.read_by.filter(isHere);
  return here.length ? here : NOBODY;
}

/** What came in since the last look, for those who listen. */
function useAnnouncement({ messages, userId, names }: ChatState): string {
  const { labels } = useTexts();
  const [text, setText] = useState('');
  const seen = useRef<number | null>(null);
  const last = messages.findLast(({ status }) => status === 'stored');
  useEffect(() => {
    const before = seen.current;
    // What was there before one came is read by going through it.
    if (!last) return;
    seen.current = Math.max(before ?? 0, last.id);
    const isNew = before !== null && last.id > before && last.sender.id !== userId;
    if (isNew) setText(`${senderName(last.sender, { names, userId }, labels)}: ${last.content}`);
  });
  return text;
}

/** On the way from one list to the next, the one in which only the start has moved. */
function halfway(before: readonly Message[], after: readonly Message[]): readonly Message[] {
  const [first, last] = [before[0]?.key, before.at(-1)?.key];
  if (first === undefined || first === after[0]?.key || last === after.at(-1)?.key) return after;
  const kept = after.findIndex(({ key }) => key === first);
  if (kept > 0) return [...after.slice(0, kept), ...before];
  const left = before.findIndex(({ key }) => key === after[0]?.key);
  return left > 0 ? before.slice(left) : after;
}

/**
 * The list to render, and whether its start has moved: the place is kept only when not both ends move at
 * once. When they do, a list in between is rendered first, and never seen.
 */
function useShift(messages: readonly Message[]): readonly [readonly Message[], boolean] {
  const rendered = useRef(messages);
  const [, again] = useReducer((count: number) => count + 1, 0);
  const before = rendered.current;
  const next = halfway(before, messages);
  const isSame = (at: number) => before.at(at)?.key === next.at(at)?.key;
  const isShifted = before.length > 0 && next.length > 0 && !isSame(0) && isSame(-1);
  useLayoutEffect(() => {
    rendered.current = next;
    if (next !== messages) again();
  });
  return [next, isShifted];
}

export function MessageList({ chat, onReply, onThread, editing = null, onEdit }: MessageListProps) {
  const { labels } = useTexts();
  const { hasMore, hasNewer, isLoading, unreadCount } = chat;
  const [messages, shift] = useShift(chat.messages);
  const list = useRef<VirtualizerHandle>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const isPinned = useRef(true);
  const wantsEnd = useRef(false);
  const [isAtEnd, setAtEnd] = useState(true);
  const [active, setActive] = useState<string | null>(null);
  const [wanted, setWanted] = useState<number | null>(null);
  const [wantsFocus, setWantsFocus] = useState(false);
  const newFrom = useFirstUnread(chat);
  const announcement = useAnnouncement(chat);
  const latest = useRef(chat);
  latest.current = chat;

  const toEnd = useCallback(() => {
    const { length } = latest.current.messages;
    if (length > 0) list.current?.scrollToIndex(length - 1, { align: 'end' });
  }, []);

  const look = useCallback(() => {
    const [handle, now] = [list.current, latest.current];
    if (!handle || now.messages.length === 0) return;
    const { scrollOffset, viewportSize, scrollSize } = handle;
    const below = scrollSize - viewportSize - scrollOffset;
    const isEnd = below < END_PX && !now.hasNewer;
    if (isEnd !== isPinned.current) now.chat.follow(isEnd);
    isPinned.current = isEnd;
    setAtEnd(isEnd);
    if (scrollOffset < PAGE_PX && now.hasMore && !now.isLoading) void now.loadOlder();
    else if (below < PAGE_PX && now.hasNewer && !now.isLoading) void now.loadNewer();
    if (document.visibilityState === 'hidden') return;
    const lowest = isEnd ? now.messages.length - 1 : handle.findItemIndex(scrollOffset + viewportSize - 4);
    const read = now.messages.slice(0, lowest + 1).findLast(({ id }) => id > 0);
    if (read && !read.is_read) now.sendReadReceipt(read.id);
  }, []);

  // Whoever writes wants to see it, wherever they were.
  const { lastSent } = chat;
  const sentBefore = useRef(lastSent);
  useLayoutEffect(() => {
    if (sentBefore.current !== lastSent) wantsEnd.current = true;
    sentBefore.current = lastSent;
  }, [lastSent]);

  // After each change: stay at the end, or go to what was asked for; then see what is in sight.
  useLayoutEffect(() => {
    const at = wanted === null ? -1 : messages.findIndex(({ id }) => id === wanted);
    if (at >= 0) {
      isPinned.current = false;
      list.current?.scrollToIndex(at, { align: 'center' });
      setActive(messages[at]?.key ?? null);
      setWanted(null);
    } else if (wanted === null && (isPinned.current || (wantsEnd.current && !hasNewer))) {
      isPinned.current = true;
      wantsEnd.current = false;
      toEnd();
    }
  }, [messages, hasNewer, wanted, toEnd]);
  useEffect(look, [messages, hasMore, hasNewer, isLoading, look]);
  useEffect(() => {
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, [look]);

  const found = active === null ? -1 : messages.findIndex(({ key }) => key === active);
  const activeAt = found < 0 ? messages.length - 1 : found;
  useEffect(() => {
    if (!wantsFocus) return;
    const article = scroller.current?.querySelector<HTMLElement>('article[tabindex="0"]');
    if (!article) return;
    article.focus({ preventScroll: true });
    setWantsFocus(false);
  });

  const step = (to: number) => {
    const at = Math.max(0, Math.min(messages.length - 1, to));
    setActive(messages[at]?.key ?? null);
    setWantsFocus(true);
    list.current?.scrollToIndex(at, { align: 'nearest' });
  };
  const keyed = (event: KeyboardEvent) => {
    if (!(event.target instanceof HTMLElement) || event.target.tagName !== 'ARTICLE') return;
    const to = { ArrowUp: activeAt - 1, ArrowDown: activeAt + 1, Home: 0, End: messages.length - 1 }[
      event.key
    ];
    if (to === undefined) return;
    event.preventDefault();
    step(to);
  };
  const keyOf = (target: EventTarget) =>
    target instanceof Element ? (target.closest('article')?.getAttribute('data-key') ?? null) : null;
  const pointed = (event: SyntheticEvent) => {
    const key = keyOf(event.target);
    const isBusy = scroller.current?.contains(document.activeElement) && event.type === 'pointerover';
    if (key !== null && !isBusy) setActive(key);
  };
  const left = (event: SyntheticEvent & { relatedTarget?: EventTarget | null }) => {
    const stays = (element: EventTarget | null | undefined) =>
      element instanceof Node && scroller.current?.contains(element);
    if (!stays(document.activeElement) && !stays(event.relatedTarget)) setActive(null);
  };

  const onJump = useCallback((messageId: number) => {
    setWanted(messageId);
    // Where there is no such message, it is not waited for.
    const given = () => setWanted((now) => (now === messageId ? null : now));
    void latest.current.jumpTo(messageId).then(() => setTimeout(given, GIVEN_UP_MS));
  }, []);
  const actions: MessageActions = useMemo(
    () => ({
      onReply: (message) => onReply?.(message),
      onEdit: (message) => onEdit?.(message),
      onJump,
      ...(onThread ? { onThread } : {}),
    }),
    [onReply, onEdit, onThread, onJump],
  );
  const row = (message: Message, at: number) => {
    const before = messages[at - 1];
    const isFirstOfDay = !before || dayOf(before.created_at) !== dayOf(message.created_at);
    const parent =
      message.parent_message_id === null ? undefined : chat.chat.message(message.parent_message_id);
    return (
      <MessageItem
        key={message.key}
        message={message}
        chat={chat}
        parent={parent}
        isFirstOfDay={isFirstOfDay}
        isFirstOfGroup={isFirstOfDay || message.id === newFrom || !isGrouped(before, message)}
        isFirstUnread={message.id === newFrom}
        isActive={active !== null && at === activeAt}
        isTabStop={at === activeAt}
        isEditing={editing === message.key}
        readers={lastReaders(message, messages[at + 1], chat.userId)}
        actions={actions}
      />
    );
  };

  return (
    <div className="lq-list">
      <section
        ref={scroller}
        className="lq-scroll"
        aria-label={labels.messages}
        onKeyDown={keyed}
        onPointerOver={pointed}
        onClick={pointed}
        onPointerLeave={left}
        onBlur={left}
        onFocus={(event) => setActive(keyOf(event.target) ?? active)}
      >
        {isLoading && messages.length > 0 && <p className="lq-loading">{labels.loading}</p>}
        {messages.length === 0 && <p className="lq-empty">{isLoading ? labels.loading : labels.empty}</p>}
        <div className="lq-space" />
        <Virtualizer
          ref={list}
          scrollRef={scroller}
          as="ol"
          item="li"
          data={messages as Message[]}
          shift={shift}
          onScroll={look}
          onResize={() => (isPinned.current ? toEnd() : look())}
          keepMounted={activeAt >= 0 ? [activeAt] : []}
        >
          {row}
        </Virtualizer>
      </section>
      {!isAtEnd && (
        <button
          type="button"
          className="lq-button lq-jump"
          onClick={() => {
            wantsEnd.current = hasNewer;
            if (hasNewer) void chat.jumpToNewest();
            else toEnd();
          }}
        >
          ↓ {labels.jump(unreadCount)}
        </button>
      )}
      <p className="lq-unseen" role="status" aria-live="polite">
        {announcement}
      </p>
    </div>
  );
}

/** The first message that was not read when the conversation was opened: it stays marked. */
function useFirstUnread({ messages, unreadCount, chat }: ChatState): number | null {
  const found = useRef<{ chat: unknown; id: number | null } | null>(null);
  if (found.current?.chat !== chat) found.current = null;
  if (!found.current && messages.length > 0) {
    const first = unreadCount > 0 ? messages.find(({ is_read }) => !is_read) : undefined;
    found.current = { chat, id: first?.id ?? null };
  }
  return found.current?.id ?? null;
}
