// The hook and the room of the guide that clients are written by, unchanged, in a real browser against the real
// server. They are read from the guide each time and never copied; where it is not there, that is said.
//
// The guide's address is ws://localhost:8000: the browser resolves that name and port to the server's, and the page
// that holds the room is given to it in the place of the server's own.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { pause, Server, until } from './server.mjs';
import { openTab, seen } from './tab.mjs';

const web = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const PLACES = [process.env.LOQUAT_GUIDE, '../../shared/seed/websocket-guide.md'].filter(Boolean);
const FILES = ['hooks/useWebSocket.js', 'components/ChatRoom.jsx'];
const GUIDE_URL = 'http://localhost:8000';
const ADA = { id: 1, first: 'Ada', last: 'Lovelace' };
const GRACE = { id: 2, first: 'Grace', last: 'Hopper' };

/** The guide's files by their names, which its first lines say. */
function snippets(guide) {
  const found = new Map();
  for (const [, code] of guide.matchAll(/```javascript\n(.*?)```/gs)) {
    const name = /^\/\/ (\S+\.jsx?)\n/.exec(code)?.[1];
    if (name) found.set(name, code);
  }
  for (const name of FILES) assert(found.has(name), `the guide has no ${name}`);
  return found;
}

/** What the guide leaves open: where the room stands, who changes rooms, and the buttons for edit and delete. */
const AROUND = `
import { createElement, useState } from 'react';
import { createRoot } from 'react-dom/client';
import ChatRoom from 'guide/components/ChatRoom.jsx';
import { useWebSocket } from 'guide/hooks/useWebSocket.js';
function Around() {
  const [room, setRoom] = useState(null);
  globalThis.enter = setRoom;
  return room === null ? null : createElement(ChatRoom, { conversationId: room });
}
function Bare() {
  const [room, setRoom] = useState(null);
  globalThis.enter = setRoom;
  globalThis.chat = useWebSocket(room);
  return null;
}
createRoot(document.getElementById('page')).render(createElement(location.hash === '#bare' ? Bare : Around));
`;

/** One script with the guide's code and React in it. */
async function bundled(files) {
  const sources = new Map([...files].map(([name, code]) => [`guide/${name}`, code]));
  sources.set('around', AROUND);
  const parts = {
    name: 'guide',
    enforce: 'pre',
    resolveId(asked, from) {
      const isRelative = asked.startsWith('.') && from?.startsWith('\0guide/');
      const path = isRelative ? join(dirname(from.slice(1)), asked) : asked;
      const name = [path, `${path}.js`, `${path}.jsx`].find((known) => sources.has(known));
      if (name) return `\0${name}`;
      return null;
    },
    load: (id) => {
      const code = sources.get(id.slice(1));
      return code === undefined ? null : { code, moduleType: 'jsx' };
    },
  };
  const output = await build({
    root: web,
    configFile: false,
    logLevel: 'error',
    plugins: [parts],
    define: { 'process.env.NODE_ENV': '"production"' },
    oxc: { jsx: { runtime: 'classic' } },
    build: {
      write: false,
      minify: false,
      modulePreload: { polyfill: false },
      rollupOptions: { input: 'around' },
    },
  });
  return output.output[0].code;
}

/** A tab with the guide's page, its user logged in. */
async function open({ browser, server, script }, user, hash = '') {
  const tab = await openTab(browser, { isQuiet: true });
  await tab.page.route(`${GUIDE_URL}/*`, (route) => {
    const isScript = route.request().url().endsWith('.js');
    return isScript
      ? route.fulfill({ contentType: 'text/javascript', body: script })
      : route.fulfill({
          contentType: 'text/html',
          body: '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><div id="page"></div><script type="module" src="/guide.js"></script>',
        });
  });
  const token = server.token(user);
  await tab.page.addInitScript((text) => localStorage.setItem('access_token', text), token);
  await tab.page.goto(`${GUIDE_URL}/${hash}`);
  await tab.page.waitForFunction(() => globalThis.enter);
  return tab;
}

const enter = async (tab, room) => {
  const before = tab.sockets.length;
  await tab.page.evaluate((id) => globalThis.enter(id), room);
  // What is shown may still be of the room before.
  await until('the room has been entered', () => tab.sockets[before]?.isOpen);
  await seen(tab.page.getByText('● Connected'));
};
const field = ({ page }) => page.getByPlaceholder('Type a message...');
const message = ({ page }, text) => page.locator('.message').filter({ hasText: text });
const typing = ({ page }) => page.locator('.typing-indicator');
const contents = ({ page }) => page.locator('.message-content').allInnerTexts();

async function say(tab, text) {
  await field(tab).fill(text);
  await tab.page.getByRole('button', { name: 'Send' }).click();
}

/** What the room has no button for is done with the hook itself, in a third window of Ada's. */
const call = ({ page }, name, ...given) =>
  page.evaluate(([what, all]) => globalThis.chat[what](...all), [name, given]);
const held = ({ page }) => page.evaluate(() => globalThis.chat.messages);

