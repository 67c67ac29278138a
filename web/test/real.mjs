// The built client against the real server: two people write while the server is killed with -9, started
// again, and stopped in order. In the end both, and someone who comes later, hold the same list, in which
// each message stands once.
//
//   LOQUAT_BINARY=target/debug/loquat node test/real.mjs        (after npm run build:package)

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { createChat } from '../dist/client.js';

const binary = process.env.LOQUAT_BINARY;
assert(binary, 'LOQUAT_BINARY names the server');
const DEADLINE_MS = 60_000;
const data = mkdtempSync(join(tmpdir(), 'loquat-web-'));
const port = await freePort();
const url = `http://127.0.0.1:${port}`;
let server;
process.on('exit', () => server?.kill('SIGKILL'));

/**
 * Below the ports that outgoing connections take, so that nobody takes it while the server is down: not even
 * a client that tries to come back, and would then be connected to itself.
 */
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const isFree = await new Promise((resolve) => {
      const probe = createServer().once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what, holds) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    assert(Date.now() < end, `in vain: ${what}`);
    await pause(20);
  }
}

let said = '';
function run() {
  said = '';
  server = spawn(binary, ['demo', '--port', String(port), '--data', data], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  server.stderr.on('data', (text) => {
    said = `${said}${text}`.slice(-4_000);
  });
}

async function start() {
  run();
  await until('the server is ready', async () => {
    // The kernel may take a moment to let go of a ring's listener after its process has ended. As a
    // supervisor would, start it again.
    if (server.exitCode !== null) {
      await pause(100);
      assert(said.includes('is in use'), `the server has ended: ${said}`);
      run();
    }
    const answer = await fetch(`${url}/readyz`).catch(() => null);
    return answer?.status === 200;
  });
}

function ended() {
  return new Promise((resolve) => (server.exitCode === null ? server.once('exit', resolve) : resolve()));
}

/** The tokens that the demo shows on its page. */
async function tokens() {
  const page = await (await fetch(url)).text();
  const users = JSON.parse(/id="demo-users">([^<]*)</.exec(page)[1]);
  return users.map(({ token }) => token);
}

const everyone = [];
function client(token, options = {}) {
  const codes = [];
  const environment = {
    now: Date.now,
    random: Math.random,
    socket: (address, protocols) => new WebSocket(address, protocols),
    after: (ms, call) => {
      const timer = setTimeout(call, ms);
      return () => clearTimeout(timer);
    },
  };
  const chat = createChat({ url, conversationId: 'real', token, environment, ...options });
  chat.subscribe(() => codes.push(chat.snapshot().status.code));
  everyone.push(chat);
  chat.start();
  return { chat, codes };
}

const list = ({ chat }) => chat.snapshot().messages;
const isLevel = (one) =>
  one.chat.snapshot().isConnected && list(one).every(({ status }) => status === 'stored');
const texts = (one) => list(one).map(({ content }) => content);

await start();
const [first, second] = await tokens();
const ada = client(first);
const grace = client(second, { tokenIn: 'query' });
const written = [];
const write = (one, text) => {
  assert(one.chat.sendMessage(text), text);
  written.push(text);
};

await until('both are connected', () => isLevel(ada) && isLevel(grace));
for (let round = 0; round < 6; round += 1) {
  write(ada, `ada ${round}`);
  write(grace, `grace ${round}`);
  await pause(30);
}
await until('something is stored', () => list(grace).some(({ status }) => status === 'stored'));
// In the middle of what is under way.
for (let round = 6; round < 10; round += 1) {
  write(ada, `ada ${round}`);
  write(grace, `grace ${round}`);
}
server.kill('SIGKILL');
await ended();
for (let round = 10; round < 14; round += 1) {
  write(ada, `ada ${round}, while nobody was there`);
  write(grace, `grace ${round}, while nobody was there`);
}
await until(
  'both have noticed',
  () => !ada.chat.snapshot().isConnected && !grace.chat.snapshot().isConnected,
);
await start();
await until('all is stored', () => isLevel(ada) && isLevel(grace) && list(ada).length >= written.length);
await until('both hold the same', () => texts(ada).join('\n') === texts(grace).join('\n'));
assert.deepEqual([...texts(ada)].sort(), [...written].sort(), 'each message stands once');
const ownOf = (name) => texts(ada).filter((text) => text.startsWith(name));
for (const name of ['ada', 'grace']) {
  assert.deepEqual(
    ownOf(name),
    written.filter((text) => text.startsWith(name)),
    'in the order in which they were written',
  );
}

// Changes, over a stop in good order.
const [target, doomed] = [list(ada)[0], list(grace).find(({ content }) => content === 'grace 1')];
ada.chat.editMessage(target.id, 'ada 0, edited');
grace.chat.sendReaction(target.id, '👍');
grace.chat.deleteMessage(doomed.id);
write(grace, 'please read this');
await until('the changes are seen', () => {
  const [seen, gone] = [target.id, doomed.id].map((id) => list(grace).find((message) => message.id === id));
  return seen.content === 'ada 0, edited' && seen.reactions['👍']?.length === 1 && gone.is_deleted;
});
const named = (one) => list(one).find(({ content, id }) => content === 'please read this' && id > 0);
await until('the message is there', () => named(ada) && named(grace));
assert.deepEqual(named(grace).read_by, [], 'nobody has read it yet');
ada.chat.sendReadReceipt(named(ada).id);
await until('the receipt is seen', () => named(grace).read_by.includes(ada.chat.snapshot().userId));
assert(grace.chat.sendMessage('an answer', target.id));
await until('the answer is stored', () => isLevel(grace));
assert.deepEqual(
  (await ada.chat.replies(target.id)).map(({ content }) => content),
  ['an answer'],
);
server.kill('SIGTERM');
await ended();
assert(ada.codes.includes(1012), 'a stop in good order is told as one');
await start();
await until('both are back', () => isLevel(ada) && isLevel(grace));

const late = client(first, { pageMessages: 7 });
await until('who comes later is level', () => isLevel(late) && list(late).length > 0);
while (late.chat.snapshot().hasMore) {
  await late.chat.loadOlder();
  await pause(20);
}
const told = ({ id, content, is_edited, is_deleted, reactions }) => ({
  id,
  content,
  is_edited,
  is_deleted,
  reactions,
});
assert.deepEqual(list(late).map(told), list(ada).map(told));
assert.deepEqual(list(grace).map(told), list(ada).map(told));

for (const chat of everyone) chat.stop();
server.kill('SIGTERM');
await ended();
rmSync(data, { recursive: true });
console.log(`ok: ${written.length} messages, each once, over kill -9 and a stop`);
process.exit(0);
