// What the virtual list is given to render. It keeps the place when one end of the list moves, not both.

import { useLayoutEffect, useReducer, useRef } from 'react';
import type { Message } from '../client/message.js';

/** On the way from one list to the next, the one in which only the start has moved. */
export function halfway(before: readonly Message[], after: readonly Message[]): readonly Message[] {
  const [first, last] = [before[0]?.key, before.at(-1)?.key];
  if (first === undefined || first === after[0]?.key || last === after.at(-1)?.key) return after;
  const kept = after.findIndex(({ key }) => key === first);
  if (kept > 0) return [...after.slice(0, kept), ...before];
  const left = before.findIndex(({ key }) => key === after[0]?.key);
  return left > 0 ? before.slice(left) : after;
}

/**
 * The list to render, and whether only its start has moved. When both ends move at once, a list in between
 * is rendered first, and never seen.
 */
export function useShift(messages: readonly Message[]): readonly [readonly Message[], boolean] {
  const rendered = useRef(messages);
  const [, again] = useReducer((count: number) => count + 1, 0);
  const before = rendered.current;
  const next = halfway(before, messages);
  const isSame = (at: number) => before.at(at)?.key === next.at(at)?.key;
  const isShifted = before.length > 0 && next.length > 0 && !isSame(0) && isSame(-1);
  useLayoutEffect(() => {
    rendered.current = next;
    if (next !== messages) again();
  });
  return [next, isShifted];
}
