// Virtual time and dice with a seed: nothing in these tests waits or differs from run to run.

export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761 + 1) >>> 0;
  }

  /** From 0 to 1, without 1 (mulberry32). */
  next = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };

  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  oneIn(many: number): boolean {
    return this.below(many) === 0;
  }

  pick<T>(from: readonly T[]): T | undefined {
    return from[this.below(from.length)];
  }
}

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly call: () => void;
}

/** Lets everything run that only waits for promises. */
export async function settled(): Promise<void> {
  for (let round = 0; round < 6; round += 1) await Promise.resolve();
}

export class Clock {
  #now = Date.parse('2026-01-01T10:00:00Z');
  #order = 0;
  #timers: Timer[] = [];

  now = (): number => this.#now;

  after = (ms: number, call: () => void): (() => void) => {
    this.#order += 1;
    const timer = { at: this.#now + ms, order: this.#order, call };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };

  /** Runs what is due in these milliseconds, in its order. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (;;) {
      const due = this.#timers.filter(({ at }) => at <= end);
      const next = due.sort((one, other) => one.at - other.at || one.order - other.order)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.call();
      await settled();
    }
    this.#now = end;
  }

  get waiting(): number {
    return this.#timers.length;
  }
}
