//! The limits as settings: one entry for each field of [`crate::limits::Limits`].

use super::field::Shape;
use super::table::{Entry, entry};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn count(min: u64, max: u64) -> Shape {
    Shape::Count { min, max }
}

const fn bytes(min: u64, max: u64) -> Shape {
    Shape::Bytes { min, max }
}

pub(super) static LIMIT_ENTRIES: [Entry; 28] = [
    entry!(
        Limits,
        Reload,
        "limits.handshake_timeout_ms",
        limits.handshake_timeout_ms,
        count(100, 600_000),
        "Whole request head, from accept on"
    ),
    entry!(
        Limits,
        Reload,
        "limits.handshake_bytes",
        limits.handshake_bytes,
        bytes(1024, 64 * KIB),
        "Longest request head"
    ),
    entry!(
        Limits,
        Reload,
        "limits.handshake_headers",
        limits.handshake_headers,
        count(8, 512),
        "Most headers of a request"
    ),
    entry!(
        Limits,
        Reload,
        "limits.handshakes_pending",
        limits.handshakes_pending,
        count(1, 1_000_000),
        "Connections that have not finished their request head"
    ),
    entry!(
        Limits,
        Reload,
        "limits.handshakes_pending_per_address",
        limits.handshakes_pending_per_address,
        count(1, 1_000_000),
        "The same per client address"
    ),
    entry!(
        Limits,
        Reload,
        "limits.handshakes",
        limits.handshakes,
        Shape::Rate,
        "New connections of the whole server"
    ),
    entry!(
        Limits,
        Reload,
        "limits.sockets_per_user",
        limits.sockets_per_user,
        count(1, 1_000_000),
        "Connections of one user"
    ),
    entry!(
        Limits,
        Reload,
        "limits.sockets_per_address",
        limits.sockets_per_address,
        count(1, 1_000_000),
        "Connections of one client address; loopback and trusted proxies are not counted"
    ),
    entry!(
        Limits,
        Reload,
        "limits.descriptor_reserve",
        limits.descriptor_reserve,
        count(8, 100_000),
        "File descriptors kept free for the store and the HTTP side"
    ),
    entry!(
        Limits,
        Reload,
        "limits.frame_bytes",
        limits.frame_bytes,
        bytes(1, 16 * MIB + 1),
        "Longest WebSocket frame"
    ),
    entry!(
        Limits,
        Reload,
        "limits.message_bytes",
        limits.message_bytes,
        bytes(1024, 16 * MIB + 1),
        "Longest WebSocket message"
    ),
    entry!(
        Limits,
        Reload,
        "limits.message_fragments",
        limits.message_fragments,
        count(1, 65_536),
        "Most fragments of a message"
    ),
    entry!(
        Limits,
        Reload,
        "limits.message_timeout_ms",
        limits.message_timeout_ms,
        count(100, 600_000),
        "From a message's first fragment to its last"
    ),
    entry!(
        Limits,
        Reload,
        "limits.content_chars",
        limits.content_chars,
        count(1, 14_000),
        "Longest text of a chat message, in Unicode characters"
    ),
    entry!(
        Limits,
        Reload,
        "limits.json_depth",
        limits.json_depth,
        count(1, 64),
        "Deepest nesting of a command"
    ),
    entry!(
        Limits,
        Reload,
        "limits.json_keys",
        limits.json_keys,
        count(8, 1024),
        "Most keys of a command"
    ),
    entry!(
        Limits,
        Reload,
        "limits.bad_frames_per_minute",
        limits.bad_frames_per_minute,
        count(1, 1_000_000),
        "Commands that make no sense before the connection is closed"
    ),
    entry!(
        Limits,
        Reload,
        "limits.frames",
        limits.frames,
        Shape::Rate,
        "Commands of one connection, receipts and typing not counted"
    ),
    entry!(
        Limits,
        Reload,
        "limits.receipts",
        limits.receipts,
        Shape::Rate,
        "Receipts of one connection; over it the server reads more slowly"
    ),
    entry!(
        Limits,
        Reload,
        "limits.events_per_user",
        limits.events_per_user,
        Shape::Rate,
        "Messages, edits, deletes and reactions of a user in a conversation"
    ),
    entry!(
        Limits,
        Reload,
        "limits.events_per_user_and_shard",
        limits.events_per_user_and_shard,
        Shape::Rate,
        "The same of a user in all conversations of a shard"
    ),
    entry!(
        Limits,
        Reload,
        "limits.events_per_conversation",
        limits.events_per_conversation,
        Shape::Rate,
        "The same of everyone in a conversation"
    ),
    entry!(
        Limits,
        Reload,
        "limits.pings",
        limits.pings,
        Shape::Rate,
        "Pings that are answered; over it only the newest is"
    ),
    entry!(
        Limits,
        Reload,
        "limits.ping_flood_per_second",
        limits.ping_flood_per_second,
        count(1, 1_000_000),
        "Pings a second that close a connection when they go on for five seconds"
    ),
    entry!(
        Limits,
        Reload,
        "limits.ping_after_ms",
        limits.ping_after_ms,
        count(100, 3_600_000),
        "Silence after which the server pings"
    ),
    entry!(
        Limits,
        Reload,
        "limits.dead_after_ms",
        limits.dead_after_ms,
        count(100, 3_600_000),
        "No answer to a ping for so long: the connection is dead"
    ),
    entry!(
        Limits,
        Reload,
        "limits.outbox_bytes",
        limits.outbox_bytes,
        bytes(4 * KIB, GIB),
        "Unsent bytes from which on a slow connection catches up from the log"
    ),
    entry!(
        Limits,
        Reload,
        "limits.stalled_ms",
        limits.stalled_ms,
        count(100, 3_600_000),
        "A connection that takes nothing for so long is closed"
    ),
];
