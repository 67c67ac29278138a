//! What stays in memory and what leaves it.

use super::Stage;
use super::stage::{edit, send_once, stored, user};
use crate::model::{Command, LoadKey, Loaded, MessageId, MessageState};

/// Messages of a quiet conversation that are in the store and in memory.
const KEPT: u64 = 512;

#[test]
fn a_conversation_is_idle_when_the_store_has_it_all() {
    let mut stage = Stage::new();
    assert!(stage.chat.is_idle());
    let ann = stage.join(1);
    stage.send(ann, "x");
    stage.leave(ann);
    stage.pass(60_000);
    assert!(!stage.chat.is_idle(), "neither durable nor sealed");
    stage.durable(3);
    stage.chat.mark_durable(&user(1), MessageId(1), 3);
    assert!(!stage.chat.is_idle(), "not sealed");
    stage.chat.sealed(2);
    assert!(!stage.chat.is_idle(), "another segment");
    stage.chat.sealed(3);
    assert!(stage.chat.is_idle());
    assert_eq!(stage.chat.next_timeout(), None);
}

#[test]
fn a_mark_that_is_not_in_the_log_keeps_its_user() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join(1), stage.join(2));
    stage.post(ann, "x");
    let second = stage.post(ann, "y");
    stage.read(bob, MessageId(1));
    stage.read(bob, second);
    stage.leave(ann);
    stage.leave(bob);
    stage.pass(60_000);
    stage.chat.mark_durable(&user(1), second, 1);
    stage.chat.mark_durable(&user(2), MessageId(1), 1);
    stage.chat.sealed(1);
    assert!(!stage.chat.is_idle(), "the newest mark is still on its way");
    assert_eq!(stage.chat.readers_of(second), [user(2)]);
    stage.chat.mark_durable(&user(2), second, 2);
    stage.chat.sealed(2);
    assert!(stage.chat.is_idle());
}

#[test]
fn the_marks_of_those_who_left_are_read_again() {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join(1), stage.join(2));
    let id = stage.post(ann, "x");
    stage.read(bob, id);
    stage.leave(bob);
    stage.pass(10_000);
    stage.chat.mark_durable(&user(2), id, 1);
    stage.chat.sealed(1);
    stage.pass(10);
    stage.take();
    stage.join(2);
    stage.check(&["one 3: 2 online", "one 3: 1 online", "load mark 2"]);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of turns, nothing unsafe")]
fn sealed_messages_leave_memory_little_by_little() {
    let mut stage = Stage::new();
    let ann = stage.join(1);
    for _ in 0..5_000 {
        stage.send(ann, "x");
    }
    stage.durable(1);
    stage.chat.sealed(1);
    stage.pass(1_000);
    stage.take();
    stage.handle(ann, edit(MessageId(5_000 - KEPT), "y"));
    stage.check(&["load message 4488"]);
    let state = Loaded::Message(Some(Box::new(stored(4_488, 1))));
    stage.loaded(LoadKey::Message(MessageId(4_488)), state);
    stage.handle(ann, edit(MessageId(5_000 - KEPT + 1), "y"));
    stage.check(&["#5001 edit 4488 by 1: y", "#5002 edit 4489 by 1: y"]);
}

#[test]
fn large_messages_leave_memory_sooner() {
    let mut stage = Stage::new();
    let ann = stage.join(1);
    let large = "x".repeat(40_000);
    for _ in 0..50 {
        stage.send(ann, &large);
    }
    stage.durable(1);
    stage.chat.sealed(1);
    stage.pass(1_000);
    stage.take();
    stage.handle(ann, edit(MessageId(24), "y"));
    stage.handle(ann, edit(MessageId(26), "y"));
    stage.check(&["load message 24"]);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of turns, nothing unsafe")]
fn what_an_unsealed_event_touched_stays() {
    let mut stage = Stage::new();
    let ann = stage.join(1);
    for _ in 0..2_000 {
        stage.send(ann, "x");
    }
    stage.durable(1);
    stage.handle(ann, edit(MessageId(3), "y"));
    stage.durable(2);
    stage.chat.sealed(1);
    stage.pass(1_000);
    stage.take();
    stage.handle(ann, edit(MessageId(3), "z"));
    stage.check(&["#2002 edit 3 by 1: z"]);
    stage.durable(2);
    stage.chat.sealed(2);
    stage.pass(1_000);
    stage.handle(ann, edit(MessageId(3), "z"));
    stage.check(&["load message 3"]);
}

#[test]
fn a_sealed_first_send_is_asked_for_and_a_new_one_is_not() {
    let mut stage = Stage::new();
    let ann = stage.join_v2(1);
    stage.handle(ann, send_once("x", "c1"));
    stage.durable(1);
    stage.chat.sealed(1);
    stage.pass(100);
    stage.take();
    stage.handle(ann, send_once("x", "c2"));
    stage.handle(ann, send_once("x", "c1"));
    stage.check(&["#2 message 2 by 1: x", "mark 1 2", "load send 1 c1"]);
}

#[test]
fn a_message_that_a_command_waits_for_stays() {
    let mut stage = Stage::new();
    let ann = stage.join_v2(1);
    for _ in 0..600 {
        stage.send(ann, "x");
    }
    stage.handle(ann, send_once("x", "c1"));
    stage.durable(1);
    stage.chat.sealed(1);
    stage.pass(1_000);
    stage.take();
    let (parent, client_msg_id) = (Some(MessageId(2)), Some("c1".into()));
    let answer = Command::Send { content: "y".into(), parent, client_msg_id };
    stage.handle(ann, answer);
    stage.check(&["load send 1 c1", "load message 2"]);
    let old = MessageState { id: MessageId(2), ..stored(102, 1) };
    stage.loaded(LoadKey::Message(MessageId(2)), Loaded::Message(Some(Box::new(old))));
    stage.pass(1_000);
    let key = LoadKey::FirstSend { user: user(1), client_msg_id: "c1".into() };
    stage.loaded(key, Loaded::FirstSend(None));
    stage.check(&["#602 message 602 by 1 to 2: y", "mark 1 602"]);
}
