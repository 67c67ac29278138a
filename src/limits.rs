//! Every bound in one place: fixed ones as constants, the others as [`Limits`] with their defaults,
//! their units in their names, and their relations checked (at compile time for the defaults, again
//! when configured).

use serde::Deserialize;

/// Longest conversation or user id, in bytes.
pub const ID_BYTES_MAX: usize = 64;
/// 2^53 − 1: the largest integer that every JavaScript client holds exactly.
pub const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;
/// Longest `ref`, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 64;
/// Longest `client_msg_id`, in bytes.
pub const CLIENT_MSG_ID_BYTES_MAX: usize = 64;
/// How long a `client_msg_id` is remembered.
pub const CLIENT_MSG_ID_KEPT_MS: u64 = 7 * 24 * 3600 * 1000;
/// Longest emoji of a reaction, in bytes, and the most kinds on one message.
pub const EMOJI_BYTES_MAX: usize = 64;
pub const REACTION_KINDS_MAX: usize = 50;
/// Longest reason of a close frame that we send, in bytes.
pub const CLOSE_REASON_BYTES_MAX: usize = 32;
/// RFC 6455 §5.5: a control frame's payload.
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;
/// Commands that wait in one conversation for old state.
pub const WAITING_COMMANDS_MAX: usize = 256;
/// Events in one group commit.
pub const COMMIT_EVENTS_MAX: usize = 4096;
/// Records that one read of past events brings, in bytes, about.
pub const PAST_BYTES_MAX: usize = 64 * 1024;
/// Messages of one page of history: the most, and how many when nothing is said.
pub const HISTORY_MESSAGES_MAX: u32 = 200;
pub const HISTORY_MESSAGES_DEFAULT: u32 = 50;
/// A page of history ends when it is so long, in bytes of JSON.
pub const HISTORY_BYTES_MAX: usize = 128 * 1024;
/// Lines of one page of `/admin/events`, and when a page ends, in bytes of texts.
pub const EVENTS_PAGE_MAX: usize = 1_000;
pub const EVENTS_PAGE_BYTES_MAX: usize = 1 << 20;
/// How long `/admin/events` waits at most.
pub const EVENTS_WAIT_S_MAX: u64 = 60;
/// Events whose order in the log is held at once when it is restored from pages, 32 bytes each.
pub const ORDER_WINDOW_EVENTS: usize = 1 << 18;
/// An import: its bytes, its lines, one line, and the highest message id that it may bring.
pub const IMPORT_BYTES_MAX: u64 = 1 << 30;
pub const IMPORT_LINES_MAX: u64 = 5_000_000;
pub const IMPORT_LINE_BYTES_MAX: usize = 256 * 1024;
pub const IMPORT_ID_MAX: u64 = 1 << 52;
/// Exports that run at once.
pub const EXPORTS_MAX: usize = 2;
/// A backup: one piece that is read at a time, the longest frame that is taken, how long the page thread may
/// take until it holds on, and the free space that a restore leaves.
pub const BACKUP_PIECE_BYTES: usize = 256 * 1024;
pub const BACKUP_FRAME_BYTES_MAX: usize = 1 << 20;
pub const BACKUP_HOLD_MS: u64 = 60_000;
pub const RESTORE_FREE_BYTES_MIN: u64 = 64 << 20;
/// What a command that asks the admin port takes of an answer, and how long it waits for one to begin.
pub const ADMIN_ANSWER_BYTES_MAX: u64 = 4 << 20;
pub const ADMIN_ANSWER_MS: u64 = 10_000;
/// `loquat import`: how long all lines of a file may be sorted and checked after the last of them was sent, and how
/// long it is tried again while the server is busy with the import before.
pub const IMPORT_ANSWER_MS: u64 = 600_000;
pub const IMPORT_RETRY_MS: u64 = 60_000;
/// A client that takes or sends nothing of an export or import for so long is cut.
pub const TRANSFER_STALL_MS: u64 = 30_000;
/// Users that a list in a frame names at most; the count beside it is whole.
pub const LISTED_USERS_MAX: usize = 50;
/// Questions about the past that a shard has under way at once.
pub const QUESTIONS_MAX: usize = 512;
/// What one of them may take: the store's part, and the answer that waits to be sent.
pub const QUESTION_BYTES_MAX: usize = 2 * HISTORY_BYTES_MAX;
/// Marks that are shown of one conversation at most.
pub const MARKS_SHOWN_MAX: u32 = 1_000;
/// Marks of one conversation that are counted at most.
pub const MARKS_COUNTED_MAX: u32 = 20_000;
/// First sends of one step when a filter of them is made.
pub const FIRST_SENDS_MAX: usize = 4_096;
/// Pieces of the log that one turn hands to sockets which follow it.
pub const FEEDS_PER_TURN_MAX: usize = 32;
/// Reads of past events that a shard has under way for them.
pub const FEED_LOADS_MAX: usize = 16;
/// A socket that follows the log asks for its next piece when so little is unsent, in bytes.
pub const FEED_BELOW_BYTES: usize = 16 * 1024;
/// Receipts and changes of presence that are remembered for them, per conversation.
pub const MISSED_SIGNALS_MAX: usize = 4_096;
/// As how many frames a question about the past counts: it costs some hundred times a message's CPU.
pub const HISTORY_FRAMES: u32 = 10;
/// Questions about the past that one socket may have under way.
pub const QUESTIONS_PER_SOCKET_MAX: u8 = 4;
/// Bytes of one page in sled: larger values become files that nothing syncs.
pub const PAGE_BYTES_MAX: usize = 64 * 1024;
/// How long a page of several events becomes.
pub const PAGE_BYTES: usize = 16 * 1024;
/// What a socket had asked for when its user was erased is decided within this, and erased, too.
pub const ERASURE_GRACE_MS: u64 = 2_000;
/// Message ids that a store which lost something passes over: some may have been given to what is lost.
pub const LOST_IDS_SKIPPED: u64 = 1_000_000;
/// Lines of damage that a look through the store keeps; behind them it only counts.
pub const VERIFY_LINES_MAX: usize = 10_000;
/// From so many online on, presence and typing are reduced.
pub const CROWD: usize = 200;
/// How many of a crowd may be seen typing at once.
pub const CROWD_TYPISTS_MAX: usize = 5;
/// Presence goes out once per tick.
pub const PRESENCE_TICK_MS: u64 = 50;
/// Typing: an earlier `true` of the burst that becomes this old is renewed; so is silence ended.
pub const TYPING_RENEW_MS: u64 = 3_100;
/// Typing: most `true`s in any `TYPING_RENEW_MS`.
pub const TYPING_BURST_MAX: usize = 3;
/// A v2 socket hears of its token's end so long before, and is closed so long after.
pub const TOKEN_WARNING_MS: u64 = 30_000;
pub const TOKEN_GRACE_MS: u64 = 30_000;
/// A refused token's `nbf`/`iat` may be this far in the future.
pub const CLOCK_SKEW_S: u64 = 5;
/// Longest token and `kid`, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;
pub const KID_BYTES_MAX: usize = 64;
/// Shortest HMAC secret that `serve` takes, in bytes (RFC 7518 §3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// A token's header as JSON: it is read before anything is known about the sender.
pub const TOKEN_HEADER_BYTES_MAX: usize = 1024;
/// A token's JSON: members of one object, and how deep it nests.
pub const TOKEN_MEMBERS_MAX: usize = 64;
pub const TOKEN_DEPTH_MAX: usize = 8;
/// Longest e-mail, first or last name in a token, in Unicode scalar values.
pub const TOKEN_NAME_CHARS_MAX: usize = 256;
/// Most conversations that a token lists.
pub const TOKEN_CONVERSATIONS_MAX: usize = 1_000;
/// The latest time that a token may name, in seconds: the end of the year 9999.
pub const TOKEN_TIME_S_MAX: u64 = 253_402_300_799;
/// Keys that may verify tokens at once: a token without `kid` is tried with each of them.
pub const TOKEN_KEYS_MAX: usize = 8;
/// Events kept in rings between cores before the overflow store is used.
pub const MAILBOX_SLOTS: usize = 4096;
/// Overflow of one ring, in bytes of batches.
pub const MAILBOX_OVERFLOW_BYTES_MAX: usize = 8 << 20;
/// The smallest `memory_limit`: with less the server would refuse everybody from its start.
pub const MEMORY_BYTES_MIN: u64 = 64 << 20;
/// Most shards that can be configured.
pub const SHARDS_MAX: usize = 256;
/// Message ids a shard leases at a time.
pub const LEASE_IDS: u64 = 128 * 1024;
/// Plain HTTP requests under way at once, and how long one may take.
pub const HTTP_REQUESTS_MAX: usize = 512;
pub const HTTP_TIMEOUT_MS: u64 = 10_000;
/// After a refused frame: how much is still read, and for how long, so that the close is not lost.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;
pub const LINGER_MS: u64 = 2_000;
/// The same while the peer still takes what was not sent yet.
pub const LINGER_SLOW_MS: u64 = 10_000;
/// On the admin port, within `LINGER_MS`: an import that is refused at its beginning is still being sent.
pub const ADMIN_LINGER_BYTES_MAX: usize = 1 << 30;
/// SIGTERM: everything is closed within this.
pub const DRAIN_MS_MAX: u64 = 10_000;

