// What the server does underneath: when messages were on the disk, where the log stands, and what happens
// when the connection is cut.

import { useSyncExternalStore } from 'react';
import { useChat } from '../react/index';
import type { Resumed, Wire } from './wire';

function told({ from, to, given }: Resumed): string {
  const missed = to - from;
  return missed === 0
    ? `Resumed after event ${from}: nothing was missed.`
    : `Resumed after event ${from}: ${missed} missed, ${given} given.`;
}

export function Strip({ wire, conversation }: { wire: Wire; conversation: string }) {
  const seen = useSyncExternalStore(wire.subscribe, () => wire.seen(conversation));
  const { messages, seq } = useChat(conversation);
  const waiting = messages.filter(({ status }) => status === 'sending').length;
  return (
    <footer className="strip">
      <p>
        <span>
          event <b>{Math.max(seq, seen.seq)}</b>
        </span>
        {seen.stored.length > 0 && (
          <span className="stored">
            on disk after{' '}
            {seen.stored.map(({ seq: at, ms }) => (
              <span key={at} title={`Event ${at}: from its departure to the server's word that it is stored`}>
                <small>#{at}</small> <b>{ms.toFixed(1)} ms</b>
              </span>
            ))}
          </span>
        )}
        {waiting > 0 && <span>{waiting} waiting to be sent</span>}
        <span role="status">
          {seen.isCut && 'Cut. Write something, here and in the other window.'}
          {!seen.isCut && seen.resumed && told(seen.resumed)}
        </span>
      </p>
      <button type="button" disabled={seen.isCut} onClick={() => wire.cut(conversation)}>
        Cut the connection for 5 s
      </button>
    </footer>
  );
}
