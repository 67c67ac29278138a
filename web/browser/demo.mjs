// The demo page against the real server: two people talk, over a crash, a cut wire, another log and a slow
// network; on a phone; for everybody. Each scenario has a server of its own.

import assert from 'node:assert/strict';
import { Server, until } from './server.mjs';
import { slowly } from './slow.mjs';
import {
  accessible,
  act,
  clean,
  connected,
  field,
  gone,
  item,
  list,
  offline,
  openDemo,
  openTab,
  PHONE,
  seen,
  shown,
  TALL,
  WIDE,
  write,
} from './tab.mjs';

/** All that a server says in version 2. */
const KINDS = [
  'ack',
  'chat_message',
  'error',
  'hello',
  'history',
  'message_delete',
  'message_edit',
  'message_reaction',
  'pong',
  'presence',
  'read_receipt',
  'resumed',
  'resync',
  'token_expiring',
  'typing_indicator',
  'user_status',
];

/** Twenty at once are let through, and five a second. */
const FLOOD = 32;

async function talk(ada, grace) {
  await seen(ada.page.getByRole('main').getByText('2 online'));
  await seen(grace.page.getByRole('main').getByText('2 online'));
  await field(ada).pressSequentially('Hello Grace', { delay: 20 });
  await seen(grace.page.getByText('Ada Lovelace is typing…'));
  await field(ada).press('Enter');
  for (const tab of [ada, grace]) await seen(item(tab, 'Hello Grace'));
  await gone(grace.page.getByText('Ada Lovelace is typing…'));
  await seen(item(ada, 'Hello Grace').getByText('Read by Grace Hopper'));
  await seen(item(ada, 'Hello Grace').getByRole('img', { name: 'Stored' }));

  await act(grace, 'Hello Grace', 'Reply');
  await write(grace, 'Hello Ada');
  await seen(item(ada, 'Hello Ada').getByRole('button', { name: /Ada Lovelace: Hello Grace/ }));

  await act(ada, 'Hello Ada', 'React with 👍');
  const reaction = /^👍 1: Ada Lovelace/;
  for (const tab of [ada, grace]) await seen(item(tab, 'Hello Ada').getByRole('button', { name: reaction }));

  await item(grace, 'Hello Grace').getByRole('button', { name: '1 reply' }).click();
  const thread = grace.page.getByRole('complementary', { name: 'Thread' });
  await seen(thread.getByText('Hello Ada'));
  await thread.getByRole('button', { name: 'Close' }).click();
}

async function change(ada, grace) {
  await write(ada, 'A typo heer');
  await seen(item(grace, 'A typo heer'));
  await act(ada, 'A typo heer', 'Edit');
  await list(ada).getByRole('textbox', { name: 'Edit' }).fill('A typo here');
  await list(ada).getByRole('button', { name: 'Save' }).click();
  for (const tab of [ada, grace]) await seen(item(tab, 'A typo here').getByText('(edited)'));

  await write(grace, 'This goes away');
  await seen(item(ada, 'This goes away'));
  await act(grace, 'This goes away', 'Delete');
  await item(grace, 'This goes away').getByRole('button', { name: 'Really delete?' }).click();
  for (const tab of [ada, grace]) await seen(item(tab, 'Message deleted'));

  // What others write is text, never markup.
  await write(grace, '<img src=x onerror="document.title=\'broken into\'">');
  await seen(item(ada, '<img src=x'));
  assert.equal(await list(ada).locator('img').count(), 0);
}

/** The library's own style has to be allowed by the nonce, or the picker is one long column. */
async function pick(ada, grace) {
  await ada.page.getByRole('main').getByRole('button', { name: 'Emoji' }).click();
  const dialog = ada.page.getByRole('dialog', { name: 'Emoji' });
  await seen(dialog.getByRole('textbox'));
  await dialog.getByRole('textbox').fill('rocket');
  const rocket = dialog.getByRole('gridcell', { name: 'rocket', exact: true });
  await seen(rocket);
  assert.notEqual(
    await dialog.locator('.EmojiPickerReact').evaluate((it) => getComputedStyle(it).display),
    'block',
  );
  await rocket.click();
  await gone(dialog);
  await field(ada).press('Enter');
  await seen(item(grace, '🚀'));
}

/** Conversations beside the open one tell what is unread in them, until they are looked at. */
async function beside(ada, grace) {
  const place = (tab, name) =>
    tab.page.getByRole('navigation').getByRole('button', { name: new RegExp(`^${name}`) });
  await place(grace, 'Team').click();
  await connected(grace);
  for (const text of ['one', 'two', 'three']) await write(grace, `team ${text}`);
  await seen(place(ada, 'Team').getByText('3 unread'));
  await place(ada, 'Team').click();
  await seen(item(ada, 'team three'));
  await gone(place(ada, 'Team').getByText('unread'));
  for (const tab of [ada, grace]) await place(tab, 'Conversation 1').click();
  for (const tab of [ada, grace]) await seen(item(tab, 'A typo here'));
}

