// The window on a conversation: events and pages that come twice, late, early or not at all.

import { beforeEach, describe, expect, test } from 'vitest';
import type { Event, HistoryPage, PastMessage, UserId } from '../client/frames';
import { Timeline } from '../client/timeline';

const sender = (id: UserId) => ({ id, email: '', first_name: 'User', last_name: String(id) });
const at = '2026-01-01T10:00:00.000Z';

const message = (seq: number, id: number, user: UserId = 2, parent: number | null = null): Event => ({
  type: 'chat_message',
  seq,
  message: {
    id,
    content: `text ${id}`,
    sender: sender(user),
    parent_message_id: parent,
    created_at: at,
    is_edited: false,
  },
});
const edit = (seq: number, message_id: number, content = 'edited'): Event => ({
  type: 'message_edit',
  seq,
  message_id,
  content,
  edited_at: at,
});
const react = (seq: number, message_id: number, user_id: UserId, action: 'added' | 'removed'): Event => ({
  type: 'message_reaction',
  seq,
  message_id,
  emoji: '👍',
  user_id,
  action,
});
const past = (id: number, more: Partial<PastMessage> = {}): PastMessage => ({
  id,
  seq: id,
  content: `text ${id}`,
  sender: sender(2),
  parent_message_id: null,
  created_at: at,
  is_edited: false,
  edited_at: null,
  is_deleted: false,
  reactions: {},
  read_by: { ids: [], count: 0 },
  reply_count: 0,
  ...more,
});
const page = (seq: number, messages: PastMessage[], has_more = false): HistoryPage => ({
  type: 'history',
  ref: 'h',
  messages,
  has_more,
  seq,
});

let timeline: Timeline;
const ids = () => timeline.messages().map(({ id }) => id);
const run = (...events: Event[]) => events.map((event) => timeline.apply(event));

beforeEach(() => {
  timeline = new Timeline(100);
  timeline.me = 1;
  timeline.reset(0);
});

describe('events', () => {
  test('an event that comes twice counts once, one that is missing is noticed', () => {
    expect(run(message(1, 10), message(1, 10), message(3, 12), message(2, 11))).toEqual([
      'applied',
      'known',
      'gap',
      'applied',
    ]);
    expect(ids()).toEqual([10, 11]);
  });

  test('edits, deletes and reactions change their message and no array that was handed out', () => {
    run(message(1, 10), message(2, 11));
    const before = timeline.messages();
    run(edit(3, 10), react(4, 10, 1, 'added'), react(5, 10, 2, 'added'), react(6, 10, 1, 'removed'));
    expect(before[0]?.content).toBe('text 10');
    expect(timeline.get(10)).toMatchObject({
      content: 'edited',
      is_edited: true,
      reactions: { '👍': [2] },
      reaction_counts: { '👍': 1 },
    });
    run({ type: 'message_delete', seq: 7, message_id: 10 });
    expect(timeline.get(10)).toMatchObject({ is_deleted: true, content: 'Message deleted', reactions: {} });
    expect(timeline.messages()[1]).toBe(before[1]);
  });

  test('what is about a message that is not held changes nothing, and breaks nothing', () => {
    expect(run(edit(1, 99), react(2, 99, 1, 'removed'), message(3, 10, 2, 5))).not.toContain('gap');
    expect(ids()).toEqual([10]);
  });

  test('a removed reaction that was never seen does no harm', () => {
    run(message(1, 10), react(2, 10, 5, 'removed'));
    expect(timeline.get(10)?.reactions).toEqual({});
  });

  test('a message without a sender does no harm', () => {
    const event = message(1, 10) as Event & { message: object };
    run({ ...event, message: { ...event.message, sender: null } } as unknown as Event);
    expect(timeline.get(10)?.sender.id).toBe(0);
  });

  test('replies are counted', () => {
    run(message(1, 10), message(2, 11, 2, 10), message(3, 12, 2, 10));
    expect(timeline.get(10)?.reply_count).toBe(2);
  });
});