/** While someone types, the others see it: at almost all moments. */
async function types(ada, grace) {
  await field(ada).press('a');
  await seen(typing(grace));
  let isTyping = true;
  const sampled = (async () => {
    const seenAt = [];
    while (isTyping) {
      seenAt.push(await typing(grace).isVisible());
      await pause(50);
    }
    return seenAt;
  })();
  // Longer than the 3 s after which the guide's hook forgets who types.
  await field(ada).pressSequentially('abcdefghij'.repeat(5), { delay: 150 });
  isTyping = false;
  const samples = await sampled;
  const share = samples.filter(Boolean).length / samples.length;
  assert(
    samples.length > 40 && share >= 0.93,
    `typing was seen in ${share * 100} % of ${samples.length} samples`,
  );
  await typing(grace).waitFor({ state: 'hidden' });
  await field(ada).fill('');
  await typing(grace).waitFor({ state: 'hidden' });
}

async function react(ada, grace, bare) {
  await message(ada, 'Hello Grace').getByRole('button', { name: '👍' }).click();
  const { id } = (await held(bare)).find(({ content }) => content === 'Hello Grace');
  const given = async () => (await held(bare)).find((known) => known.id === id).reactions?.['👍'] ?? [];
  await until('the reaction is seen', async () => (await given()).join() === '1');
  await message(grace, 'Hello Grace').getByRole('button', { name: '👍' }).click();
  await until('both are seen', async () => (await given()).join() === '1,2');
  await message(ada, 'Hello Grace').getByRole('button', { name: '👍' }).click();
  await until('one is taken back', async () => (await given()).join() === '2');
}

async function change(bare, ada, grace) {
  await call(bare, 'sendMessage', 'A typo heer');
  await seen(message(grace, 'A typo heer'));
  const { id } = (await held(bare)).find(({ content }) => content === 'A typo heer');
  await call(bare, 'editMessage', id, 'A typo here');
  for (const tab of [ada, grace]) await seen(message(tab, 'A typo here').getByText('(edited)'));
  await call(bare, 'deleteMessage', id);
  for (const tab of [ada, grace]) await seen(message(tab, 'Message deleted'));
}

/** The room tells of every message, at every change, that it was read; the server lets that come to rest. */
async function rests(tabs) {
  const count = () => tabs.reduce((sum, { frames }) => sum + frames.filter(isReceipt).length, 0);
  const isReceipt = ({ type }) => type === 'read_receipt';
  await pause(5_000);
  const before = count();
  assert(before > 0, 'there were receipts');
  await pause(1_500);
  assert.equal(count(), before, 'receipts have ended');
}

async function rooms(ada, grace) {
  for (let round = 0; round < 3; round += 1) for (const room of [3, 4]) await enter(ada, room);
  await enter(ada, 1);
  await say(ada, 'Back again');
  await seen(message(grace, 'Back again'));
  await seen(message(grace, 'Back again').locator('.online-indicator'));
  await say(grace, 'Welcome back');
  await seen(message(ada, 'Welcome back'));
}

async function presence(bare, ada, grace) {
  const isOnline = async (id) => (await bare.page.evaluate(() => globalThis.chat.onlineUsers))[id];
  await until('both are there', async () => (await isOnline(1)) && (await isOnline(2)));
  await enter(grace, 5);
  await until('one has left', async () => (await isOnline(2)) === false);
  assert.equal(await isOnline(1), true, 'the other is still there');
  await enter(grace, 1);
  await until('and is back', () => isOnline(2));
  await seen(message(ada, 'Welcome back').locator('.online-indicator'));
}

async function unchanged(_, binary, picture, launch) {
  const path = PLACES.map((place) => resolve(web, place)).find(existsSync);
  if (!path) {
    console.log('  left out: the guide is not there (LOQUAT_GUIDE names it)');
    return;
  }
  const script = await bundled(snippets(readFileSync(path, 'utf8')));
  const server = await Server.start(binary, 'serve');
  const browser = await launch([`--host-resolver-rules=MAP localhost:8000 127.0.0.1:${server.port}`]);
  const all = { browser, server, script };
  const [ada, grace, bare] = [await open(all, ADA), await open(all, GRACE), await open(all, ADA, '#bare')];
  try {
    for (const tab of [ada, grace]) await enter(tab, 1);
    await bare.page.evaluate(() => globalThis.enter(1));
    await until('the hook is connected', () => bare.page.evaluate(() => globalThis.chat.isConnected));
    await say(ada, 'Hello Grace');
    await seen(message(grace, 'Hello Grace').getByText('Ada Lovelace'));
    await say(grace, 'Hello Ada');
    await seen(message(ada, 'Hello Ada').getByText('Grace Hopper'));
    await types(ada, grace);
    await react(ada, grace, bare);
    await change(bare, ada, grace);
    await rests([ada, grace, bare]);
    await rooms(ada, grace);
    await presence(bare, ada, grace);
    const said = ['Hello Grace', 'Hello Ada', 'Message deleted(edited)', 'Back again', 'Welcome back'];
    for (const tab of [ada, grace])
      assert.deepEqual(
        (await contents(tab)).map((text) => text.trim()),
        said,
      );
    await picture(ada, 'guide');
    for (const tab of [ada, grace, bare]) assert.deepEqual(tab.problems, [], 'nothing in the console');
  } catch (error) {
    for (const [at, tab] of [ada, grace].entries()) await picture(tab, `failed-guide-${at}`);
    throw error;
  } finally {
    await browser.close();
    await server.end();
  }
}

export const scenarios = [["the guide's hook and room, unchanged", unchanged]];
