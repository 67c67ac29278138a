// All emoji, in a dialog. The library and its data are loaded when the dialog opens for the first time,
// from where the application itself is served: nothing comes from elsewhere.

import { lazy, Suspense, useEffect, useRef } from 'react';
import { useTexts } from './texts.js';

const Picker = lazy(() => import('./EmojiPicker.js'));

export interface EmojiDialogProps {
  readonly onPick: (emoji: string) => void;
  readonly onClose: () => void;
}

export function EmojiDialog({ onPick, onClose }: EmojiDialogProps) {
  const { labels } = useTexts();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={dialog} className="lq-dialog" aria-label={labels.emoji} onClose={onClose}>
      <button type="button" className="lq-plain lq-close" aria-label={labels.close} onClick={onClose}>
        ✕
      </button>
      <Suspense fallback={<p role="status">{labels.loading}</p>}>
        <Picker onPick={onPick} />
      </Suspense>
    </dialog>
  );
}
