// Whole lives in virtual time: connections are cut or fall silent at any moment, the server restarts and
// loses what was not stored, commands are refused as too fast, and meanwhile people write, edit, delete,
// react and page about. In the end everybody's list is the log: each message once, nothing missing.
//
// A failure names its seed. LOQUAT_WEB_SEEDS=4711 runs that one, LOQUAT_WEB_SEEDS=0..2000 a range.

import { expect, test } from 'vitest';
import type { Chat } from '../client/chat';
import { client, given, told, wholePast } from './fake/client';
import { Clock, Dice } from './fake/clock';
import { FakeServer, type Plan } from './fake/server';

interface Life {
  readonly dice: Dice;
  readonly server: FakeServer;
  readonly chats: readonly Chat[];
  /** The keys of all messages that were taken. */
  readonly sent: Set<string>;
}

const TOKENS = ['one', 'two', 'three', 'one'];
const EMOJI = ['👍', '❤️', '😂'];

function born(seed: number): Life {
  const dice = new Dice(seed);
  const plan: Plan = {
    latency_ms: [1, 30, 400][dice.below(3)] ?? 1,
    commit_ms: [0, 20, 1_500][dice.below(3)] ?? 0,
    rate_limits: dice.oneIn(2) ? 0 : 4 + dice.below(20),
  };
  const server = new FakeServer(new Clock(), seed, plan);
  for (let old = dice.below(300); old > 0; old -= 1) server.say(`old ${old}`, dice.below(4));
  const many = 1 + dice.below(4);
  const chats = TOKENS.slice(0, many).map((token, at) => {
    // Some windows are far smaller than the conversation.
    const messagesMax = dice.oneIn(3) ? 100 : 5_000;
    const options = { token, messagesMax, pageMessages: 5 + dice.below(50) };
    return client(server, options, seed + at + 1).chat;
  });
  for (const chat of chats) chat.start();
  return { dice, server, chats, sent: new Set() };
}

function act(life: Life): void {
  const { dice, server, chats } = life;
  const chat = dice.pick(chats);
  if (!chat) return;
  const message = dice.pick(chat.snapshot().messages);
  const id = message?.id ?? 0;
  const what = dice.below(13);
  if (what < 4) {
    const key = chat.sendMessage(`text ${dice.below(1_000)}`, dice.oneIn(4) ? id : null);
    if (key) life.sent.add(key);
  } else if (what === 4) chat.editMessage(id, `edit ${dice.below(1_000)}`);
  else if (what === 5 && dice.oneIn(3)) chat.deleteMessage(id);
  else if (what === 6) chat.sendReaction(id, dice.pick(EMOJI) ?? '👍');
  else if (what === 7) void chat.loadOlder();
  else if (what === 8) void (dice.oneIn(2) ? chat.jumpToNewest() : chat.loadNewer());
  else if (what === 9 && dice.oneIn(3)) void chat.jumpTo(100 + dice.below(400));
  else if (what === 10) chat.sendReadReceipt(id);
  else if (what === 11) server.say(`other ${dice.below(1_000)}`, 9);
  else chat.wake();
}

function harm({ dice, server }: Life): void {
  const link = dice.pick(server.links);
  const what = dice.below(14);
  if (what === 12) server.forgotten = Math.max(server.forgotten, server.seq - dice.below(20));
  else if (what === 13) {
    server.epoch = `e${dice.below(1_000)}`;
    server.restart();
  } else if (what < 6) link?.cut();
  else if (what < 8 && link) link.isSilent = true;
  else if (what === 8) link?.end(4200, 'fell_behind');
  else if (what === 9) link?.end(4129, 'rate_exceeded');
  else if (what === 10) server.restart();
  else server.restart(1012, `reconnect_in_ms=${dice.below(3_000)}`);
}

async function lived(seed: number): Promise<Life> {
  const life = born(seed);
  const { dice, server } = life;
  for (let turn = 60 + dice.below(120); turn > 0; turn -= 1) {
    for (let many = dice.below(4); many > 0; many -= 1) act(life);
    if (dice.oneIn(5)) harm(life);
    if (dice.oneIn(40)) {
      // Nobody is served for a while.
      server.isDown = true;
      server.restart();
      await server.clock.advance(dice.below(20_000));
      server.isDown = false;
    }
    await server.clock.advance(dice.below([10, 200, 4_000][dice.below(3)] ?? 10));
  }
  return life;
}

/** All harm ends, and everybody gets level. */
async function healed({ server, chats, sent }: Life): Promise<void> {
  server.plan = { ...server.plan, rate_limits: 0 };
  for (const link of server.links) if (link.isSilent) link.cut();
  await server.clock.advance(300_000);
  for (const chat of chats) {
    for (const { key, status } of chat.snapshot().messages) {
      if (status !== 'failed') continue;
      chat.discard(key);
      sent.delete(key);
    }
    void chat.jumpToNewest();
  }
  await server.clock.advance(10_000);
}

async function checked(seed: number): Promise<void> {
  const life = await lived(seed);
  await healed(life);
  const { server, chats, sent } = life;
  const log = server.state();
  const stored = server.log.flatMap((event) => ('client_msg_id' in event ? [event.client_msg_id] : []));
  expect(new Set(stored).size).toBe(stored.length);
  for (const chat of chats) {
    const { messages, isConnected, isLoading, seq } = chat.snapshot();
    expect({ isConnected, isLoading, seq }).toEqual({ isConnected: true, isLoading: false, seq: server.seq });
    expect(messages.filter(({ status }) => status !== 'stored')).toEqual([]);
    // The window is the end of the log, without a hole, whatever its size.
    const end = log.slice(log.length - messages.length);
    expect(messages.map(told)).toEqual(end.map(told));
    messages.forEach((message, at) => {
      const reactions = end[at]?.reactions ?? {};
      const ids = Object.entries(reactions).map(([emoji, listed]) => [emoji, listed.ids] as const);
      expect(given(message.reactions)).toEqual(given(Object.fromEntries(ids)));
    });
  }
  // What a client took, and did not say it failed, is in the log, and nothing else is.
  expect(new Set(stored)).toEqual(new Set(sent.keys()));
  const [first] = chats;
  if (first && log.length < 100) {
    await wholePast(first, server);
    expect(first.snapshot().messages.map(told)).toEqual(log.map(told));
  }
  for (const chat of chats) chat.stop();
}

function seeds(): number[] {
  const asked = process.env.LOQUAT_WEB_SEEDS ?? '0..40';
  const [from, to] = asked.split('..').map(Number);
  return Array.from({ length: (to ?? (from ?? 0) + 1) - (from ?? 0) }, (_, at) => (from ?? 0) + at);
}

test('the list is the log, whenever a connection breaks', async () => {
  for (const seed of seeds()) {
    try {
      await checked(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
}, 120_000);
