// Every bound of the client in one place. What the server bounds comes with its `hello`.

/** Messages that are held; older ones are dropped and paged in again. */
export const MESSAGES_MAX = 5_000;
/** Messages in a page of the past; the server gives at most 200. */
export const PAGE_MESSAGES = 50;
/** Pages, of 200, of the answers to one message. */
export const REPLY_PAGES_MAX = 5;
/** Commands that wait for the server. */
export const OUTBOX_MAX = 200;
/** Events that are kept while a page of the past is under way. */
export const RECENT_EVENTS_MAX = 1_000;
/** Users whose marks are held, as many as the server tells. */
export const MARKS_MAX = 1_000;
/** Users whose names are held. */
export const NAMES_MAX = 2_000;
/** Users that are named per reaction and per message's readers. */
export const LISTED_USERS_MAX = 50;
/** Users that are shown as typing. */
export const TYPING_MAX = 50;
/** Users that are named as online; the server counts only, beyond 200. */
export const ONLINE_MAX = 1_000;

/** The server repeats `true` after 3.1 s; the rest is for the way. */
export const TYPING_SHOWN_MS = 3_600;
/** One `true` in that time says that typing goes on. */
export const TYPING_SENT_MS = 1_000;
/** At most one receipt in that time, the newest. */
export const RECEIPT_MS = 500;
/** Changes are told at most once in that time. */
export const NOTIFY_MS = 16;

/** From the start of a connection to its `hello`. */
export const HELLO_TIMEOUT_MS = 15_000;
/** A token provider that takes longer has failed. */
export const TOKEN_TIMEOUT_MS = 30_000;
/** While no newer token is to be had, one is asked for again. */
export const TOKEN_AGAIN_MS = 10_000;
/** From a ping to anything at all. */
export const PONG_TIMEOUT_MS = 10_000;
/** With a command unanswered, a silence of that time is looked into. */
export const UNANSWERED_MS = 5_000;
/** A connection that lasted that long counts as a success. */
export const SETTLED_MS = 5_000;
/** From a question about the past to its answer. */
export const PAGE_TIMEOUT_MS = 15_000;
/** The wait after `storage_unavailable`. */
export const STORAGE_WAIT_MS = 3_000;
/** No wait that the server asks for is longer. */
export const TOLD_WAIT_MAX_MS = 600_000;
