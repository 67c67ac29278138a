// @vitest-environment jsdom
// The hook as the guide's clients know it, and what components may rely on.

import { render, screen } from '@testing-library/react';
import { expect, test } from 'vitest';
import { ChatProvider, type ChatState, useChat } from '../react/index';
import { open } from './fake/page';

const GUIDE = [
  'messages',
  'typingUsers',
  'onlineUsers',
  'isConnected',
  'sendMessage',
  'sendTypingIndicator',
  'sendReadReceipt',
  'sendReaction',
  'editMessage',
  'deleteMessage',
];

const seen: ChatState[] = [];
function Probe({ id }: { id: number | string | null }) {
  const state = useChat(id);
  seen.push(state);
  return <p>{state.messages.map(({ content }) => content).join()}</p>;
}

test('everything that the guide’s hook gave is there, in its shapes', async () => {
  const { pass, server } = open(<Probe id={77} />, (server) => {
    const id = server.say('Hello');
    server.append({ type: 'message_reaction', message_id: id, emoji: '👍', user_id: 2, action: 'added' });
    server.marks.set('1', id);
  });
  await pass(200);
  const state = seen.at(-1);
  expect(Object.keys(state ?? {})).toEqual(expect.arrayContaining(GUIDE));
  expect(state?.messages[0]).toMatchObject({
    id: server.state()[0]?.id,
    content: 'Hello',
    sender: { id: 2, email: '', first_name: 'User', last_name: '2' },
    parent_message_id: null,
    is_edited: false,
    is_deleted: false,
    reactions: { '👍': [2] },
    read_by: [1],
    is_read: true,
  });
  expect(state?.onlineUsers).toEqual({ 1: true });
});

test('two components share one connection, and its functions stay the same', async () => {
  const { pass, server } = open(
    <>
      <Probe id={77} />
      <Probe id={77} />
    </>,
  );
  await pass(200);
  const before = seen.at(-1);
  server.say('news');
  await pass(100);
  expect(screen.getAllByText('news')).toHaveLength(2);
  expect(server.all).toHaveLength(1);
  expect(seen.at(-1)).not.toBe(before);
  for (const name of ['sendMessage', 'editMessage', 'loadOlder'] as const) {
    expect(seen.at(-1)?.[name]).toBe(before?.[name]);
  }
});

test('another conversation is another connection, and none is none', async () => {
  const { pass, server } = open(
    <>
      <Probe id={null} />
      <Probe id="team" />
      <Probe id={78} />
    </>,
  );
  await pass(200);
  expect(server.all.map(({ url }) => url.pathname)).toEqual(['/ws/chat/team/', '/ws/chat/78/']);
});

test('the newest token provider is asked, though the connection is older', async () => {
  const { pass, server } = open(null);
  const asked: string[] = [];
  const environment = server.environment();
  const page = (name: string) => (
    <ChatProvider
      url="http://chat.test"
      environment={environment}
      token={(reason) => {
        asked.push(`${name} ${reason}`);
        return 'one';
      }}
    >
      <Probe id={77} />
    </ChatProvider>
  );
  const { rerender } = render(page('first'));
  await pass(200);
  rerender(page('second'));
  server.links[0]?.end(4001, 'token_expired');
  await pass(2_000);
  expect(asked).toEqual(['first connect', 'second refused']);
});
