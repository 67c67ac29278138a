// A tab of its own browser profile: what went wrong in it, every frame that came, and the page's parts by
// label and role, as a person or a screen reader would find them.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const WAIT_MS = 30_000;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const WIDE = { width: 1_100, height: 760 };
export const TALL = { width: 1_100, height: 3_500 };
export const PHONE = { width: 390, height: 760 };

/** `isQuiet`: nothing of the console is excused. */
export async function openTab(browser, { size = WIDE, scheme = 'light', isQuiet = false } = {}) {
  // A page that a test puts in the place of the server's is, to the browser, from nowhere near.
  const permissions = ['local-network-access'];
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, permissions });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const tab = { page, context, problems: [], frames: [], sent: [], sockets: [], elsewhere: [] };
  page.on('pageerror', (error) => tab.problems.push(String(error)));
  page.on('console', (message) => {
    // A refused connection while the server is down is the test's own doing.
    const isOurs = !isQuiet && /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|WebSocket/.test(message.text());
    if (message.type() === 'error' && !isOurs) tab.problems.push(message.text());
  });
  page.on('request', (request) => {
    if (!/^(http:\/\/(127\.0\.0\.1|localhost):|data:|blob:)/.test(request.url())) {
      tab.elsewhere.push(request.url());
    }
  });
  page.on('websocket', (socket) => {
    const known = { url: socket.url(), isOpen: false };
    tab.sockets.push(known);
    socket.on('framereceived', ({ payload }) => {
      known.isOpen = true;
      tab.frames.push(JSON.parse(String(payload)));
    });
    socket.on('framesent', ({ payload }) => tab.sent.push(JSON.parse(String(payload))));
  });
  return tab;
}

/** The demo page as one of its users, in one of its conversations. */
export async function openDemo(browser, url, { user, conversation = '1', ...options }) {
  const tab = await openTab(browser, options);
  await tab.page.goto(`${url}/#user=${user}&conversation=${conversation}`);
  await connected(tab);
  return tab;
}

export const seen = (locator) => locator.first().waitFor({ state: 'visible' });
export const gone = (locator) => locator.first().waitFor({ state: 'hidden' });
export const list = ({ page }) => page.getByRole('region', { name: 'Messages', exact: true });
export const item = (tab, text) => list(tab).getByRole('article').filter({ hasText: text });
export const field = ({ page }) =>
  page.getByRole('main').getByRole('textbox', { name: 'Message', exact: true });
export const connected = ({ page }) => seen(page.getByRole('main').getByText('Connected', { exact: true }));
export const offline = ({ page }) => seen(page.getByRole('main').getByText(/^Offline/));

export async function write(tab, text) {
  await field(tab).fill(text);
  await field(tab).press('Enter');
}

export async function act(tab, text, name) {
  await item(tab, text).last().hover();
  await item(tab, text).last().getByRole('button', { name }).first().click();
}

/** What is shown of a kind of message, in its order. */
export async function shown(tab, pattern) {
  const all = await list(tab).locator('.lq-text').allInnerTexts();
  return all.map((text) => text.trim()).filter((text) => pattern.test(text));
}

/** Fails with a line per violation. The policy of the page would not let a script in: isolated worlds may. */
export async function accessible(tab, what) {
  await tab.page.evaluate(axe);
  const { violations } = await tab.page.evaluate(() => globalThis.axe.run());
  const lines = violations.map(
    ({ id, help, nodes }) =>
      `${id}: ${help}\n    ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n    ')}`,
  );
  assert.deepEqual(lines, [], `accessibility of ${what}`);
}

/** Nothing in the console, nothing from elsewhere. */
export function clean(tab, what) {
  assert.deepEqual(tab.problems, [], `problems in ${what}`);
  assert.deepEqual(tab.elsewhere, [], `requests to elsewhere by ${what}`);
}
