//! The names of what is counted, as they stand in the metrics (docs/operating.md says what each of
//! them is good for). A counter's family is written there with `_total` behind it.

use crate::model::{CloseReason, Command, ErrorCode, EventBody, Reply, SessionCommand, Signal};

/// Who counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Each core its own share: one series per shard.
    Shard,
    /// The threads of the store.
    Store,
}

/// What metrics of one name have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub place: Place,
    /// The name of the label that tells them apart.
    pub label: Option<&'static str>,
}

/// Lists the variants by family: `Place "name" "help" "label" { Variant = "value", … }`.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $(
        $place:ident $family:literal $help:literal $($label:literal)?
        { $($variant:ident $(= $value:literal)?),+ $(,)? }
    )+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum $name { $($($variant),+),+ }

        impl $name {
            /// Those of one family stand together.
            pub const ALL: &'static [$name] = &[$($($name::$variant),+),+];
            pub const COUNT: usize = Self::ALL.len();

            pub fn family(self) -> Family {
                match self { $($($name::$variant)|+ => {
                    let labels: &[&'static str] = &[$($label)?];
                    let label = labels.first().copied();
                    Family { name: $family, help: $help, place: Place::$place, label }
                })+ }
            }

            /// The value of its family's label.
            pub fn value(self) -> Option<&'static str> {
                match self { $($($name::$variant => {
                    let values: &[&'static str] = &[$($value)?];
                    values.first().copied()
                })+)+ }
            }
        }
    };
}

named! {
    /// What only rises.
    Counter {
        Shard "loquat_connections_accepted" "Connections that were accepted." { Accepted }
        Shard "loquat_connections_refused"
            "Connections that were closed unseen, with 503: too many, too little memory, or a stop."
            { NotAccepted }
        Shard "loquat_upgrades_refused" "Requests for a socket that were answered in plain HTTP." "status" {
            Refused400 = "400",
            Refused401 = "401",
            Refused403 = "403",
            Refused404 = "404",
            Refused408 = "408",
            Refused413 = "413",
            Refused426 = "426",
            Refused431 = "431",
            Refused503 = "503",
        }
        Shard "loquat_sockets_opened" "Sockets that came into a conversation." { SocketsOpened }
        Shard "loquat_sockets_closed"
            "Sockets that ended: the reason that they were told, by_peer when the peer closed, or lost."
            "reason" {
            ClosedNormal = "normal",
            ClosedGoingAway = "going_away",
            ClosedProtocolError = "protocol_error",
            ClosedInvalidUtf8 = "invalid_utf8",
            ClosedPingFlood = "ping_flood",
            ClosedFragmentFlood = "fragment_flood",
            ClosedMessageTooSlow = "message_too_slow",
            ClosedTooBig = "too_big",
            ClosedRestart = "restart",
            ClosedTokenMissing = "token_missing",
            ClosedTokenInvalid = "token_invalid",
            ClosedTokenExpired = "token_expired",
            ClosedTokenRevoked = "token_revoked",
            ClosedSessionOver = "session_over",
            ClosedForbidden = "forbidden",
            ClosedKicked = "kicked",
            ClosedBadFrames = "bad_frames",
            ClosedTooManyConnections = "too_many_connections",
            ClosedOverload = "overload",
            ClosedRateExceeded = "rate_exceeded",
            ClosedFellBehind = "fell_behind",
            ClosedByPeer = "by_peer",
            ClosedLost = "lost",
        }
        Shard "loquat_received_bytes" "Bytes that were received on sockets." { BytesIn }
        Shard "loquat_sent_bytes" "Bytes that the kernel took from sockets." { BytesOut }
        Shard "loquat_sends" "Writes to sockets." { Sends }
        Shard "loquat_frames_in" "Frames that clients sent; rejected is what was no command." "type" {
            InSend = "chat_message",
            InTyping = "typing_indicator",
            InRead = "read_receipt",
            InReact = "message_reaction",
            InEdit = "message_edit",
            InDelete = "message_delete",
            InRejected = "rejected",
            InHistory = "history",
            InPing = "ping",
            InRefresh = "refresh_token",
            InPingFrame = "ping_frame",
            InPongFrame = "pong_frame",
            InCloseFrame = "close_frame",
        }
        Shard "loquat_frames_out"
            "Frames that were made, each counted once however many sockets got it." "type" {
            OutMessage = "chat_message",
            OutEdit = "message_edit",
            OutDelete = "message_delete",
            OutReaction = "message_reaction",
            OutTyping = "typing_indicator",
            OutRead = "read_receipt",
            OutStatus = "user_status",
            OutPresence = "presence",
            OutAck = "ack",
            OutError = "error",
            OutHello = "hello",
            OutResumed = "resumed",
            OutHistory = "history",
            OutResync = "resync",
            OutPong = "pong",
            OutTokenExpiring = "token_expiring",
            OutPingFrame = "ping_frame",
            OutPongFrame = "pong_frame",
        }
        Shard "loquat_deliveries"
            "Frames of conversations that were handed to sockets, once for each socket." "kind" {
            DeliveredEvents = "event",
            DeliveredSignals = "signal",
        }
        Shard "loquat_receipts_repeated" "Read receipts that said nothing new." { ReceiptsRepeated }
        Shard "loquat_refusals" "Commands that were answered with an error." "code" {
            RefusedInvalidJson = "invalid_json",
            RefusedInvalid = "invalid",
            RefusedUnknownType = "unknown_type",
            RefusedEmpty = "empty",
            RefusedTooLong = "too_long",
            RefusedNotFound = "not_found",
            RefusedForbidden = "forbidden",
            RefusedGone = "gone",
            RefusedParentNotFound = "parent_not_found",
            RefusedRateLimited = "rate_limited",
            RefusedIdempotencyConflict = "idempotency_conflict",
            RefusedStorageUnavailable = "storage_unavailable",
            RefusedUnexpectedBinary = "unexpected_binary",
        }
        Shard "loquat_catch_ups" "Slow sockets that began to catch up from the log." { CatchUps }
        Shard "loquat_loads" "Questions to the threads that read the store." { Loads }
        Shard "loquat_mailbox_overflows" "Mail between cores that found its ring full and waited." { MailboxOverflows }
        Shard "loquat_mailbox_batches_shed"
            "Batches of wide conversations that were lost for want of room; their sockets come back."
            { BatchesShed }
        Shard "loquat_turns" "Turns of the reactor." { Turns }
        Store "loquat_segments_sealed" "Segments of the journal whose pages are built." { SegmentsSealed }
    }
}

