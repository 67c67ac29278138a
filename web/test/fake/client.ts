// A client in virtual time, with what tests ask of it.

import { Chat, type ChatOptions, type Problem } from '../../client/chat';
import type { Message } from '../../client/message';
import type { FakeServer } from './server';

export interface Tried {
  readonly chat: Chat;
  readonly problems: Problem[];
  readonly reasons: string[];
}

export function client(server: FakeServer, options: Partial<ChatOptions> = {}, seed = 7): Tried {
  const problems: Problem[] = [];
  const reasons: string[] = [];
  const token = (reason: string) => {
    reasons.push(reason);
    return 'one';
  };
  const chat = new Chat({
    url: 'http://chat.test',
    conversationId: 77,
    token,
    environment: server.environment(seed),
    onProblem: (problem) => problems.push(problem),
    ...options,
  });
  return { chat, problems, reasons };
}

/** What must be the same for everybody. */
export const told = (
  message: Pick<Message, 'id' | 'content' | 'is_edited' | 'is_deleted' | 'reply_count'>,
) => ({
  id: message.id,
  content: message.content,
  is_edited: message.is_edited,
  is_deleted: message.is_deleted,
  reply_count: message.reply_count,
});

/** Who gave which reaction, in no order. */
export const given = (reactions: Readonly<Record<string, readonly unknown[]>>) =>
  Object.fromEntries(Object.entries(reactions).map(([emoji, ids]) => [emoji, [...ids].map(String).sort()]));

export const contents = (chat: Chat) => chat.snapshot().messages.map(({ content }) => content);

/** Pages in everything there is. */
export async function wholePast(chat: Chat, server: FakeServer): Promise<void> {
  for (let page = 0; page < 1_000; page += 1) {
    const { hasMore, hasNewer } = chat.snapshot();
    if (!hasMore && !hasNewer) return;
    void (hasNewer ? chat.loadNewer() : chat.loadOlder());
    await server.clock.advance(2_000);
  }
  throw new Error('the past has no end');
}
