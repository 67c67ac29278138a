//! Commands on what is not in memory: they wait, in order, and nothing is asked twice.

use super::Stage;
use super::stage::{answer_to, delete, edit, react, react_as, send, send_once, stored, user};
use crate::model::{
    Command, FirstSend, FirstSendPlace, FirstSends, LoadKey, Loaded, Mark, MessageId, MessageState,
    ReactAction, Role, Seq, SessionId, Version, Wall,
};

fn message(id: u64) -> LoadKey {
    LoadKey::Message(MessageId(id))
}

fn found(id: u64, sender: u64) -> Loaded {
    Loaded::Message(Some(Box::new(stored(id, sender))))
}

fn first_send(id: u64, client_msg_id: &str) -> LoadKey {
    LoadKey::FirstSend { user: user(id), client_msg_id: client_msg_id.into() }
}

/// An old conversation with one v2 member whose mark is known.
fn old_stage() -> (Stage, SessionId) {
    let mut stage = Stage::old();
    let ann = stage.join_v2(1);
    stage.loaded(LoadKey::Mark(user(1)), Loaded::Mark(None));
    stage.take();
    (stage, ann)
}

#[test]
fn later_commands_wait_behind_an_old_message() {
    let (mut stage, ann) = old_stage();
    stage.handle_ref(ann, "a", edit(MessageId(101), "new"));
    stage.handle_ref(ann, "b", send("hi"));
    stage.handle_ref(ann, "c", delete(MessageId(102)));
    stage.handle_ref(ann, "d", react(MessageId(101), "x"));
    stage.check(&["load message 101", "load message 102"]);
    stage.loaded(message(102), found(102, 1));
    stage.check(&[]);
    stage.loaded(message(101), found(101, 1));
    stage.check(&[
        "#11 edit 101 by 1: new",
        "#12 message 111 by 1: hi",
        "mark 1 111",
        "#13 delete 102 by 1",
        "#14 reaction 101 by 1: +x",
    ]);
    stage.handle(ann, edit(MessageId(101), "again"));
    stage.check(&["#15 edit 101 by 1: again"]);
}

#[test]
fn a_failed_load_fails_its_commands_and_no_others() {
    let (mut stage, ann) = old_stage();
    stage.handle_ref(ann, "a", edit(MessageId(101), "new"));
    stage.handle_ref(ann, "b", send_once("hi", "c"));
    stage.handle_ref(ann, "c", send("ho"));
    stage.check(&["load message 101", "load sends", "load send 1 c"]);
    stage.loaded(message(101), Loaded::Failed);
    stage.check(&["to 1: storage_unavailable a"]);
    stage.loaded(first_send(1, "c"), Loaded::Failed);
    stage.check(&["to 1: storage_unavailable b", "#11 message 111 by 1: ho", "mark 1 111"]);
    // It is asked for again by the next one.
    stage.handle_ref(ann, "d", edit(MessageId(101), "new"));
    stage.check(&["load message 101"]);
}

#[test]
fn what_the_store_does_not_have_is_not_found() {
    let (mut stage, ann) = old_stage();
    let page = stage.join(1);
    stage.take();
    stage.handle_ref(ann, "a", edit(MessageId(55), "x"));
    stage.handle_ref(ann, "b", answer_to(MessageId(55), "x"));
    stage.handle(page, answer_to(MessageId(55), "x"));
    stage.check(&["load message 55"]);
    stage.loaded(message(55), Loaded::Message(None));
    stage.check(&[
        "to 1: not_found a",
        "to 1: parent_not_found b",
        "#11 message 111 by 1: x",
        "mark 1 111",
    ]);
    // Ids are never given twice: it is not asked again.
    stage.handle_ref(ann, "c", edit(MessageId(55), "x"));
    stage.check(&["to 1: not_found c"]);
}

#[test]
fn ids_beyond_the_last_are_not_asked_for() {
    let (mut stage, ann) = old_stage();
    stage.handle_ref(ann, "a", edit(MessageId(111), "x"));
    stage.check(&["to 1: not_found a"]);
}

#[test]
fn a_stored_first_send_answers_its_repeat() {
    let (mut stage, ann) = old_stage();
    let first = FirstSend {
        message: MessageId(104),
        seq: Seq(4),
        created_at: Wall(5),
        content_hash: FirstSend::hash_content("hi"),
    };
    stage.handle_ref(ann, "a", send_once("hi", "c"));
    stage.handle_ref(ann, "b", send_once("ho", "c"));
    stage.check(&["load sends", "load send 1 c"]);
    stage.loaded(first_send(1, "c"), Loaded::FirstSend(Some(first)));
    stage.check(&["later to 1: ack a c 104 #4", "later to 1: idempotency_conflict b"]);
}

