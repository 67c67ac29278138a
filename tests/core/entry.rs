//! Sockets on their way in: what changes meanwhile counts, and nobody leaves a ghost.

use loquat::model::{Access, ConversationId, Profile, Role, UserId, Wall};
use loquat::node::admin::{AdminAnswer, AdminCommand};
use loquat::telemetry::Counter;
use serde_json::json;

use super::client::{Knock, typing};
use super::pump::End;
use super::world::{Mode, Setup, World};

pub fn user(number: u64) -> UserId {
    UserId::from_number(number).unwrap()
}

pub fn conversation(number: u64) -> ConversationId {
    ConversationId::from_number(number).unwrap()
}

pub fn set_member(number: u64, role: Role) -> AdminCommand {
    AdminCommand::SetMember { conversation: conversation(1), user: user(number), role }
}

pub fn remove_member(number: u64) -> AdminCommand {
    AdminCommand::RemoveMember { conversation: conversation(1), user: user(number) }
}

/// A world with a conversation 1 of which 1 to 3 are members.
pub fn members(setup: Setup) -> World {
    let mut world = World::new(Setup { access: Access::Members, ..setup });
    let owner = world.owner(1);
    let created = AdminCommand::CreateConversation { conversation: conversation(1) };
    let answer = world.admin(owner, created);
    assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Done));
    for number in 1..=3 {
        world.admin(owner, set_member(number, Role::Member));
    }
    world
}

#[test]
fn a_member_removed_while_the_store_is_asked_does_not_get_in() {
    let mut world = members(Setup::default());
    let ann = world.enter(1, 1);
    world.reader_mode = Mode::Held;
    let bob = world.enter(2, 1);
    let request = world.seats[0].loads.pop_front().unwrap();
    let early = world.store.answer(&request);
    world.reader_mode = Mode::Auto;
    world.admin(0, remove_member(2));
    world.reply_load(0, request.ticket, early);
    world.settle();
    world.say(ann, "without bob");
    assert_eq!((world.close_code(bob), world.contents(bob).len()), (Some(4003), 0));
    world.finish();
}

#[test]
fn a_member_added_while_the_store_is_asked_gets_in() {
    let mut world = members(Setup::default());
    world.reader_mode = Mode::Held;
    let dan = world.enter(4, 1);
    let request = world.seats[0].loads.pop_front().unwrap();
    let early = world.store.answer(&request);
    world.reader_mode = Mode::Auto;
    world.admin(0, set_member(4, Role::Member));
    world.reply_load(0, request.ticket, early);
    world.settle();
    assert!(world.is_open(dan));
    world.finish();
}

#[test]
fn those_who_come_together_hear_of_each_other_in_their_first_write() {
    let mut world = World::new(Setup::default());
    world.reader_mode = Mode::Held;
    let clients = [1, 2, 3].map(|user| world.enter_v1(user, 1));
    while world.answer_load(0) {}
    let sends_before = world.counters.of_core(0).counter(Counter::Sends);
    world.reader_mode = Mode::Auto;
    world.settle();
    let sends = world.counters.of_core(0).counter(Counter::Sends) - sends_before;
    assert_eq!(clients.map(|client| world.count(client, "user_status")), [3, 3, 3]);
    assert_eq!(sends, 3);
    world.advance(1_000);
    assert_eq!(clients.map(|client| world.count(client, "user_status")), [3, 3, 3]);
    world.finish();
}

#[test]
fn a_member_removed_while_the_removal_is_on_its_way_to_the_disk_is_closed_after_it() {
    let mut world = members(Setup { history_on_connect: 5, ..Setup::default() });
    let ann = world.enter(1, 1);
    world.log_mode = Mode::Held;
    world.admin(0, remove_member(2));
    world.say(ann, "behind the removal");
    // Both wait for the disk: bob's history is not shown before the removal is.
    let bob = world.enter_v1(2, 1);
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!((world.close_code(bob), world.contents(bob).len()), (Some(4003), 0));
    world.finish();
}

#[test]
fn nothing_of_the_same_turn_reaches_a_removed_member() {
    let mut world = members(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.log_mode = Mode::Held;
    world.admin(0, remove_member(2));
    world.push(bob, &json!({"type": "chat_message", "content": "bob's last", "ref": "r"}));
    world.say(ann, "after");
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(world.close_code(bob), Some(4004));
    assert_eq!((world.contents(bob).len(), world.count(bob, "ack")), (0, 0));
    assert_eq!(world.contents(ann), ["bob's last", "after"]);
    world.finish();
}

#[test]
fn a_role_changed_while_the_store_is_asked_counts() {
    let mut world = members(Setup::default());
    world.reader_mode = Mode::Held;
    let bob = world.enter(2, 1);
    let request = world.seats[0].loads.pop_front().unwrap();
    let early = world.store.answer(&request);
    world.reader_mode = Mode::Auto;
    world.admin(0, set_member(2, Role::ReadOnly));
    world.reply_load(0, request.ticket, early);
    world.settle();
    world.say(bob, "may I?");
    assert_eq!(world.errors(bob), ["forbidden"]);
    world.admin(0, set_member(2, Role::Moderator));
    world.say(bob, "now I may");
    assert_eq!(world.contents(bob), ["now I may"]);
    world.finish();
}

#[test]
fn a_token_revoked_while_the_store_is_asked_does_not_get_in() {
    let check = |cores: u16, wide_threshold: usize| {
        let mut world = World::new(Setup { cores, wide_threshold, ..Setup::default() });
        let owner = world.owner(1);
        let first = world.enter(2, 1);
        world.reader_mode = Mode::Held;
        let core = (owner + 1) % usize::from(cores);
        let bob = world.connect(Knock { core, ..Knock::default() });
        let request = world.seats[owner].loads.pop_back().unwrap();
        let early = world.store.answer(&request);
        world.reader_mode = Mode::Auto;
        let issued_before = Some(Wall(world.now.wall.0 + 1));
        let revoke = AdminCommand::Revoke { user: user(1), issued_before };
        let keeper = usize::from(world.placement.of_user(&user(1)));
        let answer = world.admin(keeper, revoke);
        assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Done));
        world.reply_load(owner, request.ticket, early);
        world.settle();
        assert_eq!(world.close_code(bob), Some(4001), "{cores} cores, wide at {wide_threshold}");
        assert!(world.is_open(first));
        world.finish();
    };
    check(1, 1_024);
    check(4, 1_024);
    check(4, 1);
}

