// The real-browser tests: the demo page, and the guide's own components, in headless Chromium against the real server.
//
//   LOQUAT_BINARY=../target/debug/loquat npm run browser [WORD]     only scenarios with the word in their name
//
// Screenshots: reports/browser/.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import * as demo from './demo.mjs';
import * as guide from './guide.mjs';

const binary = process.env.LOQUAT_BINARY && resolve(process.env.LOQUAT_BINARY);
assert(binary, 'LOQUAT_BINARY names the server');
const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const pictures = join(root, 'reports/browser');
mkdirSync(pictures, { recursive: true });

const picture = ({ page }, name) => page.screenshot({ path: join(pictures, `${name}.png`) });

function launch(args = []) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage', ...args],
  });
}

const wanted = process.argv[2] ?? '';
for (const [name, run] of [...demo.scenarios, ...guide.scenarios]) {
  if (!name.includes(wanted)) continue;
  const started = Date.now();
  const browser = await launch();
  try {
    await run(browser, binary, picture, launch);
  } catch (error) {
    console.error(`FAILED: ${name}`);
    console.error(error);
    process.exit(1);
  } finally {
    await browser.close();
  }
  console.log(`ok: ${name} (${((Date.now() - started) / 1_000).toFixed(1)} s)`);
}
process.exit(0);
