//! The names of what is counted, as they appear in metrics.

use crate::model::{CloseReason, Command, ErrorCode, EventBody, Signal};

/// Lists the variants once: the enum, the metric's family, its label, and how many there are.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = ($family:literal, $label:literal)),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum $name { $($(#[$about])* $variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            pub const COUNT: usize = Self::ALL.len();

            /// The metric's name; those that differ only by a label share one.
            pub fn family(self) -> &'static str {
                match self { $($name::$variant => $family),+ }
            }

            /// `name="value"`, or empty.
            pub fn label(self) -> &'static str {
                match self { $($name::$variant => $label),+ }
            }
        }
    };
}

named! {
    /// What only rises.
    Counter {
        Accepted = ("loquat_connections_accepted_total", ""),
        SocketsOpened = ("loquat_sockets_opened_total", ""),
        SocketsClosed = ("loquat_sockets_closed_total", ""),
        BytesIn = ("loquat_received_bytes_total", ""),
        BytesOut = ("loquat_sent_bytes_total", ""),
        Sends = ("loquat_sends_total", ""),
        InSend = ("loquat_frames_in_total", "type=\"chat_message\""),
        InTyping = ("loquat_frames_in_total", "type=\"typing_indicator\""),
        InRead = ("loquat_frames_in_total", "type=\"read_receipt\""),
        InReact = ("loquat_frames_in_total", "type=\"message_reaction\""),
        InEdit = ("loquat_frames_in_total", "type=\"message_edit\""),
        InDelete = ("loquat_frames_in_total", "type=\"message_delete\""),
        InPing = ("loquat_frames_in_total", "type=\"ping\""),
        InPong = ("loquat_frames_in_total", "type=\"pong\""),
        InClose = ("loquat_frames_in_total", "type=\"close\""),
        OutMessage = ("loquat_frames_out_total", "type=\"chat_message\""),
        OutEdit = ("loquat_frames_out_total", "type=\"message_edit\""),
        OutDelete = ("loquat_frames_out_total", "type=\"message_delete\""),
        OutReaction = ("loquat_frames_out_total", "type=\"message_reaction\""),
        OutTyping = ("loquat_frames_out_total", "type=\"typing_indicator\""),
        OutRead = ("loquat_frames_out_total", "type=\"read_receipt\""),
        OutStatus = ("loquat_frames_out_total", "type=\"user_status\""),
        OutPresence = ("loquat_frames_out_total", "type=\"presence\""),
        OutReply = ("loquat_frames_out_total", "type=\"reply\""),
        OutPing = ("loquat_frames_out_total", "type=\"ping\""),
        OutPong = ("loquat_frames_out_total", "type=\"pong\""),
        /// One event handed to one socket.
        Deliveries = ("loquat_deliveries_total", ""),
        ReceiptsRepeated = ("loquat_receipts_repeated_total", ""),
        CatchUps = ("loquat_catch_ups_total", ""),
        Loads = ("loquat_loads_total", ""),
        Commits = ("loquat_commits_total", ""),
        CommittedEvents = ("loquat_committed_events_total", ""),
        CommittedBytes = ("loquat_committed_bytes_total", ""),
        CommitMicros = ("loquat_commit_microseconds_total", ""),
        MailboxOverflows = ("loquat_mailbox_overflows_total", ""),
        HandshakesRefused = ("loquat_handshakes_refused_total", ""),
        RefusedInvalidJson = ("loquat_refusals_total", "code=\"invalid_json\""),
        RefusedInvalid = ("loquat_refusals_total", "code=\"invalid\""),
        RefusedUnknownType = ("loquat_refusals_total", "code=\"unknown_type\""),
        RefusedEmpty = ("loquat_refusals_total", "code=\"empty\""),
        RefusedTooLong = ("loquat_refusals_total", "code=\"too_long\""),
        RefusedNotFound = ("loquat_refusals_total", "code=\"not_found\""),
        RefusedForbidden = ("loquat_refusals_total", "code=\"forbidden\""),
        RefusedGone = ("loquat_refusals_total", "code=\"gone\""),
        RefusedParentNotFound = ("loquat_refusals_total", "code=\"parent_not_found\""),
        RefusedRateLimited = ("loquat_refusals_total", "code=\"rate_limited\""),
        RefusedIdempotencyConflict = ("loquat_refusals_total", "code=\"idempotency_conflict\""),
        RefusedStorageUnavailable = ("loquat_refusals_total", "code=\"storage_unavailable\""),
        RefusedUnexpectedBinary = ("loquat_refusals_total", "code=\"unexpected_binary\""),
        ClosedNormal = ("loquat_closes_total", "reason=\"normal\""),
        ClosedGoingAway = ("loquat_closes_total", "reason=\"going_away\""),
        ClosedProtocolError = ("loquat_closes_total", "reason=\"protocol_error\""),
        ClosedInvalidUtf8 = ("loquat_closes_total", "reason=\"invalid_utf8\""),
        ClosedPingFlood = ("loquat_closes_total", "reason=\"ping_flood\""),
        ClosedFragmentFlood = ("loquat_closes_total", "reason=\"fragment_flood\""),
        ClosedMessageTooSlow = ("loquat_closes_total", "reason=\"message_too_slow\""),
        ClosedTooBig = ("loquat_closes_total", "reason=\"too_big\""),
        ClosedRestart = ("loquat_closes_total", "reason=\"restart\""),
        ClosedTokenMissing = ("loquat_closes_total", "reason=\"token_missing\""),
        ClosedTokenInvalid = ("loquat_closes_total", "reason=\"token_invalid\""),
        ClosedTokenExpired = ("loquat_closes_total", "reason=\"token_expired\""),
        ClosedTokenRevoked = ("loquat_closes_total", "reason=\"token_revoked\""),
        ClosedSessionOver = ("loquat_closes_total", "reason=\"session_over\""),
        ClosedForbidden = ("loquat_closes_total", "reason=\"forbidden\""),
        ClosedKicked = ("loquat_closes_total", "reason=\"kicked\""),
        ClosedBadFrames = ("loquat_closes_total", "reason=\"bad_frames\""),
        ClosedTooManyConnections = ("loquat_closes_total", "reason=\"too_many_connections\""),
        ClosedOverload = ("loquat_closes_total", "reason=\"overload\""),
        ClosedRateExceeded = ("loquat_closes_total", "reason=\"rate_exceeded\""),
        ClosedFellBehind = ("loquat_closes_total", "reason=\"fell_behind\""),
        /// The connection ended without a close frame from either side.
        ClosedLost = ("loquat_closes_total", "reason=\"lost\""),
    }
}

