//! Conversations that are deleted in the middle of everything, and created again.

use loquat::model::{DirectoryChange, Role};
use loquat::node::admin::{AdminAnswer, AdminCommand};
use loquat::node::ports::Record;
use serde_json::json;

use super::client::{Knock, chat};
use super::entry::{conversation, members, set_member};
use super::world::{Mode, Setup, World};

fn delete(id: u64) -> AdminCommand {
    AdminCommand::DeleteConversation { conversation: conversation(id) }
}

fn create(id: u64) -> AdminCommand {
    AdminCommand::CreateConversation { conversation: conversation(id) }
}

fn done(world: &mut World, command: AdminCommand) {
    let owner = world.owner(1);
    let answer = world.admin(owner, command);
    assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Done));
}

/// The tombstone's last seq, as it waits for the log.
fn tombstone(world: &World) -> Option<u64> {
    let mut records = world.seats[0].log.iter().map(|(_, record)| record);
    records.find_map(|record| match record {
        Record::Directory(DirectoryChange::ConversationDeleted { tombstone, .. }) => {
            Some(tombstone.last_seq.0)
        }
        _ => None,
    })
}

#[test]
fn sockets_are_closed_and_nobody_enters_until_it_is_created_again() {
    for setup in [Setup::default(), Setup { history_on_connect: 5, ..Setup::default() }] {
        let mut world = World::new(setup);
        let (ann, bob) = (world.enter(1, 1), world.enter_v1(2, 1));
        ["a", "b"].iter().for_each(|content| world.say(ann, content));
        done(&mut world, delete(1));
        assert_eq!((world.close_code(ann), world.close_code(bob)), (Some(4003), Some(4003)));
        let early = world.enter(1, 1);
        assert_eq!(world.close_code(early), Some(4003));
        let owner = world.owner(1);
        let again = world.admin(owner, delete(1));
        assert_eq!(*again.lock().unwrap(), Some(AdminAnswer::NotFound));
        world.seal();
        done(&mut world, create(1));
        let bob = world.enter_v1(2, 1);
        assert!(world.is_open(bob) && world.contents(bob).is_empty());
        let ann = world.enter(1, 1);
        world.say(ann, "c");
        let seqs: Vec<_> = world.seen(ann).iter().filter_map(|seen| seen.seq()).collect();
        assert_eq!((seqs, world.contents(bob)), (vec![3], vec!["c".to_owned()]));
        world.finish();
    }
}

#[test]
fn from_the_decision_on_nothing_is_numbered_and_nobody_enters() {
    let mut world = members(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "a");
    world.log_mode = Mode::Held;
    world.say(ann, "decided before");
    let owner = world.owner(1);
    let answer = world.admin(owner, delete(1));
    assert_eq!(*answer.lock().unwrap(), None);
    let records = world.seats[0].log.len();
    // The store still says that bob is a member.
    let bob = world.enter(2, 1);
    assert_eq!(world.close_code(bob), Some(4003));
    assert_eq!(world.close_code(ann), Some(4003));
    world.push(ann, &chat("too late"));
    world.settle();
    assert_eq!(world.seats[0].log.len(), records);
    // The deletion waited for the commit that was under way; nothing came behind it.
    world.durable(0, 2);
    world.settle();
    assert_eq!((tombstone(&world), world.seats[0].log.len()), (Some(2), 1));
    assert_eq!(*answer.lock().unwrap(), None);
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Done));
    assert_eq!(world.contents(ann), ["a"]);
    world.finish();
}

#[test]
fn marks_that_were_not_logged_yet_never_are() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    world.say(ann, "a");
    let id = world.seen(bob).iter().find_map(|seen| seen.json()?["message"]["id"].as_u64());
    world.advance(1_000);
    world.send(bob, &json!({"type": "read_receipt", "message_id": id}));
    world.log_mode = Mode::Held;
    let owner = world.owner(1);
    world.admin(owner, delete(1));
    world.advance(5_000);
    assert!(!world.seats[0].log.iter().any(|(_, record)| matches!(record, Record::Mark { .. })));
    world.finish();
}

#[test]
fn an_answer_of_the_store_from_before_reaches_nobody_afterwards() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "a");
    let id = world.seen(ann).iter().find_map(|seen| seen.json()?["message"]["id"].as_u64());
    world.hang_up(ann);
    world.advance(120_000);
    world.seal();
    let ann = world.enter(1, 1);
    world.reader_mode = Mode::Held;
    let edit = json!({"type": "message_edit", "message_id": id, "content": "b", "ref": "r"});
    world.send(ann, &edit);
    let request = world.seats[0].loads.pop_front().unwrap();
    let early = world.store.answer(&request);
    world.reader_mode = Mode::Auto;
    done(&mut world, delete(1));
    done(&mut world, create(1));
    let bob = world.enter(1, 1);
    world.reader_mode = Mode::Held;
    world.send(bob, &edit);
    world.reply_load(0, request.ticket, early);
    world.settle();
    assert_eq!((world.count(bob, "error"), world.count(bob, "message_edit")), (0, 0));
    world.reader_mode = Mode::Auto;
    while world.answer_load(0) {}
    world.settle();
    assert_eq!((world.count(bob, "error"), world.count(bob, "message_edit")), (1, 0));
    world.finish();
}

