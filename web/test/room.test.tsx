// @vitest-environment jsdom
// The room as a person meets it: by names and roles, by keyboard, by what is read out.

import { screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { StrictMode } from 'react';
import { describe, expect, test, vi } from 'vitest';
import { ChatRoom } from '../react/index';
import { isAccessible, type Opened, open } from './fake/page';
import type { FakeServer } from './fake/server';

const user = userEvent.setup();
const field = () => screen.getByRole('textbox', { name: 'Message' });
const article = (text: string) => {
  const found = screen.getAllByRole('article').find((one) => one.textContent?.includes(text));
  if (!found) throw new Error(`no message ${text}`);
  return within(found);
};

async function room(prepare?: (server: FakeServer) => void): Promise<Opened> {
  const opened = open(<ChatRoom conversationId={77} title="Team" />, prepare);
  await opened.pass(100);
  await opened.pass(100);
  return opened;
}

describe('the room', () => {
  test('shows what was said, who is there, and breaks no rule of accessibility', async () => {
    const { container, server, pass } = await room((server) => {
      const id = server.say('Good morning');
      server.say('And to you', 'three', id);
      server.append({ type: 'message_reaction', message_id: id, emoji: '👍', user_id: 1, action: 'added' });
    });
    expect(screen.getByRole('region', { name: 'Team' })).toBeTruthy();
    expect(screen.getByText('1 online')).toBeTruthy();
    expect(screen.getByText('Connected')).toBeTruthy();
    expect(container.querySelectorAll('.lq-day')).toHaveLength(1);
    expect(article('And to you').getByText(/In reply to User 2/)).toBeTruthy();
    expect(article('Good morning').getByRole('button', { name: '1 reply' })).toBeTruthy();
    const chip = article('Good morning').getByRole('button', { name: /^👍 1: You/ });
    expect(chip.getAttribute('aria-pressed')).toBe('true');
    await isAccessible(container);
    await user.click(chip);
    await pass(200);
    expect(server.state()[0]?.reactions).toEqual({});
  });

  test('says that there is nothing, and that it is loading', async () => {
    const opened = open(<ChatRoom conversationId={77} />);
    expect(screen.getByText('Connecting…')).toBeTruthy();
    await opened.pass(200);
    expect(screen.getByText('No messages yet. Say hello!')).toBeTruthy();
    await isAccessible(opened.container);
  });

  test('in strict mode, too, there is one connection', async () => {
    const opened = open(
      <StrictMode>
        <ChatRoom conversationId={77} />
        <ChatRoom conversationId={77} />
      </StrictMode>,
    );
    await opened.pass(500);
    expect(opened.server.all).toHaveLength(1);
  });

  test('leaving it closes the connection a little later', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const opened = open(<ChatRoom conversationId={77} />);
      await opened.pass(200);
      expect(opened.server.links).toHaveLength(1);
      (await import('@testing-library/react')).cleanup();
      vi.advanceTimersByTime(1_100);
      expect(opened.server.links).toHaveLength(0);
    } finally {
      vi.useRealTimers();
    }
  });

  test('says why it is offline, and comes back when asked to', async () => {
    const { server, pass } = await room();
    server.links[0]?.end(4004, 'kicked');
    await pass(100);
    expect(screen.getByText('You were removed from this conversation.')).toBeTruthy();
    await user.click(screen.getByRole('button', { name: 'Connect now' }));
    await pass(200);
    expect(screen.getByText('Connected')).toBeTruthy();
  });
});

