// A server of version 2 for tests, in virtual time, that can be told to misbehave: links that are cut
// or fall silent at any moment, restarts that lose what was not stored, refusals, other epochs.
// It is written from docs/protocol.md, not from the client.

import type { Environment, Socket } from '../../client/environment';
import type { Event, PastMessage, UserId } from '../../client/frames';
import { type Clock, Dice } from './clock';

type Json = Record<string, unknown>;

export interface Plan {
  /** Each way takes up to that long. */
  latency_ms: number;
  /** A message is stored after up to that time. */
  commit_ms: number;
  /** One command in so many is refused as too fast; 0 is never. */
  rate_limits: number;
}

const CALM: Plan = { latency_ms: 10, commit_ms: 5, rate_limits: 0 };

/** Both ends of one WebSocket. */
export class Link implements Socket {
  onopen: Socket['onopen'] = null;
  onmessage: Socket['onmessage'] = null;
  onclose: Socket['onclose'] = null;
  onerror: Socket['onerror'] = null;
  readonly url: URL;
  readonly token: string;
  user: UserId = 0;
  isLive = false;
  /** Nothing arrives any more, in either direction. */
  isSilent = false;
  isGone = false;
  readonly received: Json[] = [];
  readonly #server: FakeServer;
  #lastDown = 0;
  #lastUp = 0;

  constructor(server: FakeServer, url: string, protocols: string[]) {
    this.#server = server;
    this.url = new URL(url);
    const bearer = protocols.find((one) => one.startsWith('bearer.'));
    this.token = bearer?.slice(7) ?? this.url.searchParams.get('token') ?? '';
  }

  send(text: string): void {
    const at = Math.max(this.#lastUp, this.#server.arrival());
    this.#lastUp = at;
    this.#server.clock.after(at - this.#server.clock.now(), () => {
      if (this.isGone || this.isSilent) return;
      const frame = JSON.parse(text) as Json;
      this.received.push(frame);
      this.#server.handle(this, frame);
    });
  }

  close(): void {
    this.isGone = true;
    this.#server.forget(this);
  }

  /** To the client, in order. */
  tell(frame: Json): void {
    const text = JSON.stringify(frame);
    this.#down(() => this.onmessage?.({ data: text }));
  }

  /** The server's close; what was told before arrives before. */
  end(code: number, reason = ''): void {
    this.#server.forget(this);
    this.#down(() => {
      this.isGone = true;
      this.onclose?.({ code, reason });
    });
  }

  /** The connection breaks: what was under way is lost. */
  cut(): void {
    this.isGone = true;
    this.#server.forget(this);
    this.#server.clock.after(0, () => this.onclose?.({ code: 1006, reason: '' }));
  }

  #down(deliver: () => void): void {
    const at = Math.max(this.#lastDown, this.#server.arrival());
    this.#lastDown = at;
    this.#server.clock.after(at - this.#server.clock.now(), () => {
      if (!this.isGone && !this.isSilent) deliver();
    });
  }
}

export class FakeServer {
  readonly clock: Clock;
  readonly dice: Dice;
  plan: Plan;
  epoch = 'e1';
  log: Event[] = [];
  links: Link[] = [];
  /** All that there ever were. */
  readonly all: Link[] = [];
  /** Events up to here are not stored any more. */
  forgotten = 0;
  isDown = false;
  limits = { content_chars: 10_000, frame_bytes: 65_536 };
  /** Tokens that are taken, and whose they are. */
  readonly tokens = new Map<string, UserId>([
    ['one', 1],
    ['two', 2],
    ['three', 'three'],
  ]);
  #ids = 100;
  #run = 0;
  #stored = new Map<string, Json>();
  readonly marks = new Map<string, number>();

  constructor(clock: Clock, seed = 1, plan: Partial<Plan> = {}) {
    this.clock = clock;
    this.dice = new Dice(seed);
    this.plan = { ...CALM, ...plan };
  }

