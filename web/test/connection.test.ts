// The client against a server that can be scripted, in virtual time: connecting, tokens, silence,
// sending, and what the server refuses.

import { beforeEach, describe, expect, test } from 'vitest';
import { client, contents } from './fake/client';
import { Clock } from './fake/clock';
import { FakeServer } from './fake/server';

let server: FakeServer;
const pass = (ms: number) => server.clock.advance(ms);
const sentUp = (type: string) =>
  server.all.flatMap(({ received }) => received.filter((frame) => frame.type === type));

beforeEach(() => {
  server = new FakeServer(new Clock());
});

describe('connecting', () => {
  test('the token travels as a subprotocol, or in the query where that is asked for', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    expect(server.all[0]?.url.href).toBe('ws://chat.test/ws/chat/77/?v=2');
    expect(chat.snapshot()).toMatchObject({ isConnected: true, userId: 1, onlineUsers: { 1: true } });
    const other = client(server, { tokenIn: 'query', url: 'https://chat.test/' });
    other.chat.start();
    await pass(100);
    expect(server.all[1]?.url.href).toBe('wss://chat.test/ws/chat/77/?v=2&token=one');
    expect(other.chat.snapshot().isConnected).toBe(true);
  });

  test('the newest messages come first, older ones when they are asked for', async () => {
    for (let count = 1; count <= 30; count += 1) server.say(`m${count}`);
    const { chat } = client(server, { pageMessages: 20 });
    chat.start();
    await pass(100);
    expect(contents(chat)).toHaveLength(20);
    expect(chat.snapshot().hasMore).toBe(true);
    await Promise.all([chat.loadOlder(), chat.loadOlder(), pass(100)]);
    expect(contents(chat)).toEqual(Array.from({ length: 30 }, (_, index) => `m${index + 1}`));
    expect(chat.snapshot().hasMore).toBe(false);
    expect(sentUp('history')).toHaveLength(2);
  });

  test('a window smaller than the conversation can be moved to its start and back', async () => {
    for (let count = 1; count <= 300; count += 1) server.say(`m${count}`);
    const { chat } = client(server, { pageMessages: 30, messagesMax: 100 });
    chat.start();
    await pass(100);
    // As a list does that is looked at elsewhere than at its end.
    chat.follow(false);
    for (let page = 0; chat.snapshot().hasMore; page += 1) {
      expect(page).toBeLessThan(15);
      await Promise.all([chat.loadOlder(), pass(100)]);
      chat.follow(false);
    }
    expect([contents(chat)[0], chat.snapshot().hasNewer]).toEqual(['m1', true]);
    for (let page = 0; chat.snapshot().hasNewer; page += 1) {
      expect(page).toBeLessThan(15);
      await Promise.all([chat.loadNewer(), pass(100)]);
      chat.follow(false);
    }
    expect(contents(chat).at(-1)).toBe('m300');
    expect(contents(chat).length).toBeLessThanOrEqual(100);
    // Who looks at older messages does not lose them to newer ones.
    const first = contents(chat)[0];
    for (let count = 0; count < 50; count += 1) server.say('news');
    await pass(200);
    expect([contents(chat)[0], chat.snapshot().hasNewer]).toEqual([first, true]);
  });

  test('after a break it goes on where it was, without asking for the past', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    server.say('before');
    await pass(100);
    server.links[0]?.cut();
    server.say('meanwhile');
    await pass(1_000);
    expect(contents(chat)).toEqual(['before', 'meanwhile']);
    expect(server.all[1]?.url.search).toBe('?v=2&since=1&epoch=e1');
    expect(sentUp('history')).toHaveLength(1);
  });

  test('another log: what was held is forgotten and fetched anew', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    server.say('of the old life');
    await pass(100);
    server.otherLife('e2');
    server.say('of the new life');
    server.restart();
    await pass(1_000);
    expect(contents(chat)).toEqual(['of the new life']);
  });

  test('a message acked by a log that is gone is sent once more', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    const [link] = server.links;
    const tell = link?.tell.bind(link);
    // The ack arrives, the event does not.
    if (link) link.tell = (frame) => frame.type !== 'chat_message' && tell?.(frame);
    const key = chat.sendMessage('keep me');
    await pass(100);
    expect(chat.snapshot().messages).toMatchObject([{ key, status: 'stored' }]);
    server.otherLife('e2');
    server.restart();
    await pass(2_000);
    expect(server.log).toHaveLength(1);
    expect(contents(chat)).toEqual(['keep me']);
    expect(chat.snapshot().messages[0]).toMatchObject({ key, status: 'stored' });
  });

  test('a hole in the events is noticed and filled', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    const [link] = server.links;
    if (link) link.isLive = false;
    server.say('lost on the way');
    if (link) link.isLive = true;
    server.say('after it');
    await pass(1_000);
    expect(contents(chat)).toEqual(['lost on the way', 'after it']);
    expect(server.all).toHaveLength(2);
  });

  test('a loss that no event betrays shows with the next ping', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    const [link] = server.links;
    if (link) link.isLive = false;
    server.say('lost');
    await pass(26_000);
    expect(contents(chat)).toEqual(['lost']);
  });

  test('attempts are farther and farther apart, and begin anew after one that lasted', async () => {
    const { chat } = client(server);
    server.isDown = true;
    chat.start();
    await pass(120_000);
    const tries = server.all.length;
    expect(tries).toBeGreaterThan(5);
    expect(tries).toBeLessThan(14);
    server.isDown = false;
    await pass(40_000);
    expect(chat.snapshot().isConnected).toBe(true);
    server.links[0]?.cut();
    await pass(600);
    expect(chat.snapshot().isConnected).toBe(true);
  });

  test('while it waits it says until when, and can be woken', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(6_000);
    server.links[0]?.end(1012, 'reconnect_in_ms=60000');
    await pass(100);
    const { status } = chat.snapshot();
    expect(status).toMatchObject({ phase: 'waiting', code: 1012 });
    expect((status.retry_at ?? 0) - server.clock.now()).toBeGreaterThan(59_000);
    chat.wake();
    await pass(100);
    expect(chat.snapshot().isConnected).toBe(true);
  });

  test('after stop nothing goes on', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    chat.stop();
    await pass(100);
    expect(server.clock.waiting).toBe(0);
    expect(server.links).toHaveLength(0);
    expect(chat.snapshot().status.phase).toBe('idle');
    chat.start();
    await pass(100);
    expect(chat.snapshot().isConnected).toBe(true);
  });
});

