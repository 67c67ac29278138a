// What is known of a conversation's messages: a window on them, without holes, and how far each user
// has read. A machine without clock or network: events and pages of the past in, messages out.
//
// Invariants:
// - messages are in the order of their ids, each once, with nothing missing between two of them;
// - `seq` is the last event seen; the next one is seq + 1, earlier ones are ignored, later ones a gap;
// - a message holds all events up to its `as_of`; none is counted twice, whichever of event and page
//   comes first;
// - while `hasNewer` the window does not reach the newest message, and live messages are not added;
// - an array or message that was handed out is never changed.

import type { Event, HistoryPage, Listed, UserId } from './frames.js';
import { LISTED_USERS_MAX, MARKS_MAX, RECENT_EVENTS_MAX } from './limits.js';
import { changed, fromEvent, fromPast, type Message, subject } from './message.js';

export type Place = 'newest' | 'before' | 'after' | 'around';

export class Timeline {
  seq = 0;
  hasOlder = false;
  hasNewer = false;
  me: UserId = '';
  readonly #max: number;
  #messages: Message[] = [];
  #isShared = false;
  readonly #marks = new Map<UserId, number>();
  /** Events since a page was asked for, to be laid over it. */
  #recent: Event[] | null = null;
  #recentFrom = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Nothing is held any more; what comes next is seq + 1. */
  reset(seq: number): void {
    this.seq = seq;
    this.#messages = [];
    this.#isShared = false;
    this.#recent = null;
    this.#marks.clear();
    this.hasOlder = this.hasNewer = false;
  }

  /** Not changed afterwards. */
  messages(): readonly Message[] {
    this.#isShared = true;
    return this.#messages;
  }

  marks(): ReadonlyMap<UserId, number> {
    return this.#marks;
  }

  get(id: number): Message | undefined {
    const at = this.#find(id);
    return this.#messages[at]?.id === id ? this.#messages[at] : undefined;
  }

  /** Of others, behind one's own mark, as far as they are held. */
  unread(): number {
    const mark = this.#marks.get(this.me) ?? 0;
    let count = 0;
    for (let at = this.#messages.length - 1; at >= 0; at -= 1) {
      const message = this.#messages[at];
      if (!message || message.id <= mark) break;
      if (message.sender.id !== this.me) count += 1;
    }
    return count;
  }

