// The connection machine: one WebSocket after another, until it is told to stop or may not return.
// It knows nothing of messages; it hands on frames and asks where to resume.
//
//            start                 token              hello
//   idle ───────────► asking ───────────► connecting ───────► open
//    ▲                  ▲  ▲                   │                │
//    │ stop             │  │ wait is over      │ close, silence,│ error, no hello in 15 s
//    │ (from anywhere)  │  │                   ▼                │
//    │                  │  └──────────────  waiting  ◄──────────┘
//    │                  └── start ──  closed  ◄── 4000–4099 (4001: the second time), no token
//
// Invariants: at most one socket is listened to; a socket that was let go of is never heard again;
// `attempt` starts again only when a connection has lasted SETTLED_MS; a newer token is asked for once
// per refusal.

import type { Environment, Socket } from './environment.js';
import { type ConversationId, type Hello, readFrame, type ServerFrame } from './frames.js';
import {
  HELLO_TIMEOUT_MS,
  PONG_TIMEOUT_MS,
  SETTLED_MS,
  TOKEN_AGAIN_MS,
  TOKEN_TIMEOUT_MS,
  UNANSWERED_MS,
} from './limits.js';
import { whenToReturn } from './return.js';

/** Why a token is wanted: `refused` and `expiring` want a newer one than the last. */
export type TokenReason = 'connect' | 'refused' | 'expiring';
export type TokenProvider =
  | string
  | ((reason: TokenReason) => string | null | undefined | Promise<string | null | undefined>);

export type Phase = 'idle' | 'asking' | 'connecting' | 'open' | 'waiting' | 'closed';

export interface Status {
  readonly phase: Phase;
  /** While waiting: when the next try is due, in milliseconds since 1970. */
  readonly retry_at: number | null;
  /** How the last connection ended: the server's words, or `silent`, `no_hello`, `token_missing`. */
  readonly reason: string;
  readonly code: number;
}

export interface Address {
  /** `wss://chat.example.org`; http and https are taken for ws and wss. */
  readonly url: string;
  readonly conversationId: ConversationId;
  readonly token: TokenProvider;
  /** Where the token travels. Proxies write addresses to their logs, but not subprotocols. */
  readonly tokenIn?: 'subprotocol' | 'query' | undefined;
}

export interface Cursor {
  readonly seq: number;
  readonly epoch: string;
}

export interface Handlers {
  /** Where to go on; null when nothing is held. */
  cursor(): Cursor | null;
  frame(frame: ServerFrame): void;
  changed(): void;
  /** Whether a command waits for an answer. */
  isWaiting(): boolean;
}

const IDLE: Status = { phase: 'idle', retry_at: null, reason: '', code: 0 };

export class Connection {
  status: Status = IDLE;
  readonly #address: Address;
  readonly #world: Environment;
  readonly #handlers: Handlers;
  #socket: Socket | null = null;
  #attempt = 0;
  #isRefused = false;
  #wantsNewer = false;
  /** Rises with each start, end and stop; what belongs to an earlier one is not listened to. */
  #era = 0;
  #token = '';
  #refresh: string | null = null;
  #refs = 0;
  #heartbeat_ms = 25_000;
  #heard_at = 0;
  #isProbing = false;
  readonly #timers = new Map<string, () => void>();

  constructor(address: Address, world: Environment, handlers: Handlers) {
    this.#address = address;
    this.#world = world;
    this.#handlers = handlers;
  }

  start(): void {
    const { phase } = this.status;
    if (phase !== 'idle' && phase !== 'closed') return;
    this.#attempt = 0;
    this.#isRefused = false;
    this.#wantsNewer = false;
    this.#ask();
  }

  stop(): void {
    this.#letGo(1000);
    this.#set(IDLE);
  }

  /** What a plain request is made with: the server over HTTP, and the last token that was given. */
  request(path: string): Promise<Response> {
    const { url, conversationId } = this.#address;
    const base = url.replace(/^ws/, 'http').replace(/\/+$/, '');
    const address = `${base}/api/conversations/${encodeURIComponent(conversationId)}/${path}`;
    return fetch(address, { headers: { Authorization: `Bearer ${this.#token}` } });
  }

  /** Something may have changed: the network is back, the page is looked at. */
  wake(): void {
    if (this.status.phase === 'waiting') this.#ask();
    else if (this.status.phase === 'open') this.#probe();
  }

  /** What is held has a hole: come back at once and resume. */
  again(reason: string): void {
    if (this.status.phase === 'open') this.#ended(4200, reason);
  }

