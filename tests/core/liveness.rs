//! Deadlines of one socket: pings, death, stalls, time-outs, the end of a session.

use loquat::limits::{Limits, Rate};
use loquat::node::guard::Buckets;
use serde_json::json;

use super::client::{Knock, head, receipt};
use super::decode::{Seen, client_frame, masked};
use super::pump::End;
use super::world::{Setup, World};

fn pings(world: &World, client: usize) -> usize {
    world.seen(client).iter().filter(|seen| matches!(seen, Seen::Ping(_))).count()
}

fn pongs(world: &World, client: usize) -> Vec<String> {
    let pongs = world.seen(client).iter().filter_map(|seen| match seen {
        Seen::Pong(payload) => Some(String::from_utf8(payload.clone()).unwrap()),
        _ => None,
    });
    pongs.collect()
}

#[test]
fn a_silent_socket_is_pinged_and_one_that_answers_lives() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.advance(24_999);
    assert_eq!(pings(&world, ann), 0);
    world.advance(1);
    assert_eq!(pings(&world, ann), 1);
    for _ in 0..20 {
        world.advance(5_000);
        world.bytes(ann, &masked(10, b""));
        world.advance(20_000);
    }
    assert!(world.is_open(ann));
    assert_eq!(pings(&world, ann), 21);
    world.finish();
}

#[test]
fn a_half_open_peer_is_gone_within_35_seconds() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    // The kernel holds the ping and hears nothing.
    world.sockets[ann].unsent = 2;
    world.advance(34_999);
    assert_eq!((pings(&world, ann), world.end(ann)), (1, None));
    world.advance(1);
    assert_eq!(world.end(ann), Some(End::Reset));
    world.finish();
}

#[test]
fn a_peer_whose_kernel_takes_the_ping_and_who_never_answers_is_gone_as_well() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.advance(45_000);
    assert_eq!(world.end(ann), Some(End::Reset));
    world.finish();
}

#[test]
fn bytes_that_are_still_being_acknowledged_are_a_sign_of_life() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.sockets[ann].unsent = 10_000;
    world.advance(25_000);
    for unsent in [8_000, 5_000, 100] {
        world.sockets[ann].unsent = unsent;
        world.advance(10_000);
        assert_eq!(world.end(ann), None, "{unsent}");
    }
    world.advance(10_000);
    assert_eq!(world.end(ann), Some(End::Reset));
    world.finish();
}

#[test]
fn a_socket_that_takes_nothing_for_a_minute_is_told_to_come_back() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.advance(20_000);
    world.sockets[bob].room = Some(5);
    world.say(ann, "one");
    for _ in 0..5 {
        world.advance(11_000);
        world.bytes(ann, &masked(10, b""));
        world.bytes(bob, &masked(10, b""));
    }
    assert!(world.is_open(bob));
    world.advance(5_000);
    world.take(bob, None);
    // The frame that had begun is finished, then the close.
    assert_eq!(world.close_code(bob), Some(4200));
    assert_eq!(world.contents(bob), ["one"]);
    assert!(world.is_open(ann));
    world.finish();
}

#[test]
fn the_minute_begins_when_there_is_something_to_take() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.advance(24_000);
    world.bytes(ann, &masked(10, b""));
    world.sockets[ann].room = Some(0);
    world.bytes(ann, &masked(9, b"?"));
    for _ in 0..5 {
        world.advance(11_000);
        world.bytes(ann, &masked(10, b""));
    }
    assert_eq!(world.end(ann), None);
    world.take(ann, None);
    assert_eq!(pongs(&world, ann), ["?"]);
    assert!(world.is_open(ann));
    world.finish();
}

#[test]
fn a_message_that_does_not_end_is_too_slow() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.bytes(ann, &client_frame(0x01, b"{\"type\":"));
    for _ in 0..2 {
        world.advance(14_000);
        world.bytes(ann, &client_frame(0x00, b" "));
        world.bytes(ann, &masked(9, b""));
    }
    assert!(world.is_open(ann));
    world.advance(2_000);
    assert_eq!(world.close_code(ann), Some(1008));
    world.finish();
}

#[test]
fn a_request_that_comes_too_slowly_is_told_so() {
    let mut world = World::new(Setup::default());
    let ann = world.open(0, "192.0.2.1".parse().unwrap(), 1);
    for byte in head("/ws/chat/1/").as_bytes()[..20].iter() {
        world.bytes(ann, &[*byte]);
        world.advance(240);
    }
    assert_eq!(world.http_status(ann), None);
    world.advance(200);
    assert_eq!(world.http_status(ann), Some(408));
    world.finish();
}