named! {
    /// What rises and falls.
    Gauge {
        Shard "loquat_sockets" "Sockets in conversations." { Sockets }
        Shard "loquat_handshakes" "Connections that are not sockets yet." { Handshakes }
        Shard "loquat_sockets_closing" "Sockets that have been told the end and are not gone." { SocketsClosing }
        Shard "loquat_outbox_bytes" "Bytes that wait to be sent, of all sockets." { OutboxBytes }
        Shard "loquat_outbox_largest_bytes" "Bytes that wait to be sent on the socket with the most." { OutboxLargestBytes }
        Shard "loquat_sockets_catching_up" "Slow sockets that catch up from the log." { CatchingUp }
        Shard "loquat_conversations_in_memory" "Conversations in memory." { Conversations }
        Shard "loquat_mailbox_items" "Mail of other cores, and for them, that waits." { MailboxItems }
        Shard "loquat_mailbox_overflow_bytes" "Bytes of batches that wait for room in a ring." { MailboxOverflowBytes }
        Shard "loquat_waiting_for_log" "What was decided and is not shown yet." { WaitingForLog }
        Shard "loquat_waiting_for_load" "Questions to the store that are not answered yet." { WaitingForLoad }
        Shard "loquat_accepting" "1 while messages are taken, 0 while the store takes none." { Accepting }
        Shard "loquat_memory_pressure" "0 none, 1 no new sockets, 2 large queues are shed, 3 sending is refused." { MemoryPressure }
        Store "loquat_disk_free_bytes" "Free space where the journal is." { DiskFreeBytes }
        Store "loquat_segments_waiting" "Segments of the journal whose pages are not built yet." { SegmentsWaiting }
    }
}

