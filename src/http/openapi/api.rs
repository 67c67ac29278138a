//! Rows of `/api`.

use super::shapes::{Conversation, Conversations, Edits, History, Id, Limit, Number};
use super::{Row, get};

const NO_TOKEN: &str = "no token, or one that does not hold: token_missing, token_invalid, \
    token_expired, token_revoked";

pub fn rows() -> Vec<Row> {
    let rows = [
        get("/api/conversations", "my_conversations", "The caller's own conversations")
            .asks::<Id>("after", "the last conversation of the page before")
            .asks::<Limit>("limit", "50 if left out; a page also ends at 128 KiB")
            .answers::<Conversations>(200, "in order of their ids"),
        get(
            "/api/conversations/{conversation}",
            "conversation",
            "A conversation, and those who take part in it",
        )
        .asks::<Id>("after", "the last participant of the page before")
        .asks::<Limit>("limit", "50 if left out")
        .answers::<Conversation>(200, "where the caller stands in it"),
        get("/api/conversations/{conversation}/messages", "history", "A page of messages")
            .asks::<Number>("before", "the newest with a lower id")
            .asks::<Number>("after", "the oldest with a higher id")
            .asks::<Number>("around", "half of them up to this one, half behind it")
            .asks::<Limit>("limit", "50 if left out; a page also ends at 128 KiB")
            .answers::<History>(200, "oldest first; the newest, if no place is named"),
        get(
            "/api/conversations/{conversation}/messages/{message}/replies",
            "replies",
            "A page of the messages that answer this one",
        )
        .asks::<Number>("after", "the last reply of the page before")
        .asks::<Limit>("limit", "50 if left out; a page also ends at 128 KiB")
        .answers::<History>(200, "oldest first")
        .fails(404, "the conversation has no such message"),
        get(
            "/api/conversations/{conversation}/messages/{message}/edits",
            "edits",
            "What the message said, from its original on",
        )
        .asks::<Number>("after", "the seq of the last edit of the page before")
        .asks::<Limit>("limit", "50 if left out; a page also ends at 128 KiB")
        .answers::<Edits>(200, "oldest first")
        .fails(404, "the conversation has no such message")
        .fails(410, "the message is deleted"),
    ];
    rows.into_iter().map(common).collect()
}

/// What any of them may answer.
fn common(row: Row) -> Row {
    row.fails(400, "an id, a place or a length that is none")
        .fails(401, NO_TOKEN)
        .fails(403, "no such conversation, or not the caller's; or a page of another origin")
        .fails(503, "too much waits, or the store cannot be read: ask again")
}
