//! Readers that do not keep up, and writes that are cut anywhere.

use loquat::limits::{Limits, Rate};
use loquat::node::connection::Buckets;
use serde_json::json;

use super::client::typing;
use super::decode::{Seen, masked};
use super::pump::End;
use super::world::{Setup, World};

#[test]
fn writes_cut_at_every_size_never_mix_frames() {
    for size in 1..40 {
        let mut world = World::new(Setup { history_on_connect: 4, ..Setup::default() });
        let ann = world.enter(1, 1);
        let bob = world.enter_v1(2, 1);
        world.sockets[ann].send_max = size;
        world.sockets[bob].send_max = size;
        for n in 0..4 {
            world
                .send(ann, &json!({"type": "chat_message", "content": format!("{n}"), "ref": "r"}));
            world.send(bob, &typing());
            world.bytes(bob, &masked(9, b"p"));
        }
        let cid = world.enter_v1(3, 1);
        assert_eq!(world.contents(cid), ["0", "1", "2", "3"]);
        assert_eq!(world.contents(bob), ["0", "1", "2", "3"]);
        assert!(world.sockets.iter().all(|socket| socket.decoder.is_level()), "{size}");
        world.finish();
    }
}

#[test]
fn writes_that_stop_anywhere_go_on_behind_what_came_meanwhile() {
    for room in (0..1_500).step_by(37) {
        let mut world = World::new(Setup::default());
        let (ann, bob) = (world.enter(1, 1), world.enter_v1(2, 1));
        world.sockets[bob].room = Some(room);
        for n in 0..6 {
            world.say(ann, &format!("{n}"));
            world.bytes(bob, &masked(9, b"p"));
            world.settle();
        }
        world.take(bob, None);
        assert_eq!(world.contents(bob), ["0", "1", "2", "3", "4", "5"]);
        world.finish();
    }
}

#[test]
fn over_half_of_its_outbox_a_reader_loses_typing_and_nothing_else() {
    let mut world = World::new(Setup::default());
    let (ann, bob, cid) = (world.enter(1, 1), world.enter(2, 1), world.enter(3, 1));
    let before = world.count(bob, "typing_indicator");
    world.sockets[bob].room = Some(100);
    for _ in 0..20 {
        world.say(ann, &"x".repeat(9_000));
    }
    world.send(cid, &typing());
    world.take(bob, None);
    assert_eq!(world.contents(bob).len(), 20);
    assert_eq!(world.count(bob, "typing_indicator"), before);
    assert_eq!(world.count(ann, "typing_indicator"), 1);
    world.finish();
}

#[test]
fn over_its_outbox_a_reader_comes_back_and_others_do_not_notice() {
    let mut world = World::new(Setup::default());
    let (ann, bob, cid) = (world.enter(1, 1), world.enter(2, 1), world.enter_v1(3, 1));
    world.sockets[bob].room = Some(5_000);
    for _ in 0..40 {
        world.say(ann, &"x".repeat(9_000));
    }
    world.take(bob, None);
    assert_eq!(world.close_code(bob), Some(4200));
    assert_eq!((world.contents(ann).len(), world.contents(cid).len()), (40, 40));
    world.finish();
}

#[test]
fn answers_to_a_flood_that_nobody_reads_are_bounded() {
    let limits = Limits { frames: Rate { per_second: 100_000, burst: 100_000 }, ..Limits::DEFAULT };
    let mut world = World::new(Setup { limits, buckets: Buckets::On, ..Setup::default() });
    let ann = world.enter(1, 1);
    world.sockets[ann].room = Some(0);
    let empty = json!({"type": "chat_message", "content": ""});
    let delete = json!({"type": "message_delete", "message_id": 999, "ref": "r"});
    for _ in 0..5_000 {
        world.push(ann, &empty);
        world.push(ann, &delete);
    }
    world.settle();
    world.take(ann, None);
    assert_eq!(world.close_code(ann), Some(4200));
    assert!(world.sockets[ann].decoder.received_bytes() <= 300 * 1024);
    world.finish();
}

#[test]
fn a_history_larger_than_an_outbox_turns_nobody_away() {
    let mut world = World::new(Setup { history_on_connect: 50, ..Setup::default() });
    let ann = world.enter(1, 1);
    for n in 0..50 {
        world.say(ann, &format!("{n} {}", "x".repeat(9_900)));
    }
    let bob = world.knock(super::client::Knock {
        user: 2,
        version: loquat::model::Version::V1,
        ..Default::default()
    });
    world.sockets[bob].room = Some(1_000);
    world.settle();
    world.say(ann, "live");
    world.take(bob, None);
    assert!(world.is_open(bob), "{:?}", world.close_code(bob));
    let contents = world.contents(bob);
    assert!(contents.len() == 51 && contents[0].starts_with("0 "), "{}", contents.len());
    assert_eq!(contents[50], "live");
    world.finish();
}

#[test]
fn a_peers_close_is_answered_before_all_that_waits() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.sockets[bob].room = Some(200);
    for _ in 0..10 {
        world.say(ann, &"x".repeat(5_000));
    }
    world.bytes(bob, &masked(8, &4_321u16.to_be_bytes()));
    world.settle();
    world.take(bob, None);
    assert_eq!(world.seen(bob).last(), Some(&Seen::Close(Some(4_321), String::new())));
    // Only the write that had begun was finished.
    assert!(world.contents(bob).len() < 10);
    world.finish();
}

/// A reader that does not keep up and has just been told so; the close is not sent yet.
fn fallen_behind() -> (World, usize) {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.sockets[bob].room = Some(5_000);
    for _ in 0..40 {
        world.say(ann, &"x".repeat(9_000));
    }
    (world, bob)
}

#[test]
fn a_close_reaches_a_peer_that_is_merely_slow() {
    let (mut world, bob) = fallen_behind();
    for _ in 0..5 {
        world.advance(1_900);
        assert_eq!((world.close_code(bob), world.end(bob)), (None, None));
        world.take(bob, Some(500));
    }
    world.take(bob, None);
    assert_eq!(world.close_code(bob), Some(4200));
    world.advance(2_000);
    assert_eq!(world.end(bob), Some(End::Fin));
    world.finish();
}

#[test]
fn what_the_kernel_still_gets_rid_of_counts_as_well() {
    let (mut world, bob) = fallen_behind();
    for unsent in [3_000_000, 2_000_000, 1_000_000, 10] {
        world.sockets[bob].unsent = unsent;
        world.advance(2_000);
        assert_eq!(world.end(bob), None, "{unsent}");
    }
    world.take(bob, None);
    assert_eq!(world.close_code(bob), Some(4200));
    world.finish();
}

#[test]
fn a_peer_that_takes_nothing_more_is_let_go() {
    let (mut world, bob) = fallen_behind();
    world.sockets[bob].unsent = 1_000;
    world.advance(3_999);
    assert_eq!(world.end(bob), None);
    world.advance(1);
    assert_eq!(world.end(bob), Some(End::Reset));
    world.finish();
}

#[test]
fn a_slow_peer_is_not_waited_for_without_end() {
    let (mut world, bob) = fallen_behind();
    for _ in 0..9 {
        world.take(bob, Some(1));
        world.advance(1_000);
        assert_eq!(world.end(bob), None);
    }
    world.take(bob, Some(1));
    world.advance(1_000);
    assert_eq!(world.end(bob), Some(End::Reset));
    world.finish();
}
