//! Every setting but the limits.

use super::field::{Shape, words_of};
use super::table::{Entry, entry};
use super::words::{Algorithm, AuthReject, Fsync, Switch};
use crate::limits::{DRAIN_MS_MAX, SHARDS_MAX};
use crate::model::Access;
use tracing::level_filters::LevelFilter;

const SHARDS: Shape = Shape::Count { min: 1, max: SHARDS_MAX as u64 };

const fn count(min: u64, max: u64) -> Shape {
    Shape::Count { min, max }
}

const fn bytes(min: u64, max: u64) -> Shape {
    Shape::Bytes { min, max }
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

pub(super) static ENTRIES: [Entry; 31] = [
    entry!(
        Server,
        Restart,
        "listen",
        listen,
        Shape::Address,
        "Address and port of the public side; port 0 takes any free one"
    ),
    entry!(
        Server,
        Restart,
        "data",
        data,
        Shape::Path,
        "Directory that everything is stored in; one server at a time"
    ),
    Entry {
        default_is: Some("one per available core"),
        ..entry!(
            Server,
            Restart,
            "shards",
            shards,
            SHARDS,
            "Reactor threads, each with its own share of the conversations"
        )
    },
    entry!(
        Server,
        Restart,
        "admin.listen",
        admin.listen,
        Shape::AddressOrOff,
        "Address and port of the admin side (API, health, metrics), which there is once it has a token"
    ),
    entry!(
        Server,
        Restart,
        "admin.token_file",
        admin.token_file,
        Shape::Path,
        "File with the token that the admin API asks for"
    ),
    entry!(
        Server,
        Reload,
        "allowed_origins",
        allowed_origins,
        Shape::Origins,
        "Web pages that may connect besides those of the same host"
    ),
    entry!(
        Server,
        Restart,
        "trusted_proxies",
        trusted_proxies,
        Shape::Networks,
        "Proxies whose X-Forwarded-For is believed"
    ),
    entry!(
        Server,
        Reload,
        "log.level",
        log.level,
        Shape::Words(words_of::<LevelFilter>),
        "How much is logged"
    ),
    entry!(
        Server,
        Restart,
        "drain_timeout_ms",
        drain_timeout_ms,
        count(0, DRAIN_MS_MAX),
        "After SIGTERM: how long closing the sockets may take"
    ),
    entry!(
        Server,
        Restart,
        "memory_limit",
        memory_limit_bytes,
        bytes(0, 1024 * GIB),
        "Memory that the process may use, if less than its control group and the machine allow; 0 is no limit of its own"
    ),
    entry!(
        Tokens,
        Restart,
        "access",
        access,
        Shape::Words(words_of::<Access>),
        "Who may enter a conversation: its members in the directory, whom the token's claim names, or anyone with a token"
    ),
    entry!(
        Tokens,
        Reload,
        "jwt.secret_file",
        jwt.secret_file,
        Shape::Path,
        "File with the secret that tokens are signed with"
    ),
    entry!(
        Tokens,
        Reload,
        "jwt.secret",
        jwt.secret,
        Shape::Secret,
        "The secret itself, in the environment or the file; never as a flag"
    ),
    entry!(
        Tokens,
        Reload,
        "jwt.keys",
        jwt.listed,
        Shape::Keys,
        "More keys, for rotation, chosen by a token's kid"
    ),
    entry!(
        Tokens,
        Restart,
        "jwt.algorithm",
        jwt.algorithm,
        Shape::Words(words_of::<Algorithm>),
        "How tokens are signed, whatever their header says"
    ),
    entry!(
        Tokens,
        Restart,
        "jwt.user_claim",
        jwt.user_claim,
        Shape::Text,
        "The claim that holds the user's id"
    ),
    entry!(Tokens, Restart, "jwt.audience", jwt.audience, Shape::Text, "Required aud claim"),
    entry!(Tokens, Restart, "jwt.issuer", jwt.issuer, Shape::Text, "Required iss claim"),
    entry!(
        Tokens,
        Restart,
        "jwt.leeway_s",
        jwt.leeway_s,
        count(0, 300),
        "How long after its exp a token is still taken"
    ),
    entry!(
        Tokens,
        Restart,
        "auth.reject",
        auth.reject,
        Shape::Words(words_of::<AuthReject>),
        "How a refused token is told: by a close code after the 101, or by an HTTP status"
    ),
    entry!(
        Storage,
        Restart,
        "fsync",
        fsync,
        Shape::Words(words_of::<Fsync>),
        "What durable means: synced to disk, or written and synced later"
    ),
    entry!(
        Storage,
        Restart,
        "disk_reserve",
        disk_reserve_bytes,
        bytes(MIB, 1024 * GIB),
        "Free space below which new messages are refused"
    ),
    entry!(
        Storage,
        Restart,
        "journal_segment",
        journal_segment_bytes,
        bytes(4 * MIB, GIB),
        "Size of one journal file"
    ),
    entry!(
        Storage,
        Restart,
        "journal_keep_days",
        journal_keep_days,
        count(0, 3650),
        "How long a finished journal file is kept for repairs"
    ),
    entry!(
        Storage,
        Restart,
        "retention_days",
        retention_days,
        count(0, 36_500),
        "Age at which messages are dropped, unless a conversation has its own; 0 keeps them"
    ),
    entry!(
        Storage,
        Restart,
        "sled_cache",
        sled_cache_bytes,
        bytes(MIB, 64 * GIB),
        "Memory for cached pages of history"
    ),
    entry!(
        Behaviour,
        Restart,
        "wide_threshold",
        wide_threshold,
        count(2, 1_000_000),
        "Sockets from which on a conversation is spread over all cores"
    ),
    entry!(
        Behaviour,
        Restart,
        "max_session_s",
        max_session_s,
        count(1, 30 * 86_400),
        "Longest life of one connection"
    ),
    entry!(
        Behaviour,
        Restart,
        "offline_grace_ms",
        offline_grace_ms,
        count(0, 600_000),
        "How long after its last socket a user is still online"
    ),
    entry!(
        Behaviour,
        Restart,
        "history_on_connect",
        history_on_connect,
        count(0, 200),
        "Messages that a client of the plain protocol gets on connect"
    ),
    entry!(
        Behaviour,
        Restart,
        "rate_limits",
        rate_limits,
        Shape::Words(words_of::<Switch>),
        "Whether the rates below are enforced; off for benchmarks"
    ),
];
