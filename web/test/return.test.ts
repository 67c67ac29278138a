// When a connection comes back: docs/protocol.md, close codes.

import { expect, test } from 'vitest';
import { whenToReturn } from '../client/return';

const check = (code: number, reason: string, attempt: number, expected: [string, number, number]) => {
  const [when, least, most] = expected;
  for (const random of [0, 0.5, 0.999]) {
    const next = whenToReturn(code, reason, attempt, random);
    expect(next.when).toBe(when);
    if (next.when === 'never') continue;
    expect(next.wait_ms).toBeGreaterThanOrEqual(least);
    expect(next.wait_ms).toBeLessThanOrEqual(most);
  }
};

test('a restart says when', () => {
  check(1012, 'reconnect_in_ms=1500', 0, ['after', 1500, 1500]);
  check(1012, 'reconnect_in_ms=1500', 9, ['after', 1500, 1500]);
  check(1012, 'reconnect_in_ms=999999999', 0, ['after', 600_000, 600_000]);
  check(1012, 'reconnect_in_ms=-1', 0, ['after', 250, 500]);
  check(1012, '', 0, ['after', 250, 500]);
});

test('4000 to 4099 do not come back; 4001 does, with a newer token', () => {
  for (const code of [4000, 4003, 4004, 4008, 4009, 4099]) check(code, '', 0, ['never', 0, 0]);
  check(4001, 'token_expired', 0, ['with_token', 0, 250]);
});

test('4100 to 4199 come back later, 4129 after a minute', () => {
  check(4100, 'overload', 0, ['after', 2_500, 5_000]);
  check(4199, '', 20, ['after', 30_000, 60_000]);
  check(4129, 'rate_exceeded', 0, ['after', 60_000, 90_000]);
});

test('4200 to 4299 come back now, but not for ever', () => {
  check(4200, 'fell_behind', 0, ['after', 0, 250]);
  check(4250, '', 5, ['after', 8_000, 16_000]);
});

test('a connection that breaks comes back soon, later each time, up to half a minute', () => {
  for (const code of [1000, 1001, 1005, 1006, 1011, 3000, 5000]) check(code, '', 0, ['after', 250, 500]);
  check(1006, '', 3, ['after', 2_000, 4_000]);
  check(1006, '', 1_000, ['after', 15_000, 30_000]);
});

test('what a client did wrong is not done again at once', () => {
  for (const code of [1002, 1007, 1008, 1009]) check(code, '', 0, ['after', 2_500, 5_000]);
});