describe('silence', () => {
  test('a link on which nothing comes any more is given up within 35 s', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    const [link] = server.links;
    if (link) link.isSilent = true;
    await pass(34_000);
    expect(server.all).toHaveLength(1);
    await pass(3_000);
    expect(server.all).toHaveLength(2);
    expect(chat.snapshot().isConnected).toBe(true);
  });

  test('with a message unanswered it does not take as long', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    const [link] = server.links;
    if (link) link.isSilent = true;
    chat.sendMessage('hello?');
    await pass(17_000);
    expect(chat.snapshot().messages).toMatchObject([{ content: 'hello?', status: 'stored' }]);
  });

  test('a link that works is asked now and then, and kept', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(300_000);
    expect(server.all).toHaveLength(1);
    expect(sentUp('ping').length).toBeGreaterThan(8);
  });

  test('a server that says nothing at all is left', async () => {
    const { chat } = client(server);
    chat.start();
    const [link] = server.all;
    await pass(0);
    for (const one of server.all) one.isSilent = true;
    expect(link).toBeUndefined();
    await pass(14_000);
    expect(server.all).toHaveLength(1);
    await pass(3_000);
    expect(chat.snapshot().isConnected).toBe(true);
  });
});

describe('tokens', () => {
  test('a refused token is asked for again once', async () => {
    const reasons: string[] = [];
    const token = async (reason: string) => {
      reasons.push(reason);
      return reason === 'refused' ? 'one' : 'stale';
    };
    const { chat } = client(server, { token });
    chat.start();
    await pass(1_000);
    expect(reasons).toEqual(['connect', 'refused']);
    expect(chat.snapshot().isConnected).toBe(true);
  });

  test('refused twice, it stays away until it is told to come back', async () => {
    let good = false;
    const { chat } = client(server, { token: () => (good ? 'one' : 'stale') });
    chat.start();
    await pass(600_000);
    expect(server.all).toHaveLength(2);
    expect(chat.snapshot().status).toMatchObject({ phase: 'closed', code: 4001, reason: 'token_invalid' });
    good = true;
    chat.reconnect();
    await pass(1_000);
    expect(chat.snapshot().isConnected).toBe(true);
  });

  test('a token of another user begins anew: nothing of the first one is sent or shown', async () => {
    let token = 'one';
    const { chat } = client(server, { token: () => token });
    server.say('for both');
    chat.start();
    await pass(100);
    server.isDown = true;
    server.restart();
    await pass(50);
    chat.sendMessage('of the first user');
    token = 'two';
    server.isDown = false;
    await pass(60_000);
    expect(chat.snapshot()).toMatchObject({ userId: 2, isConnected: true });
    expect(contents(chat)).toEqual(['for both']);
    expect(server.log).toHaveLength(1);
  });

  test('who may not enter does not try again', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    server.links[0]?.end(4004, 'kicked');
    await pass(600_000);
    expect(server.all).toHaveLength(1);
    expect(chat.snapshot().status).toMatchObject({ phase: 'closed', reason: 'kicked' });
  });

  test('without a token nothing is tried; a provider that fails is asked again', async () => {
    const none = client(server, { token: () => null });
    none.chat.start();
    await pass(1_000);
    expect(none.chat.snapshot().status).toMatchObject({ phase: 'closed', reason: 'token_missing' });
    let failures = 3;
    const token = async () => {
      failures -= 1;
      if (failures >= 0) throw new Error('offline');
      return 'one';
    };
    const { chat } = client(server, { token });
    chat.start();
    await pass(10_000);
    expect(chat.snapshot().isConnected).toBe(true);
  });

  test('a provider that never answers is given up', async () => {
    let first = true;
    const token = () => {
      const answer = first ? new Promise<string>(() => {}) : 'one';
      first = false;
      return answer;
    };
    const { chat } = client(server, { token });
    chat.start();
    await pass(32_000);
    expect(chat.snapshot().isConnected).toBe(true);
  });

  test('before the token ends a newer one is sent, over the same connection', async () => {
    const tokens = ['one', 'one', 'newer'];
    server.tokens.set('newer', 1);
    const { chat } = client(server, { token: () => tokens.shift() ?? 'newer' });
    chat.start();
    await pass(100);
    server.links[0]?.tell({ type: 'token_expiring', expires_in_ms: 30_000 });
    await pass(1_000);
    // The same one again is no newer one.
    expect(sentUp('token_refresh')).toHaveLength(0);
    await pass(60_000);
    expect(sentUp('token_refresh')).toMatchObject([{ token: 'newer' }]);
    expect(server.all).toHaveLength(1);
  });
});

