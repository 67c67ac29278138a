//! Stopping in every phase: what was decided is shown, everybody is told, nothing follows the end.

use std::net::IpAddr;

use serde_json::json;

use super::client::{Knock, head, receipt, typing};
use super::decode::Seen;
use super::world::{Mode, Setup, World};

fn begin(world: &mut World) {
    for core in 0..world.seats.len() {
        begin_on(world, core);
    }
    world.settle();
}

fn begin_on(world: &mut World, core: usize) {
    let now = world.now;
    world.seats[core].core.begin_drain(5_000, now);
    world.wake(core);
}

fn stopped(world: &World) -> bool {
    world.seats.iter().all(|seat| seat.core.is_stopped())
}

#[test]
fn what_was_decided_is_shown_before_the_goodbye() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter_v1(2, 1));
    world.log_mode = Mode::Held;
    world.send(ann, &json!({"type": "chat_message", "content": "last", "ref": "r"}));
    begin(&mut world);
    assert_eq!(world.close_code(bob), None);
    // The receive that was in flight still brings something; no other is begun.
    world.say(ann, "in flight");
    world.say(ann, "not read any more");
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(
        (world.count(ann, "ack"), world.contents(bob).join(", ").as_str()),
        (2, "last, in flight")
    );
    assert_eq!((world.close_code(ann), world.close_code(bob)), (Some(1012), Some(1012)));
    world.hang_up(ann);
    world.hang_up(bob);
    assert!(stopped(&world));
    world.finish_stopped();
}

#[test]
fn each_socket_has_its_own_time_to_come_back() {
    let mut world = World::new(Setup::default());
    let clients: Vec<_> = (1..30).map(|user| world.enter(user, 1)).collect();
    begin(&mut world);
    let mut times: Vec<u64> = Vec::new();
    for &client in &clients {
        let Some(Seen::Close(Some(1012), reason)) = world.seen(client).last() else { panic!() };
        times.push(reason.strip_prefix("reconnect_in_ms=").unwrap().parse().unwrap());
    }
    times.sort();
    times.dedup();
    assert_eq!(times.len(), clients.len());
    assert!(times.iter().all(|ms| *ms < 10_000) && times.last().unwrap() - times[0] > 5_000);
    world.advance(5_000);
    assert!(stopped(&world));
    world.finish_stopped();
}

#[test]
fn commands_that_wait_for_old_state_are_finished_first() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "old");
    let old = world.ids(ann)[0];
    world.hang_up(ann);
    world.advance(120_000);
    world.seal();
    let ann = world.enter(1, 1);
    world.reader_mode = Mode::Held;
    world.send(ann, &json!({"type": "message_delete", "message_id": old, "ref": "d"}));
    begin(&mut world);
    assert_eq!(world.close_code(ann), None);
    world.reader_mode = Mode::Auto;
    while world.answer_load(0) {}
    world.settle();
    assert_eq!((world.count(ann, "ack"), world.close_code(ann)), (1, Some(1012)));
    world.advance(5_000);
    assert!(stopped(&world));
    world.finish_stopped();
}

#[test]
fn a_store_that_does_not_answer_does_not_hold_up_the_end() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.log_mode = Mode::Held;
    world.say(ann, "never durable");
    begin(&mut world);
    world.advance(5_000);
    assert_eq!((world.close_code(ann), world.contents(ann).len()), (Some(1012), 0));
    world.log_mode = Mode::Auto;
    world.settle();
    world.advance(5_000);
    assert!(stopped(&world));
    world.finish_stopped();
}

#[test]
fn who_is_on_the_way_in_is_told_to_come_back() {
    let mut world = World::new(Setup { cores: 2, ..Setup::default() });
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let half = world.open(0, address, 1);
    world.bytes(half, &head("/ws/chat/1/").as_bytes()[..30]);
    let echo = world.open(0, address, 1);
    world.bytes(echo, head("/ws/echo").as_bytes());
    let conversation = (1..).find(|&id| world.owner(id) == 0).unwrap();
    let knock = || Knock { conversation, version: loquat::model::Version::V1, ..Knock::default() };
    world.reader_mode = Mode::Held;
    let candidate = world.connect(knock());
    // In the ring to the other core.
    let leaving = world.knock(Knock { core: 1, user: 3, ..knock() });
    world.turn(1);
    begin(&mut world);
    world.reader_mode = Mode::Auto;
    while world.answer_load(0) {}
    world.settle();
    let statuses = [half, candidate, leaving].map(|client| world.http_status(client));
    assert_eq!(statuses, [Some(503); 3]);
    assert_eq!(world.close_code(echo), Some(1012));
    let now = world.now;
    assert!(world.seats[0].core.accept(address, now).is_err());
    world.advance(5_000);
    assert!(stopped(&world));
    world.finish_stopped();
}

#[test]
fn nothing_is_logged_behind_stop() {
    let mut world = World::new(Setup { cores: 2, wide_threshold: 1, ..Setup::default() });
    let owner = world.owner(1);
    let ann = world.enter(1, 1);
    let far = world.connect(Knock { core: 1 - owner, user: 2, ..Knock::default() });
    world.say(ann, "a");
    let id = world.ids(ann)[0];
    world.hang_up(ann);
    // The owner's core has given up waiting for the other one, whose socket still talks.
    begin_on(&mut world, owner);
    world.advance(5_000);
    world.say(far, "too late");
    world.send(far, &receipt(id));
    world.advance(2_000);
    assert_eq!((world.contents(far), world.errors(far).len()), (vec!["a".to_owned()], 1));
    begin(&mut world);
    world.advance(5_000);
    assert!(stopped(&world));
    world.finish_stopped();
}