#[test]
fn two_new_sends_under_one_id_are_one_message() {
    let (mut stage, ann) = old_stage();
    stage.handle_ref(ann, "a", send_once("hi", "c"));
    stage.handle_ref(ann, "b", send_once("hi", "c"));
    stage.check(&["load sends", "load send 1 c"]);
    stage.loaded(first_send(1, "c"), Loaded::FirstSend(None));
    stage.check(&["#11 message 111 by 1: hi", "mark 1 111", "later to 1: ack b c 111 #11"]);
}

#[test]
fn a_first_send_that_is_sealed_before_its_repeats_turn_is_known() {
    let (mut stage, ann) = old_stage();
    stage.handle_ref(ann, "a", send_once("hi", "c"));
    stage.handle_ref(ann, "b", edit(MessageId(101), "x"));
    stage.handle_ref(ann, "c", send_once("hi", "c"));
    stage.loaded(first_send(1, "c"), Loaded::FirstSend(None));
    stage.durable(1);
    stage.chat.sealed(1);
    stage.chat.shrink();
    stage.take();
    stage.loaded(message(101), found(101, 1));
    stage.check(&["#12 edit 101 by 1: x", "later to 1: ack c c 111 #11"]);
}

#[test]
fn a_repeat_that_needed_nothing_when_it_came_takes_the_answer_of_a_later_one() {
    let (mut stage, ann) = old_stage();
    stage.handle(ann, send_once("hi", "c"));
    stage.loaded(first_send(1, "c"), Loaded::FirstSend(None));
    stage.handle_ref(ann, "a", edit(MessageId(101), "x"));
    stage.handle_ref(ann, "b", send_once("hi", "c"));
    stage.durable(1);
    stage.chat.sealed(1);
    stage.chat.shrink();
    stage.handle_ref(ann, "d", send_once("hi", "c"));
    let first = FirstSend {
        message: MessageId(111),
        seq: Seq(11),
        created_at: Wall(5),
        content_hash: FirstSend::hash_content("hi"),
    };
    stage.loaded(first_send(1, "c"), Loaded::FirstSend(Some(first)));
    stage.take();
    stage.loaded(message(101), found(101, 1));
    stage.check(&[
        "#12 edit 101 by 1: x",
        "later to 1: ack b c 111 #11",
        "later to 1: ack d c 111 #11",
    ]);
}

#[test]
fn a_new_conversation_asks_for_nothing() {
    let mut stage = Stage::new();
    let ann = stage.join_v2(1);
    stage.take();
    stage.handle(ann, send_once("hi", "c"));
    stage.check(&["#1 message 1 by 1: hi", "mark 1 1"]);
}

#[test]
fn an_old_parent_counts_its_answers() {
    let (mut stage, ann) = old_stage();
    stage.handle(ann, answer_to(MessageId(103), "x"));
    stage.loaded(message(103), found(103, 2));
    stage.check(&["load message 103", "#11 message 111 by 1 to 103: x", "mark 1 111"]);
    let recent: Vec<MessageState> = stage.chat.recent(9, vec![stored(103, 2)]);
    let counts: Vec<_> = recent.iter().map(|held| (held.id.0, held.reply_count)).collect();
    assert_eq!(counts, [(103, 1), (111, 0)]);
}

#[test]
fn a_late_answer_does_not_undo_what_memory_knows() {
    let (mut stage, ann) = old_stage();
    stage.handle(ann, edit(MessageId(101), "new"));
    stage.loaded(message(101), found(101, 1));
    stage.loaded(message(101), found(101, 1));
    stage.take();
    stage.handle_ref(ann, "r", edit(MessageId(101), "new"));
    stage.check(&["later to 1: ack r - - #-"]);
}

#[test]
fn too_many_waiting_commands_are_refused() {
    let (mut stage, ann) = old_stage();
    for _ in 0..256 {
        stage.handle(ann, edit(MessageId(101), "x"));
    }
    stage.take();
    stage.handle_ref(ann, "r", send("x"));
    stage.check(&["to 1: rate_limited r in 100"]);
    stage.loaded(message(101), found(101, 1));
    assert_eq!(stage.told().len(), 256);
}

#[test]
fn a_waiting_command_outlives_its_socket() {
    let (mut stage, ann) = old_stage();
    stage.handle_ref(ann, "a", edit(MessageId(101), "new"));
    stage.handle_ref(ann, "b", edit(MessageId(101), "new"));
    stage.leave(ann);
    stage.pass(60_000);
    stage.take();
    stage.loaded(message(101), found(101, 1));
    stage.check(&["#11 edit 101 by 1: new"]);
}

#[test]
fn a_removed_members_waiting_commands_are_dropped() {
    let (mut stage, ann) = old_stage();
    let bob = stage.join_v2(2);
    stage.loaded(LoadKey::Mark(user(2)), Loaded::Mark(None));
    stage.handle(ann, edit(MessageId(101), "x"));
    stage.handle(bob, send("hi"));
    stage.take();
    stage.chat.set_member(&user(1), None, stage.now, &mut stage.out);
    stage.check(&["close 1 4004"]);
    stage.loaded(message(101), found(101, 1));
    stage.check(&["#11 message 111 by 2: hi", "mark 2 111"]);
}

