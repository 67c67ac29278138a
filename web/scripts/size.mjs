// What the package costs an application: minified and gzipped, with everything that it needs but React,
// and without what is loaded when it is used for the first time (the emoji picker and its data).

import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const BUDGETS = [
  { name: 'client', entry: 'client/index.ts', most: 8 * 1024 },
  { name: 'react, with the client', entry: 'react/index.ts', most: 25 * 1024 },
];
const PEERS = [/^react($|\/)/, /^react-dom($|\/)/];

async function size(entry) {
  const { output } = await build({
    configFile: false,
    root: new URL('..', import.meta.url).pathname,
    logLevel: 'error',
    define: { 'process.env.NODE_ENV': '"production"' },
    build: {
      write: false,
      target: 'es2022',
      minify: true,
      modulePreload: false,
      // As in an application: builds of libraries keep white space.
      rollupOptions: { input: entry, preserveEntrySignatures: 'strict', external: PEERS },
    },
  });
  const chunks = new Map(
    output.filter(({ type }) => type === 'chunk').map((chunk) => [chunk.fileName, chunk]),
  );
  const first = [...chunks.values()].find(({ isEntry }) => isEntry);
  const needed = new Set();
  const need = (name) => {
    if (needed.has(name) || !chunks.has(name)) return;
    needed.add(name);
    chunks.get(name).imports.forEach(need);
  };
  need(first.fileName);
  return [...needed].reduce((sum, name) => sum + gzipSync(chunks.get(name).code, { level: 9 }).length, 0);
}

let isOver = false;
for (const { name, entry, most } of BUDGETS) {
  const bytes = await size(entry);
  isOver ||= bytes > most;
  console.log(`${bytes > most ? 'OVER' : 'ok  '} ${name}: ${bytes} of ${most} bytes`);
}
process.exitCode = isOver ? 1 : 0;
