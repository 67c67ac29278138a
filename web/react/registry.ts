// One connection per conversation, however many components look at it. A connection outlives its last
// component a little, so that changing places in a page, or React's strict mode, does not break it.

import { Chat, type ChatOptions } from '../client/chat.js';
import type { ConversationId } from '../client/frames.js';

const LINGER_MS = 1_000;
const UNUSED_MS = 10_000;

type Settings = Omit<ChatOptions, 'conversationId'>;
export type RoomOptions = { readonly [Key in keyof Settings]?: Settings[Key] | undefined };

interface Place {
  readonly chat: Chat;
  readonly key: string;
  options: RoomOptions;
  users: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** What the guide's hook did. */
const defaults = {
  url: () => (typeof location === 'undefined' ? '' : location.origin),
  token: () => (typeof localStorage === 'undefined' ? null : localStorage.getItem('access_token')),
};

export class Registry {
  readonly #places = new Map<string, Place>();

  /** Made, but not started: rendering has no effects. */
  place(conversationId: ConversationId, options: RoomOptions): Place {
    const url = options.url ?? defaults.url();
    const key = `${url} ${conversationId}`;
    const known = this.#places.get(key);
    if (known) {
      known.options = options;
      return known;
    }
    const chat = new Chat({
      ...options,
      conversationId,
      url,
      // The newest provider is asked: a component gives another one each time it is rendered.
      token: (reason) => {
        const { token = defaults.token } = place.options;
        return typeof token === 'string' ? token : token(reason);
      },
      onProblem: (problem) => place.options.onProblem?.(problem),
    });
    const place: Place = { chat, key, options, users: 0, timer: undefined };
    this.#places.set(key, place);
    this.#later(place, UNUSED_MS);
    return place;
  }

  retain(place: Place): () => void {
    clearTimeout(place.timer);
    // It may have been given up between rendering and now.
    this.#places.set(place.key, place);
    place.users += 1;
    if (place.users === 1) place.chat.start();
    if (this.#used() === 1) this.#listen(true);
    return () => {
      place.users -= 1;
      if (place.users === 0) this.#later(place, LINGER_MS);
    };
  }

  #used(): number {
    return [...this.#places.values()].filter(({ users }) => users > 0).length;
  }

  #later(place: Place, ms: number): void {
    place.timer = setTimeout(() => {
      if (place.users > 0) return;
      place.chat.stop();
      if (this.#places.get(place.key) === place) this.#places.delete(place.key);
      if (this.#used() === 0) this.#listen(false);
    }, ms);
  }

  #wake = (): void => {
    if (document.visibilityState === 'hidden') return;
    for (const { chat, users } of this.#places.values()) if (users > 0) chat.wake();
  };

  #listen(isOn: boolean): void {
    if (typeof window === 'undefined') return;
    const change = isOn ? 'addEventListener' : 'removeEventListener';
    window[change]('online', this.#wake);
    document[change]('visibilitychange', this.#wake);
  }
}
