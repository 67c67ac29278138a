//! Too little of something: room in the log, ids, disk, memory. Overload is an answer, given before
//! anything is numbered, and it ends by itself.

use std::sync::Arc;

use loquat::chat::RateLimits;
use loquat::limits::{Limits, Rate};
use loquat::node::core::Pressure;
use loquat::node::guard::Buckets;
use loquat::node::ports::FromLog;
use serde_json::json;

use super::client::{Knock, chat, receipt, typing};
use super::pump::End;
use super::world::{Mode, Setup, World};

#[test]
fn a_store_that_takes_nothing_refuses_before_numbering_and_keeps_marks() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.say(ann, "a");
    let id = world.ids(ann)[0];
    world.advance(1_000);
    world.tell(0, FromLog::Accepting(false));
    world.settle();
    let lsn = world.seats[0].lsn;
    world.send(ann, &json!({"type": "chat_message", "content": "b", "ref": "r1"}));
    assert_eq!(world.errors(ann), ["storage_unavailable"]);
    world.send(bob, &receipt(id));
    world.send(bob, &typing());
    world.advance(5_000);
    assert_eq!((world.seats[0].lsn, world.count(ann, "read_receipt")), (lsn, 1));
    world.tell(0, FromLog::Accepting(true));
    world.settle();
    world.advance(1_000);
    assert_eq!(world.seats[0].lsn, lsn + 1, "the mark is written");
    world.say(ann, "c");
    assert_eq!(world.contents(bob), ["a", "c"]);
    world.finish();
}

#[test]
fn a_log_that_is_stuck_refuses_what_finds_no_room_and_loses_nothing() {
    let mut world = World::new(Setup { log_slots: 16, ..Setup::default() });
    let ann = world.enter(1, 1);
    world.log_mode = Mode::Stuck;
    let long = chat(&"x".repeat(10_000));
    for _ in 0..1_800 {
        world.push(ann, &long);
    }
    world.settle();
    let refused = world.errors(ann).len();
    assert!((100..130).contains(&refused), "{refused}");
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(world.contents(ann).len(), 1_800 - refused);
    world.say(ann, "again");
    assert_eq!(world.contents(ann).last().unwrap(), "again");
    world.finish();
}

#[test]
fn without_ids_sending_is_refused_until_the_next_lease() {
    let mut world = World::new(Setup { lease_ids: 2, ..Setup::default() });
    world.lease_mode = Mode::Held;
    let ann = world.enter(1, 1);
    // Two blocks were granted: one at the start, one because that was small.
    for n in 0..6 {
        world.say(ann, &format!("{n}"));
    }
    let taken = world.contents(ann).len();
    assert!(taken >= 2 && taken + world.errors(ann).len() == 6);
    world.send(ann, &json!({"type": "message_delete", "message_id": world.ids(ann)[0]}));
    assert_eq!(world.count(ann, "message_delete"), 1, "what needs no id goes on");
    world.lease_mode = Mode::Auto;
    world.settle();
    world.say(ann, "again");
    assert_eq!(world.contents(ann).len(), taken + 1);
    let ids = world.ids(ann);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    world.finish();
}

#[test]
fn commands_that_waited_for_old_state_find_the_store_closed() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "old");
    let old = world.ids(ann)[0];
    world.hang_up(ann);
    world.advance(120_000);
    world.seal();
    let ann = world.enter(1, 1);
    world.reader_mode = Mode::Held;
    let edit = |text: &str| json!({"type": "message_edit", "message_id": old, "content": text});
    world.send(ann, &edit("first"));
    world.tell(0, FromLog::Accepting(false));
    world.settle();
    world.reader_mode = Mode::Auto;
    while world.answer_load(0) {}
    world.settle();
    assert_eq!(world.errors(ann), ["storage_unavailable"]);
    world.tell(0, FromLog::Accepting(true));
    world.settle();
    world.send(ann, &edit("second"));
    assert_eq!(world.count(ann, "message_edit"), 1);
    world.finish();
}

#[test]
fn short_of_memory_the_largest_queues_go_first() {
    let mut world = World::new(Setup::default());
    let (ann, bob, cid) = (world.enter(1, 1), world.enter(2, 1), world.enter(3, 2));
    world.sockets[bob].room = Some(10);
    for _ in 0..10 {
        world.say(ann, &"x".repeat(5_000));
    }
    let now = world.now;
    world.seats[0].core.set_pressure(Pressure::StopAccepting, now);
    assert!(world.seats[0].core.accept("192.0.2.1".parse().unwrap(), now).is_err());
    world.seats[0].core.set_pressure(Pressure::Shed, now);
    world.wake(0);
    world.settle();
    world.take(bob, None);
    assert_eq!(world.close_code(bob), Some(4100));
    assert!(world.is_open(ann) && world.is_open(cid));
    world.seats[0].core.set_pressure(Pressure::RefuseSends, now);
    world.say(ann, "refused");
    assert_eq!(world.errors(ann), ["rate_limited"]);
    world.send(ann, &receipt(world.ids(ann)[0]));
    world.seats[0].core.set_pressure(Pressure::None, now);
    world.say(ann, "taken");
    assert_eq!(world.contents(ann).last().unwrap(), "taken");
    world.finish();
}

#[test]
fn short_of_memory_nobody_gets_a_page_of_the_past() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "hello");
    let now = world.now;
    world.seats[0].core.set_pressure(Pressure::StopAccepting, now);
    world.send(ann, &super::past::ask("newest", 0, 10));
    assert_eq!(world.errors(ann), ["rate_limited"]);
    world.seats[0].core.set_pressure(Pressure::None, now);
    world.send(ann, &super::past::ask("newest", 0, 10));
    assert_eq!(world.count(ann, "history"), 1);
    world.finish();
}

