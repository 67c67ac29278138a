//! What the operator says and takes back: numbered, durable and shown like any message, without a socket.

use std::sync::{Arc, Mutex};

use loquat::model::{Access, ErrorCode, MessageId, Profile, Seq};
use loquat::node::admin::{AdminAnswer, AdminCommand, Post, Sender};
use serde_json::json;

use super::entry::{conversation, members, user};
use super::world::{Mode, Setup, World};

type Answer = Arc<Mutex<Option<AdminAnswer>>>;

fn post(sender: Sender, content: &str) -> Post {
    Post { sender, content: content.to_owned(), parent: None, client_msg_id: None }
}

fn ask(world: &mut World, post: Post) -> Answer {
    let owner = world.owner(1);
    world.admin(owner, AdminCommand::Post { conversation: conversation(1), post })
}

fn posted(answer: &Answer) -> (u64, u64) {
    match *answer.lock().unwrap() {
        Some(AdminAnswer::Numbered { message, seq, .. }) => (message.0, seq.0),
        other => panic!("{other:?}"),
    }
}

fn refused(world: &mut World, post: Post, code: ErrorCode) {
    let text = format!("{post:?}");
    let answer = ask(world, post);
    assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::Refused(code)), "{text}");
}

#[test]
fn a_post_waits_for_the_disk_and_is_shown_to_all() {
    let mut world = World::new(Setup::default());
    let owner = world.owner(1);
    let profile = Profile { first_name: "Grace".to_owned(), ..Profile::nameless(user(2)) };
    world.admin(owner, AdminCommand::SetProfile { profile });
    let (ann, bob) = (world.enter(1, 1), world.enter_v1(2, 1));
    world.log_mode = Mode::Held;
    let answer = ask(&mut world, post(Sender::User(user(2)), "  as grace "));
    assert_eq!((*answer.lock().unwrap(), world.contents(bob).len()), (None, 0));
    world.log_mode = Mode::Auto;
    world.settle();
    let (id, seq) = posted(&answer);
    assert_eq!(seq, 1);
    for client in [ann, bob] {
        let frame = world.last(client, "chat_message");
        let sender = &frame["message"]["sender"];
        assert_eq!((&frame["message"]["id"], &frame["seq"]), (&json!(id), &json!(1)));
        assert_eq!((&sender["id"], &sender["first_name"]), (&json!(2), &json!("Grace")));
        assert_eq!(frame["message"]["content"], "as grace");
    }
    world.say(bob, "by himself");
    assert_eq!(world.contents(ann), ["as grace", "by himself"]);
    world.finish();
}

#[test]
fn a_repeat_is_the_first_post_and_the_system_has_a_name() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    let named = |content: &str| Post {
        client_msg_id: Some("p-1".to_owned()),
        ..post(Sender::System, content)
    };
    let first = ask(&mut world, named("notice"));
    assert_eq!(posted(&ask(&mut world, named("notice"))), posted(&first));
    world.seal();
    world.hang_up(ann);
    world.advance(120_000);
    assert_eq!(posted(&ask(&mut world, named("notice"))), posted(&first));
    refused(&mut world, named("another"), ErrorCode::IdempotencyConflict);
    let ann = world.enter(1, 1);
    ask(&mut world, post(Sender::System, "again"));
    let frame = world.last(ann, "chat_message");
    let sender = json!({"id": "system", "email": "", "first_name": "System", "last_name": ""});
    assert_eq!(frame["message"]["sender"], sender);
    world.finish();
}

#[test]
fn the_bounds_of_a_message_hold() {
    let mut world = World::new(Setup::default());
    let system = |content: &str| post(Sender::System, content);
    refused(&mut world, system(" \n "), ErrorCode::Empty);
    refused(&mut world, system(&"é".repeat(10_001)), ErrorCode::TooLong);
    let named = |name: String| Post { client_msg_id: Some(name), ..system("x") };
    refused(&mut world, named(String::new()), ErrorCode::Invalid);
    refused(&mut world, named("n".repeat(65)), ErrorCode::Invalid);
    let orphan = Post { parent: Some(MessageId(99)), ..system("x") };
    refused(&mut world, orphan, ErrorCode::ParentNotFound);
    posted(&ask(&mut world, system(&"é".repeat(10_000))));
    world.finish();
}

