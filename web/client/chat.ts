// One conversation, whole: the connection machine, the messages that are held, what waits to be sent,
// and who is there. It applies what comes and asks for what is missing; it keeps no rules of its own.

import { type Address, Connection, type Status } from './connection.js';
import { type Environment, world } from './environment.js';
import type {
  Ack,
  Command,
  Event,
  Hello,
  HistoryPage,
  Refusal,
  Resumed,
  ServerFrame,
  UserId,
} from './frames.js';
import { userId } from './frames.js';
import {
  MESSAGES_MAX,
  NOTIFY_MS,
  OUTBOX_MAX,
  PAGE_MESSAGES,
  REPLY_PAGES_MAX,
  STORAGE_WAIT_MS,
} from './limits.js';
import { fromDraft, fromPast, type Message } from './message.js';
import { Outbox } from './outbox.js';
import { Pager } from './pager.js';
import { People } from './people.js';
import { Signals } from './signals.js';
import { Timeline } from './timeline.js';
import { laidOver, visible } from './view.js';

export interface ChatOptions extends Address {
  /** Messages that are held at a time, 5,000 if left out. */
  readonly messagesMax?: number | undefined;
  /** Messages in a page of the past, 50 if left out, 200 at most. */
  readonly pageMessages?: number | undefined;
  /** Told when the server refuses something. */
  readonly onProblem?: ((problem: Problem) => void) | undefined;
  readonly environment?: Environment | undefined;
}

export interface Problem {
  /** A code of the server's error table. */
  readonly code: string;
  /** A sentence for developers. */
  readonly text: string;
  /** What was refused, if it was something that was asked for here. */
  readonly command: Command | null;
}

export interface Snapshot {
  readonly messages: readonly Message[];
  readonly typingUsers: Readonly<Record<string, string>>;
  readonly onlineUsers: Readonly<Record<string, boolean>>;
  readonly onlineCount: number;
  readonly isConnected: boolean;
  readonly status: Status;
  /** Yourself, from the first connection on. */
  readonly userId: UserId | null;
  readonly names: Readonly<Record<string, string>>;
  readonly unreadCount: number;
  /** Whether there are older, or newer, messages than those that are held. */
  readonly hasMore: boolean;
  readonly hasNewer: boolean;
  readonly isLoading: boolean;
  /** The key of the last message that was written here. */
  readonly lastSent: string | null;
  /** The last event seen. */
  readonly seq: number;
  readonly contentCharsMax: number;
}

const characters = (text: string) => [...text].length;
const EMPTY: Hello['limits'] = { content_chars: 10_000, frame_bytes: 65_536 };

export class Chat {
  readonly #options: ChatOptions;
  readonly #world: Environment;
  readonly #connection: Connection;
  readonly #timeline: Timeline;
  readonly #outbox = new Outbox(OUTBOX_MAX);
  readonly #people = new People();
  readonly #pager: Pager;
  readonly #signals: Signals;
  readonly #listeners = new Set<() => void>();
  readonly #prefix: string;
  #epoch: string | null = null;
  #limits = EMPTY;
  #sends = 0;
  #lastSent: string | null = null;
  #follows = true;
  #keeps: 'newest' | 'oldest' = 'newest';
  #snapshot: Snapshot;
  #told_at = 0;
  #telling: (() => void) | null = null;
  #held: (() => void) | null = null;
  #typingTimer: (() => void) | null = null;

  constructor(options: ChatOptions) {
    this.#options = options;
    this.#world = options.environment ?? world;
    this.#timeline = new Timeline(Math.max(100, options.messagesMax ?? MESSAGES_MAX));
    this.#prefix = this.#unique();
    this.#connection = new Connection(options, this.#world, {
      cursor: () => (this.#epoch === null ? null : { seq: this.#timeline.seq, epoch: this.#epoch }),
      frame: (frame) => this.#frame(frame),
      changed: () => this.#connectionChanged(),
      isWaiting: () => this.#outbox.isWaiting,
    });
    const limit = Math.min(200, options.pageMessages ?? PAGE_MESSAGES);
    const send = (frame: object) => this.#connection.send(frame);
    const changed = () => this.#changed();
    this.#pager = new Pager(this.#timeline, { environment: this.#world, limit, send, changed });
    this.#signals = new Signals(this.#world, send);
    this.#snapshot = this.#shown();
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** The same object until something has changed. */
  snapshot = (): Snapshot => this.#snapshot;