describe('writing', () => {
  test('a message is there at once, is sent, and says so', async () => {
    const { server, pass } = await room();
    server.plan.commit_ms = 2_000;
    await user.type(field(), 'Hello{Shift>}{Enter}{/Shift}there{Enter}');
    await pass(20);
    expect(article('Hello').getByRole('img', { name: 'Sending' })).toBeTruthy();
    expect((field() as HTMLTextAreaElement).value).toBe('');
    await pass(5_000);
    expect(article('Hello').getByRole('img', { name: 'Stored' })).toBeTruthy();
    expect(server.state()[0]?.content).toBe('Hello\nthere');
  });

  test('without a connection it waits', async () => {
    const { server, pass } = await room();
    server.isDown = true;
    server.restart();
    await pass(100);
    await user.type(field(), 'later{Enter}');
    await pass(100);
    expect(article('later').getByRole('img', { name: 'Sending' })).toBeTruthy();
    server.isDown = false;
    await pass(40_000);
    expect(server.state().map(({ content }) => content)).toEqual(['later']);
  });

  test('what the server refuses can be tried again or discarded', async () => {
    const { server, pass } = await room();
    const { handle } = server;
    server.handle = (link, frame) => {
      if (frame.type !== 'chat_message') return handle.call(server, link, frame);
      link.tell({ type: 'error', error: 'no', code: 'forbidden', ref: frame.ref });
    };
    await user.type(field(), 'one{Enter}');
    await user.type(field(), 'two{Enter}');
    await pass(200);
    expect(article('one').getByRole('alert').textContent).toContain('Not sent: not allowed');
    await user.click(article('two').getByRole('button', { name: 'Discard' }));
    server.handle = handle;
    await user.click(article('one').getByRole('button', { name: 'Try again' }));
    await pass(200);
    expect(server.state().map(({ content }) => content)).toEqual(['one']);
  });

  test('others see that one types, and one sees them', async () => {
    const { server, pass } = await room();
    const other = server.links[0];
    await user.type(field(), 'abc');
    await pass(100);
    expect(other?.received.filter(({ type }) => type === 'typing_indicator')).toHaveLength(1);
    other?.tell({ type: 'typing_indicator', user_id: 2, user_name: 'Grace Hopper', is_typing: true });
    await pass(100);
    expect(screen.getByText('Grace Hopper is typing…')).toBeTruthy();
    await pass(4_000);
    expect(screen.queryByText('Grace Hopper is typing…')).toBeNull();
  });

  test('too much cannot be sent, and it says how much is left', async () => {
    await room();
    await user.click(field());
    await user.paste('x'.repeat(9_990));
    expect(screen.getByText('10 characters left')).toBeTruthy();
    await user.paste('y'.repeat(20));
    expect((screen.getByRole('button', { name: 'Send' }) as HTMLButtonElement).disabled).toBe(true);
  });
});

