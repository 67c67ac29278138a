//! Readers that do not keep up, and writes that are cut anywhere.

use loquat::limits::{Limits, Rate};
use loquat::model::{Now, Version};
use loquat::node::admin::AdminCommand;
use loquat::node::guard::Buckets;
use serde_json::json;

use super::client::{Knock, receipt, typing};
use super::decode::{Seen, masked};
use super::entry::{conversation, user};
use super::pump::End;
use super::world::{Mode, Setup, World};

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
    world.enter(4, 1);
    world.advance(100);
    world.take(bob, None);
    assert_eq!(world.contents(bob).len(), 20);
    assert_eq!(world.count(bob, "typing_indicator"), before);
    assert_eq!(world.last(bob, "user_status")["user_id"], json!(4));
    assert_eq!(world.count(ann, "typing_indicator"), 1);
    world.finish();
}

/// Most bytes that ever wait for one socket.
fn waiting(world: &World, client: usize) -> usize {
    let (core, slot) = (world.sockets[client].core, world.sockets[client].slot);
    world.seats[core].core.unsent_bytes(slot)
}

#[test]
fn over_its_outbox_a_reader_follows_the_log_and_others_do_not_notice() {
    for version in [Version::V1, Version::V2] {
        let mut world = World::new(Setup::default());
        let (ann, cid) = (world.enter(1, 1), world.enter_v1(3, 1));
        let bob = world.connect(Knock { user: 2, version, ..Knock::default() });
        world.sockets[bob].room = Some(5_000);
        let mut most = 0;
        for n in 0..200 {
            world.say(ann, &format!("{n} {}", "x".repeat(9_000)));
            most = most.max(waiting(&world, bob));
        }
        assert!(most < 256 * 1024 + 10_000, "{most}");
        // It takes a little at a time, while more is said.
        for n in 200..300 {
            world.take(bob, Some(30_000));
            world.say(ann, &format!("{n}"));
            most = most.max(waiting(&world, bob));
        }
        world.take(bob, None);
        assert!(most < 256 * 1024 + 10_000, "{most}");
        assert_eq!(world.contents(bob).len(), 300);
        assert_eq!((world.contents(ann).len(), world.contents(cid).len()), (300, 300));
        world.say(ann, "live");
        assert_eq!(world.contents(bob).last().map(String::as_str), Some("live"));
        world.finish();
    }
}

#[test]
fn who_falls_behind_is_told_of_marks_and_presence_when_it_is_level() {
    let mut world = World::new(Setup::default());
    let (ann, bob, cid) = (world.enter(1, 1), world.enter_v1(2, 1), world.enter(3, 1));
    world.advance(100);
    world.sockets[bob].room = Some(0);
    for _ in 0..40 {
        world.say(ann, &"x".repeat(9_000));
    }
    let ids = world.ids(ann);
    for id in [ids[3], ids[7], ids[20]] {
        world.send(cid, &receipt(id));
    }
    world.send(ann, &typing());
    let dan = world.enter(4, 1);
    world.advance(100);
    world.hang_up(cid);
    world.hang_up(dan);
    world.enter(5, 1);
    world.advance(100);
    let before = world.seen(bob).len();
    world.take(bob, None);
    let told: Vec<_> = world.seen(bob)[before..].iter().filter_map(|seen| seen.json()).collect();
    let of = |kind: &str| told.iter().filter(|json| json["type"] == kind).collect::<Vec<_>>();
    let reads = of("read_receipt");
    assert_eq!(reads.len(), 1);
    assert_eq!((&reads[0]["user_id"], &reads[0]["message_id"]), (&json!(3), &json!(ids[20])));
    let statuses: Vec<_> =
        of("user_status").iter().map(|s| (s["user_id"].clone(), s["status"].clone())).collect();
    let expected = [(4, "offline"), (3, "offline"), (5, "online")];
    let expected: Vec<_> = expected.iter().map(|(user, s)| (json!(user), json!(s))).collect();
    assert_eq!(statuses.len(), 3);
    assert!(expected.iter().all(|status| statuses.contains(status)), "{statuses:?}");
    assert_eq!(of("typing_indicator").len(), 0);
    assert_eq!(world.contents(bob).len(), 40);
    world.finish();
}