/// What a connection takes besides what `limits` bounds: its records, timers and places in tables.
pub const CONNECTION_BYTES: usize = 4 * 1024;
/// What the allocator and tables that have grown may keep when everybody has left again.
pub const KEPT_BYTES_MAX: usize = 16 << 20;

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

const fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second, burst }
}

/// Bounds that an operator may set (`limits.*`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Whole request head, from accept on.
    pub handshake_timeout_ms: u64,
    pub handshake_bytes: usize,
    pub handshake_headers: usize,
    /// Sockets that have not finished their handshake, per process and per address.
    pub handshakes_pending: usize,
    pub handshakes_pending_per_address: usize,
    pub handshakes: Rate,
    pub sockets_per_user: usize,
    pub sockets_per_address: usize,
    /// File descriptors kept free for the store and the HTTP side.
    pub descriptor_reserve: usize,
    pub frame_bytes: usize,
    pub message_bytes: usize,
    pub message_fragments: usize,
    pub message_timeout_ms: u64,
    /// Unicode scalar values.
    pub content_chars: usize,
    pub json_depth: usize,
    pub json_keys: usize,
    pub bad_frames_per_minute: u32,
    /// Per socket; receipts and typing are not counted.
    pub frames: Rate,
    /// Receipts per socket; over it reading pauses.
    pub receipts: Rate,
    /// Chat, edit, delete and reaction together, per user and conversation.
    pub events_per_user: Rate,
    /// The same per user and shard.
    pub events_per_user_and_shard: Rate,
    /// The same per conversation.
    pub events_per_conversation: Rate,
    /// Pings that are answered; over it only the newest is.
    pub pings: Rate,
    /// More pings than this a second for five seconds close the socket.
    pub ping_flood_per_second: u32,
    pub ping_after_ms: u64,
    pub dead_after_ms: u64,
    /// Unsent bytes of one socket.
    pub outbox_bytes: usize,
    /// A socket that takes nothing for so long is closed.
    pub stalled_ms: u64,
}