#[test]
fn a_role_that_changed_meanwhile_counts() {
    let (mut stage, ann) = old_stage();
    let moderator = stage.join_as(2, Role::Moderator, Version::V2);
    stage.handle_ref(moderator, "a", edit(MessageId(101), "x"));
    stage.handle_ref(ann, "b", edit(MessageId(101), "y"));
    stage.chat.set_member(&user(2), Some(Role::Member), stage.now, &mut stage.out);
    stage.chat.set_member(&user(1), Some(Role::ReadOnly), stage.now, &mut stage.out);
    stage.take();
    stage.loaded(message(101), found(101, 1));
    stage.check(&["to 2: forbidden a", "to 1: forbidden b"]);
}

#[test]
fn a_receipt_does_not_wait_behind_commands() {
    let (mut stage, ann) = old_stage();
    stage.handle(ann, edit(MessageId(101), "x"));
    stage.handle(ann, react_as(MessageId(102), "x", ReactAction::Remove));
    stage.read(ann, MessageId(103));
    stage.check(&["load message 101", "load message 102", "load message 103"]);
    stage.loaded(message(103), found(103, 2));
    stage.check(&["mark 1 103", "all: 1 read 103"]);
}

#[test]
fn a_stored_mark_keeps_old_receipts_silent() {
    let mut stage = Stage::old();
    let ann = stage.join(1);
    assert_eq!(stage.told(), ["one 1: 1 online", "load mark 1"]);
    stage.read(ann, MessageId(104));
    stage.read(ann, MessageId(106));
    stage.read(ann, MessageId(106));
    stage.check(&[]);
    let at = Wall(3);
    let mark = Mark { user: user(1), message: MessageId(105), ordinal: 4, at };
    stage.loaded(LoadKey::Mark(user(1)), Loaded::Mark(Some(mark)));
    stage.check(&["load message 106"]);
    stage.loaded(message(106), found(106, 2));
    stage.check(&["mark 1 106", "all: 1 read 106"]);
}

#[test]
fn a_mark_that_cannot_be_read_is_asked_for_again() {
    let mut stage = Stage::old();
    let (page, app) = (stage.join(1), stage.join_v2(1));
    stage.read(page, MessageId(104));
    stage.handle_ref(app, "r", Command::Read { message: MessageId(104) });
    stage.take();
    stage.loaded(LoadKey::Mark(user(1)), Loaded::Failed);
    stage.check(&["to 2: storage_unavailable r"]);
    stage.read(page, MessageId(104));
    stage.check(&["load mark 1"]);
}

fn place(id: u64, client_msg_id: &str) -> FirstSendPlace {
    FirstSendPlace { day: 20_000, user: user(id), client_msg_id: client_msg_id.into() }
}

fn sends(places: &[FirstSendPlace], is_last: bool) -> Loaded {
    Loaded::FirstSends(FirstSends { places: places.to_vec(), is_last })
}

#[test]
fn ordinary_sends_ask_nothing_once_the_filter_is_whole() {
    let (mut stage, ann) = old_stage();
    stage.handle(ann, send_once("hi", "c"));
    stage.check(&["load sends", "load send 1 c"]);
    stage.loaded(LoadKey::FirstSends(None), sends(&[place(1, "a")], false));
    stage.check(&["load sends behind 1 a"]);
    stage.loaded(first_send(1, "c"), Loaded::FirstSend(None));
    stage.check(&["#11 message 111 by 1: hi", "mark 1 111"]);
    // Until the last step anything may be stored.
    stage.handle(ann, send_once("ho", "d"));
    stage.check(&["load send 1 d"]);
    stage.loaded(first_send(1, "d"), Loaded::FirstSend(None));
    stage.take();
    // What is sealed meanwhile is behind the step that was read: it goes into the filter itself.
    stage.durable(1);
    stage.chat.sealed(1);
    stage.chat.shrink();
    let key = LoadKey::FirstSends(Some(place(1, "a")));
    stage.loaded(key, sends(&[place(2, "b")], true));
    stage.check(&[]);
    stage.handle(ann, send_once("x", "new"));
    stage.check(&["#13 message 113 by 1: x", "mark 1 113"]);
    for known in ["a", "c", "d"] {
        stage.handle(ann, send_once("x", known));
        stage.check(&[&format!("load send 1 {known}")]);
        stage.loaded(first_send(1, known), Loaded::FirstSend(None));
        stage.take();
    }
}

#[test]
fn a_filter_that_cannot_be_read_is_begun_anew() {
    let (mut stage, ann) = old_stage();
    stage.handle(ann, send_once("hi", "c"));
    stage.loaded(LoadKey::FirstSends(None), Loaded::Failed);
    stage.loaded(first_send(1, "c"), Loaded::FirstSend(None));
    stage.take();
    stage.handle(ann, send_once("hi", "d"));
    stage.check(&["load sends", "load send 1 d"]);
}
