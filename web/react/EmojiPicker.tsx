// The emoji picker itself, in a chunk of its own: only EmojiDialog loads it.

import EmojiPickerReact, { EmojiStyle, Theme } from 'emoji-picker-react';

/** For pages with a strict policy of content: `<meta name="csp-nonce" content="…">`. */
const nonce = () => document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content;

function scheme(): Theme {
  const asked = document.querySelector('.loquat')?.getAttribute('data-theme');
  return asked === 'dark' ? Theme.DARK : asked === 'light' ? Theme.LIGHT : Theme.AUTO;
}

export default function EmojiPicker({ onPick }: { onPick: (emoji: string) => void }) {
  const allowed = nonce();
  return (
    <EmojiPickerReact
      emojiStyle={EmojiStyle.NATIVE}
      theme={scheme()}
      width="100%"
      height={380}
      previewConfig={{ showPreview: false }}
      onEmojiClick={({ emoji }) => onPick(emoji)}
      {...(allowed ? { nonce: allowed } : {})}
    />
  );
}