named! {
    /// How what was measured is spread. What is measured is a whole number; see [`Histogram::bounds`].
    Histogram {
        Store "loquat_commit_seconds" "From the write of a commit to its being durable." { CommitMicros }
        Store "loquat_sync_seconds" "What each fdatasync of the journal took." { SyncMicros }
        Store "loquat_commit_records" "Records of a commit." { CommitRecords }
        Store "loquat_commit_bytes" "Bytes of a commit." { CommitBytes }
        Store "loquat_page_build_seconds" "From the beginning of a segment's pages to their being on disk." { PageBuildMillis }
    }
}

impl Histogram {
    /// Upper bounds of the buckets; what is above the last one is counted as well.
    pub fn bounds(self) -> &'static [u64] {
        match self {
            Histogram::CommitMicros | Histogram::SyncMicros => &[
                50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
                500_000, 1_000_000, 5_000_000,
            ],
            Histogram::CommitRecords => {
                &[0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096]
            }
            Histogram::CommitBytes => {
                &[128, 512, 2_048, 8_192, 32_768, 131_072, 524_288, 1_048_576, 4_194_304]
            }
            Histogram::PageBuildMillis => {
                &[50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000]
            }
        }
    }

    /// How many of what is measured are one of the metric's unit.
    pub fn per_unit(self) -> u64 {
        match self {
            Histogram::CommitMicros | Histogram::SyncMicros => 1_000_000,
            Histogram::PageBuildMillis => 1_000,
            Histogram::CommitRecords | Histogram::CommitBytes => 1,
        }
    }
}

impl Counter {
    pub fn received(command: &Command<'_>) -> Counter {
        match command {
            Command::Send { .. } => Counter::InSend,
            Command::Typing { .. } => Counter::InTyping,
            Command::Read { .. } => Counter::InRead,
            Command::React { .. } => Counter::InReact,
            Command::Edit { .. } => Counter::InEdit,
            Command::Delete { .. } => Counter::InDelete,
        }
    }

    pub fn received_of_session(command: &SessionCommand<'_>) -> Counter {
        match command {
            SessionCommand::History(_) => Counter::InHistory,
            SessionCommand::Ping => Counter::InPing,
            SessionCommand::RefreshToken { .. } => Counter::InRefresh,
        }
    }

    pub fn event(body: &EventBody) -> Counter {
        match body {
            EventBody::Message(_) => Counter::OutMessage,
            EventBody::Edit { .. } => Counter::OutEdit,
            EventBody::Delete { .. } => Counter::OutDelete,
            EventBody::Reaction { .. } => Counter::OutReaction,
        }
    }

    pub fn signal(signal: &Signal) -> Counter {
        match signal {
            Signal::Typing { .. } => Counter::OutTyping,
            Signal::Read { .. } => Counter::OutRead,
            Signal::Status { .. } => Counter::OutStatus,
            Signal::PresenceCount { .. } => Counter::OutPresence,
        }
    }

    pub fn reply(reply: &Reply) -> Counter {
        match reply {
            Reply::Ack(_) => Counter::OutAck,
            Reply::Error { .. } => Counter::OutError,
            Reply::Hello { .. } => Counter::OutHello,
            Reply::Presence { .. } => Counter::OutPresence,
            Reply::Resumed(_) => Counter::OutResumed,
            Reply::Resync { .. } => Counter::OutResync,
            Reply::History(_) => Counter::OutHistory,
            Reply::Pong { .. } => Counter::OutPong,
            Reply::TokenExpiring { .. } => Counter::OutTokenExpiring,
        }
    }

    /// A request for a socket that was answered with this status.
    pub fn refused_upgrade(status: u16) -> Counter {
        match status {
            401 => Counter::Refused401,
            403 => Counter::Refused403,
            404 => Counter::Refused404,
            408 => Counter::Refused408,
            413 => Counter::Refused413,
            426 => Counter::Refused426,
            431 => Counter::Refused431,
            503 => Counter::Refused503,
            _ => Counter::Refused400,
        }
    }

    pub fn refused(code: ErrorCode) -> Counter {
        match code {
            ErrorCode::InvalidJson => Counter::RefusedInvalidJson,
            ErrorCode::Invalid => Counter::RefusedInvalid,
            ErrorCode::UnknownType => Counter::RefusedUnknownType,
            ErrorCode::Empty => Counter::RefusedEmpty,
            ErrorCode::TooLong => Counter::RefusedTooLong,
            ErrorCode::NotFound => Counter::RefusedNotFound,
            ErrorCode::Forbidden => Counter::RefusedForbidden,
            ErrorCode::Gone => Counter::RefusedGone,
            ErrorCode::ParentNotFound => Counter::RefusedParentNotFound,
            ErrorCode::RateLimited => Counter::RefusedRateLimited,
            ErrorCode::IdempotencyConflict => Counter::RefusedIdempotencyConflict,
            ErrorCode::StorageUnavailable => Counter::RefusedStorageUnavailable,
            ErrorCode::UnexpectedBinary => Counter::RefusedUnexpectedBinary,
        }
    }