describe('sending', () => {
  test('a message shows at once, is sent, and becomes the stored one', async () => {
    server.plan = { latency_ms: 0, commit_ms: 0, rate_limits: 0 };
    const { chat } = client(server);
    chat.start();
    await pass(100);
    server.plan = { latency_ms: 50, commit_ms: 200, rate_limits: 0 };
    const key = chat.sendMessage('  Hello  ');
    await pass(1);
    expect(chat.snapshot().messages).toMatchObject([{ key, content: 'Hello', status: 'sending', seq: 0 }]);
    await pass(1_000);
    expect(chat.snapshot().messages).toMatchObject([{ key, status: 'stored', seq: 1, is_read: true }]);
  });

  test('what is written without a connection is sent with it, in order, once', async () => {
    const { chat } = client(server);
    for (const text of ['a', 'b', 'c']) chat.sendMessage(text);
    chat.start();
    await pass(1_000);
    expect(contents(chat)).toEqual(['a', 'b', 'c']);
    server.isDown = true;
    server.restart();
    await pass(100);
    for (const text of ['d', 'e']) chat.sendMessage(text);
    await pass(5_000);
    server.isDown = false;
    await pass(60_000);
    expect(contents(chat)).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(server.log).toHaveLength(5);
  });

  test('a message whose ack was lost is sent again under its id and stored once', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    server.plan.latency_ms = 0;
    server.plan.commit_ms = 0;
    chat.sendMessage('once');
    const [link] = server.links;
    if (link) link.tell = () => {};
    await pass(1);
    expect(server.log).toHaveLength(1);
    link?.cut();
    await pass(2_000);
    expect(contents(chat)).toEqual(['once']);
    expect(server.log).toHaveLength(1);
  });

  test('too fast is later, in the same order', async () => {
    server.plan.rate_limits = 2;
    const { chat, problems } = client(server);
    chat.start();
    await pass(100);
    const texts = Array.from({ length: 20 }, (_, index) => `m${index}`);
    for (const text of texts) chat.sendMessage(text);
    await pass(60_000);
    expect(contents(chat)).toEqual(texts);
    expect(problems).toEqual([]);
  });

  test('a refused message stays, can be sent again, or be forgotten', async () => {
    const { chat, problems } = client(server);
    chat.start();
    await pass(100);
    const [link] = server.links;
    const handle = server.handle.bind(server);
    server.handle = (to, frame) => {
      if (frame.type !== 'chat_message') return handle(to, frame);
      link?.tell({ type: 'error', error: 'no', code: 'forbidden', ref: frame.ref });
    };
    const key = chat.sendMessage('no') ?? '';
    const other = chat.sendMessage('neither') ?? '';
    await pass(100);
    expect(chat.snapshot().messages).toMatchObject([
      { key, status: 'failed', error: 'forbidden' },
      { key: other, status: 'failed' },
    ]);
    expect(problems.map(({ code }) => code)).toEqual(['forbidden', 'forbidden']);
    server.handle = handle;
    chat.discard(other);
    chat.retry(key);
    await pass(100);
    expect(chat.snapshot().messages).toMatchObject([{ key, status: 'stored', content: 'no' }]);
  });

  test('what cannot be stored is not taken', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    expect(chat.sendMessage('   ')).toBeNull();
    expect(chat.sendMessage('x'.repeat(10_001))).toBeNull();
    expect(chat.sendMessage('\u{1f44d}'.repeat(10_000))).not.toBeNull();
    for (let count = 0; count < 300; count += 1) chat.sendMessage('m');
    await pass(20);
    expect(chat.snapshot().messages.length).toBeLessThanOrEqual(202);
  });

  test('what the server wants later is not sent before', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    const [link] = server.links;
    const handle = server.handle.bind(server);
    server.handle = (_, { ref }) => {
      link?.tell({ type: 'error', error: 'later', code: 'rate_limited', ref, retry_after_ms: 4_000 });
      server.handle = handle;
    };
    chat.sendMessage('one');
    chat.sendMessage('two');
    await pass(3_900);
    expect(sentUp('chat_message')).toHaveLength(1);
    await pass(500);
    expect(contents(chat)).toEqual(['one', 'two']);
    expect(server.log).toHaveLength(2);
  });

  test('a frame is not larger than this server takes', async () => {
    server.limits = { content_chars: 10_000, frame_bytes: 1_024 };
    const { chat } = client(server);
    chat.start();
    await pass(100);
    expect(chat.sendMessage('👍'.repeat(300))).toBeNull();
    expect(chat.sendMessage('x'.repeat(300))).not.toBeNull();
  });

  test('edits, deletes and reactions show at once, and go when they are refused', async () => {
    const first = server.say('theirs');
    const { chat, problems } = client(server);
    chat.start();
    await pass(100);
    chat.sendReaction(first, '👍');
    chat.sendReaction(first, '👍');
    chat.sendReaction(first, '❤️');
    chat.editMessage(first, 'changed');
    await pass(17);
    expect(chat.message(first)?.content).toBe('theirs');
    expect(chat.snapshot().messages[0]).toMatchObject({ content: 'changed', reactions: { '❤️': [1] } });
    await pass(500);
    expect(chat.message(first)).toMatchObject({ content: 'changed', reactions: { '❤️': [1] } });
    server.append({ type: 'message_delete', message_id: first });
    chat.editMessage(first, 'too late');
    await pass(500);
    expect(chat.message(first)).toMatchObject({ is_deleted: true, content: 'Message deleted' });
    expect(problems.map(({ code }) => code)).toEqual(['gone']);
  });
});