describe('by keyboard', () => {
  test('arrows go from message to message, their actions follow in the tab order', async () => {
    const { server, pass, container } = await room((server) => {
      for (const text of ['one', 'two', 'three']) server.say(text);
    });
    screen.getAllByRole('article').at(-1)?.focus();
    await user.keyboard('{ArrowUp}');
    await pass(50);
    expect(document.activeElement?.textContent).toContain('two');
    await isAccessible(container);
    await user.tab();
    expect(document.activeElement?.getAttribute('aria-label')).toBe('React with 👍');
    await user.keyboard('{Enter}');
    await pass(200);
    expect(server.state()[1]?.reactions['👍']?.ids).toEqual([1]);
    screen.getAllByRole('article')[1]?.focus();
    await user.keyboard('{Home}');
    await pass(50);
    expect(document.activeElement?.textContent).toContain('one');
  });

  test('arrow up in the empty field edits the last own message, in place', async () => {
    const { server, pass, container } = await room((server) => server.say('teh text', 1));
    await user.click(field());
    await user.keyboard('{ArrowUp}');
    const editor = screen.getByRole('textbox', { name: 'Edit' });
    expect(document.activeElement).toBe(editor);
    await isAccessible(container);
    await user.clear(editor);
    await user.type(editor, 'the text{Enter}');
    await pass(200);
    expect(server.state()[0]).toMatchObject({ content: 'the text', is_edited: true });
    expect(screen.queryByRole('textbox', { name: 'Edit' })).toBeNull();
    expect(document.activeElement?.tagName).toBe('ARTICLE');
    expect(article('the text').getByText('(edited)')).toBeTruthy();
  });

  test('a message is deleted in two steps', async () => {
    const { server, pass } = await room((server) => server.say('regret', 1));
    screen.getByRole('article').focus();
    await pass(50);
    await user.click(screen.getByRole('button', { name: 'Delete' }));
    expect(server.state()[0]?.is_deleted).toBe(false);
    await user.click(screen.getByRole('button', { name: 'Really delete?' }));
    await pass(200);
    expect(server.state()[0]?.is_deleted).toBe(true);
    expect(screen.getByText('Message deleted')).toBeTruthy();
  });

  test('a reply says what it answers; escape takes that back', async () => {
    const { server, pass } = await room((server) => server.say('a question'));
    screen.getByRole('article').focus();
    await pass(50);
    await user.click(screen.getByRole('button', { name: 'Reply' }));
    expect(document.activeElement).toBe(field());
    await user.keyboard('{Escape}');
    expect(screen.queryByText(/Replying to/)).toBeNull();
    screen.getByRole('article').focus();
    await pass(50);
    await user.click(screen.getByRole('button', { name: 'Reply' }));
    await user.type(field(), 'an answer{Enter}');
    await pass(200);
    const [question, answer] = server.state();
    expect(answer?.parent_message_id).toBe(question?.id);
    expect(screen.queryByText(/Replying to/)).toBeNull();
  });

  test('a thread has answers that the conversation does not hold', async () => {
    const { server, pass } = await room((server) => {
      const id = server.say('a question');
      server.say('an answer', 2, id);
    });
    const other = { ...server.state()[1], id: 9_000, content: 'one that is not held' };
    const answer = { ok: true, json: async () => ({ messages: [other], has_more: false, seq: 2 }) };
    const asked = vi.spyOn(globalThis, 'fetch').mockResolvedValue(answer as Response);
    await user.click(screen.getByRole('button', { name: '1 reply' }));
    await pass(50);
    const [url, request] = asked.mock.calls[0] ?? [];
    const id = server.state()[0]?.id;
    expect(url).toBe(`http://chat.test/api/conversations/77/messages/${id}/replies?limit=200`);
    expect(request).toEqual({ headers: { Authorization: 'Bearer one' } });
    const thread = within(screen.getByRole('complementary', { name: 'Thread' }));
    expect(thread.getByText('one that is not held')).toBeTruthy();
    expect(thread.getByText('an answer')).toBeTruthy();
  });

  test('a thread stands beside the conversation', async () => {
    const { server, pass, container } = await room((server) => {
      const id = server.say('a question');
      server.say('an answer', 2, id);
    });
    vi.spyOn(globalThis, 'fetch').mockRejectedValue(new Error('offline'));
    await user.click(screen.getByRole('button', { name: '1 reply' }));
    const thread = within(screen.getByRole('complementary', { name: 'Thread' }));
    expect(thread.getByText('an answer')).toBeTruthy();
    await isAccessible(container);
    await user.type(thread.getByRole('textbox', { name: 'Message' }), 'another{Enter}');
    await pass(200);
    expect(server.state()[2]?.parent_message_id).toBe(server.state()[0]?.id);
    await user.click(thread.getByRole('button', { name: 'Close' }));
    expect(screen.queryByRole('complementary')).toBeNull();
  });
});

describe('reading', () => {
  test('a long conversation is not all in the document', async () => {
    const { container } = await room((server) => {
      for (let count = 0; count < 500; count += 1) server.say(`m${count}`);
    });
    const rows = container.querySelectorAll('article').length;
    expect(rows).toBeGreaterThan(5);
    expect(rows).toBeLessThan(60);
  });

  test('what comes in is read out, once; what one wrote is not', async () => {
    const { server, pass } = await room((server) => server.say('old'));
    const spoken = () => screen.getAllByRole('status').map(({ textContent }) => textContent);
    expect(spoken()).not.toContain('User 2: old');
    server.say('news');
    await pass(100);
    expect(spoken()).toContain('User 2: news');
    server.say('mine', 1);
    await pass(100);
    expect(spoken()).not.toContain('User 1: mine');
  });

  test('what is in sight counts as read, and the line stays where the new ones began', async () => {
    const { server, pass } = await room((server) => {
      server.say('old', 1);
      server.marks.set('1', server.state()[0]?.id ?? 0);
      server.say('new');
    });
    await pass(1_000);
    expect(server.marks.get('1')).toBe(server.state()[1]?.id);
    expect(screen.getByText('New')).toBeTruthy();
  });

  test('who has read up to where', async () => {
    const { server, pass } = await room((server) => server.say('seen', 1));
    server.links[0]?.tell({ type: 'read_receipt', user_id: 2, message_id: server.state()[0]?.id });
    await pass(100);
    expect(article('seen').getByText(/^Read by/)).toBeTruthy();
  });
});
