//! Nothing is shown before it is durable, and everything in the order of the log.

use loquat::model::Version;
use loquat::node::ports::FromLog;
use serde_json::json;

use super::client::{Knock, chat};
use super::world::{Mode, Setup, World};

#[test]
fn an_event_and_its_ack_wait_for_the_disk() {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter_v1(2, 1));
    world.log_mode = Mode::Held;
    world.send(ann, &json!({"type": "chat_message", "content": "a", "ref": "r1"}));
    world.send(ann, &json!({"type": "chat_message", "content": "b", "ref": "r2"}));
    assert_eq!((world.count(ann, "ack"), world.contents(bob).len()), (0, 0));
    world.durable(0, 1);
    world.settle();
    assert_eq!((world.count(ann, "ack"), world.contents(bob)), (1, vec!["a".to_owned()]));
    world.durable(0, 1);
    world.settle();
    assert_eq!(world.contents(ann), ["a", "b"]);
    let kinds: Vec<_> = world.seen(ann).iter().map(|seen| seen.kind().to_owned()).collect();
    let first_ack = kinds.iter().position(|kind| kind == "ack");
    let first_message = kinds.iter().position(|kind| kind == "chat_message");
    assert!(first_ack < first_message, "{kinds:?}");
    world.finish();
}

#[test]
fn a_repeat_waits_for_the_first_commit() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.log_mode = Mode::Held;
    let send = json!({"type": "chat_message", "content": "a", "client_msg_id": "c1"});
    world.send(ann, &send);
    world.send(ann, &send);
    assert_eq!(world.count(ann, "ack"), 0);
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!((world.count(ann, "ack"), world.contents(ann).len()), (2, 1));
    world.finish();
}

#[test]
fn a_socket_that_enters_between_two_commits_begins_at_the_durable_event() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.log_mode = Mode::Held;
    for content in ["a", "b", "c"] {
        world.say(ann, content);
    }
    world.durable(0, 1);
    world.settle();
    let bob = world.enter(2, 1);
    let hello = world.seen(bob).iter().find(|seen| seen.kind() == "hello").unwrap();
    assert_eq!(hello.json().unwrap()["seq"], 1);
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(world.contents(bob), ["b", "c"]);
    world.finish();
}

#[test]
fn a_socket_that_enters_in_the_middle_of_a_turn_sees_what_comes_after_it() {
    let mut world = World::new(Setup { history_on_connect: 10, ..Setup::default() });
    let ann = world.enter(1, 1);
    world.log_mode = Mode::Held;
    // A commit under way: what follows waits for it and goes to the log together.
    world.say(ann, "first");
    world.say(ann, "a");
    world.say(ann, "b");
    // Held back behind b, with all of them as its history.
    let bob = world.enter_v1(2, 1);
    world.say(ann, "c");
    assert_eq!(world.http_status(bob), None);
    world.durable(0, 1);
    world.settle();
    assert_eq!(world.http_status(bob), None);
    // One turn reveals a, b, the entry, c.
    world.durable(0, 4);
    world.settle();
    assert_eq!(world.contents(bob), ["first", "a", "b", "c"]);
    let read: Vec<_> = world.seen(bob).iter().filter_map(|seen| seen.json()).collect();
    let live: Vec<_> = read.iter().filter(|json| json["message"]["is_read"].is_null()).collect();
    assert_eq!(live.iter().filter(|json| json["type"] == "chat_message").count(), 1);
    world.finish();
}

#[test]
fn old_messages_are_read_from_the_store_and_new_ones_from_memory() {
    let mut world = World::new(Setup { history_on_connect: 3, ..Setup::default() });
    let ann = world.enter(1, 1);
    ["a", "b", "c"].iter().for_each(|content| world.say(ann, content));
    world.seal();
    world.say(ann, "d");
    let bob = world.enter_v1(2, 1);
    assert_eq!(world.contents(bob), ["b", "c", "d"]);
    world.finish();
}

#[test]
fn history_is_read_again_when_a_segment_was_sealed_meanwhile() {
    let mut world = World::new(Setup { history_on_connect: 5, ..Setup::default() });
    let ann = world.enter(1, 1);
    ["a", "b"].iter().for_each(|content| world.say(ann, content));
    world.reader_mode = Mode::Held;
    let bob = world.enter_v1(2, 1);
    world.answer_load(0);
    world.settle();
    // The store answers without a and b; before the answer arrives they leave memory.
    let request = world.seats[0].loads.pop_front().unwrap();
    let early = world.store.answer(&request);
    world.seal();
    world.advance(1_000);
    world.reply_load(0, request.ticket, early);
    world.settle();
    assert_eq!(world.http_status(bob), None);
    world.reader_mode = Mode::Auto;
    while world.answer_load(0) {}
    world.settle();
    assert_eq!(world.contents(bob), ["a", "b"]);
    world.finish();
}

#[test]
fn a_room_that_left_memory_goes_on_with_its_numbers() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "a");
    world.hang_up(ann);
    world.advance(120_000);
    world.seal();
    assert_eq!(world.seats[0].core.rooms(), 0);
    let bob = world.enter(2, 1);
    world.say(bob, "b");
    let seqs: Vec<_> = world.seen(bob).iter().filter_map(|seen| seen.seq()).collect();
    assert_eq!(seqs, [2]);
    world.finish();
}

#[test]
fn commands_on_old_messages_wait_for_the_store_in_order() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "old");
    let old = world.ids(ann)[0];
    world.hang_up(ann);
    world.advance(120_000);
    world.seal();
    let ann = world.enter(1, 1);
    world.reader_mode = Mode::Held;
    let edit = json!({"type": "message_edit", "message_id": old, "content": "new", "ref": "e"});
    world.send(ann, &edit);
    world.say(ann, "behind");
    assert_eq!(world.contents(ann).len(), 0);
    world.reader_mode = Mode::Auto;
    while world.answer_load(0) {}
    world.settle();
    let kinds: Vec<_> =
        world.seen(ann).iter().filter(|s| s.seq().is_some()).map(|s| s.kind()).collect();
    assert_eq!(kinds, ["message_edit", "chat_message"]);
    world.finish();
}

#[test]
fn frames_right_behind_the_head_are_commands() {
    let mut world = World::new(Setup::default());
    let frame = super::decode::masked(1, chat("first").to_string().as_bytes());
    let knock = Knock { version: Version::V1, behind: &frame, ..Knock::default() };
    let ann = world.connect(knock);
    assert_eq!((world.contents(ann), world.errors(ann).len()), (vec!["first".to_owned()], 0));
    world.finish();
}

#[test]
fn what_was_dropped_from_pages_is_not_shown_from_memory() {
    let mut world = World::new(Setup { history_on_connect: 9, ..Setup::default() });
    let ann = world.enter(1, 1);
    world.say(ann, "old");
    world.seal();
    world.say(ann, "new");
    world.store.drop_old_messages();
    world.tell(0, FromLog::ReadAnew);
    world.settle();
    let bob = world.enter_v1(2, 1);
    assert_eq!(world.contents(bob), ["new"]);
    world.finish();
}