#[test]
fn the_operator_deletes_whosever_message_it_is_once() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "mine");
    let id = world.seen(ann).iter().find_map(|seen| seen.json()?["message"]["id"].as_u64());
    let message = MessageId(id.unwrap());
    world.hang_up(ann);
    world.advance(120_000);
    world.seal();
    let bob = world.enter(2, 1);
    let created_at = world.now.wall;
    let mut delete = |message, expected| {
        let (conversation, by) = (conversation(1), Sender::System);
        let command = AdminCommand::DeleteMessage { conversation, message, by };
        let answer = world.admin(0, command);
        assert_eq!(*answer.lock().unwrap(), Some(expected));
    };
    delete(message, AdminAnswer::Numbered { message, seq: Seq(2), created_at });
    delete(message, AdminAnswer::Done);
    delete(MessageId(message.0 + 7), AdminAnswer::Refused(ErrorCode::NotFound));
    assert_eq!(world.count(bob, "message_delete"), 1);
    world.finish();
}

#[test]
fn what_is_done_to_its_user_does_not_touch_a_post() {
    let mut world = members(Setup::default());
    let ann = world.enter(1, 1);
    world.say(ann, "old");
    let id = world.seen(ann).iter().find_map(|seen| seen.json()?["message"]["id"].as_u64());
    world.hang_up(ann);
    world.advance(120_000);
    world.seal();
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    let reply = Post { parent: id.map(MessageId), ..post(Sender::User(user(1)), "answer") };
    world.reader_mode = Mode::Held;
    // It knows its sender and waits for the message that it answers.
    let answer = ask(&mut world, reply);
    assert!(world.answer_load(0));
    world.settle();
    assert_eq!(*answer.lock().unwrap(), None);
    let kick = AdminCommand::Kick { conversation: conversation(1), user: user(1) };
    world.admin(0, kick);
    while world.answer_load(0) {
        world.settle();
    }
    world.reader_mode = Mode::Auto;
    world.settle();
    assert_eq!(world.close_code(ann), Some(4004));
    posted(&answer);
    assert_eq!(world.contents(bob), ["answer"]);
    world.finish();
}

#[test]
fn there_is_nothing_to_post_to_in_a_conversation_that_is_not_there() {
    let mut world = World::new(Setup { access: Access::Members, ..Setup::default() });
    let answer = ask(&mut world, post(Sender::System, "x"));
    assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::NotFound));
    world.admin(0, AdminCommand::CreateConversation { conversation: conversation(1) });
    posted(&ask(&mut world, post(Sender::System, "x")));
    world.reader_mode = Mode::Held;
    let waiting = ask(&mut world, post(Sender::System, "y"));
    let request = world.seats[0].loads.pop_front().unwrap();
    let early = world.store.answer(&request);
    world.reader_mode = Mode::Auto;
    world.admin(0, AdminCommand::DeleteConversation { conversation: conversation(1) });
    world.reply_load(0, request.ticket, early);
    world.settle();
    assert_eq!(*waiting.lock().unwrap(), Some(AdminAnswer::NotFound));
    world.reader_mode = Mode::Fails;
    let failed = ask(&mut world, post(Sender::System, "z"));
    assert_eq!(*failed.lock().unwrap(), Some(AdminAnswer::Unavailable));
    world.finish();
}

#[test]
fn a_post_under_way_ends_with_its_conversation() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    world.log_mode = Mode::Held;
    let answer = ask(&mut world, post(Sender::System, "x"));
    world.admin(0, AdminCommand::DeleteConversation { conversation: conversation(1) });
    assert_eq!(*answer.lock().unwrap(), Some(AdminAnswer::NotFound));
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(world.contents(ann).len(), 0);
    world.finish();
}
