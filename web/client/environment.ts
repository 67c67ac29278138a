// What the client needs of the world, so that tests can give it another one.

export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: (() => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface Environment {
  /** A connection that is being made. */
  socket(url: string, protocols: string[]): Socket;
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls once, later; the answer takes it back. */
  after(ms: number, call: () => void): () => void;
  /** From 0 to 1, without 1. */
  random(): number;
}

/** The browser's, or that of a program in which there is a `WebSocket`. */
export const world: Environment = {
  socket: (url, protocols) => new WebSocket(url, protocols) as unknown as Socket,
  now: () => Date.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};
