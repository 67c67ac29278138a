// The package: two entries, ES modules, everything that is not our own left to the application's bundler.

import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: 'dist',
    target: 'es2022',
    minify: false,
    sourcemap: true,
    lib: { entry: { client: 'client/index.ts', react: 'react/index.ts' }, formats: ['es'] },
    rollupOptions: {
      external: [/^react($|\/)/, /^react-dom($|\/)/, /^virtua($|\/)/, /^emoji-picker-react($|\/)/],
    },
  },
  // No test waits; one that takes long was not given the processor.
  test: { include: ['test/**/*.test.{ts,tsx}'], pool: 'threads', restoreMocks: true, testTimeout: 120_000 },
});