#[test]
fn candidates_at_every_stage_are_refused() {
    let mut world = World::new(Setup { history_on_connect: 5, ..Setup::default() });
    let ann = world.enter(1, 1);
    world.say(ann, "a");
    world.reader_mode = Mode::Held;
    // One is asked about, one has its history read, one waits until its history is durable.
    let admission = world.enter_v1(2, 1);
    let history = world.enter_v1(3, 1);
    let request = world.seats[0].loads.pop_back().unwrap();
    let answer = world.store.answer(&request);
    world.reply_load(0, request.ticket, answer);
    world.settle();
    world.log_mode = Mode::Held;
    world.say(ann, "b");
    let durable = world.enter_v1(4, 1);
    for _ in 0..3 {
        let request = world.seats[0].loads.pop_back().unwrap();
        let answer = world.store.answer(&request);
        world.reply_load(0, request.ticket, answer);
        world.settle();
    }
    let owner = world.owner(1);
    let deletion = world.admin(owner, delete(1));
    world.reader_mode = Mode::Auto;
    while world.answer_load(0) {}
    world.settle();
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(*deletion.lock().unwrap(), Some(AdminAnswer::Done));
    for client in [admission, history, durable] {
        assert_eq!(world.close_code(client), Some(4003), "client {client}");
        assert_eq!(world.contents(client).len(), 0);
    }
    world.finish();
}

#[test]
fn sockets_on_other_cores_are_closed_too() {
    let mut world = World::new(Setup { cores: 2, wide_threshold: 1, ..Setup::default() });
    let owner = world.owner(1);
    let near = world.enter(1, 1);
    let far = world.connect(Knock { core: 1 - owner, user: 2, ..Knock::default() });
    world.say(far, "a");
    assert_eq!(world.contents(near), ["a"]);
    done(&mut world, delete(1));
    assert_eq!((world.close_code(near), world.close_code(far)), (Some(4003), Some(4003)));
    done(&mut world, create(1));
    let far = world.connect(Knock { core: 1 - owner, user: 2, ..Knock::default() });
    world.say(far, "b");
    assert_eq!(world.contents(far), ["b"]);
    world.finish();
}

#[test]
fn members_are_set_anew_after_a_deletion() {
    let mut world = members(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "a");
    done(&mut world, delete(1));
    let owner = world.owner(1);
    let refused = world.admin(owner, set_member(1, Role::Member));
    assert_eq!(*refused.lock().unwrap(), Some(AdminAnswer::NotFound));
    done(&mut world, create(1));
    let ann = world.enter(1, 1);
    assert_eq!(world.close_code(ann), Some(4003));
    done(&mut world, set_member(1, Role::Member));
    let ann = world.enter(1, 1);
    world.say(ann, "b");
    assert_eq!(world.contents(ann), ["b"]);
    world.finish();
}

#[test]
fn a_store_that_takes_nothing_keeps_the_conversation() {
    use loquat::node::ports::FromLog;
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "a");
    world.tell(0, FromLog::Accepting(false));
    let answer = world.admin(0, delete(1));
    assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Unavailable));
    assert!(world.is_open(ann));
    world.tell(0, FromLog::Accepting(true));
    world.settle();
    world.say(ann, "b");
    assert_eq!(world.contents(ann), ["a", "b"]);
    world.finish();
}

#[test]
fn who_comes_back_to_what_was_created_again_fetches_history() {
    for is_sealed in [false, true] {
        let mut world = World::new(Setup::default());
        let ann = world.enter(1, 1);
        (0..4).for_each(|n| world.say(ann, &format!("c{n}")));
        if is_sealed {
            world.seal();
        }
        done(&mut world, delete(1));
        done(&mut world, create(1));
        let ann = world.enter(1, 1);
        world.say(ann, "anew");
        if is_sealed {
            world.seal();
        }
        let bob = world.come_back(2, 2);
        assert_eq!(world.last(bob, "resync")["seq"], 5);
        let cy = world.come_back(3, 4);
        assert_eq!((world.seqs(cy), world.count(cy, "resync")), (vec![5], 0));
        world.say(ann, "live");
        assert_eq!((world.seqs(bob), world.seqs(cy)), (vec![6], vec![5, 6]));
        world.finish();
    }
}

#[test]
fn who_follows_the_log_is_closed_with_the_others() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    (0..4).for_each(|n| world.say(ann, &format!("c{n}")));
    world.seal();
    world.reader_mode = Mode::Held;
    let bob = world.come_back(2, 0);
    assert!(world.answer_load(0));
    world.settle();
    assert_eq!(world.count(bob, "hello"), 1);
    let request = world.seats[0].loads.pop_front().unwrap();
    let early = world.store.answer(&request);
    world.reader_mode = Mode::Auto;
    done(&mut world, delete(1));
    assert_eq!(world.close_code(bob), Some(4003));
    done(&mut world, create(1));
    world.reply_load(0, request.ticket, early);
    world.settle();
    assert_eq!(world.seqs(bob), Vec::<u64>::new());
    world.finish();
}

#[test]
fn a_question_about_what_is_being_deleted_is_refused_and_opens_nothing() {
    use loquat::node::question::{About, Answer, Asker};
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "a");
    world.log_mode = Mode::Held;
    let deletion = world.admin(0, delete(1));
    let answer = world.ask(0, 1, Asker::Operator, About::Standing(Default::default()));
    assert!(matches!(*answer.lock().unwrap(), Some(Answer::NoConversation)));
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(*deletion.lock().unwrap(), Some(AdminAnswer::Done));
    done(&mut world, create(1));
    let ann = world.enter(1, 1);
    world.say(ann, "b");
    assert_eq!(world.seqs(ann), [2]);
    world.finish();
}