    pub fn closed(reason: CloseReason) -> Counter {
        match reason {
            CloseReason::Normal => Counter::ClosedNormal,
            CloseReason::GoingAway => Counter::ClosedGoingAway,
            CloseReason::ProtocolError => Counter::ClosedProtocolError,
            CloseReason::InvalidUtf8 => Counter::ClosedInvalidUtf8,
            CloseReason::PingFlood => Counter::ClosedPingFlood,
            CloseReason::FragmentFlood => Counter::ClosedFragmentFlood,
            CloseReason::MessageTooSlow => Counter::ClosedMessageTooSlow,
            CloseReason::TooBig => Counter::ClosedTooBig,
            CloseReason::Restart { .. } => Counter::ClosedRestart,
            CloseReason::TokenMissing => Counter::ClosedTokenMissing,
            CloseReason::TokenInvalid => Counter::ClosedTokenInvalid,
            CloseReason::TokenExpired => Counter::ClosedTokenExpired,
            CloseReason::TokenRevoked => Counter::ClosedTokenRevoked,
            CloseReason::SessionOver => Counter::ClosedSessionOver,
            CloseReason::Forbidden => Counter::ClosedForbidden,
            CloseReason::Kicked => Counter::ClosedKicked,
            CloseReason::BadFrames => Counter::ClosedBadFrames,
            CloseReason::TooManyConnections => Counter::ClosedTooManyConnections,
            CloseReason::Overload => Counter::ClosedOverload,
            CloseReason::RateExceeded => Counter::ClosedRateExceeded,
            CloseReason::FellBehind => Counter::ClosedFellBehind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn all() -> Vec<(Family, Option<&'static str>)> {
        let counters = Counter::ALL.iter().map(|it| (it.family(), it.value()));
        let gauges = Gauge::ALL.iter().map(|it| (it.family(), it.value()));
        let histograms = Histogram::ALL.iter().map(|it| (it.family(), it.value()));
        counters.chain(gauges).chain(histograms).collect()
    }

    #[test]
    fn each_has_a_series_of_its_own() {
        let all = all();
        let distinct: BTreeSet<_> =
            all.iter().map(|(family, value)| (family.name, value)).collect();
        assert_eq!(distinct.len(), all.len());
        for (family, value) in all {
            assert_eq!(family.label.is_some(), value.is_some(), "{family:?}");
        }
    }

    #[test]
    fn names_are_of_prometheus_and_have_their_units_last() {
        for (family, _) in all() {
            let Family { name, help, .. } = family;
            let letters = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.starts_with("loquat_") && name.chars().all(letters), "{name}");
            assert!(!name.ends_with("_total"), "the exposition adds it: {name}");
            assert!(help.ends_with('.') && help.starts_with(|c: char| c.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn bounds_rise_and_fit_in_a_block() {
        for histogram in Histogram::ALL {
            let bounds = histogram.bounds();
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{histogram:?}");
            assert!(bounds.len() < super::super::counters::BUCKETS, "{histogram:?}");
        }
    }

    #[test]
    fn labels_use_the_protocol_s_own_words() {
        let value = Counter::refused(ErrorCode::StorageUnavailable).value();
        assert_eq!(value, Some(ErrorCode::StorageUnavailable.as_str()));
        let value = Counter::closed(CloseReason::FellBehind).value();
        assert_eq!(value, Some(CloseReason::FellBehind.reason()));
    }

    #[test]
    fn the_manual_explains_each_of_them() {
        let manual = include_str!("../../docs/operating.md");
        for (family, _) in all() {
            let total =
                if Counter::ALL.iter().any(|it| it.family() == family) { "_total" } else { "" };
            let name = format!("`{}{total}`", family.name);
            assert!(manual.contains(&name), "docs/operating.md does not explain {name}");
        }
    }
}
