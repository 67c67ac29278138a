// What waits for the server's answer: messages, edits, deletes and reactions, in the order in which
// they were given. A machine without clock or network.
//
//   queued ──take──► sent ──ack──► (a message: stored, until its event comes) ──► gone
//     ▲                │
//     ├── lost, wait ──┘
//     └── retry ── failed ◄── refused ──┘
//
// One command is under way at a time, so that a refusal for being too fast cannot change the order.
// Sending again is harmless: messages carry their `client_msg_id`, everything else may be repeated.

import type { Ack, Command } from './frames.js';
import type { Message } from './message.js';

export interface Entry {
  readonly ref: string;
  readonly command: Command;
  /** What is shown of a message that is not stored yet. */
  readonly draft: Message | null;
  readonly state: 'queued' | 'sent' | 'stored' | 'failed';
  /** Of a stored message: where its event stands. */
  readonly seq: number;
}

export class Outbox {
  readonly #max: number;
  #entries: readonly Entry[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  /** Not changed afterwards. */
  entries(): readonly Entry[] {
    return this.#entries;
  }

  get isWaiting(): boolean {
    return this.#entries.some(({ state }) => state === 'sent');
  }

  /** False when it is full. */
  add(ref: string, command: Command, draft: Message | null): boolean {
    if (this.#entries.length >= this.#max) return false;
    this.#entries = [...this.#entries, { ref, command, draft, state: 'queued', seq: 0 }];
    return true;
  }

  /** The next to send, which counts as sent from here on; null while one is under way. */
  take(): Entry | null {
    const next = this.isWaiting ? undefined : this.#entries.find(({ state }) => state === 'queued');
    if (next) this.#change(next.ref, { state: 'sent' });
    return next ?? null;
  }

  /** The connection is gone, or the server wants it later: what was sent is sent again. */
  requeue(): void {
    this.#entries = this.#entries.map((entry) =>
      entry.state === 'sent' ? { ...entry, state: 'queued' as const } : entry,
    );
  }

  /** `known` is the last event seen: a message at or before it is on the page already. */
  acked(ack: Ack, known: number): boolean {
    const entry = this.#get(ack.ref);
    if (!entry) return false;
    const { message_id, seq, created_at } = ack;
    if (!entry.draft || message_id === null || seq === null || seq <= known) {
      this.drop(entry.ref);
      return true;
    }
    const at = created_at ?? entry.draft.created_at;
    const draft = { ...entry.draft, id: message_id, created_at: at, status: 'stored' as const };
    this.#change(entry.ref, { state: 'stored', seq, draft });
    return true;
  }

  refused(ref: string | null, code: string): Entry | null {
    const entry = this.#get(ref);
    if (!entry) return null;
    // A change that is refused is given up; a message is kept for its author.
    if (entry.draft) {
      const draft = { ...entry.draft, status: 'failed' as const, error: code };
      this.#change(entry.ref, { state: 'failed', draft });
    } else {
      this.drop(entry.ref);
    }
    return entry;
  }

  /** Events up to here were seen: messages that they brought are not pending any more. */
  seen(seq: number, client_msg_id: string | undefined): void {
    const isDone = ({ ref, state, seq: at }: Entry) =>
      ref === client_msg_id || (state === 'stored' && at <= seq);
    if (this.#entries.some(isDone)) this.#entries = this.#entries.filter((entry) => !isDone(entry));
  }

  /** Behind everything else; under another id where the old one is used up. */
  retry(ref: string, fresh: string): boolean {
    const entry = this.#get(ref);
    if (entry?.state !== 'failed' || !entry.draft || entry.command.type !== 'chat_message') return false;
    const isUsed = entry.draft.error === 'idempotency_conflict';
    const id = isUsed ? fresh : ref;
    const draft = { ...entry.draft, key: id, status: 'sending' as const, error: null };
    this.drop(ref);
    return this.add(id, { ...entry.command, client_msg_id: id }, draft);
  }

  /** Ids mean other messages now, and what was stored may be lost: messages are sent once more. */
  otherLog(): void {
    const messages = this.#entries.filter(({ draft }) => draft !== null);
    this.#entries = messages.map((entry) => {
      if (!entry.draft || entry.state === 'failed') return entry;
      return { ...entry, state: 'queued', seq: 0, draft: { ...entry.draft, status: 'sending' } };
    });
  }

  drop(ref: string): boolean {
    const before = this.#entries.length;
    this.#entries = this.#entries.filter((entry) => entry.ref !== ref);
    return this.#entries.length < before;
  }

  #get(ref: string | null): Entry | undefined {
    return ref === null ? undefined : this.#entries.find((entry) => entry.ref === ref);
  }

  #change(ref: string, change: Partial<Entry>): void {
    this.#entries = this.#entries.map((entry) => (entry.ref === ref ? { ...entry, ...change } : entry));
  }
}
