// Looks on at what the client and the server say to each other, and can cut the connection. The client
// gets it as its environment and does not know.

import type { Environment, Socket } from '../client/environment';
import { world } from '../client/environment';

export interface Resumed {
  readonly from: number;
  readonly to: number;
  /** Events that came between the greeting and the word that this is all. */
  readonly given: number;
}

export interface Seen {
  /** From a message's departure to the server's word that it is stored; the newest first. */
  readonly stored: readonly { readonly seq: number; readonly ms: number }[];
  readonly seq: number;
  /** What the last resume brought. */
  readonly resumed: Resumed | null;
  readonly isCut: boolean;
}

const NOTHING: Seen = { stored: [], seq: 0, resumed: null, isCut: false };
const CUT_MS = 5_000;
const STORED_SHOWN = 3;
const DEPARTURES_MAX = 100;
const EVENTS = new Set(['chat_message', 'message_edit', 'message_delete', 'message_reaction']);

/** A socket over a wire that is cut. */
function leadsNowhere(): Socket {
  const socket: Socket = {
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    send: () => {},
    close: () => {},
  };
  setTimeout(() => socket.onclose?.({ code: 1006, reason: '' }), 50);
  return socket;
}

export class Wire {
  readonly #seen = new Map<string, Seen>();
  readonly #listeners = new Set<() => void>();
  readonly #open = new Map<string, Set<Socket>>();
  readonly #departures = new Map<string, number>();
  readonly #given = new Map<string, number>();

  readonly environment: Environment = { ...world, socket: (url, protocols) => this.#socket(url, protocols) };

  subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  seen(conversation: string): Seen {
    return this.#seen.get(conversation) ?? NOTHING;
  }

  /** Nothing goes over the wire for five seconds. */
  cut(conversation: string): void {
    this.#note(conversation, { isCut: true, resumed: null });
    setTimeout(() => this.#note(conversation, { isCut: false }), CUT_MS);
    for (const socket of this.#open.get(conversation) ?? []) socket.close(1000);
  }

  #note(conversation: string, change: Partial<Seen>): void {
    this.#seen.set(conversation, { ...this.seen(conversation), ...change });
    for (const listener of this.#listeners) listener();
  }

  #socket(url: string, protocols: string[]): Socket {
    const conversation = decodeURIComponent(/\/ws\/chat\/([^/]+)/.exec(url)?.[1] ?? '');
    if (this.seen(conversation).isCut) return leadsNowhere();
    const socket = world.socket(url, protocols);
    const outer: Socket = {
      onopen: null,
      onmessage: null,
      onclose: null,
      onerror: null,
      send: (text) => {
        this.#departed(text);
        socket.send(text);
      },
      close: (code) => socket.close(code),
    };
    const all = this.#open.get(conversation) ?? new Set();
    this.#open.set(conversation, all.add(socket));
    socket.onmessage = ({ data }) => {
      this.#arrived(conversation, String(data));
      outer.onmessage?.({ data });
    };
    socket.onclose = (event) => {
      all.delete(socket);
      outer.onclose?.(event);
    };
    socket.onerror = () => outer.onerror?.();
    return outer;
  }

  #departed(text: string): void {
    const frame = JSON.parse(text);
    if (frame.type !== 'chat_message') return;
    this.#departures.set(frame.ref, performance.now());
    if (this.#departures.size > DEPARTURES_MAX)
      this.#departures.delete([...this.#departures.keys()][0] ?? '');
  }

  #arrived(conversation: string, text: string): void {
    const frame = JSON.parse(text);
    if (frame.type === 'hello') {
      this.#given.set(conversation, 0);
      this.#note(conversation, { seq: frame.seq });
    } else if (frame.type === 'resumed') {
      const given = this.#given.get(conversation) ?? 0;
      this.#note(conversation, { resumed: { from: frame.from, to: frame.to, given } });
    } else if (frame.type === 'ack') this.#acked(conversation, frame.ref, frame.seq);
    else if (EVENTS.has(frame.type)) {
      this.#given.set(conversation, (this.#given.get(conversation) ?? 0) + 1);
      this.#note(conversation, { seq: frame.seq });
    }
  }

  #acked(conversation: string, ref: string, seq: number): void {
    const departed = this.#departures.get(ref);
    if (departed === undefined) return;
    this.#departures.delete(ref);
    const newest = { seq, ms: performance.now() - departed };
    const before = this.seen(conversation).stored.filter((known) => known.seq !== seq);
    this.#note(conversation, { stored: [newest, ...before].slice(0, STORED_SHOWN) });
  }
}
