//! A conversation over four cores: one order, removals in the stream, and rings that run full.

use loquat::model::{Role, Version};
use loquat::node::admin::AdminCommand;

use super::client::{Knock, chat, receipt, typing};
use super::entry::{conversation, members, remove_member, set_member, user};
use super::pump::End;
use super::world::{Setup, World};

/// Sockets of users 1, 2, 3 … of conversation 1, each on the core of its number.
fn spread(world: &mut World, count: usize) -> Vec<usize> {
    let (owner, cores) = (world.owner(1), world.seats.len());
    let clients: Vec<usize> = (0..count)
        .map(|n| {
            let core = (owner + n) % cores;
            let version = if n % 2 == 0 { Version::V2 } else { Version::V1 };
            world.connect(Knock { core, user: n as u64 + 1, version, ..Knock::default() })
        })
        .collect();
    for (n, &client) in clients.iter().enumerate() {
        assert_eq!(world.sockets[client].core, (owner + n) % cores, "stays where it was accepted");
    }
    clients
}

fn four(setup: Setup) -> Setup {
    Setup { cores: 4, wide_threshold: 1, ..setup }
}

#[test]
fn all_cores_see_one_order() {
    let mut world = World::new(four(Setup::default()));
    let clients = spread(&mut world, 12);
    for round in 0..5 {
        for &client in &clients {
            world.push(client, &chat(&format!("{client} {round}")));
        }
        if round % 2 == 0 {
            world.settle();
        }
    }
    world.settle();
    for &client in &clients {
        assert_eq!(world.contents(client), world.contents(clients[0]));
        assert_eq!(world.contents(client).len(), 60);
    }
    world.finish();
}

#[test]
fn repeated_receipts_stay_on_their_core() {
    let mut world = World::new(four(Setup::default()));
    let clients = spread(&mut world, 4);
    for n in 0..5 {
        world.say(clients[0], &format!("{n}"));
    }
    let ids = world.ids(clients[1]);
    for id in &ids {
        world.send(clients[1], &receipt(*id));
    }
    assert_eq!(world.count(clients[0], "read_receipt"), 5);
    let (owner, before) = (world.owner(1), world.turns_of(world.owner(1)));
    for id in &ids {
        world.send(clients[1], &receipt(*id));
    }
    assert_eq!(world.count(clients[0], "read_receipt"), 5);
    assert_eq!(world.turns_of(owner), before, "the owner's core was bothered");
    world.finish();
}

#[test]
fn removals_and_kicks_reach_sockets_of_other_cores_before_what_follows() {
    let mut world = members(four(Setup::default()));
    let clients = spread(&mut world, 3);
    let owner = world.owner(1);
    world.log_mode = super::world::Mode::Held;
    world.admin(owner, remove_member(2));
    world.say(clients[0], "behind the removal");
    world.log_mode = super::world::Mode::Auto;
    world.settle();
    assert_eq!((world.close_code(clients[1]), world.contents(clients[1]).len()), (Some(4004), 0));
    let kick = AdminCommand::Kick { conversation: conversation(1), user: user(3) };
    world.admin(owner, kick);
    assert_eq!(world.close_code(clients[2]), Some(4004));
    world.admin(owner, set_member(2, Role::Member));
    let back = world.connect(Knock { core: (owner + 1) % 4, user: 2, ..Knock::default() });
    world.say(back, "back");
    assert_eq!(world.contents(clients[0]), ["behind the removal", "back"]);
    world.finish();
}

#[test]
fn a_conversation_that_shrank_is_narrow_again() {
    let mut world = World::new(Setup { cores: 2, wide_threshold: 4, ..Setup::default() });
    let owner = world.owner(1);
    let here: Vec<_> = (1..=4)
        .map(|user| world.connect(Knock { core: owner, user, ..Knock::default() }))
        .collect();
    let far = world.connect(Knock { core: 1 - owner, user: 9, ..Knock::default() });
    assert_eq!(world.sockets[far].core, 1 - owner);
    here.iter().skip(1).for_each(|&client| world.hang_up(client));
    let later = world.connect(Knock { core: 1 - owner, user: 10, ..Knock::default() });
    assert_eq!(world.sockets[later].core, owner);
    world.say(later, "all hear it");
    assert_eq!(world.contents(far), world.contents(here[0]));
    world.finish();
}

#[test]
fn a_full_ring_is_emptied_without_anybody_else_coming_by() {
    let setup = Setup { cores: 2, mail_slots: 1, ..Setup::default() };
    let mut world = World::new(Setup { wide_threshold: 1, ..setup });
    let clients = spread(&mut world, 2);
    world.stands_still = Some(world.sockets[clients[1]].core);
    for n in 0..20 {
        world.say(clients[0], &format!("{n}"));
    }
    world.stands_still = None;
    world.settle();
    world.advance(50);
    assert_eq!(world.contents(clients[1]).len(), 20);
    world.finish();
}

