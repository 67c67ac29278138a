//! Rows of the admin port.

use super::shapes::{
    ConversationEntries, ConversationEntry, ConversationName, Cursor, Erasure, Id, Import,
    ImportFailure, Limit, MemberBody, Members, Membership, Number, PostBody, Posted, Profile,
    ProfileBody, Retention, RetentionBody, RevokeBody,
};
use super::{Row, delete, get, post, put};

const NO_CONVERSATION: &str = "there is no such conversation";
const NO_MEMBER: &str = "no such conversation, or the user is not a member of it";

pub fn rows() -> Vec<Row> {
    let rows = [
        get("/admin/conversations", "conversations", "All conversations that were created")
            .asks::<Id>("after", "the last conversation of the page before")
            .asks::<Limit>("limit", "100 if left out")
            .answers::<ConversationEntries>(200, "in order of their ids"),
        put("/admin/conversations/{conversation}", "create_conversation", "Creates a conversation")
            .answers::<ConversationName>(201, "created")
            .answers::<ConversationName>(200, "it was there"),
        delete(
            "/admin/conversations/{conversation}",
            "delete_conversation",
            "Deletes it and closes its sockets; it can be created again, empty",
        )
        .answers_bare(204, "done")
        .fails(404, NO_CONVERSATION),
        put(
            "/admin/conversations/{conversation}/retention",
            "set_retention",
            "The age at which its messages are dropped",
        )
        .takes::<RetentionBody>()
        .answers::<Retention>(200, "done")
        .fails(404, NO_CONVERSATION),
        post(
            "/admin/conversations/{conversation}/messages",
            "post_message",
            "Says something as a user or as the system",
        )
        .takes::<PostBody>()
        .answers::<Posted>(201, "stored, now or, under the same client_msg_id, before")
        .fails(404, "no such conversation, or no such message to answer")
        .fails(409, "another message was sent under this client_msg_id"),
        delete(
            "/admin/conversations/{conversation}/messages/{message}",
            "delete_message",
            "Deletes a message, whoever sent it",
        )
        .answers_bare(204, "done")
        .fails(404, "no such conversation, or no such message in it"),
        get("/admin/conversations/{conversation}", "created_conversation", "One of them")
            .answers::<ConversationEntry>(200, "when it was created")
            .fails(404, NO_CONVERSATION),
        get("/admin/conversations/{conversation}/members", "members", "Members with their roles")
            .asks::<Id>("after", "the last member of the page before")
            .asks::<Limit>("limit", "100 if left out")
            .answers::<Members>(200, "in order of their ids")
            .fails(404, NO_CONVERSATION),
        put(
            "/admin/conversations/{conversation}/members/{user}",
            "set_member",
            "Makes the user a member, or gives a member another role",
        )
        .takes::<MemberBody>()
        .answers::<Membership>(200, "done")
        .fails(404, NO_CONVERSATION),
        delete(
            "/admin/conversations/{conversation}/members/{user}",
            "remove_member",
            "Ends the membership and closes the user's sockets there",
        )
        .answers_bare(204, "done")
        .fails(404, NO_MEMBER),
        post(
            "/admin/conversations/{conversation}/members/{user}/kick",
            "kick",
            "Closes the user's sockets there; the membership stays",
        )
        .answers_bare(204, "done")
        .fails(404, "no such conversation, or no live socket of the user in it"),
        put("/admin/users/{user}", "set_profile", "How the user is shown where tokens do not say")
            .takes::<ProfileBody>()
            .answers::<Profile>(200, "done"),
        post("/admin/users/{user}/revoke", "revoke", "Refuses tokens issued before a time")
            .takes::<RevokeBody>()
            .answers_bare(204, "done"),
        post("/admin/users/{user}/erase", "erase_user", "Begins to erase all that is the user's")
            .answers::<Erasure>(202, "it has begun, and goes on over restarts"),
        get("/admin/users/{user}/erase", "erasure", "How far it is")
            .answers::<Erasure>(200, "running or done")
            .fails(404, "nobody asked for it"),
        get("/admin/events", "events", "What happened, in the order of the log: lines of JSON")
            .asks::<Cursor>("after", "from the first event on if left out")
            .asks::<Number>("wait", "seconds to wait for something new, 0 to 60")
            .asks::<Limit>("limit", "lines, 1000 if left out")
            .answers_bare(200, "a page of lines; the last one has the next cursor")
            .fails(410, "the cursor is of another life of the log, or beyond its end"),
        get("/admin/backup", "backup", "Everything that is stored, for `loquat restore`")
            .answers_bare(200, "bytes; `loquat backup` takes and checks them"),
        get(
            "/admin/conversations/{conversation}/export",
            "export",
            "A conversation with all its past: lines of JSON",
        )
        .answers_bare(200, "whole if the last line is of type end")
        .fails(404, NO_CONVERSATION),
        post(
            "/admin/conversations/{conversation}/import",
            "import",
            "Brings in a conversation that does not exist: the lines of an export",
        )
        .answers::<Import>(201, "it is there")
        .answers::<Import>(202, "it is there, and its pages are being built")
        .answers::<ImportFailure>(400, "a line does not hold; nothing was imported")
        .answers::<ImportFailure>(409, "the conversation exists, or an id is taken")
        .fails(408, "the body stood still")
        .fails(413, "too many bytes or lines")
        .fails(507, "the disk has no room for it"),
        get("/admin/conversations/{conversation}/import", "import_state", "How far an import is")
            .answers::<Import>(200, "as of now")
            .fails(404, NO_CONVERSATION),
        get("/metrics", "metrics", "Figures, in the text format of Prometheus")
            .answers_bare(200, "as of now"),
        get("/openapi.json", "openapi", "This document").answers_bare(200, "OpenAPI 3.1"),
    ];
    rows.into_iter().map(common).collect()
}

/// What any of them may answer.
fn common(row: Row) -> Row {
    let says_why = row.answers.iter().any(|answer| answer.status == 400);
    let row = if says_why { row } else { row.fails(400, "an id, a page or a body that is none") };
    row.fails(401, "without the admin token")
        .fails(503, "nothing was changed, or no confirmation came in time (unconfirmed)")
}
