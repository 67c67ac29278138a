// Asks for pages of the past, one at a time, and lays them into the timeline. A question outlives its
// connection; a newer one takes the place of an older one.

import type { Environment } from './environment.js';
import type { HistoryPage, Refusal } from './frames.js';
import { PAGE_TIMEOUT_MS } from './limits.js';
import type { Place, Timeline } from './timeline.js';

interface Question {
  readonly place: Place;
  readonly from: number;
  readonly promise: Promise<void>;
  readonly done: () => void;
  ref: string;
}

interface Means {
  readonly environment: Environment;
  /** Messages in a page. */
  readonly limit: number;
  send(frame: object): boolean;
  changed(): void;
}

export class Pager {
  readonly #timeline: Timeline;
  readonly #means: Means;
  #question: Question | null = null;
  #refs = 0;
  #timer: (() => void) | null = null;

  constructor(timeline: Timeline, means: Means) {
    this.#timeline = timeline;
    this.#means = means;
  }

  get place(): Place | null {
    return this.#question?.place ?? null;
  }

  get isLoading(): boolean {
    return this.#question !== null;
  }

  /** Settles when the page is there, or when something else is asked for instead. */
  ask(place: Place, from: number): Promise<void> {
    const before = this.#question;
    if (before && before.place === place && before.from === from && place !== 'newest') return before.promise;
    before?.done();
    let done = () => {};
    const promise = new Promise<void>((resolve) => {
      done = resolve;
    });
    this.#question = { place, from, promise, done, ref: '' };
    this.again();
    this.#means.changed();
    return promise;
  }

  /** Asks what is to be asked, for the first time or once more. */
  again(): void {
    const question = this.#question;
    if (!question) return;
    this.#refs += 1;
    question.ref = `h${this.#refs}`;
    this.#timeline.expectPage();
    const { place, from, ref } = question;
    const at = place === 'newest' ? {} : { [place]: from };
    const isSent = this.#means.send({ type: 'history', ...at, limit: this.#means.limit, ref });
    // Without a connection the next one asks.
    if (isSent) this.#wait(PAGE_TIMEOUT_MS);
  }

  answered(page: HistoryPage): void {
    const question = this.#question;
    if (!question || page.ref !== question.ref) return;
    if (this.#timeline.page(page, question.place, question.from)) this.stop();
    else this.again();
  }

  /** Whether it was the question that was refused. */
  refused({ ref, code, retry_after_ms }: Refusal): boolean {
    const question = this.#question;
    if (!question || ref !== question.ref) return false;
    const isLater = code === 'rate_limited' || code === 'storage_unavailable';
    if (isLater) this.#wait(Math.max(100, retry_after_ms ?? 1_000));
    else this.stop();
    return true;
  }

  lost(): void {
    this.#timer?.();
    this.#timer = null;
  }

  /** There is nothing to ask any more. */
  stop(): void {
    this.lost();
    this.#question?.done();
    this.#question = null;
  }

  #wait(ms: number): void {
    this.lost();
    this.#timer = this.#means.environment.after(ms, () => this.again());
  }
}
