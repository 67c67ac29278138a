// The style sheet is published as it is.

import { copyFileSync } from 'node:fs';

copyFileSync(new URL('../react/style.css', import.meta.url), new URL('../dist/style.css', import.meta.url));