  /** False when there is no connection. */
  send(frame: object): boolean {
    if (this.status.phase !== 'open' || !this.#socket) return false;
    this.#socket.send(JSON.stringify(frame));
    if (this.#handlers.isWaiting()) this.#watch();
    return true;
  }

  #set(status: Partial<Status> & { phase: Phase }): void {
    this.status = { ...this.status, retry_at: null, ...status };
    this.#handlers.changed();
  }

  #timer(name: string, ms: number, call: () => void): void {
    this.#timers.get(name)?.();
    const cancel = this.#world.after(ms, () => {
      this.#timers.delete(name);
      call();
    });
    this.#timers.set(name, cancel);
  }

  #letGo(code: number): void {
    this.#era += 1;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    this.#isProbing = false;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    // Some libraries throw where nobody listens to errors any more.
    socket.onerror = () => {};
    try {
      socket.close(code);
    } catch {
      // It was never open; then there is nothing to close.
    }
  }

  async #wanted(reason: TokenReason): Promise<string> {
    const { token } = this.#address;
    return (typeof token === 'string' ? token : await token(reason)) || '';
  }

  #ask(): void {
    this.#letGo(1000);
    const era = this.#era;
    const current = (handle: (token: string) => void) => (token: string) => {
      if (this.#era === era) handle(token);
    };
    this.#set({ phase: 'asking' });
    // A provider that fails or hangs is a network that fails: tried again, later each time.
    const failed = current(() => this.#ended(1006, 'token_provider_failed'));
    this.#timer('token', TOKEN_TIMEOUT_MS, () => failed(''));
    const got = current((token) => {
      this.#wantsNewer = false;
      if (token) this.#connect(token);
      else this.#closed(4001, 'token_missing');
    });
    this.#wanted(this.#wantsNewer ? 'refused' : 'connect').then(got, () => failed(''));
  }

  #connect(token: string): void {
    const { url, conversationId, tokenIn } = this.#address;
    const cursor = this.#handlers.cursor();
    const query = new URLSearchParams({ v: '2' });
    if (cursor) {
      query.set('since', String(cursor.seq));
      query.set('epoch', cursor.epoch);
    }
    if (tokenIn === 'query') query.set('token', token);
    const base = url.replace(/^http/, 'ws').replace(/\/+$/, '');
    const address = `${base}/ws/chat/${encodeURIComponent(conversationId)}/?${query}`;
    this.#token = token;
    this.#timer('token', HELLO_TIMEOUT_MS, () => this.#ended(1006, 'no_hello'));
    this.#set({ phase: 'connecting' });
    try {
      const protocols = tokenIn === 'query' ? [] : ['loquat', `bearer.${token}`];
      this.#listen(this.#world.socket(address, protocols));
    } catch {
      // An address or a token that no browser takes: the same again would fail again.
      this.#closed(0, 'invalid_address');
    }
  }

  #listen(socket: Socket): void {
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      this.#heard_at = this.#world.now();
      this.#isProbing = false;
      const frame = readFrame(data);
      if (frame) this.#received(frame);
    };
    socket.onclose = ({ code, reason }) => this.#ended(code, reason);
    // A close always follows, and says more.
    socket.onerror = () => {};
  }

  #received(frame: ServerFrame): void {
    if (frame.type === 'hello') this.#greeted(frame);
    // Nothing comes before the greeting.
    if (this.status.phase !== 'open') return;
    if (frame.type === 'token_expiring') this.#renew();
    if (frame.type === 'ack' && frame.ref !== null && frame.ref === this.#refresh) {
      this.#refresh = null;
      this.#timers.get('renew')?.();
      this.#timers.delete('renew');
    }
    this.#handlers.frame(frame);
  }

  #greeted(hello: Hello): void {
    this.#timers.get('token')?.();
    this.#heartbeat_ms = Math.max(1_000, hello.heartbeat_ms || 25_000);
    this.#timer('settled', SETTLED_MS, () => {
      this.#attempt = 0;
      this.#isRefused = false;
    });
    this.#set({ phase: 'open', reason: '', code: 0 });
    this.#watch();
  }

  /** Looks again when the silence has lasted as long as it may. */
  #watch(): void {
    const may_ms = this.#handlers.isWaiting() ? UNANSWERED_MS : this.#heartbeat_ms;
    const silent_ms = this.#world.now() - this.#heard_at;
    if (this.#isProbing) return;
    if (silent_ms >= may_ms) this.#probe();
    else this.#timer('watch', may_ms - silent_ms, () => this.#watch());
  }

  #probe(): void {
    if (this.#isProbing) return;
    this.#isProbing = true;
    this.#refs += 1;
    this.#socket?.send(JSON.stringify({ type: 'ping', ref: `p${this.#refs}` }));
    this.#timer('watch', PONG_TIMEOUT_MS, () => {
      if (this.#isProbing) this.#ended(1006, 'silent');
      else this.#watch();
    });
  }

  #renew(): void {
    const era = this.#era;
    const again = () => this.#timer('renew', TOKEN_AGAIN_MS, () => this.#renew());
    again();
    const got = (token: string) => {
      if (this.#era !== era || !token || token === this.#token) return;
      this.#token = token;
      this.#refs += 1;
      this.#refresh = `t${this.#refs}`;
      this.#socket?.send(JSON.stringify({ type: 'token_refresh', token, ref: this.#refresh }));
    };
    // Without a newer token the server closes with 4001, and then one is asked for again.
    this.#wanted('expiring').then(got, () => {});
  }

  #closed(code: number, reason: string): void {
    this.#letGo(1000);
    this.#set({ phase: 'closed', code, reason });
  }

  #ended(code: number, reason: string): void {
    this.#letGo(1000);
    const next = whenToReturn(code, reason, this.#attempt, this.#world.random());
    this.#attempt += 1;
    if (next.when === 'never' || (next.when === 'with_token' && this.#isRefused)) {
      this.#set({ phase: 'closed', code, reason });
      return;
    }
    if (next.when === 'with_token') this.#isRefused = this.#wantsNewer = true;
    const retry_at = this.#world.now() + next.wait_ms;
    this.#timer('wait', next.wait_ms, () => this.#ask());
    this.#set({ phase: 'waiting', retry_at, code, reason });
  }
}
