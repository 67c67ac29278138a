// Who is there, who types, and what they are called. A machine: time is an argument.

import type { Sender, Signal, UserId } from './frames.js';
import { NAMES_MAX, ONLINE_MAX, TYPING_MAX, TYPING_SHOWN_MS } from './limits.js';

/** As the server names people: "First Last", else the e-mail, else `User <id>`. */
export function nameOf(sender: Sender): string {
  const full = `${sender.first_name ?? ''} ${sender.last_name ?? ''}`.trim();
  return full || sender.email || `User ${sender.id}`;
}

interface Shown {
  typing: Readonly<Record<string, string>>;
  online: Readonly<Record<string, boolean>>;
  names: Readonly<Record<string, string>>;
}

export class People {
  #online = new Set<UserId>();
  #count = 0;
  readonly #typing = new Map<UserId, { name: string; until: number }>();
  readonly #names = new Map<UserId, string>();
  /** What was handed out, as long as it holds. */
  #shown: Partial<Shown> = {};

  /** The connection is gone: nobody is seen typing any more; who is online is not known better. */
  lost(): void {
    this.#typing.clear();
    this.#shown.typing = {};
  }

  named(sender: Sender | null | undefined): void {
    if (sender?.first_name || sender?.last_name || sender?.email) this.#name(sender.id, nameOf(sender));
  }

  signal(signal: Signal, now: number): void {
    if (signal.type === 'typing_indicator') this.#types(signal, now);
    if (signal.type === 'user_status') this.#status(signal.user_id, signal.status === 'online');
    if (signal.type === 'presence') {
      this.#online = new Set((signal.online ?? []).slice(0, ONLINE_MAX));
      this.#count = signal.count;
      delete this.#shown.online;
    }
  }

  sent(user: UserId): void {
    this.#typing.delete(user);
    delete this.#shown.typing;
  }

  /** When the next line has to go, or null. */
  nextTimeout(): number | null {
    const ends = [...this.#typing.values()].map(({ until }) => until);
    return ends.length ? Math.min(...ends) : null;
  }

  handleTimeout(now: number): void {
    for (const [user, { until }] of this.#typing) if (until <= now) this.sent(user);
  }

  typing(): Shown['typing'] {
    this.#shown.typing ??= Object.fromEntries([...this.#typing].map(([user, { name }]) => [user, name]));
    return this.#shown.typing;
  }

  online(): Shown['online'] {
    this.#shown.online ??= Object.fromEntries([...this.#online].map((user) => [user, true]));
    return this.#shown.online;
  }

  names(): Shown['names'] {
    this.#shown.names ??= Object.fromEntries(this.#names);
    return this.#shown.names;
  }

  get count(): number {
    return this.#count;
  }

  #types(signal: Signal & { type: 'typing_indicator' }, now: number): void {
    const { user_id, user_name, is_typing } = signal;
    this.sent(user_id);
    if (!is_typing || this.#typing.size >= TYPING_MAX) return;
    this.#typing.set(user_id, { name: user_name, until: now + TYPING_SHOWN_MS });
    this.#name(user_id, user_name);
  }

  #status(user: UserId, isOnline: boolean): void {
    if (this.#online.has(user) === isOnline) return;
    if (isOnline) this.#online.add(user);
    else this.#online.delete(user);
    delete this.#shown.online;
    this.#count = Math.max(this.#online.size, this.#count + (isOnline ? 1 : -1));
  }

  #name(user: UserId, name: string): void {
    if (this.#names.get(user) === name) return;
    delete this.#shown.names;
    this.#names.delete(user);
    if (this.#names.size >= NAMES_MAX) {
      const oldest = this.#names.keys().next();
      if (!oldest.done) this.#names.delete(oldest.value);
    }
    this.#names.set(user, name);
  }
}
