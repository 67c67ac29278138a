// The picture of the page in the README: a conversation in two windows, one of them a phone's.
//
//   LOQUAT_BINARY=../target/release/loquat npm run picture

import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { Server } from './server.mjs';
import { act, connected, item, openDemo, seen, write } from './tab.mjs';

const HEIGHT = 640;
const target = resolve(dirname(fileURLToPath(import.meta.url)), '../../docs/demo.png');
const server = await Server.start(resolve(process.env.LOQUAT_BINARY));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
});
const ada = await openDemo(browser, server.url, { user: 1, size: { width: 860, height: HEIGHT } });
const grace = await openDemo(browser, server.url, {
  user: 2,
  size: { width: 390, height: HEIGHT },
  scheme: 'dark',
});
/** What the one writes is seen by the other. */
async function says(one, other, text) {
  await write(one, text);
  await seen(item(other, text));
}

await ada.page.getByRole('navigation').getByRole('button', { name: /^Team/ }).click();
await connected(ada);
await write(ada, 'Who has the key to the lab?');
await ada.page
  .getByRole('navigation')
  .getByRole('button', { name: /^Conversation 1/ })
  .click();
await connected(ada);
await says(ada, grace, 'Did you see the moth in the relay? 🦋');
await says(grace, ada, 'It is in the log book already, taped to the page');
await says(ada, grace, 'First actual bug, then');
await act(grace, 'First actual bug', 'React with 😂');
await act(grace, 'Did you see', 'Reply');
await says(grace, ada, 'Relay 70, panel F');
await says(ada, grace, 'And what the log has, it keeps: pull the plug and look');
await ada.page.getByRole('button', { name: 'Cut the connection for 5 s' }).click();
await write(grace, 'Pulled. Are you still there?');
await write(grace, 'You will read this when you are back');
await seen(ada.page.getByText(/^Resumed after event/));
await says(ada, grace, 'Back, and here they are, both of them');
await seen(item(ada, 'Back, and').getByText('Read by Grace Hopper'));

const [left, right] = await Promise.all(
  [ada, grace].map(async ({ page }) => {
    await page.mouse.move(0, 0);
    await page.evaluate(() => document.activeElement?.blur());
    return (await page.screenshot()).toString('base64');
  }),
);
const both = await browser.newPage({ viewport: { width: 1_322, height: HEIGHT + 48 } });
const window = (base64) =>
  `<img src="data:image/png;base64,${base64}" style="border-radius:8px;box-shadow:0 2px 10px #0006">`;
await both.setContent(
  `<body style="display:flex;gap:24px;margin:24px;background:#8a93a6">${window(left)}${window(right)}`,
);
await both.screenshot({ path: target });
await browser.close();
await server.end();
console.log(target);
