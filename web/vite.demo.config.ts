// The demo page: `vite build` makes demo/dist, which asks for nothing from elsewhere. The server puts
// its demo users in the place of {{users}}. `npm run demo` serves it with a running `loquat demo` behind.

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

export default defineConfig({
  root: 'demo',
  base: './',
  plugins: [react(), users],
  build: { outDir: 'dist', target: 'es2022', modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
  server: { proxy: { '/ws': { target: server, ws: true }, '/api': server } },
});