/// A wide conversation with a socket of user `n + 1` on the n-th core from the owner's on.
fn wide(setup: Setup) -> (World, Vec<usize>) {
    let mut world = World::new(Setup { wide_threshold: 1, ..setup });
    let (owner, cores) = (world.owner(1), world.seats.len());
    let clients = (0..cores)
        .map(|n| {
            let core = (owner + n) % cores;
            world.connect(Knock { core, user: n as u64 + 1, ..Knock::default() })
        })
        .collect();
    (world, clients)
}

#[test]
fn sockets_of_other_cores_are_shown_what_was_decided_last_before_the_goodbye() {
    for slots in [1, 2, 64] {
        let setup = Setup { cores: 3, mail_slots: slots, ..Setup::default() };
        let (mut world, clients) = wide(setup);
        world.log_mode = Mode::Held;
        for n in 0..5 {
            for &client in &clients {
                let content = format!("{n} of {client}");
                world
                    .push(client, &json!({"type": "chat_message", "content": content, "ref": "r"}));
            }
        }
        // The commands of the far cores lie in their rings, as far as there is room.
        begin(&mut world);
        world.advance(1_000);
        assert!(clients.iter().all(|&client| world.close_code(client).is_none()), "{slots} slots");
        world.log_mode = Mode::Auto;
        world.settle();
        world.advance(100);
        for &client in &clients {
            assert_eq!((world.contents(client).len(), world.count(client, "ack")), (15, 5));
            assert_eq!(world.close_code(client), Some(1012), "{slots} slots");
            world.hang_up(client);
        }
        assert!(stopped(&world));
        world.finish_stopped();
    }
}

#[test]
fn what_comes_behind_a_cores_last_word_is_not_decided() {
    let (mut world, clients) = wide(Setup { cores: 2, ..Setup::default() });
    world.log_mode = Mode::Held;
    world.say(clients[1], "in time");
    begin(&mut world);
    // The receives that were in flight bring something: a far core has said that nothing follows.
    world.say(clients[1], "too late");
    world.say(clients[0], "the owner still decides");
    world.log_mode = Mode::Auto;
    world.settle();
    for &client in &clients {
        assert_eq!(world.contents(client), ["in time", "the owner still decides"]);
        assert_eq!(world.close_code(client), Some(1012));
        world.hang_up(client);
    }
    assert!(stopped(&world));
    world.finish_stopped();
}

#[test]
fn a_core_that_said_that_it_is_settled_decides_nothing_more() {
    let (mut world, clients) = wide(Setup { cores: 2, ..Setup::default() });
    let owner = world.owner(1);
    begin_on(&mut world, 1 - owner);
    world.settle();
    begin_on(&mut world, owner);
    world.stands_still = Some(1 - owner);
    world.settle();
    world.say(clients[0], "behind the last word");
    world.stands_still = None;
    world.settle();
    for &client in &clients {
        assert_eq!((world.contents(client).len(), world.close_code(client)), (0, Some(1012)));
        world.hang_up(client);
    }
    assert!(stopped(&world));
    world.finish_stopped();
}

#[test]
fn a_core_that_never_answers_does_not_hold_up_the_others() {
    for still in 0..2 {
        let (mut world, clients) = wide(Setup { cores: 2, ..Setup::default() });
        world.stands_still = Some(still);
        let hears = clients.iter().find(|&&client| world.sockets[client].core != still).copied();
        begin(&mut world);
        world.advance(2_499);
        assert_eq!(world.close_code(hears.unwrap()), None);
        world.advance(1);
        assert_eq!(world.close_code(hears.unwrap()), Some(1012));
        world.stands_still = None;
        world.settle();
        world.advance(5_000);
        assert!(stopped(&world));
        world.finish_stopped();
    }
}

#[test]
fn marks_are_written_at_the_end() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter_v1(2, 1));
    world.say(ann, "a");
    let id = world.ids(ann)[0];
    world.send(bob, &receipt(id));
    let before = world.seats[0].lsn;
    begin(&mut world);
    world.hang_up(ann);
    world.hang_up(bob);
    assert!(stopped(&world));
    assert!(world.seats[0].lsn > before);
    world.finish_stopped();
}

#[test]
fn a_lonely_typist_is_no_problem_at_the_end() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.send(ann, &typing());
    begin(&mut world);
    world.hang_up(ann);
    world.advance(5_000);
    assert!(stopped(&world));
    world.finish_stopped();
}

#[test]
fn an_admin_command_under_way_is_answered_and_a_late_one_refused() {
    use loquat::node::admin::{AdminAnswer, AdminCommand};
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.reader_mode = Mode::Held;
    let create =
        || AdminCommand::CreateConversation { conversation: super::entry::conversation(7) };
    let first = world.admin(0, create());
    begin(&mut world);
    assert_eq!(*first.lock().unwrap(), None);
    world.reader_mode = Mode::Auto;
    while world.answer_load(0) {}
    world.settle();
    assert_eq!(*first.lock().unwrap(), Some(AdminAnswer::Done));
    world.log_mode = Mode::Stuck;
    world.hang_up(ann);
    let late = world.admin(0, create());
    assert_eq!(*late.lock().unwrap(), Some(AdminAnswer::Unavailable));
    world.log_mode = Mode::Auto;
    world.settle();
    assert!(stopped(&world));
    world.finish_stopped();
}
