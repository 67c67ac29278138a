// What waits for the server: taken in order, one at a time, and gone when it is on the page.

import { beforeEach, expect, test } from 'vitest';
import type { Ack } from '../client/frames';
import { fromDraft } from '../client/message';
import { Outbox } from '../client/outbox';

const sender = { id: 1, email: '', first_name: '', last_name: '' };
const at = '2026-01-01T10:00:00.000Z';
let outbox: Outbox;

function add(ref: string): boolean {
  const draft = fromDraft({ id: -1, key: ref, content: ref, sender, created_at: at });
  const command = {
    type: 'chat_message',
    content: ref,
    parent_message_id: null,
    client_msg_id: ref,
  } as const;
  return outbox.add(ref, command, { ...draft, status: 'sending' });
}
const change = (ref: string) => outbox.add(ref, { type: 'message_delete', message_id: 5 }, null);
const ack = (ref: string, seq: number | null): Ack => ({
  type: 'ack',
  ref,
  message_id: 9,
  seq,
  created_at: at,
});
const states = () => outbox.entries().map(({ ref, state }) => `${ref} ${state}`);

beforeEach(() => {
  outbox = new Outbox(3);
});

test('one at a time, in order, up to its bound', () => {
  expect([add('a'), add('b'), add('c'), add('d')]).toEqual([true, true, true, false]);
  expect(outbox.take()?.ref).toBe('a');
  expect(outbox.take()).toBeNull();
  expect(outbox.isWaiting).toBe(true);
});

test('acked, a message stays until its event comes', () => {
  add('a');
  outbox.take();
  expect(outbox.acked(ack('a', 7), 5)).toBe(true);
  expect(outbox.entries()).toMatchObject([{ state: 'stored', draft: { id: 9, status: 'stored' } }]);
  outbox.seen(6, undefined);
  expect(states()).toEqual(['a stored']);
  outbox.seen(7, undefined);
  expect(states()).toEqual([]);
});

test('an event that is on the page already leaves nothing to wait for', () => {
  add('a');
  outbox.take();
  outbox.acked(ack('a', 5), 5);
  expect(states()).toEqual([]);
  add('b');
  outbox.take();
  outbox.seen(6, 'b');
  expect([states(), outbox.acked(ack('b', 6), 6), outbox.isWaiting]).toEqual([[], false, false]);
});

test('a change that is acked, or refused, is gone; a message that is refused stays', () => {
  change('x');
  outbox.take();
  outbox.acked(ack('x', null), 0);
  change('y');
  outbox.take();
  expect(outbox.refused('y', 'gone')?.ref).toBe('y');
  add('a');
  outbox.take();
  outbox.refused('a', 'forbidden');
  expect(states()).toEqual(['a failed']);
  expect(outbox.refused('nobody', 'x')).toBeNull();
});

test('what was sent when the connection went is sent again', () => {
  add('a');
  add('b');
  outbox.take();
  outbox.requeue();
  expect(outbox.take()?.ref).toBe('a');
});

test('another log: messages are sent once more, changes are not', () => {
  add('a');
  outbox.take();
  outbox.acked(ack('a', 7), 5);
  change('x');
  add('b');
  outbox.otherLog();
  expect(states()).toEqual(['a queued', 'b queued']);
  expect(outbox.entries()[0]?.draft?.status).toBe('sending');
});

test('a message is tried again under its own id, or another where that is used up', () => {
  for (const [code, id] of [
    ['forbidden', 'a'],
    ['idempotency_conflict', 'fresh'],
  ] as const) {
    add('a');
    outbox.take();
    outbox.refused('a', code);
    expect(outbox.retry('a', 'fresh')).toBe(true);
    expect(outbox.retry('a', 'fresh')).toBe(false);
    expect(outbox.entries()).toMatchObject([{ ref: id, command: { client_msg_id: id }, draft: { key: id } }]);
    outbox.drop(id);
  }
});
