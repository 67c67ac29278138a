//! What a core counts, and where: commands where they arrive, events where they are numbered, deliveries
//! where the sockets are.

use loquat::limits::{Limits, Rate};
use loquat::model::Version;
use loquat::telemetry::{Counter, Gauge};
use serde_json::json;

use super::client::{Knock, receipt, typing};
use super::world::{Setup, World};

fn counted(world: &World, counter: Counter) -> Vec<u64> {
    (0..world.seats.len()).map(|core| world.counters.of_core(core).counter(counter)).collect()
}

fn gauge(world: &World, core: usize, gauge: Gauge) -> u64 {
    world.counters.of_core(core).gauge(gauge)
}

/// A conversation of core `owner` with two sockets there and two on the other core; v1, so that none of
/// them gets anything but what the room says.
fn wide() -> (World, usize, Vec<usize>) {
    let mut world = World::new(Setup { cores: 2, wide_threshold: 2, ..Setup::default() });
    let owner = world.owner(1);
    let places = [owner, owner, 1 - owner, 1 - owner];
    let clients = places
        .iter()
        .zip(1..)
        .map(|(&core, user)| {
            world.connect(Knock { core, user, version: Version::V1, ..Knock::default() })
        })
        .collect();
    (world, owner, clients)
}

#[test]
fn a_wide_conversation_is_counted_once_and_where_it_happens() {
    let (mut world, owner, clients) = wide();
    for n in 0..5 {
        world.say(clients[3], &format!("{n}"));
        world.send(clients[2], &typing());
    }
    let check = |counter, at_owner: u64, elsewhere: u64| {
        let found = counted(&world, counter);
        assert_eq!((found[owner], found[1 - owner]), (at_owner, elsewhere), "{counter:?}");
    };
    check(Counter::SocketsOpened, 2, 2);
    check(Counter::InSend, 0, 5);
    check(Counter::InTyping, 0, 5);
    check(Counter::OutMessage, 5, 0);
    check(Counter::DeliveredEvents, 10, 10);
    let heard =
        clients.iter().map(|&client| world.count(client, "typing_indicator")).sum::<usize>()
            + clients.iter().map(|&client| world.count(client, "user_status")).sum::<usize>();
    let signals: u64 = counted(&world, Counter::DeliveredSignals).iter().sum();
    assert_eq!(signals as usize, heard);
    world.finish();
}

#[test]
fn every_frame_that_a_room_said_was_delivered_once() {
    let (mut world, _, clients) = wide();
    for (n, &client) in clients.iter().enumerate() {
        world.say(client, &format!("{n}"));
        world.send(client, &json!({"type": "chat_message", "content": ""}));
    }
    let id = world.ids(clients[0])[0];
    for &client in &clients {
        (0..2).for_each(|_| world.send(client, &receipt(id)));
    }
    let sum = |counter| counted(&world, counter).iter().sum::<u64>();
    let seen = |kind: &str| -> u64 {
        clients.iter().map(|&client| world.count(client, kind) as u64).sum()
    };
    let signals = seen("user_status") + seen("read_receipt") + seen("typing_indicator");
    assert_eq!(sum(Counter::DeliveredEvents), seen("chat_message"));
    assert_eq!(sum(Counter::DeliveredSignals), signals);
    assert_eq!((sum(Counter::OutError), sum(Counter::RefusedEmpty)), (4, 4));
    assert_eq!((sum(Counter::InRead), sum(Counter::ReceiptsRepeated)), (8, 4));
    let sent: usize = clients.iter().map(|&c| world.sockets[c].decoder.received_bytes()).sum();
    assert_eq!(sum(Counter::BytesOut), sent as u64);
    world.finish();
}

/// A turn at a time at which gauges are set again.
fn look_around(world: &mut World) {
    world.advance(1_000);
    world.wake(0);
    world.settle();
}

#[test]
fn what_waits_on_slow_sockets_is_seen() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.sockets[bob].room = Some(0);
    for _ in 0..5 {
        world.say(ann, &"x".repeat(5_000));
    }
    look_around(&mut world);
    let (all, largest) =
        (gauge(&world, 0, Gauge::OutboxBytes), gauge(&world, 0, Gauge::OutboxLargestBytes));
    assert!(all == largest && largest > 25_000, "{all} {largest}");
    assert_eq!((gauge(&world, 0, Gauge::Sockets), gauge(&world, 0, Gauge::Conversations)), (2, 1));
    world.reset(bob);
    look_around(&mut world);
    assert_eq!((gauge(&world, 0, Gauge::Sockets), gauge(&world, 0, Gauge::OutboxBytes)), (1, 0));
    assert_eq!(counted(&world, Counter::ClosedLost), [1]);
    world.finish();
}

#[test]
fn who_catches_up_is_counted_until_it_is_level() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.sockets[bob].room = Some(0);
    for _ in 0..40 {
        world.say(ann, &"x".repeat(9_000));
    }
    look_around(&mut world);
    assert_eq!(
        (counted(&world, Counter::CatchUps), gauge(&world, 0, Gauge::CatchingUp)),
        (vec![1], 1)
    );
    world.take(bob, None);
    look_around(&mut world);
    assert_eq!(
        (counted(&world, Counter::CatchUps), gauge(&world, 0, Gauge::CatchingUp)),
        (vec![1], 0)
    );
    assert_eq!(world.contents(bob).len(), 40);
    world.finish();
}

#[test]
fn a_walk_over_many_sockets_takes_more_than_one_turn() {
    const SOCKETS: usize = 9_000;
    let handshakes = Rate { per_second: 100_000, burst: 100_000 };
    let limits = Limits { handshakes, handshakes_pending: 20_000, ..Limits::DEFAULT };
    let mut world = World::new(Setup { limits, ..Setup::default() });
    look_around(&mut world);
    world.advance(1_000);
    for _ in 0..SOCKETS {
        world.open(0, "127.0.0.1".parse().unwrap(), 1);
    }
    world.turn(0);
    assert_eq!(gauge(&world, 0, Gauge::Handshakes), 0, "the walk has not come to its end");
    world.turn(0);
    assert_eq!(gauge(&world, 0, Gauge::Handshakes), SOCKETS as u64);
    assert_eq!(counted(&world, Counter::Accepted), [SOCKETS as u64]);
    world.finish();
}
