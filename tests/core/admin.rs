//! What operators ask for, one at a time, with the store's failures.

use loquat::model::{Role, Wall};
use loquat::node::admin::{AdminAnswer, AdminCommand};
use loquat::node::ports::FromLog;

use super::entry::{conversation, members, remove_member, set_member, user};
use super::world::{Mode, Setup, World};

fn check(world: &mut World, command: AdminCommand, expected: Option<AdminAnswer>) {
    let text = format!("{command:?}");
    let answer = world.admin(0, command);
    assert_eq!(*answer.lock().unwrap(), expected, "{text}");
}

#[test]
fn each_command_is_answered_by_what_the_store_knows() {
    use AdminAnswer::*;
    let mut world = members(Setup::default());
    let create = |id| AdminCommand::CreateConversation { conversation: conversation(id) };
    check(&mut world, create(1), Some(Exists));
    check(&mut world, create(2), Some(Done));
    check(&mut world, create(2), Some(Exists));
    check(&mut world, set_member(9, Role::Admin), Some(Done));
    check(&mut world, remove_member(9), Some(Done));
    check(&mut world, remove_member(9), Some(NotFound));
    let kick = |id| AdminCommand::Kick { conversation: conversation(id), user: user(1) };
    check(&mut world, kick(1), Some(Done));
    check(&mut world, kick(77), Some(NotFound));
    check(&mut world, AdminCommand::Revoke { user: user(9), issued_before: None }, Some(Done));
    world.finish();
}

#[test]
fn a_kicked_member_may_come_back_and_a_removed_one_not() {
    let mut world = members(Setup::default());
    let (ann, again) = (world.enter(1, 1), world.enter(1, 1));
    let bob = world.enter(2, 1);
    let kick = AdminCommand::Kick { conversation: conversation(1), user: user(1) };
    check(&mut world, kick, Some(AdminAnswer::Done));
    assert_eq!((world.close_code(ann), world.close_code(again)), (Some(4004), Some(4004)));
    let ann = world.enter(1, 1);
    assert!(world.is_open(ann) && world.is_open(bob));
    check(&mut world, remove_member(1), Some(AdminAnswer::Done));
    assert_eq!(world.close_code(ann), Some(4004));
    let ann = world.enter(1, 1);
    assert_eq!(world.close_code(ann), Some(4003));
    world.finish();
}

#[test]
fn answers_wait_for_the_disk_and_come_in_order() {
    let mut world = members(Setup::default());
    world.log_mode = Mode::Held;
    let first = world.admin(0, set_member(8, Role::Member));
    let second = world.admin(0, remove_member(8));
    assert_eq!((*first.lock().unwrap(), *second.lock().unwrap()), (None, None));
    world.durable(0, 1);
    world.settle();
    assert_eq!(*first.lock().unwrap(), Some(AdminAnswer::Done));
    assert_eq!(*second.lock().unwrap(), None);
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(*second.lock().unwrap(), Some(AdminAnswer::Done));
    world.finish();
}

#[test]
fn a_store_that_fails_or_takes_nothing_is_unavailable() {
    let mut world = members(Setup::default());
    world.reader_mode = Mode::Fails;
    check(&mut world, set_member(8, Role::Member), Some(AdminAnswer::Unavailable));
    world.reader_mode = Mode::Held;
    let waiting = world.admin(0, set_member(8, Role::Member));
    let behind =
        world.admin(0, AdminCommand::Revoke { user: user(8), issued_before: Some(Wall(1)) });
    world.tell(0, FromLog::Accepting(false));
    world.settle();
    check(&mut world, set_member(9, Role::Member), Some(AdminAnswer::Unavailable));
    let lsn = world.seats[0].lsn;
    world.reader_mode = Mode::Auto;
    while world.answer_load(0) {}
    world.settle();
    for answer in [waiting, behind] {
        assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Unavailable));
    }
    assert_eq!(world.seats[0].lsn, lsn, "a record was numbered");
    world.tell(0, FromLog::Accepting(true));
    check(&mut world, set_member(8, Role::Member), Some(AdminAnswer::Done));
    world.finish();
}