  apply(event: Event): 'applied' | 'known' | 'gap' {
    if (event.seq <= this.seq) return 'known';
    if (event.seq !== this.seq + 1) return 'gap';
    this.seq = event.seq;
    if (this.#recent) this.#record(this.#recent, event);
    const about = subject(event);
    if (about !== null) this.#patch(about, (message) => changed(message, event));
    if (event.type === 'chat_message') {
      if (!this.hasNewer) this.#append(fromEvent(event.message, event.seq, event.client_msg_id));
      // Who sends has read what was before; that is not told.
      if (event.message.sender) this.mark(event.message.sender.id, event.message.id);
    }
    return 'applied';
  }

  /** Before a page is asked for: what happens until it comes is laid over it. */
  expectPage(): void {
    this.#recent = [];
    this.#recentFrom = this.seq;
  }

  /** `from` is the message that the page was asked for. False when too much happened since: ask again. */
  page(page: HistoryPage, place: Place, from: number): boolean {
    const missed = (this.#recent ?? []).filter((event) => event.seq > page.seq);
    const isTooLate = page.seq < this.#recentFrom;
    this.#recent = null;
    if (isTooLate) return false;
    const fresh = this.#fresh(page, missed, place === 'newest' || (place !== 'before' && !page.has_more));
    if (!this.#place(fresh, page.has_more, place, from)) return true;
    for (const { id, read_by } of page.messages) this.#readers(id, read_by);
    const known = new Set(fresh.map(({ id }) => id));
    this.#own();
    this.#messages = this.#messages.map((message) => (known.has(message.id) ? this.#read(message) : message));
    return true;
  }

  /** A mark only rises. */
  mark(user: UserId, id: number): boolean {
    const before = this.#marks.get(user) ?? 0;
    const hasRoom = this.#marks.has(user) || user === this.me || this.#marks.size < MARKS_MAX;
    if (id <= before || !hasRoom) return false;
    this.#marks.set(user, id);
    this.#own();
    for (let at = this.#find(id + 1) - 1; at >= 0; at -= 1) {
      const message = this.#messages[at];
      if (!message || message.id <= before) break;
      this.#messages[at] = readBy(message, user, this.me);
    }
    return true;
  }

  /** Drops what is over the bound, from the end that is farther from what was just added. */
  trim(keep: 'newest' | 'oldest'): boolean {
    const over = this.#messages.length - this.#max;
    if (over <= 0) return false;
    // Some more, so that it is not done for each message.
    const dropped = over + Math.floor(this.#max / 10);
    this.#own();
    if (keep === 'newest') {
      this.#messages = this.#messages.slice(dropped);
      this.hasOlder = true;
    } else {
      this.#messages = this.#messages.slice(0, -dropped);
      this.hasNewer = true;
    }
    return true;
  }

  get isFull(): boolean {
    return this.#messages.length > this.#max;
  }

  #record(recent: Event[], event: Event): void {
    recent.push(event);
    if (recent.length > RECENT_EVENTS_MAX) this.#recentFrom = recent.shift()?.seq ?? 0;
  }

  #own(): void {
    if (this.#isShared) this.#messages = [...this.#messages];
    this.#isShared = false;
  }

  /** Where the first message with this id or a higher one is. */
  #find(id: number): number {
    let [low, high] = [0, this.#messages.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#messages[middle]?.id ?? 0) < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #patch(id: number, change: (message: Message) => Message): void {
    const at = this.#find(id);
    const message = this.#messages[at];
    if (message?.id !== id) return;
    this.#own();
    this.#messages[at] = change(message);
  }

  #append(message: Message): void {
    const last = this.#messages.at(-1);
    if (last && last.id >= message.id) return;
    this.#own();
    this.#messages.push(this.#read(message));
  }

  /** The page's messages with what happened since, new ones too when the page reaches the end. */
  #fresh(page: HistoryPage, missed: readonly Event[], reachesEnd: boolean): Message[] {
    const fresh = new Map(page.messages.map((past) => [past.id, fromPast(past, page.seq)]));
    for (const event of missed) {
      const message = fresh.get(subject(event) ?? 0);
      if (message) fresh.set(message.id, changed(message, event));
      if (reachesEnd && event.type === 'chat_message' && !fresh.has(event.message.id)) {
        fresh.set(event.message.id, fromEvent(event.message, event.seq, event.client_msg_id));
      }
    }
    return [...fresh.values()];
  }

  /** False when the window has moved, so that the page does not adjoin it. */
  #place(fresh: Message[], hasMore: boolean, place: Place, from: number): boolean {
    const held = this.#messages;
    const [first, last] = [held[0]?.id ?? from, held.at(-1)?.id ?? from];
    this.#own();
    if (place === 'before') {
      if (first !== from) return false;
      this.#messages = [...fresh.filter(({ id }) => id < first), ...held];
      this.hasOlder = hasMore;
    } else if (place === 'after') {
      if (last !== from || !this.hasNewer) return false;
      this.#messages = [...held, ...fresh.filter(({ id }) => id > last)];
      this.hasNewer = hasMore;
    } else {
      // Where the window reached the end, what is in both is known at least as well here.
      const isLive = place === 'newest' && !this.hasNewer;
      const known = new Map(isLive ? held.map((one) => [one.id, one]) : []);
      const end = fresh.at(-1)?.id ?? 0;
      const rest = isLive ? held.filter(({ id }) => id > end) : [];
      this.#messages = [...fresh.map((one) => later(one, known.get(one.id))), ...rest];
      this.hasOlder = hasMore;
      this.hasNewer = place === 'around' && hasMore;
    }
    return true;
  }

  #readers(id: number, read_by: Listed | undefined): void {
    const ids = read_by?.ids ?? [];
    for (const user of ids) this.mark(user, id);
    // In a crowd you may be among those who are counted only; better no badge than a wrong one.
    if (read_by && read_by.count > ids.length && !ids.includes(this.me)) this.mark(this.me, id);
  }

  /** With its readers, as the marks tell them. */
  #read(message: Message): Message {
    const read_by: UserId[] = [];
    for (const [user, mark] of this.#marks) {
      if (read_by.length === LISTED_USERS_MAX) break;
      if (mark >= message.id && user !== message.sender.id) read_by.push(user);
    }
    const is_read = message.sender.id === this.me || (this.#marks.get(this.me) ?? 0) >= message.id;
    return { ...message, read_by, is_read };
  }
}

/** Of two states of a message, the one that knows more. */
const later = (one: Message, other: Message | undefined): Message =>
  other && other.as_of >= one.as_of ? other : one;

function readBy(message: Message, user: UserId, me: UserId): Message {
  const is_read = message.is_read || user === me;
  const isListed = user === message.sender.id || message.read_by.includes(user);
  if (isListed || message.read_by.length >= LISTED_USERS_MAX) {
    return is_read === message.is_read ? message : { ...message, is_read };
  }
  return { ...message, is_read, read_by: [...message.read_by, user] };
}