describe('pages', () => {
  test('a page and the events around it count each thing once', () => {
    timeline.reset(20);
    timeline.expectPage();
    // Both are in the page already; the third is not.
    run(react(21, 10, 3, 'added'), react(22, 10, 4, 'added'), react(23, 10, 5, 'added'));
    const reactions = { '👍': { ids: [3, 4], count: 60 } };
    timeline.page(page(22, [past(10, { reactions })]), 'newest', 0);
    expect(timeline.get(10)?.reaction_counts['👍']).toBe(61);
    expect(timeline.get(10)?.as_of).toBe(23);
  });

  test('events that a page knew before they came change nothing again', () => {
    timeline.reset(20);
    timeline.expectPage();
    const reactions = { '👍': { ids: [3], count: 60 } };
    timeline.page(page(21, [past(10, { reactions, reply_count: 1 })]), 'newest', 0);
    run(react(21, 10, 77, 'added'));
    expect(timeline.get(10)?.reaction_counts['👍']).toBe(60);
    run(message(22, 30, 2, 10));
    expect(timeline.get(10)?.reply_count).toBe(2);
  });

  test('of two states of a message the one that knows more stays', () => {
    timeline.reset(20);
    timeline.expectPage();
    run(message(21, 30), edit(22, 30, 'second'));
    timeline.page(page(21, [past(10), past(30)]), 'newest', 0);
    expect(timeline.get(30)?.content).toBe('second');
    expect(ids()).toEqual([10, 30]);
  });

  test('a message keeps its key when a page brings it again', () => {
    timeline.reset(20);
    timeline.expectPage();
    run({ ...message(21, 30, 1), client_msg_id: 'mine' } as Event);
    timeline.page(page(21, [past(30)]), 'newest', 0);
    expect(timeline.get(30)?.key).toBe('mine');
  });

  test('a page that does not adjoin the window is not laid in', () => {
    timeline.reset(200);
    timeline.expectPage();
    timeline.page(page(200, [past(50), past(51)], true), 'newest', 0);
    timeline.expectPage();
    for (let seq = 201; seq <= 310; seq += 1) timeline.apply(message(seq, seq));
    expect(timeline.trim('newest')).toBe(true);
    expect(timeline.page(page(310, [past(48), past(49)], false), 'before', 50)).toBe(true);
    expect(ids()[0]).toBeGreaterThan(200);
    expect(timeline.hasOlder).toBe(true);
  });

  test('a newer page that does not adjoin is not laid in either', () => {
    timeline.reset(100);
    timeline.expectPage();
    timeline.page(page(100, [past(10), past(11)], true), 'around', 10);
    timeline.expectPage();
    timeline.page(page(100, [past(90)], false), 'after', 80);
    expect(ids()).toEqual([10, 11]);
    expect(timeline.hasNewer).toBe(true);
  });

  test('away from the end, live messages wait for their page', () => {
    timeline.reset(20);
    timeline.expectPage();
    timeline.page(page(20, [past(10)], true), 'around', 10);
    run(message(21, 30));
    expect(ids()).toEqual([10]);
    timeline.expectPage();
    run(message(22, 31), edit(23, 30));
    timeline.page(page(21, [past(30)], false), 'after', 10);
    expect(ids()).toEqual([10, 30, 31]);
    expect(timeline.get(30)?.content).toBe('edited');
    expect(timeline.hasNewer).toBe(false);
  });

  test('when too much happened meanwhile the page is asked for again', () => {
    timeline.expectPage();
    for (let seq = 1; seq <= 1_200; seq += 1) timeline.apply(edit(seq, 5));
    expect(timeline.page(page(100, [past(5)]), 'newest', 0)).toBe(false);
  });

  test('the window stays within its bound, at either end', () => {
    for (let seq = 1; seq <= 101; seq += 1) timeline.apply(message(seq, seq));
    timeline.trim('newest');
    expect(ids().length).toBeLessThanOrEqual(100);
    expect([timeline.hasOlder, timeline.hasNewer, ids().at(-1)]).toEqual([true, false, 101]);
    timeline.expectPage();
    const first = ids()[0] ?? 0;
    const older = Array.from({ length: 11 }, (_, index) => past(first - 11 + index));
    timeline.page(page(101, older, false), 'before', first);
    timeline.trim('oldest');
    expect([timeline.hasOlder, timeline.hasNewer, ids()[0]]).toEqual([false, true, first - 11]);
  });
});

describe('marks', () => {
  test('a mark says who has read what, and only rises', () => {
    run(message(1, 10), message(2, 11), message(3, 12, 3));
    expect(timeline.unread()).toBe(3);
    expect(timeline.mark(1, 11)).toBe(true);
    expect(timeline.mark(1, 10)).toBe(false);
    expect(timeline.unread()).toBe(1);
    expect(timeline.get(11)).toMatchObject({ is_read: true, read_by: [3, 1] });
    expect(timeline.get(12)).toMatchObject({ is_read: false, read_by: [] });
  });

  test('who sends has read what was before', () => {
    run(message(1, 10), message(2, 11, 1));
    expect(timeline.unread()).toBe(0);
    expect(timeline.get(10)?.read_by).toEqual([1]);
  });

  test('the readers of a page are the marks of everybody', () => {
    timeline.reset(20);
    timeline.expectPage();
    const read_by = { ids: [1, 3], count: 2 };
    timeline.page(page(20, [past(10, { read_by }), past(11)]), 'newest', 0);
    expect([...timeline.marks()]).toEqual([
      [1, 10],
      [3, 10],
    ]);
    expect(timeline.unread()).toBe(1);
  });
});