#[test]
fn sockets_of_a_core_that_does_not_keep_up_go_on_from_the_log() {
    let setup = Setup { cores: 2, mail_slots: 4, ..Setup::default() };
    let mut world = World::new(Setup { wide_threshold: 1, ..setup });
    let owner = world.owner(1);
    let far = 1 - owner;
    let ann = world.connect(Knock { core: owner, ..Knock::default() });
    let bob = world.connect(Knock { core: far, user: 2, ..Knock::default() });
    let big = "x".repeat(9_900);
    // The far core stands still until more than its overflow is lost.
    world.stands_still = Some(far);
    for _ in 0..1_000 {
        world.say(ann, &big);
    }
    // One candidate is let in behind the marker, before the overflow is gone.
    let cid = world.knock(Knock { core: far, user: 3, ..Knock::default() });
    world.turn(far);
    world.settle();
    for _ in 0..3 {
        world.say(ann, "small");
    }
    world.stands_still = None;
    world.settle();
    world.advance(2_000);
    world.say(ann, "last");
    for client in [ann, bob] {
        assert_eq!(world.contents(client).len(), 1_004);
    }
    assert!(world.contents(cid).last().is_some_and(|last| last == "last"));
    world.finish();
}

#[test]
fn commands_for_a_core_that_stands_still_are_refused_before_they_pile_up() {
    let setup = Setup { cores: 2, mail_slots: 4, ..Setup::default() };
    let mut world = World::new(Setup { wide_threshold: 1, ..setup });
    let owner = world.owner(1);
    world.connect(Knock { core: owner, ..Knock::default() });
    let bob = world.connect(Knock { core: 1 - owner, user: 2, ..Knock::default() });
    world.stands_still = Some(owner);
    for _ in 0..6_000 {
        world.push(bob, &chat("x"));
        world.push(bob, &typing());
    }
    world.settle();
    let refused = world.errors(bob).len();
    assert!(!world.sockets[bob].inbound.is_empty(), "reading goes on");
    assert!(refused > 0 && world.errors(bob).iter().all(|code| code == "rate_limited"));
    world.stands_still = None;
    world.settle();
    world.advance(5_000);
    assert_eq!(world.contents(bob).len() + world.errors(bob).len(), 6_000);
    world.finish();
}

#[test]
fn what_was_meant_for_a_far_socket_never_reaches_its_slots_next_tenant() {
    let mut world = World::new(four(Setup::default()));
    let clients = spread(&mut world, 2);
    let (owner, far) = (world.owner(1), world.sockets[clients[1]].core);
    world.stands_still = Some(owner);
    let asks = serde_json::json!({"type": "message_delete", "message_id": 99, "ref": "late"});
    world.push(clients[1], &asks);
    let slot = world.sockets[clients[1]].slot;
    world.reset(clients[1]);
    world.settle();
    assert_eq!(world.end(clients[1]), Some(End::Reset));
    let elsewhere = (2..).find(|&id| world.owner(id) == far).unwrap();
    let next =
        world.connect(Knock { core: far, user: 8, conversation: elsewhere, ..Knock::default() });
    assert_eq!((world.sockets[next].slot, world.is_open(next)), (slot, true));
    // Only now the owner's core refuses the command and sees the old socket leave.
    world.stands_still = None;
    world.settle();
    world.say(clients[0], "for those who are there");
    assert_eq!((world.errors(next).len(), world.contents(next).len()), (0, 0));
    assert!(world.is_open(next));
    world.finish();
}

/// While the news that a socket fell behind is on its way, its conversation goes on.
#[test]
fn who_falls_behind_on_another_core_hears_who_came_meanwhile() {
    let mut world = World::new(Setup { cores: 2, wide_threshold: 1, ..Setup::default() });
    let owner = world.owner(1);
    let ann = world.connect(Knock { core: owner, ..Knock::default() });
    let bob = world.connect(Knock { core: 1 - owner, user: 2, ..Knock::default() });
    world.advance(100);
    world.sockets[bob].room = Some(0);
    for _ in 0..26 {
        world.say(ann, &"x".repeat(9_600));
    }
    world.connect(Knock { core: owner, user: 3, ..Knock::default() });
    world.stands_still = Some(1 - owner);
    // Bob will fall behind by this one; Cid is announced before the owner hears of that.
    world.say(ann, &"x".repeat(9_600));
    world.advance(100);
    world.stands_still = None;
    world.settle();
    world.take(bob, None);
    assert_eq!(world.contents(bob).len(), 27);
    assert_eq!(world.last(bob, "user_status")["user_id"], serde_json::json!(3));
    world.finish();
}