/// Who does not take the answers asks no more, the sooner the less memory there is.
#[test]
fn short_of_memory_less_waits_for_each_socket() {
    let waiting = |pressure| {
        let mut world = World::new(Setup::default());
        let ann = world.enter(1, 1);
        let now = world.now;
        world.seats[0].core.set_pressure(pressure, now);
        world.sockets[ann].room = Some(0);
        let ping = json!({"type": "ping", "ref": "r".repeat(64)});
        for _ in 0..4_000 {
            world.send(ann, &ping);
        }
        let waiting = world.seats[0].core.largest_backlog();
        world.seats[0].core.set_pressure(Pressure::None, now);
        world.sockets[ann].room = None;
        world.take(ann, None);
        assert_eq!(world.count(ann, "pong"), 4_000);
        world.finish();
        waiting
    };
    let outbox = Limits::default().outbox_bytes;
    for (pressure, most) in [
        (Pressure::None, outbox),
        (Pressure::StopAccepting, outbox / 4),
        (Pressure::RefuseSends, 4_096),
    ] {
        let waiting = waiting(pressure);
        assert!((most..most + 1_024).contains(&waiting), "{pressure:?}: {waiting} of {most}");
    }
}

/// A turn can answer thousands before memory is measured again.
#[test]
fn pages_of_the_past_are_bounded_between_two_measurements() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    for _ in 0..8 {
        world.say(ann, &"x".repeat(8_000));
    }
    let room = 3 * loquat::limits::QUESTION_BYTES_MAX as u64;
    world.seats[0].core.set_room(room);
    for _ in 0..20 {
        world.send(ann, &super::past::ask("newest", 0, 10));
    }
    // 64 KB each: while a question as large as it may be has room.
    let given = world.count(ann, "history");
    assert_eq!(given, 8);
    assert_eq!(world.errors(ann), vec!["rate_limited"; 20 - given]);
    world.seats[0].core.set_room(room);
    world.send(ann, &super::past::ask("newest", 0, 10));
    assert_eq!(world.count(ann, "history"), given + 1);
    world.finish();
}

/// What is under way cannot be taken back: with hardly any memory left it goes with its socket.
#[test]
fn short_of_memory_who_was_shed_and_takes_nothing_is_reset() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.sockets[bob].room = Some(0);
    world.say(ann, &"x".repeat(9_000));
    let now = world.now;
    world.seats[0].core.set_pressure(Pressure::RefuseSends, now);
    world.wake(0);
    world.settle();
    // It has a moment to take the goodbye.
    assert_eq!(world.end(bob), None);
    world.advance(200);
    let now = world.now;
    world.seats[0].core.set_pressure(Pressure::RefuseSends, now);
    world.wake(0);
    world.settle();
    assert_eq!(world.end(bob), Some(End::Reset));
    world.seats[0].core.set_pressure(Pressure::None, now);
    assert!(world.is_open(ann));
    world.finish();
}

#[test]
fn shedding_leaves_the_goodbye_of_who_goes_already() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.sockets[bob].room = Some(0);
    for _ in 0..3 {
        world.say(ann, &"x".repeat(5_000));
    }
    world.bytes(bob, &super::decode::client_frame(0xf1, b""));
    world.settle();
    let now = world.now;
    world.seats[0].core.set_pressure(Pressure::Shed, now);
    world.wake(0);
    world.settle();
    world.take(bob, None);
    assert_eq!(world.close_code(bob), Some(1002));
    world.finish();
}

#[test]
fn an_answer_of_the_store_to_a_candidate_that_was_refused_already_says_nothing_more() {
    let mut world = World::new(Setup { cores: 2, wide_threshold: 1, ..Setup::default() });
    let owner = world.owner(1);
    world.enter(1, 1);
    world.reader_mode = Mode::Held;
    let far = 1 - owner;
    let bob = world.connect(Knock { core: far, user: 2, ..Knock::default() });
    world.reader_mode = Mode::Fails;
    world.answer_load(owner);
    world.turn(owner);
    // "Unavailable" lies in the ring while the far core stops.
    let now = world.now;
    world.seats[far].core.begin_drain(5_000, now);
    world.wake(far);
    world.settle();
    assert_eq!(world.http_status(bob), Some(503));
    world.reader_mode = Mode::Auto;
    world.seats[owner].core.begin_drain(5_000, now);
    world.wake(owner);
    world.settle();
    world.advance(6_000);
    world.finish_stopped();
}

#[test]
fn new_rates_hold_at_once_for_those_who_used_up_the_old_ones() {
    let rates = |rate| Limits {
        frames: rate,
        events_per_user: rate,
        events_per_user_and_shard: rate,
        events_per_conversation: rate,
        ..Limits::DEFAULT
    };
    let limits = rates(Rate { per_second: 1, burst: 3 });
    let setup = Setup { buckets: Buckets::On, rate_limits: RateLimits::On, ..Setup::default() };
    let mut world = World::new(Setup { limits, ..setup });
    let ann = world.enter(1, 1);
    let burst = |world: &mut World| {
        (0..10).for_each(|_| world.push(ann, &chat("x")));
        world.settle();
        world.contents(ann).len()
    };
    assert_eq!(burst(&mut world), 3);
    let faster = Arc::new(world.reloadable(rates(Rate { per_second: 1_000, burst: 5 })));
    let now = world.now;
    world.seats[0].core.reload(faster, now);
    assert_eq!(burst(&mut world), 3, "a new rate is no new burst");
    world.advance(100);
    assert_eq!(burst(&mut world), 8);
    world.finish();
}
