// What the server does underneath: when a message was on the disk, where the log stands, and what happens
// when the connection is cut.

import { useSyncExternalStore } from 'react';
import { useChat } from '../react/index';
import type { Wire } from './wire';

export function Strip({ wire, conversation }: { wire: Wire; conversation: string }) {
  const seen = useSyncExternalStore(wire.subscribe, () => wire.seen(conversation));
  const { messages, seq } = useChat(conversation);
  const waiting = messages.filter(({ status }) => status === 'sending').length;
  const missed = seen.resumed ? seen.resumed.to - seen.resumed.from : 0;
  return (
    <footer className="strip">
      <p>
        <span>
          event <b>{Math.max(seq, seen.seq)}</b>
        </span>
        {seen.stored_ms !== null && (
          <span>
            your last message was on disk after <b>{seen.stored_ms.toFixed(1)} ms</b>
          </span>
        )}
        {waiting > 0 && <span>{waiting} waiting to be sent</span>}
        <span role="status">
          {seen.isCut && 'Cut. Write something, here and in the other window.'}
          {!seen.isCut &&
            seen.resumed &&
            `Resumed after event ${seen.resumed.from}: ${missed} missed, ${missed} given`}
        </span>
      </p>
      <button type="button" disabled={seen.isCut} onClick={() => wire.cut(conversation)}>
        Cut the connection for 5 s
      </button>
    </footer>
  );
}