#[test]
fn a_reader_that_takes_nothing_for_a_minute_is_closed_with_4200() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter_v1(2, 1));
    world.sockets[bob].room = Some(100_000);
    for _ in 0..60 {
        world.say(ann, &"x".repeat(9_000));
    }
    world.advance(59_000);
    assert!(world.is_open(bob));
    world.advance(1_500);
    world.take(bob, None);
    assert_eq!(world.close_code(bob), Some(4200));
    world.finish();
}

#[test]
fn who_asks_and_does_not_read_is_not_read_from_and_answered_in_the_end() {
    let limits = Limits { frames: Rate { per_second: 100_000, burst: 100_000 }, ..Limits::DEFAULT };
    let mut world = World::new(Setup { limits, buckets: Buckets::On, ..Setup::default() });
    let ann = world.enter(1, 1);
    world.sockets[ann].room = Some(0);
    let empty = json!({"type": "chat_message", "content": ""});
    let delete = json!({"type": "message_delete", "message_id": 999, "ref": "r"});
    for _ in 0..5_000 {
        world.push(ann, &empty);
        world.push(ann, &delete);
        assert!(waiting(&world, ann) < 300 * 1024);
    }
    world.settle();
    assert!(!world.sockets[ann].inbound.is_empty(), "reading goes on");
    world.take(ann, None);
    assert_eq!(world.errors(ann).len(), 10_000);
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

/// A slow reader that was just kicked; the close waits behind what is not sent yet.
fn kicked_while_slow() -> (World, usize) {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.sockets[bob].room = Some(5_000);
    for _ in 0..5 {
        world.say(ann, &"x".repeat(9_000));
    }
    let owner = world.owner(1);
    world.admin(owner, AdminCommand::Kick { conversation: conversation(1), user: user(2) });
    (world, bob)
}

#[test]
fn a_close_reaches_a_peer_that_is_merely_slow() {
    let (mut world, bob) = kicked_while_slow();
    for _ in 0..5 {
        world.advance(1_900);
        assert_eq!((world.close_code(bob), world.end(bob)), (None, None));
        world.take(bob, Some(500));
    }
    world.take(bob, None);
    assert_eq!(world.close_code(bob), Some(4004));
    world.advance(2_000);
    assert_eq!(world.end(bob), Some(End::Fin));
    world.finish();
}

#[test]
fn what_the_kernel_still_gets_rid_of_counts_as_well() {
    let (mut world, bob) = kicked_while_slow();
    for unsent in [3_000_000, 2_000_000, 1_000_000, 10] {
        world.sockets[bob].unsent = unsent;
        world.advance(2_000);
        assert_eq!(world.end(bob), None, "{unsent}");
    }
    world.take(bob, None);
    assert_eq!(world.close_code(bob), Some(4004));
    world.finish();
}

#[test]
fn a_peer_that_takes_nothing_more_is_let_go() {
    let (mut world, bob) = kicked_while_slow();
    world.sockets[bob].unsent = 1_000;
    world.advance(3_999);
    assert_eq!(world.end(bob), None);
    world.advance(1);
    assert_eq!(world.end(bob), Some(End::Reset));
    world.finish();
}

#[test]
fn a_slow_peer_is_not_waited_for_without_end() {
    let (mut world, bob) = kicked_while_slow();
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

/// Its last batch is cut when somebody enters, and what is told after that in the same turn is for it.
#[test]
fn who_falls_behind_in_the_middle_of_a_turn_hears_of_the_rest_of_it() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.advance(100);
    world.sockets[bob].room = Some(0);
    for _ in 0..26 {
        world.say(ann, &"x".repeat(9_600));
    }
    (world.log_mode, world.reader_mode) = (Mode::Held, Mode::Held);
    let cid = world.enter(3, 1);
    world.answer_load(0);
    world.settle();
    world.say(ann, &"x".repeat(9_600));
    world.enter(4, 1);
    // All in one turn: the message is on disk, Dan is admitted, and Cid is announced.
    world.now = Now { mono: world.now.mono.after(50), ..world.now };
    world.durable(0, usize::MAX);
    while world.answer_load(0) {}
    world.turn(0);
    (world.log_mode, world.reader_mode) = (Mode::Auto, Mode::Auto);
    world.settle();
    world.take(bob, None);
    assert_eq!((world.contents(bob).len(), world.is_open(cid)), (27, true));
    let online = world.seen(bob).iter().filter(|seen| seen.kind() == "user_status");
    let online: Vec<_> = online.map(|seen| seen.json().unwrap()["user_id"].clone()).collect();
    assert!(online.contains(&json!(3)), "{online:?}");
    world.finish();
}
