//! Receipts: marks that only rise, repeats that cost nothing, crowds.

use super::Stage;
use super::stage::{send, user};
use crate::model::{Command, MessageId, SessionId};

fn two() -> (Stage, SessionId, SessionId) {
    let mut stage = Stage::new();
    let (ann, bob) = (stage.join(1), stage.join_v2(2));
    stage.take();
    (stage, ann, bob)
}

fn read(id: u64) -> Command<'static> {
    Command::Read { message: MessageId(id) }
}

#[test]
fn a_mark_only_rises() {
    let (mut stage, ann, bob) = two();
    for _ in 0..3 {
        stage.post(ann, "x");
    }
    stage.take();
    for (id, expected) in [(2, vec!["mark 2 2", "all: 2 read 2"]), (2, vec![]), (1, vec![])] {
        stage.handle(bob, read(id));
        stage.check(&expected);
    }
    stage.handle(bob, read(3));
    stage.check(&["mark 2 3", "all: 2 read 3"]);
}

#[test]
fn an_author_reads_the_own_message_aloud_once() {
    let (mut stage, ann, _) = two();
    stage.post(ann, "x");
    stage.check(&["#1 message 1 by 1: x", "mark 1 1"]);
    stage.handle(ann, read(1));
    stage.check(&["all: 1 read 1"]);
    stage.handle(ann, read(1));
    stage.check(&[]);
    assert_eq!(stage.chat.readers_of(MessageId(1)), [user(1)]);
}

#[test]
fn each_user_sees_each_receipt_of_a_storm_once() {
    let mut stage = Stage::new();
    let sockets: Vec<_> = (1..=5).map(|id| stage.join(id)).collect();
    for count in 1..=10 {
        stage.post(sockets[0], "x");
        // Each page sends a receipt for each message it holds, after each change of its list.
        for _ in 0..count {
            for &socket in &sockets {
                (1..=count).for_each(|id| stage.handle(socket, read(id)));
            }
        }
    }
    let told = stage.told();
    let count = |what: &str| told.iter().filter(|told| *told == what).count();
    for user in 1..=5 {
        for id in 1..=10 {
            assert_eq!(count(&format!("all: {user} read {id}")), 1, "{user} {id}");
        }
    }
}

#[test]
fn ids_of_another_room_are_nobodys_business() {
    let (mut stage, ann, bob) = two();
    stage.post(ann, "x");
    stage.take();
    stage.handle(ann, read(999));
    stage.handle(ann, read(0));
    stage.check(&[]);
    stage.handle_ref(bob, "r", read(999));
    stage.handle(bob, read(999));
    stage.check(&["to 2: not_found r", "to 2: not_found -"]);
}

#[test]
fn a_receipt_with_a_name_has_its_ack() {
    let (mut stage, ann, bob) = two();
    stage.post(ann, "x");
    stage.take();
    stage.handle_ref(bob, "a", read(1));
    stage.check(&["mark 2 1", "all: 2 read 1", "to 2: ack a - 1 #-"]);
    stage.handle_ref(bob, "b", read(1));
    stage.check(&["to 2: ack b - - #-"]);
    stage.handle_ref(ann, "v1 has none", read(1));
    stage.check(&["all: 1 read 1"]);
}

#[test]
fn a_message_that_is_not_durable_is_no_message_yet() {
    let (mut stage, ann, bob) = two();
    stage.handle(ann, send("x"));
    stage.take();
    stage.handle(bob, read(1));
    stage.check(&["to 2: not_found -"]);
    stage.durable(1);
    stage.handle(bob, read(1));
    stage.check(&["mark 2 1", "all: 2 read 1"]);
}

#[test]
fn in_a_crowd_only_the_newest_receipt_of_a_second_goes_out() {
    let mut stage = Stage::new();
    let sockets: Vec<_> = (1..=201).map(|id| stage.join(id)).collect();
    for _ in 0..10 {
        stage.post(sockets[0], "x");
    }
    stage.pass(2_000);
    stage.take();
    for id in 1..=5 {
        stage.handle(sockets[1], read(id));
    }
    stage.handle(sockets[2], read(1));
    stage.check(&[
        "mark 2 1",
        "all: 2 read 1",
        "mark 2 2",
        "mark 2 3",
        "mark 2 4",
        "mark 2 5",
        "mark 3 1",
        "all: 3 read 1",
    ]);
    stage.pass(999);
    stage.check(&[]);
    stage.pass(1);
    stage.check(&["all: 2 read 5"]);
    stage.pass(5_000);
    stage.handle(sockets[1], read(6));
    stage.check(&["mark 2 6", "all: 2 read 6"]);
}
