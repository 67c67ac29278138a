// The style sheet is published as it is, with the type that an import of it needs.

import { copyFileSync, writeFileSync } from 'node:fs';

const at = (path) => new URL(`../${path}`, import.meta.url);
copyFileSync(at('react/style.css'), at('dist/style.css'));
writeFileSync(at('dist/types/style.d.ts'), 'export {};\n');