const burst = (name, count) => Array.from({ length: count }, (_, at) => `${name} ${at} of the storm`);

/** Both write before, while and after nobody is there; in the end both show each once, in one order. */
async function crash({ server, ada, grace }) {
  const [hers, theirs] = [burst('ada', 9), burst('grace', 9)];
  for (const at of [0, 1, 2]) await Promise.all([write(ada, hers[at]), write(grace, theirs[at])]);
  await server.kill();
  for (const tab of [ada, grace]) await offline(tab);
  for (const at of [3, 4, 5]) await Promise.all([write(ada, hers[at]), write(grace, theirs[at])]);
  await seen(item(ada, hers[5]).getByRole('img', { name: 'Sending' }));
  await server.start();
  for (const tab of [ada, grace]) await connected(tab);
  for (const at of [6, 7, 8]) await Promise.all([write(ada, hers[at]), write(grace, theirs[at])]);
  for (const tab of [ada, grace]) {
    await until(
      'all is stored',
      async () => (await list(tab).getByRole('img', { name: 'Sending' }).count()) === 0,
    );
  }
  const pattern = / of the storm$/;
  await until('all is there', async () => (await shown(grace, pattern)).length >= 18);
  const [one, other] = [await shown(ada, pattern), await shown(grace, pattern)];
  assert.deepEqual(one, other, 'both see one order');
  assert.deepEqual([...one].sort(), [...hers, ...theirs].sort(), 'nothing missing, nothing double');
  assert.deepEqual(
    one.filter((text) => text.startsWith('ada')),
    hers,
    'in the order in which it was written',
  );
}

async function cut(ada, grace) {
  await ada.page.getByRole('button', { name: 'Cut the connection for 5 s' }).click();
  await offline(ada);
  for (const text of ['first', 'second']) await write(grace, `${text} past the cut`);
  await until('the others are stored', async () => {
    const rows = item(grace, 'past the cut').getByRole('img', { name: 'Stored' });
    return (await rows.count()) === 2;
  });
  await connected(ada);
  await seen(ada.page.getByRole('main').getByText(/^Resumed after event \d+: 2 missed, 2 given\.$/));
  assert.deepEqual(await shown(ada, /past the cut$/), ['first past the cut', 'second past the cut']);
}

/** More than may be sent at once is refused, sent again, and stored once. */
async function flood(ada, grace) {
  const flooded = burst('ada flood', FLOOD);
  await field(ada).evaluate((area, texts) => {
    const { set } = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value');
    for (const text of texts) {
      set.call(area, text);
      area.dispatchEvent(new Event('input', { bubbles: true }));
      area.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
    }
  }, flooded);
  await until('the flood is stored', async () => (await shown(grace, /^ada flood/)).length >= FLOOD);
  assert.deepEqual(await shown(grace, /^ada flood/), flooded);
  assert(ada.frames.some(({ type, code }) => type === 'error' && code === 'rate_limited'));
}

/** A page that is shown again asks whether the connection is still one. */
const lookAgain = ({ page }) => page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));

/** A token near its end, which the page cannot renew. */
async function expiring(browser, server) {
  const tab = await openTab(browser);
  const token = server.token({ id: 1, first: 'Ada', last: 'Lovelace', ttl_s: 20 });
  await tab.page.route(`${server.url}/`, async (route) => {
    const answer = await route.fetch();
    const body = (await answer.text()).replace(/"token":"[^"]+"/, () => `"token":"${token}"`);
    await route.fulfill({ response: answer, body });
  });
  await tab.page.goto(`${server.url}/#user=1&conversation=1`);
  await until('the end of the token is told', () => tab.frames.some(({ type }) => type === 'token_expiring'));
  return tab;
}

/** Only what is in sight is in the document. */
async function atSize(tabs, size) {
  for (const { page } of tabs) await page.setViewportSize(size);
}