  environment(seed = 7): Environment {
    const dice = new Dice(seed);
    return { now: this.clock.now, after: this.clock.after, random: dice.next, socket: this.#accept };
  }

  get seq(): number {
    return this.log.at(-1)?.seq ?? this.forgotten;
  }

  arrival(): number {
    return this.clock.now() + this.dice.below(this.plan.latency_ms + 1);
  }

  forget(link: Link): void {
    this.links = this.links.filter((other) => other !== link);
  }

  /** Everybody is thrown out, and what was not stored is lost. */
  restart(code?: number, reason = ''): void {
    this.#run += 1;
    for (const link of [...this.links]) code === undefined ? link.cut() : link.end(code, reason);
  }

  /** A store that knows nothing of what was before. */
  otherLife(epoch: string): void {
    this.log = [];
    this.#stored.clear();
    this.marks.clear();
    this.epoch = epoch;
  }

  /** As if another client had done it. */
  say(content: string, user: UserId = 2, parent: number | null = null): number {
    const id = this.#nextId();
    this.#append({ type: 'chat_message', message: this.#message(id, content, user, parent) });
    return id;
  }

  append(event: Json): void {
    this.#append(event);
  }

  /** The conversation as the log adds up to it, told in the simplest way. */
  state(): PastMessage[] {
    const all = new Map<number, Json & { reactions: Record<string, UserId[]> }>();
    for (const event of this.log) {
      if (event.type === 'chat_message') {
        const { message, seq } = event;
        const parent = all.get(message.parent_message_id ?? 0);
        if (parent) parent.reply_count = (parent.reply_count as number) + 1;
        const rest = { edited_at: null, is_deleted: false, reactions: {}, reply_count: 0 };
        all.set(message.id, { ...message, seq, ...rest });
        continue;
      }
      const message = all.get(event.message_id);
      if (!message) continue;
      if (event.type === 'message_edit') {
        Object.assign(message, { content: event.content, is_edited: true, edited_at: event.edited_at });
      } else if (event.type === 'message_delete') {
        Object.assign(message, { content: 'Message deleted', is_deleted: true, reactions: {} });
      } else {
        const others = (message.reactions[event.emoji] ?? []).filter((id) => id !== event.user_id);
        const ids = event.action === 'added' ? [...others, event.user_id] : others;
        if (ids.length) message.reactions[event.emoji] = ids;
        else delete message.reactions[event.emoji];
      }
    }
    return [...all.values()].map((message) => this.#past(message));
  }

  handle(link: Link, frame: Json): void {
    const ref = (frame.ref ?? null) as string | null;
    const refuse = (code: string, more: Json = {}) =>
      link.tell({ type: 'error', error: code, code, ref, ...more });
    if (frame.type === 'ping') return link.tell({ type: 'pong', ref, seq: this.seq });
    if (frame.type === 'history') return this.#history(link, frame);
    if (frame.type === 'token_refresh') {
      const isGood = this.tokens.get(String(frame.token)) === link.user;
      if (!isGood) return refuse('forbidden');
      return link.tell({ type: 'ack', ref, message_id: null, seq: null });
    }
    if (frame.type === 'read_receipt') return this.#receipt(link, frame.message_id as number);
    if (frame.type === 'typing_indicator') {
      const { is_typing } = frame;
      const told = {
        type: 'typing_indicator',
        user_id: link.user,
        user_name: `User ${link.user}`,
        is_typing,
      };
      return this.#others(link, told);
    }
    if (this.plan.rate_limits && this.dice.oneIn(this.plan.rate_limits)) {
      return refuse('rate_limited', { retry_after_ms: 100 + this.dice.below(400) });
    }
    const run = this.#run;
    this.clock.after(this.dice.below(this.plan.commit_ms + 1), () => {
      if (this.#run === run) this.#command(link, frame, ref, refuse);
    });
  }

  #command(link: Link, frame: Json, ref: string | null, refuse: (code: string) => void): void {
    const about = this.state().find(({ id }) => id === frame.message_id);
    const ack = (message_id: number | null, seq: number | null, more: Json = {}) => {
      const told = { type: 'ack', ref, message_id, seq, ...more };
      link.tell(told);
      return told;
    };
    if (frame.type === 'chat_message') return this.#send(link, frame, ref, refuse);
    if (!about) return refuse('not_found');
    const id = about.id;
    if (frame.type === 'message_delete') {
      if (about.is_deleted) return void ack(id, null);
      ack(id, this.seq + 1);
      return this.#append({ type: 'message_delete', message_id: id });
    }
    if (about.is_deleted) return refuse('gone');
    if (frame.type === 'message_edit') {
      if (about.content === frame.content) return void ack(id, null);
      ack(id, this.seq + 1);
      const edited_at = new Date(this.clock.now()).toISOString();
      return this.#append({ type: 'message_edit', message_id: id, content: frame.content, edited_at });
    }
    const emoji = String(frame.emoji);
    const isGiven = (about.reactions[emoji]?.ids ?? []).includes(link.user);
    if (isGiven === (frame.action === 'add')) return void ack(id, null);
    ack(id, this.seq + 1);
    const action = frame.action === 'add' ? 'added' : 'removed';
    this.#append({ type: 'message_reaction', message_id: id, emoji, user_id: link.user, action });
  }

  #send(link: Link, frame: Json, ref: string | null, refuse: (code: string) => void): void {
    const key = `${link.user} ${frame.client_msg_id}`;
    const before = this.#stored.get(key);
    if (before) {
      if (before.content !== frame.content) return refuse('idempotency_conflict');
      return link.tell({ ...(before.ack as Json), ref });
    }
    const id = this.#nextId();
    const parent = (frame.parent_message_id ?? null) as number | null;
    const message = this.#message(id, String(frame.content), link.user, parent);
    const { client_msg_id } = frame;
    const { created_at } = message;
    const ack = { type: 'ack', client_msg_id, message_id: id, seq: this.seq + 1, created_at };
    this.#stored.set(key, { content: frame.content, ack });
    link.tell({ ...ack, ref });
    this.#append({ type: 'chat_message', client_msg_id, message });
  }

  #append(body: Json): void {
    const { client_msg_id, ...rest } = body;
    const event = { seq: this.seq + 1, ...rest } as unknown as Event;
    const author = event.type === 'chat_message' ? event.message.sender.id : null;
    const own = { ...event, client_msg_id } as unknown as Event;
    this.log.push(client_msg_id ? own : event);
    for (const link of this.links) if (link.isLive) link.tell(forUser(own, link.user === author));
  }