  start(): void {
    this.#connection.start();
  }

  stop(): void {
    this.#connection.stop();
    for (const cancel of [this.#held, this.#typingTimer]) cancel?.();
    this.#held = this.#typingTimer = null;
    this.#signals.stop();
  }

  /** The network is back, or the page is looked at again. */
  wake(): void {
    this.#connection.wake();
  }

  /** After an end for good: try again with a newer token. */
  reconnect(): void {
    if (this.#connection.status.phase === 'closed') this.#connection.start();
    else this.#connection.wake();
  }

  /** The key of the new message, or null when it is empty or too long, or too many wait. */
  sendMessage = (content: string, parentMessageId: number | null = null): string | null => {
    const text = content.trim();
    const key = this.#key();
    const parent = parentMessageId !== null && parentMessageId > 0 ? parentMessageId : null;
    const command = {
      type: 'chat_message',
      content: text,
      parent_message_id: parent,
      client_msg_id: key,
    } as const;
    if (!this.#isSendable(text, command)) return null;
    const sender = this.#sender();
    const created_at = new Date(this.#world.now()).toISOString();
    const draft = fromDraft({ id: -this.#sends, key, content: text, sender, created_at });
    const isTaken = this.#give(key, command, {
      ...draft,
      parent_message_id: parent,
      status: 'sending',
    });
    if (!isTaken) return null;
    this.#signals.messageSent();
    this.#lastSent = key;
    if (this.#timeline.hasNewer) this.#pager.ask('newest', 0);
    return key;
  };

  sendTypingIndicator = (isTyping: boolean): void => this.#signals.typing(isTyping);

  sendReadReceipt = (messageId: number): void => {
    if (messageId <= 0 || !this.#snapshot.userId) return;
    if (this.#timeline.mark(this.#timeline.me, messageId)) this.#changed();
    this.#signals.read(messageId);
  };

  /** Gives a reaction, or takes it back. */
  sendReaction = (messageId: number, emoji: string): void => {
    const message = this.#own(messageId);
    if (!message || !emoji || new TextEncoder().encode(emoji).length > 64) return;
    const isGiven = (message.reactions[emoji] ?? []).includes(this.#timeline.me);
    const action = isGiven ? 'remove' : 'add';
    this.#give(this.#key(), { type: 'message_reaction', message_id: messageId, emoji, action }, null);
  };

  /** False when the content is empty or too long, or nothing can be edited. */
  editMessage = (messageId: number, content: string): boolean => {
    const text = content.trim();
    const command = { type: 'message_edit', message_id: messageId, content: text } as const;
    if (!this.#own(messageId) || !this.#isSendable(text, command)) return false;
    return this.#give(this.#key(), command, null);
  };

  deleteMessage = (messageId: number): void => {
    if (this.#own(messageId)) {
      this.#give(this.#key(), { type: 'message_delete', message_id: messageId }, null);
    }
  };

  /** Sends a failed message once more. */
  retry = (key: string): void => {
    if (this.#outbox.retry(key, this.#key())) this.#flush();
    this.#changed();
  };

  /** Forgets a failed message. */
  discard = (key: string): void => {
    const isFailed = this.#outbox.entries().some(({ ref, state }) => ref === key && state === 'failed');
    if (isFailed && this.#outbox.drop(key)) this.#changed();
  };

  loadOlder = (): Promise<void> => {
    const first = this.#timeline.messages()[0];
    if (!first || !this.#timeline.hasOlder) return Promise.resolve();
    return this.#pager.ask('before', first.id);
  };

  loadNewer = (): Promise<void> => {
    const last = this.#timeline.messages().at(-1);
    if (!last || !this.#timeline.hasNewer) return Promise.resolve();
    return this.#pager.ask('after', last.id);
  };

  /** Loads what is around a message that is not held. */
  jumpTo = (messageId: number): Promise<void> =>
    this.#timeline.get(messageId) ? Promise.resolve() : this.#pager.ask('around', messageId);

  jumpToNewest = (): Promise<void> =>
    this.#timeline.hasNewer ? this.#pager.ask('newest', 0) : Promise.resolve();

  /** Whether the newest messages are looked at: the other end of the window is then dropped first. */
  follow = (isAtEnd: boolean): void => {
    this.#follows = isAtEnd;
  };

  /** The messages that answer this one, held or not, oldest first; asked for over HTTP. */
  replies = async (messageId: number): Promise<readonly Message[]> => {
    const found: Message[] = [];
    for (let pages = 0; pages < REPLY_PAGES_MAX; pages += 1) {
      const after = found.at(-1)?.id;
      const place = after === undefined ? '' : `&after=${after}`;
      const answer = await this.#connection.request(`messages/${messageId}/replies?limit=200${place}`);
      if (!answer.ok) break;
      const { messages, seq, has_more } = (await answer.json()) as HistoryPage;
      found.push(...messages.map((past) => fromPast(past, seq)));
      if (!has_more || messages.length === 0) break;
    }
    return found;
  };

  /** One message, as it is shown. */
  message = (messageId: number): Message | undefined => this.#timeline.get(messageId);

  #unique(): string {
    const part = () => Math.floor(this.#world.random() * 36 ** 8).toString(36);
    return `${this.#world.now().toString(36)}-${part()}${part()}`;
  }

  #key(): string {
    this.#sends += 1;
    return `${this.#prefix}-${this.#sends}`;
  }

  #sender(): Message['sender'] {
    const own = this.#timeline.messages().findLast(({ sender }) => sender.id === this.#timeline.me);
    return own?.sender ?? { id: this.#timeline.me, email: '', first_name: '', last_name: '' };
  }

  /** A message that something can be done to: it is held, stored and not deleted. */
  #own(messageId: number): Message | undefined {
    const held = this.#timeline.get(messageId);
    const message = held && laidOver(held, this.#outbox.entries(), this.#timeline.me);
    return message?.is_deleted ? undefined : message;
  }

  #isSendable(text: string, command: Command): boolean {
    if (!text || characters(text) > this.#limits.content_chars) return false;
    const bytes = new TextEncoder().encode(JSON.stringify(command)).length;
    // The `ref` comes on top.
    return bytes + 128 <= this.#limits.frame_bytes;
  }

  #give(ref: string, command: Command, draft: Message | null): boolean {
    if (!this.#outbox.add(ref, command, draft)) {
      this.#problem('too_much_waits', 'too much waits to be sent', command);
      return false;
    }
    this.#flush();
    this.#changed();
    return true;
  }

  #flush(): void {
    if (this.#held || this.#connection.status.phase !== 'open') return;
    const entry = this.#outbox.take();
    if (entry) this.#connection.send({ ...entry.command, ref: entry.ref });
  }

  /** Nothing is sent for a while. */
  #wait(ms: number): void {
    this.#held?.();
    this.#held = this.#world.after(ms, () => {
      this.#held = null;
      this.#flush();
    });
  }

  #connectionChanged(): void {
    if (this.#connection.status.phase !== 'open') {
      this.#outbox.requeue();
      this.#people.lost();
      this.#signals.lost();
      this.#pager.lost();
    }
    this.#changed();
  }

  #frame(frame: ServerFrame): void {
    switch (frame.type) {
      case 'hello':
        this.#hello(frame);
        break;
      case 'chat_message':
      case 'message_edit':
      case 'message_delete':
      case 'message_reaction':
        this.#event(frame);
        break;
      case 'ack':
        if (this.#outbox.acked(frame as Ack, this.#timeline.seq)) this.#flush();
        break;
      case 'error':
        this.#refused(frame);
        break;
      case 'history':
        for (const { sender } of frame.messages) this.#people.named(sender);
        // What was asked for stays; the other end gives way.
        this.#keeps = this.#pager.place === 'before' ? 'oldest' : 'newest';
        this.#pager.answered(frame);
        break;
      case 'resumed':
        this.#resumed(frame);
        break;
      case 'resync':
        this.#begin(frame.seq, frame.epoch);
        break;
      case 'pong':
        if (frame.seq > this.#timeline.seq) this.#connection.again('lost_events');
        break;
      case 'read_receipt':
        this.#timeline.mark(frame.user_id, frame.message_id);
        break;
      case 'typing_indicator':
      case 'user_status':
      case 'presence':
        this.#people.signal(frame, this.#world.now());
        this.#watchTyping();
        break;
      default:
        return;
    }
    this.#changed();
  }

  #hello(hello: Hello): void {
    const before = this.#timeline.me;
    this.#timeline.me = hello.user_id;
    // Another user's token: nothing of the one before is theirs.
    if (before !== '' && before !== hello.user_id) this.#forget();
    this.#limits = hello.limits ?? EMPTY;
    if (this.#epoch === null) this.#begin(hello.seq, hello.epoch);
    else this.#pager.again();
    this.#held?.();
    this.#held = null;
    this.#flush();
    this.#signals.open();
  }

  #forget(): void {
    this.#epoch = null;
    for (const { ref } of this.#outbox.entries()) this.#outbox.drop(ref);
    this.#signals.otherLog();
  }

  /** Nothing is held; what comes next is seq + 1, and what was before is asked for. */
  #begin(seq: number, epoch: string): void {
    if (this.#epoch !== null && this.#epoch !== epoch) {
      this.#outbox.otherLog();
      this.#signals.otherLog();
    }
    this.#epoch = epoch;
    this.#timeline.reset(seq);
    this.#outbox.seen(seq, undefined);
    this.#pager.ask('newest', 0);
    this.#flush();
  }

  #event(event: Event): void {
    const outcome = this.#timeline.apply(event);
    if (!this.#timeline.hasNewer) this.#keeps = this.#follows ? 'newest' : 'oldest';
    if (outcome === 'gap') this.#connection.again('gap');
    const isMessage = event.type === 'chat_message';
    const ref = isMessage ? event.client_msg_id : undefined;
    if (outcome !== 'gap') this.#outbox.seen(this.#timeline.seq, ref);
    if (isMessage && event.message.sender) {
      this.#people.named(event.message.sender);
      this.#people.sent(event.message.sender.id);
    }
    this.#flush();
  }

  #resumed({ marks }: Resumed): void {
    for (const [user, id] of Object.entries(marks ?? {})) this.#timeline.mark(userId(user), id);
    this.#signals.resumed(marks?.[String(this.#timeline.me)] ?? 0);
  }

  #refused(refusal: Refusal): void {
    const { ref, code, error, retry_after_ms } = refusal;
    if (this.#pager.refused(refusal)) return;
    const isKnown = this.#outbox.entries().some((entry) => entry.ref === ref);
    if (isKnown && (code === 'rate_limited' || code === 'storage_unavailable')) {
      this.#outbox.requeue();
      this.#wait(Math.max(50, retry_after_ms ?? STORAGE_WAIT_MS));
      return;
    }
    const entry = this.#outbox.refused(ref, code);
    // A receipt for what is gone, say: nobody waits for it.
    if (entry || ref === null) this.#problem(code, error, entry?.command ?? null);
    this.#flush();
  }

  #problem(code: string, text: string, command: Command | null): void {
    this.#options.onProblem?.({ code, text, command });
  }

  #watchTyping(): void {
    this.#typingTimer?.();
    this.#typingTimer = null;
    const at = this.#people.nextTimeout();
    if (at === null) return;
    this.#typingTimer = this.#world.after(Math.max(0, at - this.#world.now()), () => {
      this.#people.handleTimeout(this.#world.now());
      this.#watchTyping();
      this.#changed();
    });
  }

  /** Listeners are told at once when they were not told just now, else a little later. */
  #changed(): void {
    if (this.#telling) return;
    const wait = Math.max(0, this.#told_at + NOTIFY_MS - this.#world.now());
    // Even "at once" is after the present call: one that changes several things tells once.
    this.#telling = this.#world.after(wait, () => this.#tell());
  }

  #tell(): void {
    this.#telling = null;
    this.#told_at = this.#world.now();
    this.#snapshot = this.#shown();
    for (const listener of this.#listeners) listener();
    // On its own, so that a list sees each of its ends move alone.
    if (this.#timeline.trim(this.#keeps)) this.#changed();
  }

  #shown(): Snapshot {
    const [timeline, people] = [this.#timeline, this.#people];
    const { status } = this.#connection;
    return {
      messages: visible(timeline.messages(), this.#outbox.entries(), timeline.me, !timeline.hasNewer),
      typingUsers: people.typing(),
      onlineUsers: people.online(),
      onlineCount: people.count,
      isConnected: status.phase === 'open',
      status,
      userId: timeline.me === '' ? null : timeline.me,
      names: people.names(),
      unreadCount: timeline.unread(),
      hasMore: timeline.hasOlder,
      hasNewer: timeline.hasNewer,
      isLoading: this.#pager.isLoading,
      lastSent: this.#lastSent,
      seq: timeline.seq,
      contentCharsMax: this.#limits.content_chars,
    };
  }
}

export const createChat = (options: ChatOptions): Chat => new Chat(options);
