// What an application writes, against the package as it is published: this compiles, strictly, with
// TypeScript's two ways of finding modules. The first part is the README's.

import { ChatProvider, ChatRoom, type Message, useChat } from '@loquat/react';
import { createChat, type Snapshot } from '@loquat/react/client';
import '@loquat/react/style.css';

const token = async () => (await fetch('/api/chat-token')).text();

export function App() {
  return (
    <ChatProvider url="https://chat.example.org" token={token}>
      <ChatRoom conversationId={77} title="Team" />
    </ChatProvider>
  );
}

export function Own() {
  const { messages, typingUsers, onlineUsers, isConnected, sendMessage, unreadCount } = useChat('team');
  const failed: Message | undefined = messages.find(({ status }) => status === 'failed');
  const typing: string[] = Object.values(typingUsers);
  return (
    <button type="button" disabled={!isConnected} onClick={() => sendMessage('Hello', failed?.id)}>
      {unreadCount} {typing.join()} {String(onlineUsers[1])}
    </button>
  );
}

export const chat = createChat({ url: 'https://chat.example.org', conversationId: 77, token });
export const count = (snapshot: Snapshot): number => snapshot.messages.length;
