// Looks on at what the client and the server say to each other, and can cut the connection. The client
// gets it as its environment and does not know.

import type { Environment, Socket } from '../client/environment';
import { world } from '../client/environment';

export interface Seen {
  /** From a message's departure to the server's word that it is stored. */
  readonly stored_ms: number | null;
  readonly seq: number;
  /** What the last resume brought. */
  readonly resumed: { readonly from: number; readonly to: number } | null;
  readonly isCut: boolean;
  readonly connections: number;
}

const NOTHING: Seen = { stored_ms: null, seq: 0, resumed: null, isCut: false, connections: 0 };
const CUT_MS = 5_000;
const DEPARTURES_MAX = 100;

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
    const { connections } = this.seen(conversation);
    if (frame.type === 'hello') this.#note(conversation, { seq: frame.seq, connections: connections + 1 });
    else if (frame.type === 'resumed')
      this.#note(conversation, { resumed: { from: frame.from, to: frame.to } });
    else if (typeof frame.seq === 'number' && frame.type !== 'ack' && frame.type !== 'history') {
      this.#note(conversation, { seq: frame.seq });
    }
    const departed = frame.type === 'ack' ? this.#departures.get(frame.ref) : undefined;
    if (departed === undefined) return;
    this.#departures.delete(frame.ref);
    this.#note(conversation, { stored_ms: performance.now() - departed });
  }
}
