// What goes over the wire in version 2 of the protocol: the server's docs/protocol.md as types.

/** Whole numbers are numbers, any other id is a text. */
export type UserId = number | string;
export type ConversationId = number | string;

export interface Sender {
  readonly id: UserId;
  readonly email: string;
  readonly first_name: string;
  readonly last_name: string;
}

export interface WireMessage {
  readonly id: number;
  readonly content: string;
  readonly sender: Sender;
  readonly parent_message_id: number | null;
  readonly created_at: string;
  readonly is_edited: boolean;
}

export interface Listed {
  readonly ids: readonly UserId[];
  readonly count: number;
}

export interface PastMessage extends WireMessage {
  readonly seq: number;
  readonly edited_at: string | null;
  readonly is_deleted: boolean;
  readonly reactions: Readonly<Record<string, Listed>>;
  readonly read_by: Listed;
  readonly reply_count: number;
}

/** Each has its place in the one order of its conversation. */
export type Event =
  | {
      readonly type: 'chat_message';
      readonly seq: number;
      readonly client_msg_id?: string;
      readonly message: WireMessage;
    }
  | {
      readonly type: 'message_edit';
      readonly seq: number;
      readonly message_id: number;
      readonly content: string;
      readonly edited_at: string;
    }
  | { readonly type: 'message_delete'; readonly seq: number; readonly message_id: number }
  | {
      readonly type: 'message_reaction';
      readonly seq: number;
      readonly message_id: number;
      readonly emoji: string;
      readonly user_id: UserId;
      readonly action: 'added' | 'removed';
    };

export interface Hello {
  readonly type: 'hello';
  readonly conversation_id: ConversationId;
  readonly user_id: UserId;
  readonly seq: number;
  readonly epoch: string;
  readonly heartbeat_ms: number;
  readonly limits: { readonly content_chars: number; readonly frame_bytes: number };
}

export interface Ack {
  readonly type: 'ack';
  readonly ref: string | null;
  readonly client_msg_id?: string | null;
  readonly message_id: number | null;
  readonly seq: number | null;
  readonly created_at?: string | null;
}

export interface HistoryPage {
  readonly type: 'history';
  readonly ref: string | null;
  readonly messages: readonly PastMessage[];
  readonly has_more: boolean;
  readonly seq: number;
}

export interface Refusal {
  readonly type: 'error';
  readonly error: string;
  readonly code: string;
  readonly ref: string | null;
  readonly retry_after_ms?: number;
}

export interface Resumed {
  readonly type: 'resumed';
  readonly from: number;
  readonly to: number;
  readonly marks: Readonly<Record<string, number>>;
  readonly marks_count: number;
}

/** What has no place in the order; some may be left out or merged. */
export type Signal =
  | {
      readonly type: 'typing_indicator';
      readonly user_id: UserId;
      readonly user_name: string;
      readonly is_typing: boolean;
    }
  | { readonly type: 'read_receipt'; readonly user_id: UserId; readonly message_id: number }
  | { readonly type: 'user_status'; readonly user_id: UserId; readonly status: string }
  | { readonly type: 'presence'; readonly online?: readonly UserId[]; readonly count: number };

export type ServerFrame =
  | Event
  | Signal
  | Hello
  | Ack
  | HistoryPage
  | Refusal
  | Resumed
  | { readonly type: 'resync'; readonly seq: number; readonly epoch: string }
  | { readonly type: 'pong'; readonly ref: string | null; readonly seq: number }
  | { readonly type: 'token_expiring'; readonly expires_in_ms: number };

export type Command =
  | {
      readonly type: 'chat_message';
      readonly content: string;
      readonly parent_message_id: number | null;
      readonly client_msg_id: string;
    }
  | { readonly type: 'message_edit'; readonly message_id: number; readonly content: string }
  | { readonly type: 'message_delete'; readonly message_id: number }
  | {
      readonly type: 'message_reaction';
      readonly message_id: number;
      readonly emoji: string;
      readonly action: 'add' | 'remove';
    };

/** A frame, or null for what is none. Its type may be one that is not known here. */
export function readFrame(data: unknown): ServerFrame | null {
  if (typeof data !== 'string') return null;
  try {
    const frame: unknown = JSON.parse(data);
    const isFrame = typeof frame === 'object' && frame !== null && 'type' in frame;
    return isFrame ? (frame as ServerFrame) : null;
  } catch {
    return null;
  }
}

/** In the keys of JSON objects ids are texts; this gives them back as they are elsewhere. */
export function userId(text: string): UserId {
  const number = Number(text);
  return /^(0|[1-9]\d*)$/.test(text) && Number.isSafeInteger(number) ? number : text;
}