named! {
    /// What rises and falls: each core tells its own share, the sum is the server's.
    Gauge {
        Sockets = ("loquat_sockets", ""),
        Handshakes = ("loquat_handshakes", ""),
        Conversations = ("loquat_conversations_in_memory", ""),
        MailboxDepth = ("loquat_mailbox_items", ""),
        MailboxOverflowBytes = ("loquat_mailbox_overflow_bytes", ""),
        OutboxBytes = ("loquat_outbox_bytes", ""),
        CatchingUp = ("loquat_sockets_catching_up", ""),
        WaitingForLog = ("loquat_events_waiting_for_log", ""),
        WaitingForLoad = ("loquat_commands_waiting_for_load", ""),
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

    #[test]
    fn every_counter_and_gauge_has_a_series_of_its_own() {
        let counters = Counter::ALL.iter().map(|c| (c.family(), c.label()));
        let gauges = Gauge::ALL.iter().map(|g| (g.family(), g.label()));
        let series: Vec<_> = counters.chain(gauges).collect();
        let distinct: BTreeSet<_> = series.iter().copied().collect();
        assert_eq!(distinct.len(), series.len());
    }

    #[test]
    fn labels_use_the_protocol_s_own_words() {
        let label = Counter::refused(ErrorCode::StorageUnavailable).label();
        assert_eq!(label, format!("code=\"{}\"", ErrorCode::StorageUnavailable.as_str()));
        let label = Counter::closed(CloseReason::FellBehind).label();
        assert_eq!(label, format!("reason=\"{}\"", CloseReason::FellBehind.reason()));
    }
}
