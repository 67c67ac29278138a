// Labels and locale for everything below.

import { createContext, useContext } from 'react';
import { english, type Labels } from './labels.js';

export interface Texts {
  readonly labels: Labels;
  readonly locale: string | undefined;
}

export const TextsContext = createContext<Texts>({ labels: english, locale: undefined });
export const useTexts = (): Texts => useContext(TextsContext);
