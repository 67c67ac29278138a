// When a connection comes back after it ended, by the close code and its reason. Pure.
//
//   4001             once, with a newer token
//   4000–4099        not as you are
//   4100–4199        later (4129: after a minute)
//   4200–4299        now
//   1012             when the server says
//   protocol errors  later: the same would happen at once
//   anything else    soon, and longer each time

import { TOLD_WAIT_MAX_MS } from './limits.js';

export type Return =
  | { readonly when: 'never' }
  | { readonly when: 'with_token'; readonly wait_ms: number }
  | { readonly when: 'after'; readonly wait_ms: number };

/** A doubling wait from `first_ms` to `most_ms`, of which at least a half and at most all is taken. */
export function backoff(attempt: number, first_ms: number, most_ms: number, random: number): number {
  const most = Math.min(most_ms, first_ms * 2 ** Math.min(attempt, 20));
  return Math.round(most * (0.5 + random / 2));
}

const after = (wait_ms: number): Return => ({ when: 'after', wait_ms });

/** `attempt` counts the tries since a connection last lasted; `random` is from 0 to 1. */
export function whenToReturn(code: number, reason: string, attempt: number, random: number): Return {
  const told = code === 1012 ? /^reconnect_in_ms=(\d{1,9})$/.exec(reason) : null;
  if (told) return after(Math.min(Number(told[1]), TOLD_WAIT_MAX_MS));
  if (code === 4001) return { when: 'with_token', wait_ms: Math.round(random * 250) };
  if (code >= 4000 && code < 4100) return { when: 'never' };
  if (code === 4129) return after(Math.round(60_000 * (1 + random / 2)));
  const isLater = (code >= 4100 && code < 4200) || [1002, 1003, 1007, 1008, 1009, 1010].includes(code);
  if (isLater) return after(backoff(attempt, 5_000, 60_000, random));
  if (code >= 4200 && code < 4300 && attempt === 0) return after(Math.round(random * 250));
  return after(backoff(attempt, 500, 30_000, random));
}