#[test]
fn revoked_sockets_are_told_and_newer_tokens_live() {
    let mut world = World::new(Setup { cores: 2, ..Setup::default() });
    let rooms: Vec<_> = (1..5).map(|id| world.enter(1, id)).collect();
    world.advance(5_000);
    let newer = world.enter(1, 9);
    let other = world.enter(2, 1);
    let issued_before = Some(Wall(world.now.wall.0 - 1_000));
    let keeper = usize::from(world.placement.of_user(&user(1)));
    world.send(rooms[0], &typing());
    world.admin(keeper, AdminCommand::Revoke { user: user(1), issued_before });
    for room in rooms {
        assert_eq!(world.close_code(room), Some(4001));
    }
    assert!(world.is_open(newer) && world.is_open(other));
    let last = world.seen(other).iter().rfind(|seen| seen.kind() == "typing_indicator").unwrap();
    assert_eq!(last.json().unwrap()["is_typing"], false);
    world.finish();
}

#[test]
fn a_typist_who_is_alone_and_revoked_leaves_nothing() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.send(ann, &typing());
    let issued_before = Some(Wall(world.now.wall.0 + 1));
    world.admin(0, AdminCommand::Revoke { user: user(1), issued_before });
    assert_eq!(world.close_code(ann), Some(4001));
    world.enter(2, 1);
    world.finish();
}

#[test]
fn a_socket_that_goes_while_it_is_admitted_leaves_no_ghost() {
    let mut world = World::new(Setup { history_on_connect: 5, ..Setup::default() });
    let ann = world.enter(1, 1);
    world.say(ann, "a");
    world.reader_mode = Mode::Held;
    // Gone before the first answer, before the second, and before the commit that lets it in.
    for answers in 0..3 {
        world.log_mode = Mode::Held;
        world.say(ann, "b");
        let bob = world.enter_v1(2, 1);
        for _ in 0..answers {
            world.answer_load(0);
            world.settle();
        }
        // A candidate is not read from: its socket breaks when something else closes it.
        let (core, slot) = (world.sockets[bob].core, world.sockets[bob].slot);
        let now = world.now;
        world.seats[core].core.hung_up(slot, now);
        world.turn(core);
        assert_eq!(world.end(bob), Some(End::Reset));
        world.log_mode = Mode::Auto;
        while world.answer_load(0) {}
        world.settle();
        while world.answer_load(0) {}
        world.settle();
        assert_eq!(world.count(ann, "user_status"), 0, "{answers} answers");
    }
    world.finish();
}

#[test]
fn a_socket_that_goes_between_the_verdict_and_its_delivery_leaves_no_ghost() {
    let mut world = World::new(Setup { cores: 2, wide_threshold: 1, ..Setup::default() });
    let owner = world.owner(1);
    let ann = world.enter(1, 1);
    let far = 1 - owner;
    world.reader_mode = Mode::Held;
    let bob = world.connect(Knock { core: far, user: 2, ..Knock::default() });
    assert_eq!(world.sockets[bob].core, far);
    world.answer_load(owner);
    world.turn(owner);
    // Admitted lies in the ring.
    let now = world.now;
    world.seats[far].core.hung_up(world.sockets[bob].slot, now);
    world.settle();
    world.reader_mode = Mode::Auto;
    world.settle();
    world.advance(10_000);
    world.say(ann, "alone");
    let online = world.seen(ann).iter().filter_map(|seen| seen.json());
    let online: Vec<_> = online.filter(|json| json["type"] == "user_status").collect();
    assert!(online.last().is_none_or(|last| last["status"] == "offline" || last["user_id"] == 1));
    world.finish();
}

#[test]
fn a_slots_next_tenant_hears_nothing_that_was_meant_for_the_last() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    let bob = world.enter(2, 1);
    world.log_mode = Mode::Held;
    world.send(bob, &json!({"type": "chat_message", "content": "bob's", "ref": "r"}));
    let slot = world.sockets[bob].slot;
    world.hang_up(bob);
    let cid = world.enter(3, 2);
    assert_eq!(world.sockets[cid].slot, slot, "the slot was not used again");
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(world.contents(ann), ["bob's"]);
    assert_eq!((world.contents(cid).len(), world.count(cid, "ack")), (0, 0));
    world.finish();
}

#[test]
fn profiles_fill_in_what_a_token_lacks() {
    let mut world = World::new(Setup::default());
    let profile = Profile {
        id: user(1),
        email: "ann@example.com".to_owned(),
        first_name: "Ann".to_owned(),
        last_name: "Lee".to_owned(),
    };
    world.admin(0, AdminCommand::SetProfile { profile });
    let ann = world.enter(1, 1);
    world.say(ann, "hello");
    let frame = world.seen(ann).iter().find(|seen| seen.kind() == "chat_message").unwrap();
    assert_eq!(frame.json().unwrap()["message"]["sender"]["first_name"], "Ann");
    world.finish();
}
