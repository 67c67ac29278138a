//! Messages, edits, deletes, reactions: decisions on what is in memory.

use super::Stage;
use super::stage::{
    answer_to, delete, edit, event_of, react, react_as, send, send_once, settings, user,
};
use crate::chat::{RateLimits, Settings};
use crate::model::{Header, MessageId, Mono, Now, ReactAction, Role, Seq, Version, Wall};

#[test]
fn events_are_numbered_and_a_message_raises_its_senders_mark() {
    let mut stage = Stage::new();
    let ann = stage.join(1);
    stage.take();
    let id = stage.send(ann, "hi");
    stage.handle(ann, answer_to(id, "again"));
    stage.handle(ann, react(id, "👍"));
    stage.handle(ann, edit(id, "hello"));
    stage.handle(ann, delete(id));
    stage.check(&[
        "#1 message 1 by 1: hi",
        "mark 1 1",
        "#2 message 2 by 1 to 1: again",
        "mark 1 2",
        "#3 reaction 1 by 1: +👍",
        "#4 edit 1 by 1: hello",
        "#5 delete 1 by 1",
    ]);
    assert_eq!(stage.chat.header().messages, 2);
}

#[test]
fn times_never_go_back() {
    let header =
        Header { last_seq: Seq(3), last_message: 3, messages: 3, last_at: Wall(5_000_000) };
    let mut stage = Stage::with(header, settings());
    let ann = stage.join(1);
    let mut check = |mono, wall, expected| {
        stage.now = Now { mono: Mono(mono), wall: Wall(wall) };
        stage.take();
        stage.send(ann, "hi");
        let effects = stage.take();
        assert_eq!(event_of(&effects[0]).map(|event| event.at), Some(Wall(expected)));
    };
    check(20_000, 4_000_000, 5_000_000);
    check(20_001, 6_000_000, 6_000_000);
    check(20_002, 5_500_000, 6_000_000);
    check(20_003, 6_000_001, 6_000_001);
}

#[test]
fn v1_hears_of_no_op_nothing_and_v2_has_its_ack() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join(1), stage.join_v2(2));
    let id = stage.send(ann, "hi");
    let own = stage.send(bob, "ho");
    stage.take();
    stage.handle(ann, edit(id, "hi"));
    stage.handle(ann, react_as(id, "👍", ReactAction::Remove));
    stage.check(&[]);
    stage.handle_ref(bob, "r1", edit(own, "ho"));
    stage.handle_ref(bob, "r2", react_as(id, "👍", ReactAction::Remove));
    stage.check(&["later to 2: ack r1 - - #-", "later to 2: ack r2 - - #-"]);
}

#[test]
fn a_deleted_message_is_gone() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join(1), stage.join_v2(2));
    let id = stage.send(bob, "hi");
    stage.handle(bob, delete(id));
    stage.take();
    stage.handle_ref(bob, "a", edit(id, "x"));
    stage.handle_ref(bob, "b", react(id, "x"));
    stage.handle_ref(bob, "c", delete(id));
    stage.handle(ann, react(id, "x"));
    stage.check(&[
        "later to 2: gone a",
        "later to 2: gone b",
        "later to 2: ack c - - #-",
        "later to 1: gone -",
    ]);
    stage.handle(bob, answer_to(id, "still threaded"));
    assert_eq!(stage.told()[0], "#3 message 2 by 2 to 1: still threaded");
}

#[test]
fn rights_follow_the_role() {
    let mut stage = Stage::new();
    let ann = stage.join(1);
    let reader = stage.join_as(2, Role::ReadOnly, Version::V1);
    let member = stage.join(3);
    let moderator = stage.join_as(4, Role::Moderator, Version::V1);
    let id = stage.post(ann, "hi");
    stage.take();
    for command in [send("x"), edit(id, "x"), delete(id), react(id, "x")] {
        stage.handle(reader, command);
        stage.check(&["to 2: forbidden -"]);
    }
    stage.read(reader, id);
    stage.check(&["mark 2 1", "all: 2 read 1"]);
    for command in [edit(id, "x"), delete(id)] {
        stage.handle(member, command);
        stage.check(&["to 3: forbidden -"]);
    }
    stage.handle(moderator, edit(id, "x"));
    stage.handle(moderator, delete(id));
    stage.check(&["#2 edit 1 by 4: x", "#3 delete 1 by 4"]);
}

#[test]
fn unknown_ids_are_not_found_and_an_unknown_parent_is_null_for_v1() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join(1), stage.join_v2(2));
    stage.take();
    let nowhere = MessageId(99);
    stage.handle(ann, edit(nowhere, "x"));
    stage.handle_ref(bob, "r", delete(MessageId(0)));
    stage.handle_ref(bob, "r", react(nowhere, "x"));
    stage.handle_ref(bob, "r", answer_to(nowhere, "x"));
    stage.check(&[
        "to 1: not_found -",
        "to 2: not_found r",
        "to 2: not_found r",
        "to 2: parent_not_found r",
    ]);
    stage.handle(ann, answer_to(nowhere, "x"));
    stage.check(&["#1 message 1 by 1: x", "mark 1 1"]);
}