impl Limits {
    pub const DEFAULT: Limits = Limits {
        handshake_timeout_ms: 5_000,
        handshake_bytes: 8 * 1024,
        handshake_headers: 64,
        handshakes_pending: 4_096,
        handshakes_pending_per_address: 64,
        handshakes: rate(2_000, 4_000),
        sockets_per_user: 20,
        sockets_per_address: 256,
        descriptor_reserve: 64,
        frame_bytes: 64 * 1024,
        message_bytes: 64 * 1024,
        message_fragments: 64,
        message_timeout_ms: 30_000,
        content_chars: 10_000,
        json_depth: 8,
        json_keys: 32,
        bad_frames_per_minute: 20,
        frames: rate(50, 200),
        receipts: rate(2_000, 4_000),
        events_per_user: rate(5, 20),
        events_per_user_and_shard: rate(20, 80),
        events_per_conversation: rate(200, 400),
        pings: rate(2, 16),
        ping_flood_per_second: 100,
        ping_after_ms: 25_000,
        dead_after_ms: 10_000,
        outbox_bytes: 256 * 1024,
        stalled_ms: 60_000,
    };

    /// What `/ws/echo` of the demo allows: conformance suites send 16 MiB in one message.
    pub fn echo() -> Limits {
        Limits {
            frame_bytes: (16 << 20) + 1,
            message_bytes: (16 << 20) + 1,
            message_fragments: 65_536,
            outbox_bytes: 64 << 20,
            ..Limits::DEFAULT
        }
    }