  #receipt(link: Link, message_id: number): void {
    if (message_id <= (this.marks.get(String(link.user)) ?? 0)) return;
    this.marks.set(String(link.user), message_id);
    for (const other of this.links) other.tell({ type: 'read_receipt', message_id, user_id: link.user });
  }

  #others(link: Link, frame: Json): void {
    for (const other of this.links) if (other.user !== link.user) other.tell(frame);
  }

  #history(link: Link, { ref, before, after, around, limit }: Json): void {
    const all = this.state();
    const most = limit as number;
    const at = (around ?? before ?? after) as number | undefined;
    const older = all.filter(({ id }) => at === undefined || (around === undefined ? id < at : id <= at));
    const newer = at === undefined ? [] : all.filter(({ id }) => id > at);
    const half = Math.ceil(most / 2);
    let [messages, has_more] = [older.slice(-most), older.length > most];
    if (after !== undefined) [messages, has_more] = [newer.slice(0, most), newer.length > most];
    if (around !== undefined) {
      messages = [...older.slice(-half), ...newer.slice(0, most - half)];
      has_more = older.length > half || newer.length > most - half;
    }
    const page = { type: 'history', ref, messages, has_more, seq: this.seq };
    // A page may take longer than what happens meanwhile.
    this.clock.after(this.dice.below(2 * this.plan.latency_ms + 1), () => link.tell(page));
  }

  #accept = (url: string, protocols: string[]): Socket => {
    const link = new Link(this, url, protocols);
    this.all.push(link);
    this.clock.after(this.dice.below(this.plan.latency_ms + 1), () => {
      if (link.isGone) return;
      if (this.isDown) return link.cut();
      link.onopen?.();
      const user = this.tokens.get(link.token);
      if (user === undefined) return link.end(4001, 'token_invalid');
      link.user = user;
      this.links.push(link);
      this.#greet(link);
    });
    return link;
  };

  #greet(link: Link): void {
    const { limits } = this;
    const [conversation_id, user_id, seq, epoch] = [77, link.user, this.seq, this.epoch];
    link.tell({ type: 'hello', conversation_id, user_id, seq, epoch, heartbeat_ms: 25_000, limits });
    const online = [...new Set(this.links.map(({ user }) => user))];
    link.tell({ type: 'presence', online, count: online.length });
    link.isLive = true;
    const { searchParams } = link.url;
    if (!searchParams.has('since')) return;
    const since = Number(searchParams.get('since'));
    const isKnown = searchParams.get('epoch') === this.epoch && since >= this.forgotten && since <= seq;
    if (!isKnown) return link.tell({ type: 'resync', seq, epoch });
    for (const event of this.log) {
      const isOwn = event.type === 'chat_message' && event.message.sender.id === link.user;
      if (event.seq > since) link.tell(forUser(event, isOwn));
    }
    const marks = Object.fromEntries(this.marks);
    link.tell({ type: 'resumed', from: since, to: seq, marks, marks_count: this.marks.size });
  }

  #nextId(): number {
    this.#ids += 1 + this.dice.below(3);
    return this.#ids;
  }

  #message(id: number, content: string, user: UserId, parent_message_id: number | null) {
    const sender = { id: user, email: '', first_name: `User`, last_name: String(user) };
    const created_at = new Date(this.clock.now()).toISOString();
    return { id, content, sender, parent_message_id, created_at, is_edited: false };
  }

  #past(message: Json & { reactions: Record<string, UserId[]> }): PastMessage {
    const listed = Object.entries(message.reactions).map(([emoji, ids]) => [
      emoji,
      { ids, count: ids.length },
    ]);
    const ids = [...this.marks].filter(([, mark]) => mark >= (message.id as number)).map(([user]) => user);
    const read_by = { ids: ids.map((user) => (/^\d+$/.test(user) ? Number(user) : user)), count: ids.length };
    return { ...message, reactions: Object.fromEntries(listed), read_by } as unknown as PastMessage;
  }
}

/** The sender's own connections see the id under which a message was sent. */
function forUser(event: Event, isOwn: boolean): Json {
  const { client_msg_id, ...rest } = event as Event & { client_msg_id?: string };
  return (isOwn && client_msg_id ? { ...rest, client_msg_id } : rest) as Json;
}
