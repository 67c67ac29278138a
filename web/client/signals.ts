// What is told to the others without being stored: that you type, and how far you have read. Both are
// thinned out, and neither waits for a connection: of receipts the newest is told when there is one.

import type { Environment } from './environment.js';
import { RECEIPT_MS, TYPING_SENT_MS } from './limits.js';

export class Signals {
  readonly #world: Environment;
  readonly #send: (frame: object) => boolean;
  #typing_at: number | null = null;
  #read = 0;
  #told = 0;
  #timer: (() => void) | null = null;

  constructor(environment: Environment, send: (frame: object) => boolean) {
    this.#world = environment;
    this.#send = send;
  }

  typing(isTyping: boolean): void {
    const now = this.#world.now();
    if (isTyping) {
      if (this.#typing_at !== null && now - this.#typing_at < TYPING_SENT_MS) return;
      if (this.#send({ type: 'typing_indicator', is_typing: true })) this.#typing_at = now;
    } else if (this.#typing_at !== null) {
      this.#typing_at = null;
      this.#send({ type: 'typing_indicator', is_typing: false });
    }
  }

  /** The server takes the line away by itself. */
  messageSent(): void {
    this.#typing_at = null;
  }

  read(messageId: number): void {
    if (messageId <= this.#read) return;
    this.#read = messageId;
    if (!this.#timer) this.#tell();
  }

  lost(): void {
    this.#typing_at = null;
  }

  open(): void {
    if (!this.#timer) this.#tell();
  }

  /** The mark that the server has: what it never got is told again. */
  resumed(mark: number): void {
    this.#told = mark;
    this.open();
  }

  /** Ids mean other messages now. */
  otherLog(): void {
    this.#read = this.#told = 0;
  }

  stop(): void {
    this.#timer?.();
    this.#timer = null;
  }

  #tell(): void {
    if (this.#read <= this.#told) return;
    if (!this.#send({ type: 'read_receipt', message_id: this.#read })) return;
    this.#told = this.#read;
    this.#timer = this.#world.after(RECEIPT_MS, () => {
      this.#timer = null;
      this.#tell();
    });
  }
}
