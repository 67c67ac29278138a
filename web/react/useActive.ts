// Which message is pointed at or in focus, and going from one to the next by keyboard. One of them is
// always what the tab key leads to: the active one, else the newest.

import {
  type FocusEvent,
  type HTMLAttributes,
  type KeyboardEvent,
  type RefObject,
  type SyntheticEvent,
  useEffect,
  useState,
} from 'react';
import type { Message } from '../client/message.js';

export interface Active {
  readonly key: string | null;
  /** Where the tab key leads. */
  readonly at: number;
  set(key: string | null): void;
  /** For the element around the messages. */
  readonly handlers: HTMLAttributes<HTMLElement>;
}

const keyOf = (target: EventTarget | null) =>
  target instanceof Element ? (target.closest('article')?.getAttribute('data-key') ?? null) : null;

export function useActive(
  messages: readonly Message[],
  around: RefObject<HTMLElement | null>,
  show: (at: number) => void,
): Active {
  const [key, set] = useState<string | null>(null);
  const [wantsFocus, setWantsFocus] = useState(false);
  const found = key === null ? -1 : messages.findIndex((message) => message.key === key);
  const at = found < 0 ? messages.length - 1 : found;
  const isInside = (element: EventTarget | null | undefined) =>
    element instanceof Node && around.current?.contains(element) === true;

  // The message may have come into the document only now.
  useEffect(() => {
    const article = wantsFocus && around.current?.querySelector<HTMLElement>('article[tabindex="0"]');
    if (!article) return;
    article.focus({ preventScroll: true });
    setWantsFocus(false);
  });

  const onKeyDown = (event: KeyboardEvent) => {
    if (!(event.target instanceof HTMLElement) || event.target.tagName !== 'ARTICLE') return;
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: messages.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(messages.length - 1, to));
    set(messages[next]?.key ?? null);
    setWantsFocus(true);
    show(next);
  };
  const pointed = ({ target, type }: SyntheticEvent) => {
    const pointedAt = keyOf(target);
    // A pointer that happens to be there takes nothing from the keyboard, nor from who is editing. A button that
    // was clicked has the focus, too, but not visibly.
    const focused = document.activeElement;
    const isBusy = type === 'pointerover' && isInside(focused) && focused?.matches(':focus-visible') === true;
    if (pointedAt !== null && !isBusy) set(pointedAt);
  };
  const left = (event: SyntheticEvent & { relatedTarget?: EventTarget | null }) => {
    if (!isInside(document.activeElement) && !isInside(event.relatedTarget)) set(null);
  };
  const onFocus = ({ target }: FocusEvent) => set(keyOf(target) ?? key);
  const pointer = { onPointerOver: pointed, onClick: pointed, onPointerLeave: left };
  return { key, at, set, handlers: { ...pointer, onKeyDown, onFocus, onBlur: left } };
}
