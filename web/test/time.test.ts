// Times as people say them.

import { expect, test } from 'vitest';
import { ago } from '../react/time';

test('minutes for an hour, then the clock', () => {
  const now = Date.parse('2026-01-01T10:30:00Z');
  const check = (at: string, expected: string) => expect(ago(new Date(at), now, 'en-GB')).toBe(expected);
  check('2026-01-01T10:30:40Z', 'this minute');
  check('2026-01-01T10:29:30Z', 'this minute');
  check('2026-01-01T10:25:00Z', '5 min ago');
  check('2026-01-01T09:35:00Z', '55 min ago');
  expect(ago(new Date('2026-01-01T08:00:00Z'), now, 'en-GB')).toMatch(/^\d\d:\d\d$/);
  expect(ago(new Date('2026-01-01T10:25:00Z'), now, 'de')).toBe('vor 5 Min.');
});
