// The list between two lists, when both ends have moved.

import { expect, test } from 'vitest';
import type { Message } from '../client/message';
import { halfway } from '../react/useShift';

const list = (keys: string) => [...keys].map((key) => ({ key }) as Message);
const check = (before: string, after: string, expected: string) =>
  expect(
    halfway(list(before), list(after))
      .map(({ key }) => key)
      .join(''),
  ).toBe(expected);

test('where one end moves there is nothing between', () => {
  for (const [before, after] of [
    ['', 'abc'],
    ['cde', 'abcde'],
    ['abc', 'abcde'],
    ['abcde', 'cde'],
    ['abcde', 'abc'],
    ['abc', ''],
  ] as const) {
    check(before, after, after);
  }
});

test('where both move, the start moves first', () => {
  check('cde', 'abcdef', 'abcde');
  check('cdef', 'abcd', 'abcdef');
  check('abcd', 'cdef', 'cd');
});

test('what has nothing in common is replaced', () => {
  check('abc', 'xyz', 'xyz');
});