describe('signals', () => {
  test('typing is shown for 3.6 s, and ends with a message', async () => {
    const { chat } = client(server);
    const other = client(server, { token: 'two' }, 8);
    chat.start();
    other.chat.start();
    await pass(100);
    other.chat.sendTypingIndicator(true);
    await pass(100);
    expect(chat.snapshot().typingUsers).toEqual({ 2: 'User 2' });
    await pass(3_600);
    expect(chat.snapshot().typingUsers).toEqual({});
    other.chat.sendTypingIndicator(true);
    other.chat.sendMessage('there');
    await pass(200);
    expect(chat.snapshot().typingUsers).toEqual({});
  });

  test('keystrokes are thinned out', async () => {
    const { chat } = client(server);
    chat.start();
    await pass(100);
    for (let key = 0; key < 50; key += 1) {
      chat.sendTypingIndicator(true);
      await pass(100);
    }
    chat.sendTypingIndicator(false);
    chat.sendTypingIndicator(false);
    await pass(100);
    const told = sentUp('typing_indicator').map(({ is_typing }) => is_typing);
    expect(told).toEqual([true, true, true, true, true, false]);
  });

  test('receipts are thinned out, the newest is told, over a break too', async () => {
    const ids = Array.from({ length: 30 }, (_, index) => server.say(`m${index}`));
    const { chat } = client(server);
    chat.start();
    await pass(100);
    expect(chat.snapshot().unreadCount).toBe(30);
    for (const id of ids.slice(0, 20)) chat.sendReadReceipt(id);
    await pass(1_000);
    expect(chat.snapshot().unreadCount).toBe(10);
    expect(sentUp('read_receipt').map(({ message_id }) => message_id)).toEqual([ids[0], ids[19]]);
    const [link] = server.links;
    if (link) link.isSilent = true;
    chat.sendReadReceipt(ids[29] ?? 0);
    await pass(100);
    link?.cut();
    await pass(2_000);
    expect(server.marks.get('1')).toBe(ids[29]);
    expect(chat.snapshot().unreadCount).toBe(0);
  });
});
