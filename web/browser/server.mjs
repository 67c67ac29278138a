// A real server for the browser tests, `loquat demo` or `loquat serve`, on a port that stays its own over kills
// and starts.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const DEADLINE_MS = 60_000;
/** What is set for these tests is no setting of the server. */
const ENVIRONMENT = { PATH: process.env.PATH };

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits for something that is told by no event. */
export async function until(what, holds) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    assert(Date.now() < end, `in vain: ${what}`);
    await pause(25);
  }
}

/** Below the ports that outgoing connections take, so that nobody takes it while the server is down. */
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

export class Server {
  #binary;
  #folder = mkdtempSync(join(tmpdir(), 'loquat-browser-'));
  #data = join(this.#folder, 'data');
  #secret = join(this.#folder, 'secret');
  #isDemo;
  #child;
  #said = '';

  static async start(binary, command = 'demo') {
    const server = new Server(binary, command, await freePort());
    await server.start();
    return server;
  }

  constructor(binary, command, port) {
    this.#binary = binary;
    this.#isDemo = command === 'demo';
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    writeFileSync(this.#secret, randomBytes(48).toString('base64'), { mode: 0o600 });
  }

  #run() {
    this.#said = '';
    const command = this.#isDemo
      ? ['demo', '--port', String(this.port)]
      : [
          'serve',
          '--listen',
          `127.0.0.1:${this.port}`,
          '--access',
          'open',
          '--jwt-secret-file',
          this.#secret,
        ];
    const child = spawn(this.#binary, [...command, '--data', this.#data], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: ENVIRONMENT,
    });
    child.stderr.on('data', (text) => {
      this.#said = `${this.#said}${text}`.slice(-4_000);
    });
    this.#child = child;
  }

  async start() {
    this.#run();
    await until('the server is ready', async () => {
      // The kernel may take a moment to let go of the listener of a process that has ended.
      if (this.#child.exitCode !== null) {
        assert(this.#said.includes('is in use'), `the server has ended: ${this.#said}`);
        this.#run();
      }
      const answer = await fetch(`${this.url}/readyz`).catch(() => null);
      return answer?.status === 200;
    });
  }

  async kill() {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  /** Another log in the place of this one; its tokens are still good. */
  async startAnew() {
    await this.kill();
    const before = this.#data;
    this.#data = join(this.#folder, 'anew');
    mkdirSync(this.#data, { mode: 0o700 });
    copyFileSync(join(before, 'demo-secret'), join(this.#data, 'demo-secret'));
    await this.start();
  }

  token({ id, first, last, ttl_s = 3_600 }) {
    const names = ['--first-name', first, '--last-name', last];
    const rest = ['--email', `${first.toLowerCase()}@example.org`, '--ttl', String(ttl_s)];
    const secret = this.#isDemo ? ['--data', this.#data] : ['--jwt-secret-file', this.#secret];
    const asked = ['token', '--user', String(id), ...names, ...rest, ...secret];
    return execFileSync(this.#binary, asked, { encoding: 'utf8', env: ENVIRONMENT }).trim();
  }

  /** The text of the server's log, for when a test has failed. */
  get said() {
    return this.#said;
  }

  async end() {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