    /// Memory of all connections that have not finished their request, at most.
    pub fn handshakes_bytes_max(&self) -> usize {
        self.handshakes_pending * (self.handshake_bytes + CONNECTION_BYTES)
    }

    /// Memory of one socket, at most: a message that comes in, twice while its buffer grows, and what waits to be sent.
    pub fn socket_bytes_max(&self) -> usize {
        2 * self.message_bytes + self.outbox_bytes + self.message_bytes + CONNECTION_BYTES
    }

    /// Every relation that does not hold, as a sentence.
    pub fn conflicts(&self) -> Vec<String> {
        RELATIONS
            .iter()
            .filter(|(_, holds)| !holds(self))
            .map(|(sentence, _)| (*sentence).to_owned())
            .collect()
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::DEFAULT
    }
}

type Relation = (&'static str, fn(&Limits) -> bool);

const RELATIONS: [Relation; 8] = [
    ("limits.frame_bytes is 1 to limits.message_bytes", |l| {
        l.frame_bytes >= 1 && l.frame_bytes <= l.message_bytes
    }),
    ("limits.message_bytes is 1024 to 16777217", |l| {
        l.message_bytes >= 1024 && l.message_bytes <= (16 << 20) + 1
    }),
    ("limits.outbox_bytes is at least limits.message_bytes", |l| l.outbox_bytes >= l.message_bytes),
    // Four bytes each, with the sender's names: a record that still is one page of the store.
    ("limits.content_chars is 1 to 14000", |l| l.content_chars >= 1 && l.content_chars <= 14_000),
    ("limits.handshake_bytes is 1024 to 65536", |l| {
        l.handshake_bytes >= 1024 && l.handshake_bytes <= 65_536
    }),
    ("limits.handshakes_pending_per_address is 1 to limits.handshakes_pending", |l| {
        l.handshakes_pending_per_address >= 1
            && l.handshakes_pending_per_address <= l.handshakes_pending
    }),
    ("limits.json_depth is 1 to 64, limits.json_keys 8 to 1024", |l| {
        l.json_depth >= 1 && l.json_depth <= 64 && l.json_keys >= 8 && l.json_keys <= 1024
    }),
    ("limits.message_fragments is at least 1, limits.sockets_per_user at least 1", |l| {
        l.message_fragments >= 1 && l.sockets_per_user >= 1
    }),
];

const _: () = {
    let l = Limits::DEFAULT;
    assert!(l.frame_bytes <= l.message_bytes);
    assert!(l.message_bytes <= l.outbox_bytes);
    // A content of 10,000 four-byte characters, escaped at worst, must still fit in a frame that
    // the store takes as one record of a page.
    assert!(l.content_chars * 4 < PAGE_BYTES_MAX);
    assert!(l.handshakes_pending_per_address <= l.handshakes_pending);
    assert!(TOKEN_BYTES_MAX < l.handshake_bytes);
    // nginx cuts a silent upstream after 60 s.
    assert!(l.ping_after_ms + l.dead_after_ms < 60_000);
    assert!(LEASE_IDS >= 2 * COMMIT_EVENTS_MAX as u64);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_no_conflicts() {
        assert_eq!(Limits::DEFAULT.conflicts(), Vec::<String>::new());
        assert_eq!(Limits::echo().conflicts(), Vec::<String>::new());
    }

    #[test]
    fn a_frame_larger_than_a_message_is_named() {
        let limits = Limits { frame_bytes: 70_000, ..Limits::DEFAULT };
        assert_eq!(limits.conflicts(), ["limits.frame_bytes is 1 to limits.message_bytes"]);
    }
}
