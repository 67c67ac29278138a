// The demo page: `vite build` makes demo/dist, which asks for nothing from elsewhere. It is committed, and the
// server has it inside, by the table in demo/dist/assets.rs; the server puts its demo users in the place of
// {{users}} and what it allows styles by in the place of {{nonce}}. `npm run demo` serves the page with a
// running `loquat demo` behind.

import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';

const server = process.env.LOQUAT_URL ?? 'http://127.0.0.1:8000';

/** While developing, the users are those of the running demo. */
const users: Plugin = {
  name: 'demo-users',
  apply: 'serve',
  async transformIndexHtml(html) {
    const page = await (await fetch(server)).text();
    const found = /id="demo-users">([^<]*)</.exec(page)?.[1] ?? '[]';
    return html.replace('{{users}}', () => found);
  },
};

const KINDS: Readonly<Record<string, string>> = { js: 'text/javascript', css: 'text/css' };

/** The table by which the server has the files inside. */
const table: Plugin = {
  name: 'table-of-assets',
  apply: 'build',
  generateBundle(_, bundle) {
    const names = Object.keys(bundle).filter((name) => name.startsWith('assets/'));
    const rows = names.sort().map((path) => {
      const kind = KINDS[path.split('.').at(-1) ?? ''];
      if (!kind) this.error(`no content type is known for ${path}`);
      const name = path.slice('assets/'.length);
      return `    ("${name}", "${kind}; charset=utf-8", include_bytes!("${path}")),\n`;
    });
    const source = `// Written by \`npm run build:demo\`: name, content type, content.\n[\n${rows.join('')}]\n`;
    this.emitFile({ type: 'asset', fileName: 'assets.rs', source });
  },
};

export default defineConfig({
  root: 'demo',
  base: './',
  plugins: [react(), users, table],
  build: { outDir: 'dist', target: 'es2022', modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
  server: { proxy: { '/ws': { target: server, ws: true }, '/api': server } },
});