#[test]
fn a_session_ends() {
    let mut world = World::new(Setup { max_session_ms: 40_000, ..Setup::default() });
    let ann = world.enter(1, 1);
    world.advance(30_000);
    world.bytes(ann, &masked(10, b""));
    world.advance(9_999);
    assert!(world.is_open(ann));
    world.advance(1);
    let closed = Seen::Close(Some(4001), "session_over".to_owned());
    assert_eq!(world.seen(ann).last(), Some(&closed));
    world.finish();
}

#[test]
fn of_many_pings_the_newest_is_answered_later() {
    let mut world = World::new(Setup { buckets: Buckets::On, ..Setup::default() });
    let ann = world.enter(1, 1);
    for n in 0..30 {
        world.bytes(ann, &masked(9, format!("{n}").as_bytes()));
    }
    world.settle();
    assert_eq!(pongs(&world, ann).len(), 16);
    world.advance(1_000);
    let pongs = pongs(&world, ann);
    assert_eq!((pongs.len(), pongs.last().unwrap().as_str()), (17, "29"));
    world.finish();
}

#[test]
fn a_flood_of_pings_ends_the_socket() {
    let mut world = World::new(Setup { buckets: Buckets::On, ..Setup::default() });
    let ann = world.enter(1, 1);
    for second in 0..6 {
        assert!(world.is_open(ann), "{second}");
        for _ in 0..101 {
            world.bytes(ann, &masked(9, b""));
        }
        world.advance(1_000);
    }
    assert_eq!(world.close_code(ann), Some(1008));
    world.finish();
}

#[test]
fn too_many_receipts_pause_reading_and_lose_nothing() {
    let limits = Limits { receipts: Rate { per_second: 10, burst: 5 }, ..Limits::DEFAULT };
    let mut world = World::new(Setup { buckets: Buckets::On, limits, ..Setup::default() });
    let (ann, bob) = (world.enter(1, 1), world.enter_v1(2, 1));
    for n in 0..40 {
        world.say(ann, &format!("{n}"));
        world.advance(100);
    }
    let ids = world.ids(ann);
    world.sockets[bob].receive_max = 60;
    for id in &ids {
        world.push(bob, &receipt(*id));
    }
    world.settle();
    assert!(!world.sockets[bob].inbound.is_empty(), "reading did not pause");
    world.advance(10_000);
    assert!(world.sockets[bob].inbound.is_empty());
    let last = world.seen(ann).iter().rfind(|seen| seen.kind() == "read_receipt").unwrap();
    assert_eq!(last.json().unwrap()["message_id"], *ids.last().unwrap());
    world.finish();
}

#[test]
fn frames_over_the_rate_are_refused_and_a_thousand_in_a_row_end_the_socket() {
    let mut world = World::new(Setup { buckets: Buckets::On, ..Setup::default() });
    let ann = world.enter(1, 1);
    let delete = json!({"type": "message_delete", "message_id": 7});
    for _ in 0..1_200 {
        world.push(ann, &delete);
    }
    world.settle();
    assert!(world.is_open(ann));
    let limited = world.errors(ann).iter().filter(|code| *code == "rate_limited").count();
    assert_eq!(limited, 1_000);
    world.send(ann, &delete);
    assert_eq!(world.close_code(ann), Some(4129));
    world.finish();
}

#[test]
fn a_candidate_that_waited_long_for_the_store_is_not_stalled() {
    let mut world = World::new(Setup::default());
    world.reader_mode = super::world::Mode::Held;
    let ann = world.connect(Knock::default());
    world.advance(70_000);
    world.sockets[ann].room = Some(0);
    world.reader_mode = super::world::Mode::Auto;
    world.answer_load(0);
    world.settle();
    world.advance(20_000);
    world.take(ann, None);
    assert!(world.is_open(ann));
    world.finish();
}

#[test]
fn timers_do_not_pile_up() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    let mut turns = Vec::new();
    for _ in 0..4 {
        let before = world.turns_run;
        for _ in 0..100 {
            world.advance(25_000);
            for client in [ann, bob] {
                world.bytes(client, &masked(10, b""));
                world.send(client, &json!({"type": "typing_indicator", "is_typing": true}));
            }
        }
        turns.push(world.turns_run - before);
    }
    assert!(turns[3] <= turns[0] + turns[0] / 10, "{turns:?}");
    world.finish();
}
