// Two people chat on the demo page, in a real browser, over a crash of the server.
//
//   node chat.mjs BINARY SCREENSHOTS
//
// Everything is found by its label or role, as a person or a screen reader would.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const DEADLINE_MS = 15_000;
const [binary, screenshots] = process.argv.slice(2).map((path) => resolve(path));
const data = mkdtempSync(join(tmpdir(), 'loquat-'));

// The demo on a port, 0 for any: resolves once it listens.
function startDemo(port) {
  const child = spawn(binary, ['demo', '--port', String(port), '--data', join(data, 'data')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const errors = [];
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line));
  const exited = new Promise((done) => child.once('exit', done));
  return new Promise((started, failed) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const found = /^listening on (http:\/\/\S+?)\/?$/.exec(line);
      if (found) started({ child, exited, url: found[1], errors });
    });
    exited.then((code) => failed(new Error(`the demo ended with ${code}:\n${errors.join('\n')}`)));
    setTimeout(() => failed(new Error('the demo does not start')), DEADLINE_MS).unref();
  });
}

async function killed(demo) {
  demo.child.kill('SIGKILL');
  await demo.exited;
}

// A tab of its own browser profile, as one of the demo users.
async function tab(browser, url, user, size) {
  const context = await browser.newContext({ viewport: size });
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(String(error)));
  page.on('console', (message) => {
    // A refused connection while the server is down is the test's own doing.
    const expected = /ERR_CONNECTION_REFUSED|WebSocket connection/.test(message.text());
    if (message.type() === 'error' && !expected) page.problems.push(message.text());
  });
  page.on('dialog', (dialog) => dialog.accept());
  await page.goto(`${url}/#user=${user}&conversation=1`);
  await connected(page);
  return page;
}

const messages = (page) => page.getByRole('log', { name: 'Messages' });
const item = (page, text) => messages(page).getByRole('listitem').filter({ hasText: text });
const seen = (locator) => locator.first().waitFor({ state: 'visible' });
const connected = (page) => seen(page.getByText('Connected', { exact: true }));

async function write(page, text) {
  await page.getByRole('textbox', { name: 'Message' }).fill(text);
  await page.getByRole('button', { name: 'Send', exact: true }).click();
}

async function act(page, text, name) {
  await item(page, text).hover();
  await item(page, text).getByRole('button', { name }).first().click();
}

async function talk(ada, grace) {
  await seen(ada.getByRole('complementary').getByText('Grace Hopper'));
  await seen(grace.getByRole('complementary').getByText('Ada Lovelace'));

  await ada.getByRole('textbox', { name: 'Message' }).pressSequentially('Hello Grace', { delay: 20 });
  await seen(grace.getByText('Ada Lovelace is typing…'));
  await ada.keyboard.press('Enter');
  for (const page of [ada, grace]) await seen(item(page, 'Hello Grace'));
  await grace.getByText('Ada Lovelace is typing…').waitFor({ state: 'hidden' });
  await seen(item(ada, 'Hello Grace').getByText('Seen by Grace Hopper'));

  await act(grace, 'Hello Grace', /^Reply to/);
  await write(grace, 'Hello Ada');
  await seen(item(ada, 'Hello Ada').getByText('↪ Ada Lovelace: Hello Grace'));

  await act(ada, 'Hello Ada', /^React with 👍/);
  for (const page of [ada, grace]) await seen(page.getByRole('button', { name: '👍 by Ada Lovelace' }));
}

async function change(ada, grace) {
  await write(ada, 'A typo heer');
  await seen(item(grace, 'A typo heer'));
  await act(ada, 'A typo heer', /^Edit$/);
  await ada.getByRole('textbox', { name: 'New text of the message' }).fill('A typo here');
  await ada.getByRole('button', { name: 'Save' }).click();
  for (const page of [ada, grace]) await seen(item(page, 'A typo here').getByText('(edited)'));

  await write(grace, 'This goes away');
  await seen(item(ada, 'This goes away'));
  await act(grace, 'This goes away', /^Delete$/);
  for (const page of [ada, grace]) await seen(item(page, 'Message deleted'));

  // What others write is text, never markup.
  await write(grace, '<img src=x onerror="document.title=\'broken into\'">');
  await seen(item(ada, '<img src=x'));
  assert.equal(await messages(ada).locator('img').count(), 0);
}

async function crash(demo, ada, grace) {
  const port = new URL(demo.url).port;
  await killed(demo);
  for (const page of [ada, grace]) await seen(page.getByText(/^Disconnected/));
  const again = await startDemo(port);
  for (const page of [ada, grace]) {
    const retry = page.getByRole('button', { name: 'Connect now' });
    // It may have come back by itself meanwhile.
    await retry.click({ timeout: 1000 }).catch(() => {});
    await connected(page);
  }
  await write(ada, 'Back after the crash');
  await seen(item(grace, 'Back after the crash'));
  return again;
}

// Who comes now sees what was said before the crash, as it is by now.
async function comeLate(page) {
  await seen(item(page, 'Hello Grace'));
  await seen(item(page, 'A typo here').getByText('(edited)'));
  await seen(item(page, 'Message deleted'));
  await seen(page.getByRole('button', { name: '👍 by Ada Lovelace' }));
}

async function main() {
  mkdirSync(screenshots, { recursive: true });
  let demo = await startDemo(0);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
  const pages = [];
  try {
    const ada = await tab(browser, demo.url, 1, { width: 1100, height: 760 });
    pages.push(ada);
    const grace = await tab(browser, demo.url, 2, { width: 390, height: 760 });
    pages.push(grace);
    await talk(ada, grace);
    await change(ada, grace);
    demo = await crash(demo, ada, grace);
    const late = await tab(browser, demo.url, 2, { width: 1100, height: 760 });
    pages.push(late);
    await comeLate(late);
    for (const page of pages) assert.deepEqual(page.problems, []);
    console.log('two people chatted on the page over a crash');
  } finally {
    for (const [at, page] of pages.entries()) {
      await page.screenshot({ path: join(screenshots, `tab-${at + 1}.png`) }).catch(() => {});
    }
    await browser.close();
    await killed(demo);
  }
}

main()
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(() => rmSync(data, { recursive: true, force: true }));
