// Times as people say them: "5 min ago", 10:30, Yesterday. One timer for all of them.

import { useSyncExternalStore } from 'react';
import { useTexts } from './texts.js';

const MINUTE = 60_000;
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    for (const one of listeners) one();
  }, MINUTE / 2);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** The present minute; rendered again when it is over. */
export const useMinute = (): number =>
  useSyncExternalStore(
    subscribe,
    () => Math.floor(Date.now() / MINUTE) * MINUTE,
    () => 0,
  );

const formats = new Map<string, Intl.DateTimeFormat | Intl.RelativeTimeFormat>();
/** Making a format is slow, and lists make many. */
function format<T extends Intl.DateTimeFormat | Intl.RelativeTimeFormat>(name: string, make: () => T): T {
  const known = (formats.get(name) as T | undefined) ?? make();
  formats.set(name, known);
  return known;
}

const dated = (locale: string | undefined, name: string, options: Intl.DateTimeFormatOptions) =>
  format(`${name} ${locale}`, () => new Intl.DateTimeFormat(locale, options));

export const clock = (at: Date, locale?: string): string =>
  dated(locale, 'clock', { hour: '2-digit', minute: '2-digit' }).format(at);

export const fullTime = (at: Date, locale?: string): string =>
  dated(locale, 'full', { dateStyle: 'full', timeStyle: 'short' }).format(at);

export function ago(at: Date, now: number, locale?: string): string {
  const minutes = Math.floor((now + MINUTE - at.getTime()) / MINUTE);
  if (minutes >= 60 || minutes < 0) return clock(at, locale);
  const relative = () => new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' });
  return format(`ago ${locale}`, relative).format(-Math.max(0, minutes - 1), 'minute');
}

export const dayOf = (at: string): string => new Date(at).toDateString();

export function Time({ at }: { at: string }) {
  const { locale } = useTexts();
  const now = useMinute();
  const date = new Date(at);
  return (
    <time className="lq-time" dateTime={at} title={fullTime(date, locale)}>
      {ago(date, now, locale)}
    </time>
  );
}

export function Day({ at }: { at: string }) {
  const { labels, locale } = useTexts();
  const now = useMinute();
  const date = new Date(at);
  const days = (new Date(now).setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 86_400_000;
  const name = () =>
    dated(locale, 'day', { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
  const text = days < 0.5 ? labels.today : days < 1.5 ? labels.yesterday : name().format(date);
  return <p className="lq-day">{text}</p>;
}
