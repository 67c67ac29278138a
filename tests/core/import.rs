//! An import as a shard sees it: the name must be free, nobody gets in between, and ids are given up.

use loquat::model::{Import, Wall};
use loquat::node::admin::{AdminAnswer, AdminCommand, Post, Sender};
use loquat::node::ports::FromLog;

use super::entry::{conversation, members};
use super::world::{Mode, Setup, World};

fn import(number: u64) -> AdminCommand {
    let conversation = conversation(number);
    AdminCommand::Import(Import { conversation, at: Wall(5), number: 1, events: 40, messages: 30 })
}

#[test]
fn an_import_wants_a_free_name() {
    let mut world = members(Setup::default());
    let answer = world.admin(0, import(1));
    assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Exists));
    world.finish();
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    // The directory does not know the conversation, and nothing was said: but somebody is in it.
    let answer = world.admin(0, import(1));
    assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Exists));
    world.say(ann, "mine");
    assert_eq!(world.contents(ann), ["mine"]);
    world.finish();
    // The name of what was deleted is not free, and no more so once it was created again.
    let mut world = members(Setup::default());
    let conversation = conversation(1);
    world.admin(0, AdminCommand::DeleteConversation { conversation: conversation.clone() });
    for then in [None, Some(AdminCommand::CreateConversation { conversation })] {
        then.into_iter().for_each(|command| drop(world.admin(0, command)));
        let answer = world.admin(0, import(1));
        assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Exists));
    }
    world.finish();
}

#[test]
fn nobody_gets_in_between_the_check_and_the_last_page() {
    let mut world = World::new(Setup::default());
    world.reader_mode = Mode::Held;
    let early = world.enter(1, 1);
    let request = world.seats[0].loads.pop_front().unwrap();
    let known_early = world.store.answer(&request);
    world.reader_mode = Mode::Auto;
    world.log_mode = Mode::Held;
    let answer = world.admin(0, import(1));
    assert_eq!(*answer.lock().unwrap(), None);
    // What the store said before the record was decided says nothing now.
    world.reply_load(0, request.ticket, known_early);
    world.settle();
    assert_eq!(world.http_status(early), Some(503));
    let meanwhile = world.enter(2, 1);
    assert_eq!(world.http_status(meanwhile), Some(503));
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Done));
    let building = world.enter(3, 1);
    assert_eq!(world.http_status(building), Some(503));
    world.store.finish_import();
    let late = world.enter(4, 1);
    assert!(world.is_open(late));
    assert_eq!(world.last(late, "hello")["seq"], 40);
    world.finish();
}

#[test]
fn ids_are_given_up_while_sending_goes_on_and_answered_behind_what_bears_them() {
    let mut world = World::new(Setup { lease_ids: 64, ..Setup::default() });
    let ann = world.enter(1, 1);
    world.lease_mode = Mode::Held;
    world.say(ann, "an old id");
    let floor = world.next_id;
    let answer = world.admin(0, AdminCommand::RenewLease { floor });
    world.log_mode = Mode::Held;
    world.say(ann, "another old one");
    assert_eq!(*answer.lock().unwrap(), None);
    world.lease_mode = Mode::Auto;
    world.settle();
    // The new block is there, but a message with an old id is not on disk yet.
    assert_eq!(*answer.lock().unwrap(), None);
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Done));
    world.say(ann, "a new id");
    let ids: Vec<u64> = world.ids(ann);
    assert!(ids[0] < floor && ids[1] < floor && ids[2] >= floor, "{ids:?}, {floor}");
    // Nothing below this floor is left: the answer comes at once.
    let again = world.admin(0, AdminCommand::RenewLease { floor });
    assert_eq!(*again.lock().unwrap(), Some(AdminAnswer::Done));
    world.tell(0, FromLog::Accepting(true));
    world.finish();
}

#[test]
fn the_operator_says_nothing_in_front_of_a_past_that_comes_in() {
    let mut world = World::new(Setup::default());
    world.reader_mode = Mode::Held;
    let content = "too early".to_owned();
    let post = Post { sender: Sender::System, content, parent: None, client_msg_id: None };
    let post = AdminCommand::Post { conversation: conversation(1), post };
    let posted = world.admin(0, post);
    let request = world.seats[0].loads.pop_front().unwrap();
    let known_early = world.store.answer(&request);
    world.reader_mode = Mode::Auto;
    world.log_mode = Mode::Held;
    world.admin(0, import(1));
    world.reply_load(0, request.ticket, known_early);
    world.settle();
    assert_eq!(*posted.lock().unwrap(), Some(AdminAnswer::Unavailable));
    world.log_mode = Mode::Auto;
    world.settle();
    world.store.finish_import();
    assert!(world.store.events.values().all(|events| events.len() == 40));
    world.finish();
}