async function everything(browser, binary, picture) {
  const server = await Server.start(binary);
  const ada = await openDemo(browser, server.url, { user: 1 });
  const grace = await openDemo(browser, server.url, { user: 2, scheme: 'dark' });
  try {
    await talk(ada, grace);
    await change(ada, grace);
    await pick(ada, grace);
    await beside(ada, grace);
    await picture(ada, 'talk');
    await accessible(ada, 'the page in light');
    await picture(grace, 'talk-dark');
    await accessible(grace, 'the page in dark');
    await atSize([ada, grace], TALL);
    await crash({ server, ada, grace });
    await cut(ada, grace);
    await atSize([ada], WIDE);
    await picture(ada, 'resumed');
    await lookAgain(ada);
    await flood(ada, grace);
    // Who comes now sees what was said before the crash, as it is by now.
    const late = await openDemo(browser, server.url, { user: 2, size: TALL });
    await seen(item(late, 'past the cut'));
    const end = await expiring(browser, server);
    // The same address with another log behind it: what is held is given up.
    await server.startAnew();
    for (const tab of [ada, grace]) await connected(tab);
    await gone(item(ada, 'past the cut'));
    await write(ada, 'A new beginning');
    await seen(item(grace, 'A new beginning'));
    const tabs = [ada, grace, late, end];
    const kinds = new Set(tabs.flatMap(({ frames }) => frames.map(({ type }) => type)));
    assert.deepEqual([...kinds].sort(), KINDS, 'every kind of frame has been seen');
    for (const tab of tabs) clean(tab, 'the talk');
  } catch (error) {
    for (const [at, tab] of [ada, grace].entries()) await picture(tab, `failed-${at}`);
    throw error;
  } finally {
    for (const { context } of [ada, grace]) await context.close();
    await server.end();
  }
}

async function phone(browser, binary, picture) {
  const server = await Server.start(binary);
  try {
    const ada = await openDemo(browser, server.url, { user: 1, size: PHONE });
    const grace = await openDemo(browser, server.url, { user: 2, size: PHONE, scheme: 'dark' });
    await write(ada, 'From a small window, with a text that is long enough to need more than one line of it');
    await write(grace, 'And from another');
    await seen(item(ada, 'And from another'));
    await act(ada, 'And from another', 'React with ❤️');
    await seen(item(grace, 'And from another').getByRole('button', { name: /^❤️ 1/ }));
    await act(grace, 'From a small window', 'Reply');
    await write(grace, 'An answer');
    await item(ada, 'From a small window').getByRole('button', { name: '1 reply' }).click();
    await picture(ada, 'phone-thread');
    await ada.page
      .getByRole('complementary', { name: 'Thread' })
      .getByRole('button', { name: 'Close' })
      .click();
    for (const tab of [ada, grace]) {
      const wider = await tab.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert(wider <= 0, `the page is ${wider} px wider than the window`);
      const send = await tab.page
        .getByRole('main')
        .getByRole('button', { name: 'Send', exact: true })
        .boundingBox();
      assert(send.y + send.height <= PHONE.height, 'one can send without scrolling');
    }
    await picture(ada, 'phone');
    await picture(grace, 'phone-dark');
    await accessible(ada, 'the phone in light');
    await accessible(grace, 'the phone in dark');
    for (const tab of [ada, grace]) clean(tab, 'the phone');
  } finally {
    await server.end();
  }
}

/** 12 kB a second and 150 ms each way: it takes long, and all of it comes, once. */
async function slow(browser, binary, picture) {
  const server = await Server.start(binary);
  const wire = await slowly(server.port, { bytes_s: 12_000, latency_ms: 150 });
  try {
    // The page itself is not what is slow.
    const ada = await openTab(browser);
    await ada.page.route(/\/($|assets\/)/, async (route) => {
      const path = new URL(route.request().url()).pathname;
      const answer = await route.fetch({
        url: `${server.url}${path}`,
        headers: { host: new URL(server.url).host },
      });
      const headers = answer.headers();
      const policy = headers['content-security-policy'];
      if (policy)
        headers['content-security-policy'] = policy.replaceAll(
          new URL(server.url).host,
          new URL(wire.url).host,
        );
      await route.fulfill({ response: answer, headers });
    });
    await ada.page.goto(`${wire.url}/#user=1&conversation=1`);
    await connected(ada);
    const grace = await openDemo(browser, server.url, { user: 2 });
    const long = 'and on '.repeat(300);
    const [hers, theirs] = [burst('ada', 8), burst('grace', 8)];
    for (const at of hers.keys()) {
      await write(ada, hers[at]);
      await write(grace, `${long}${theirs[at]}`);
    }
    await seen(item(ada, hers[7]).getByRole('img', { name: 'Sending' }));
    await until('all has come', async () => (await frames(ada)) >= 16);
    await until(
      'all is stored',
      async () => (await list(ada).getByRole('img', { name: 'Sending' }).count()) === 0,
    );
    const order = (tab) =>
      tab.frames.filter(({ type }) => type === 'chat_message').map(({ seq, message }) => [seq, message.id]);
    assert.deepEqual(order(ada), order(grace), 'both are told the same, once');
    await picture(ada, 'slow');
    for (const tab of [ada, grace]) clean(tab, 'the slow network');
  } finally {
    wire.end();
    await server.end();
  }
}

const frames = async (tab) => tab.frames.filter(({ type }) => type === 'chat_message').length;

export const scenarios = [
  ['two people on the page: every kind of frame, a crash, a cut, another log', everything],
  ['a phone', phone],
  ['a slow network', slow],
];