#[test]
fn a_repeat_gets_the_first_ack_again() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join_v2(1), stage.join_v2(2));
    let page = stage.join(1);
    stage.take();
    stage.handle_ref(ann, "r1", send_once("hi", "c1"));
    stage.handle_ref(ann, "r2", send_once("hi", "c1"));
    stage.handle(ann, send_once("ho", "c1"));
    stage.handle_ref(ann, "r3", send_once("ho", "c1"));
    stage.check(&[
        "#1 message 1 by 1: hi",
        "mark 1 1",
        "later to 1: ack r2 c1 1 #1",
        "later to 1: idempotency_conflict c1",
        "later to 1: idempotency_conflict r3",
    ]);
    // The same id of another user is another message; a v1 repeat hears nothing.
    stage.handle(bob, send_once("ho", "c1"));
    stage.handle(page, send_once("hi", "c1"));
    stage.check(&["#2 message 2 by 2: ho", "mark 2 2"]);
}

#[test]
fn a_repeat_after_an_edit_is_still_the_same() {
    let mut stage = Stage::new();
    let ann = stage.join_v2(1);
    stage.handle(ann, send_once("hi", "c1"));
    stage.handle(ann, edit(MessageId(1), "changed"));
    stage.take();
    stage.handle(ann, send_once("hi", "c1"));
    stage.check(&["later to 1: ack - c1 1 #1"]);
}

#[test]
fn a_message_has_fifty_kinds_of_reactions() {
    let mut stage = Stage::new();
    let ann = stage.join(1);
    let id = stage.send(ann, "hi");
    for kind in 0..50 {
        stage.handle(ann, react(id, &format!("e{kind}")));
    }
    stage.take();
    stage.handle(ann, react(id, "one more"));
    stage.check(&["later to 1: too_long -"]);
    stage.handle(ann, react(id, "e7"));
    stage.handle(ann, react(id, "one more"));
    stage.check(&["#52 reaction 1 by 1: -e7", "#53 reaction 1 by 1: +one more"]);
}

#[test]
fn without_ids_or_room_nothing_is_numbered() {
    let mut stage = Stage::new();
    let ann = stage.join_v2(1);
    let id = stage.send(ann, "hi");
    stage.take();
    stage.ids.has_ids = false;
    stage.handle_ref(ann, "r", send("x"));
    stage.ids.has_ids = true;
    stage.ids.has_room = false;
    stage.handle(ann, send_once("x", "c"));
    stage.handle_ref(ann, "r", edit(id, "x"));
    stage.check(&[
        "to 1: storage_unavailable r",
        "to 1: storage_unavailable c",
        "to 1: storage_unavailable r",
    ]);
    assert_eq!(stage.chat.header().last_seq, Seq(1));
}

#[test]
fn a_talkative_user_is_slowed_down_and_others_are_not() {
    let settings = Settings { rate_limits: RateLimits::On, ..settings() };
    let mut stage = Stage::with(Header::default(), settings);
    let (ann, second_tab, bob) = (stage.join(1), stage.join(1), stage.join(2));
    for _ in 0..10 {
        stage.send(ann, "x");
        stage.send(second_tab, "x");
    }
    stage.take();
    stage.handle_ref(ann, "r", send("x"));
    stage.check(&["to 1: rate_limited r in 200"]);
    stage.send(bob, "x");
    assert_eq!(stage.told().len(), 2);
    stage.pass(200);
    stage.take();
    stage.send(ann, "x");
    assert_eq!(stage.told().len(), 2);
}

#[test]
fn coming_back_brings_no_new_burst() {
    let settings = Settings { rate_limits: RateLimits::On, offline_grace_ms: 0, ..settings() };
    let mut stage = Stage::with(Header::default(), settings);
    stage.join(2);
    let ann = stage.join(1);
    for _ in 0..20 {
        stage.send(ann, "x");
    }
    stage.durable(1);
    stage.chat.mark_durable(&user(1), MessageId(20), 1);
    stage.leave(ann);
    stage.chat.sealed(1);
    stage.pass(100);
    let ann = stage.join(1);
    stage.take();
    stage.send(ann, "x");
    stage.check(&["to 3: rate_limited - in 100"]);
}

#[test]
fn a_busy_conversation_is_slowed_down_as_a_whole() {
    let settings = Settings { rate_limits: RateLimits::On, ..settings() };
    let mut stage = Stage::with(Header::default(), settings);
    let sockets: Vec<_> = (1..=21).map(|id| stage.join(id)).collect();
    for socket in &sockets[..20] {
        for _ in 0..20 {
            stage.send(*socket, "x");
        }
    }
    stage.take();
    stage.send(sockets[20], "x");
    stage.check(&["to 21: rate_limited - in 5"]);
    assert_eq!(stage.chat.header().last_seq, Seq(400));
}

#[test]
fn a_stranger_is_ignored() {
    let mut stage = Stage::new();
    let ann = stage.join(1);
    stage.leave(ann);
    stage.take();
    stage.send(ann, "x");
    stage.read(ann, MessageId(1));
    stage.leave(ann);
    stage.check(&[]);
}
