// The demo page: who you are, conversations with what is unread in each, the chosen one, and a strip that
// shows what the server does underneath.

import { StrictMode, useEffect, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { ChatProvider, ChatRoom, useChat } from '../react/index';
import '../react/style.css';
import './page.css';
import { Strip } from './Strip';
import { Wire } from './wire';

interface DemoUser {
  readonly id: number | string;
  readonly name: string;
  readonly token: string;
}

const users: readonly DemoUser[] = JSON.parse(document.getElementById('demo-users')?.textContent || '[]');
const CONVERSATIONS = ['1', 'team', 'music', 'lost-and-found'];
const TITLES: Readonly<Record<string, string>> = {
  team: 'Team',
  music: 'Music',
  'lost-and-found': 'Lost and found',
};
const titleOf = (id: string) => TITLES[id] ?? (/^\d+$/.test(id) ? `Conversation ${id}` : id);
/** Names come with what people write; these are known before. */
const labels = {
  user: (id: string) => users.find((user) => String(user.id) === id)?.name ?? `User ${id}`,
};
const wire = new Wire();

function fromHash() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const conversation = asked.get('conversation') ?? '';
  const user = users.find(({ id }) => String(id) === asked.get('user')) ?? users[0];
  return { user, conversation: /^[A-Za-z0-9_-]{1,64}$/.test(conversation) ? conversation : '1' };
}

/** One conversation of the list: its connection is the one of the room, when that shows it. */
function Place({ id, isOpen, onOpen }: { id: string; isOpen: boolean; onOpen: () => void }) {
  const { messages, unreadCount, typingUsers, hasMore } = useChat(id);
  const last = messages.at(-1);
  // Unread messages are counted as far as they are held; there may be more before these.
  const isMore = hasMore && unreadCount > 0 && messages[0]?.is_read === false;
  const unread = unreadCount > 99 ? '99+' : `${unreadCount}${isMore ? '+' : ''}`;
  const isTyping = Object.keys(typingUsers).length > 0;
  return (
    <li>
      <button type="button" className="place" aria-current={isOpen ? 'page' : undefined} onClick={onOpen}>
        <strong>{titleOf(id)}</strong>
        {unreadCount > 0 && (
          <span className="badge">
            {unread}
            <span className="lq-unseen"> unread</span>
          </span>
        )}
        <small>{isTyping ? 'typing…' : (last?.content ?? 'no messages yet')}</small>
      </button>
    </li>
  );
}

function Page() {
  const [{ user, conversation }, setWhere] = useState(fromHash);
  const [more, setMore] = useState('');
  const places = useMemo(() => [...new Set([...CONVERSATIONS, conversation])], [conversation]);
  useEffect(() => {
    const moved = () => setWhere(fromHash());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  if (!user) return <p>There are no demo users: this page belongs to `loquat demo`.</p>;
  const go = (id: DemoUser['id'], to: string) => {
    location.hash = new URLSearchParams({ user: String(id), conversation: to }).toString();
  };
  const other = users.find(({ id }) => id !== user.id);
  return (
    <ChatProvider key={user.id} token={user.token} environment={wire.environment} labels={labels}>
      <nav className="side" aria-label="Conversations">
        <h1>loquat</h1>
        <label>
          You are{' '}
          <select value={user.id} onChange={(event) => go(event.target.value, conversation)}>
            {users.map(({ id, name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <ul>
          {places.map((id) => (
            <Place key={id} id={id} isOpen={id === conversation} onOpen={() => go(user.id, id)} />
          ))}
        </ul>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            go(user.id, more);
            setMore('');
          }}
        >
          <input
            value={more}
            required
            pattern="[A-Za-z0-9_\-]{1,64}"
            aria-label="Another conversation"
            placeholder="Another one"
            title="1 to 64 letters, digits, _ or -"
            onChange={(event) => setMore(event.target.value)}
          />
          <button type="submit">Open</button>
        </form>
        {other && (
          <a
            href={`#${new URLSearchParams({ user: String(other.id), conversation })}`}
            target="_blank"
            rel="noreferrer"
          >
            Second window as {other.name}
          </a>
        )}
      </nav>
      <main>
        <ChatRoom conversationId={conversation} title={titleOf(conversation)} />
        <Strip wire={wire} conversation={conversation} />
      </main>
    </ChatProvider>
  );
}

const page = document.getElementById('page');
if (page) {
  createRoot(page).render(
    <StrictMode>
      <Page />
    </StrictMode>,
  );
}
