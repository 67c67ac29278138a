//! Pages of the past: across what is in pages and what is in memory, never before it is durable, and
//! for nobody whom a socket would not be opened for.

use std::sync::{Arc, Mutex};

use loquat::limits::{HISTORY_BYTES_MAX, QUESTIONS_MAX};
use loquat::model::*;
use loquat::node::core::Pressure;
use loquat::node::links::AdminOrder;
use loquat::node::question::{About, Answer, Asker, Question};
use serde_json::{Value, json};

use super::client::{Knock, receipt};
use super::entry::{conversation, members, remove_member, user};
use super::past;
use super::world::{Mode, Setup, World};

pub type Told = Arc<Mutex<Option<Answer>>>;

impl World {
    /// A question about a conversation, and where its answer will be.
    pub fn ask(&mut self, core: usize, of: u64, asker: Asker, about: About) -> Told {
        let answer = Arc::new(Mutex::new(None));
        let slot = answer.clone();
        let to = Box::new(move |answer| {
            let before = slot.lock().unwrap().replace(answer);
            assert_eq!(before, None, "one answer for one question");
        });
        let conversation = conversation(of);
        let question = Box::new(Question { conversation, asker, about });
        let seat = &mut self.seats[core];
        assert!(seat.admin.push(AdminOrder::Question(question, to)).is_ok());
        seat.admin.ring();
        self.settle();
        answer
    }
}

fn identity(number: u64) -> Asker {
    Asker::User(Arc::new(Identity {
        user: user(number),
        email: None,
        first_name: None,
        last_name: None,
        role: None,
        scope: None,
        issued_at_ms: Some(5_000),
        expires_at_ms: u64::MAX,
    }))
}

fn newest(limit: u32) -> About {
    About::History(HistoryQuery { anchor: Anchor::Newest, limit })
}

fn standing() -> About {
    About::Standing(ReadersQuery::Nobody)
}

fn told(answer: &Told) -> Option<Answer> {
    answer.lock().unwrap().clone()
}

fn page(answer: &Told) -> Box<History> {
    match told(answer) {
        Some(Answer::History(page)) => page,
        other => panic!("no page: {other:?}"),
    }
}

fn ids(page: &History) -> Vec<u64> {
    page.messages.iter().map(|message| message.id.0).collect()
}

/// Memory is short for a moment: what pages have leaves it.
pub fn forget_sealed(world: &mut World, core: usize) {
    let now = world.now;
    world.seats[core].core.set_pressure(Pressure::Shed, now);
    world.seats[core].core.set_pressure(Pressure::None, now);
}

/// Thirty messages of two users, a third of them in pages and no longer in memory, a third in pages.
fn talkative() -> (World, usize) {
    let mut world = World::new(Setup::default());
    let (ann, bob) = (world.enter(1, 1), world.enter(2, 1));
    for round in 0..3 {
        for n in 0..5 {
            world.say(ann, &format!("a{round}{n}"));
            world.say(bob, &format!("b{round}{n}"));
        }
        if round < 2 {
            world.seal();
        }
        if round == 0 {
            let owner = world.owner(1);
            forget_sealed(&mut world, owner);
        }
    }
    (world, ann)
}

#[test]
fn pages_are_the_same_wherever_their_messages_are() {
    let (mut world, _) = talkative();
    let owner = world.owner(1);
    let all = ids(&page(&world.ask(owner, 1, identity(1), newest(200))));
    assert_eq!(all.len(), 30);
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
    let mut check = |anchor: Anchor, limit: u32, expected: &[u64], has_more: bool| {
        let about = About::History(HistoryQuery { anchor, limit });
        let page = page(&world.ask(owner, 1, identity(1), about));
        assert_eq!(
            (ids(&page), page.has_more),
            (expected.to_vec(), has_more),
            "{anchor:?} {limit}"
        );
        assert_eq!(page.seq, Seq(30));
    };
    for limit in [1, 3, 7, 29, 30, 31, 200] {
        let count = (limit as usize).min(30);
        check(Anchor::Newest, limit, &all[30 - count..], count < 30);
        for (at, &id) in all.iter().enumerate() {
            let from = at.saturating_sub(count);
            check(Anchor::Before(MessageId(id)), limit, &all[from..at], from > 0);
            let to = (at + 1 + count).min(30);
            check(Anchor::After(MessageId(id)), limit, &all[at + 1..to], to < 30);
            let (older, newer) = (limit.div_ceil(2) as usize, limit as usize / 2);
            let (from, to) = ((at + 1).saturating_sub(older), (at + 1 + newer).min(30));
            let has_more = from > 0 || (newer > 0 && to < 30);
            check(Anchor::Around(MessageId(id)), limit, &all[from..to], has_more);
        }
    }
    check(Anchor::Before(MessageId(0)), 5, &[], false);
    check(Anchor::After(MessageId(u64::MAX)), 5, &[], false);
    world.finish();
}

/// What a page costs does not depend on how much was said since the last seal.
#[test]
fn long_messages_in_memory_are_cut_like_those_in_pages() {
    for parent in [false, true] {
        let mut world = World::new(Setup::default());
        let (owner, ann) = (world.owner(1), world.enter(1, 1));
        world.say(ann, "root");
        let root = world.ids(ann)[0];
        let text = "\u{10ffff}".repeat(10_000);
        for _ in 0..30 {
            world.send(
                ann,
                &json!({"type": "chat_message", "content": text, "parent_message_id": root}),
            );
        }
        let all = world.ids(ann);
        let mut found = Vec::new();
        let mut after = MessageId(0);
        loop {
            let about = match parent {
                true => About::Replies(RepliesQuery { parent: MessageId(root), after, limit: 200 }),
                false => About::History(HistoryQuery { anchor: Anchor::After(after), limit: 200 }),
            };
            let page = page(&world.ask(owner, 1, identity(1), about));
            let bytes: usize = page.messages.iter().map(|message| message.content.len()).sum();
            assert!(bytes < HISTORY_BYTES_MAX + 40_001, "{bytes}");
            found.extend(ids(&page));
            if !page.has_more {
                break;
            }
            after = MessageId(*found.last().unwrap());
        }
        assert_eq!(found, all[usize::from(parent)..]);
        for anchor in [Anchor::Newest, Anchor::Around(MessageId(all[15]))] {
            let about = About::History(HistoryQuery { anchor, limit: 200 });
            let page = page(&world.ask(owner, 1, identity(1), about));
            assert!(page.has_more && page.messages.len() <= 8, "{}", page.messages.len());
            let from = all.iter().position(|id| *id == page.messages[0].id.0).unwrap();
            assert_eq!(ids(&page), all[from..from + page.messages.len()]);
        }
        world.finish();
    }
}

#[test]
fn a_page_shows_what_came_of_its_messages() {
    let (mut world, ann) = talkative();
    let (owner, bob) = (world.owner(1), 1);
    let (old, newer) = (world.ids(ann)[0], world.ids(ann)[29]);
    world.send(bob, &json!({"type": "message_reaction", "message_id": old, "emoji": "👍"}));
    world.send(ann, &json!({"type": "message_edit", "message_id": old, "content": "changed"}));
    world.send(bob, &json!({"type": "message_delete", "message_id": newer}));
    let answer = json!({"type": "chat_message", "content": "yes", "parent_message_id": old});
    world.send(ann, &answer);
    let page = page(&world.ask(owner, 1, identity(3), newest(200)));
    let first = &page.messages[0];
    assert_eq!((first.content.as_str(), first.reply_count), ("changed", 1));
    assert_eq!(first.reactions["👍"], Listed { ids: vec![user(2)], count: 1 });
    assert_eq!(first.read_by, Some(Listed { ids: vec![user(1), user(2)], count: 2 }));
    let deleted = page.messages.iter().find(|message| message.id.0 == newer).unwrap();
    assert!(deleted.is_deleted && deleted.content.is_empty());
    // Bob's newest is the deleted one: the answer is unread.
    assert_eq!(page.messages[30].read_by, Some(Listed { ids: vec![user(1)], count: 1 }));
    world.finish();
}

#[test]
fn nothing_is_shown_before_it_is_durable() {
    let mut world = World::new(Setup::default());
    let (owner, ann) = (world.owner(1), world.enter(1, 1));
    world.say(ann, "durable");
    world.log_mode = Mode::Held;
    world.say(ann, "not yet");
    let answer = world.ask(owner, 1, identity(2), newest(10));
    world.send(ann, &past::ask("newest", 0, 50));
    assert_eq!((told(&answer), world.count(ann, "history")), (None, 0));
    world.log_mode = Mode::Auto;
    world.settle();
    let page = page(&answer);
    assert_eq!((page.messages.len(), page.seq), (2, Seq(2)));
    // A socket gets it behind the events that it knows of.
    let kinds: Vec<_> = world.seen(ann).iter().map(|seen| seen.kind().to_owned()).collect();
    assert_eq!(kinds.last().map(String::as_str), Some("history"));
    world.finish();
}

#[test]
fn what_is_sealed_while_the_store_is_read_is_not_lost() {
    let mut world = World::new(Setup::default());
    let (owner, ann) = (world.owner(1), world.enter(1, 1));
    world.say(ann, "one");
    world.reader_mode = Mode::Held;
    let answer = world.ask(owner, 1, identity(2), newest(10));
    // The reader looked before the segment was built, and answers behind the news of it.
    let (admission, early) = (world.seats[owner].loads.pop_front().unwrap(), &world.store);
    let admitted = early.answer(&admission);
    world.reply_load(owner, admission.ticket, admitted);
    world.settle();
    let request = world.seats[owner].loads.pop_front().unwrap();
    let early = world.store.answer(&request);
    world.hang_up(ann);
    world.advance(60_000);
    world.seal();
    forget_sealed(&mut world, owner);
    world.reply_load(owner, request.ticket, early);
    world.reader_mode = Mode::Auto;
    world.settle();
    assert_eq!(page(&answer).messages.len(), 1);
    world.finish();
}

#[test]
fn only_members_are_answered_and_others_hear_alike() {
    let mut world = members(Setup::default());
    let owner = world.owner(1);
    let ann = world.enter(1, 1);
    world.say(ann, "hello");
    let refused = Some(Answer::Refused(CloseReason::Forbidden));
    for about in [newest(5), standing()] {
        assert_eq!(told(&world.ask(owner, 1, identity(9), about.clone())), refused);
        let elsewhere = world.owner(55);
        assert_eq!(told(&world.ask(elsewhere, 55, identity(1), about)), refused);
    }
    assert_eq!(page(&world.ask(owner, 1, identity(2), newest(5))).messages.len(), 1);
    assert_eq!(page(&world.ask(owner, 1, Asker::Operator, newest(5))).messages.len(), 1);
    let elsewhere = world.owner(55);
    let nowhere = told(&world.ask(elsewhere, 55, Asker::Operator, newest(5)));
    assert_eq!(nowhere, Some(Answer::NoConversation));
    // The store does not know of the removal yet; the answer comes behind it.
    world.log_mode = Mode::Held;
    world.admin(owner, remove_member(2));
    let answer = world.ask(owner, 1, identity(2), newest(5));
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(told(&answer), refused);
    world.finish();
}

#[test]
fn a_conversation_that_nobody_is_in_is_read_and_left() {
    let (mut world, ann) = talkative();
    world.hang_up(ann);
    world.hang_up(1);
    world.advance(120_000);
    world.seal();
    world.advance(120_000);
    let owner = world.owner(1);
    assert_eq!(world.seats[owner].core.rooms(), 0);
    assert_eq!(page(&world.ask(owner, 1, identity(1), newest(7))).messages.len(), 7);
    assert_eq!(world.seats[owner].core.rooms(), 0);
    world.finish();
}

#[test]
fn unread_counts_messages_behind_the_mark() {
    let (mut world, ann) = talkative();
    let owner = world.owner(1);
    let check = |world: &mut World, of: u64, unread: u64, mark: Option<u64>| {
        let answer = told(&world.ask(owner, 1, identity(of), standing()));
        let Some(Answer::Standing(standing)) = answer else { panic!("{answer:?}") };
        assert_eq!((standing.unread, standing.mark.map(|id| id.0)), (unread, mark), "user {of}");
        standing
    };
    let sent = world.ids(ann);
    let standing = check(&mut world, 1, 1, Some(sent[28]));
    assert_eq!((standing.seq, standing.messages), (Seq(30), 30));
    assert_eq!(standing.last_message.unwrap().content, "b24");
    check(&mut world, 2, 0, Some(sent[29]));
    check(&mut world, 3, 30, None);
    let eve = world.enter(3, 1);
    world.send(eve, &receipt(sent[4]));
    check(&mut world, 3, 25, Some(sent[4]));
    // The same from pages alone.
    for client in [ann, 1, eve] {
        world.hang_up(client);
    }
    world.advance(120_000);
    world.seal();
    world.advance(120_000);
    assert_eq!(world.seats[owner].core.rooms(), 0);
    check(&mut world, 1, 1, Some(sent[28]));
    check(&mut world, 3, 25, Some(sent[4]));
    world.finish();
}

#[test]
fn readers_come_page_by_page() {
    let (mut world, ann) = talkative();
    let owner = world.owner(1);
    world.seal();
    let eve = world.enter(3, 1);
    let sent = world.ids(ann);
    world.send(eve, &receipt(sent[4]));
    let mut check = |readers: ReadersQuery, expected: &[(u64, u64)], has_more: bool| {
        let answer = told(&world.ask(owner, 1, identity(1), About::Standing(readers)));
        let Some(Answer::Standing(standing)) = answer else { panic!("{answer:?}") };
        let expected: Vec<_> = expected
            .iter()
            .map(|&(of, mark)| Reader { user: user(of), mark: MessageId(mark) })
            .collect();
        assert_eq!((standing.readers, standing.has_more_readers), (expected, has_more));
    };
    let all = [(1, sent[28]), (2, sent[29]), (3, sent[4])];
    let behind = |after: Option<u64>, limit| ReadersQuery::Behind { after: after.map(user), limit };
    check(behind(None, 3), &all, false);
    check(behind(None, 2), &all[..2], true);
    check(behind(Some(2), 2), &all[2..], false);
    check(ReadersQuery::These(vec![user(3), user(7)]), &all[2..], false);
    world.finish();
}

#[test]
fn edits_are_numbered_from_the_original_on() {
    let mut world = World::new(Setup::default());
    let (owner, ann) = (world.owner(1), world.enter(1, 1));
    world.say(ann, "v0");
    let id = world.ids(ann)[0];
    let edit = |text: &str| json!({"type": "message_edit", "message_id": id, "content": text});
    let edits = |world: &mut World, after: u64, limit: u32| {
        let query = EditsQuery { message: MessageId(id), after: Seq(after), limit };
        let answer = told(&world.ask(owner, 1, identity(1), About::Edits(query)));
        let Some(Answer::Edits(page)) = answer else { panic!("{answer:?}") };
        let contents: Vec<_> =
            page.edits.into_iter().map(|edit| (edit.number, edit.seq.0, edit.content)).collect();
        (contents, page.has_more)
    };
    let all: Vec<_> = (0..6_u32).map(|n| (n, u64::from(n) + 1, format!("v{n}"))).collect();
    for n in 1..6 {
        world.send(ann, &edit(&format!("v{n}")));
        if n == 2 {
            world.seal();
        }
    }
    for sealed in [false, true] {
        assert_eq!(edits(&mut world, 0, 10), (all.clone(), false));
        for limit in 1..6 {
            for after in 0..6 {
                let to = (after + limit as usize).min(6);
                let expected = (all[after..to].to_vec(), to < 6);
                assert_eq!(edits(&mut world, after as u64, limit), expected, "{after} {limit}");
            }
        }
        if !sealed {
            world.seal();
        }
    }
    let ask = |world: &mut World, id: u64| {
        let query = EditsQuery { message: MessageId(id), after: Seq(0), limit: 5 };
        told(&world.ask(owner, 1, identity(1), About::Edits(query)))
    };
    assert_eq!(ask(&mut world, id + 1), Some(Answer::NoMessage));
    world.send(ann, &json!({"type": "message_delete", "message_id": id}));
    assert_eq!(ask(&mut world, id), Some(Answer::Gone));
    world.seal();
    assert_eq!(ask(&mut world, id), Some(Answer::Gone));
    world.finish();
}

#[test]
fn replies_are_found_in_pages_and_in_memory() {
    let mut world = World::new(Setup::default());
    let (owner, ann) = (world.owner(1), world.enter(1, 1));
    world.say(ann, "root");
    let root = world.ids(ann)[0];
    for n in 0..9 {
        let parent = if n % 3 == 2 { Value::Null } else { json!(root) };
        world.send(
            ann,
            &json!({"type": "chat_message", "content": n.to_string(), "parent_message_id": parent}),
        );
        if n == 4 {
            world.seal();
        }
    }
    let sent = world.ids(ann);
    let expected: Vec<u64> = [1, 2, 4, 5, 7, 8].map(|at| sent[at]).into();
    for after in 0..=expected.len() {
        let behind = if after == 0 { MessageId(0) } else { MessageId(expected[after - 1]) };
        for limit in 1..8 {
            let query = RepliesQuery { parent: MessageId(root), after: behind, limit };
            let page = page(&world.ask(owner, 1, identity(1), About::Replies(query)));
            let to = (after + limit as usize).min(expected.len());
            assert_eq!(ids(&page), expected[after..to], "{after} {limit}");
            assert_eq!(page.has_more, to < expected.len());
        }
    }
    let query = RepliesQuery { parent: MessageId(root + 500), after: MessageId(0), limit: 5 };
    let none = told(&world.ask(owner, 1, identity(1), About::Replies(query)));
    assert_eq!(none, Some(Answer::NoMessage));
    world.finish();
}

#[test]
fn a_store_that_cannot_be_read_and_too_many_questions_are_answers() {
    let (mut world, ann) = talkative();
    let owner = world.owner(1);
    world.reader_mode = Mode::Fails;
    let failed = world.ask(owner, 1, identity(1), newest(5));
    assert_eq!(told(&failed), Some(Answer::Unavailable));
    world.send(ann, &past::ask("newest", 0, 50));
    assert_eq!(world.errors(ann), ["storage_unavailable"]);
    world.reader_mode = Mode::Held;
    let waiting: Vec<_> =
        (0..QUESTIONS_MAX).map(|_| world.ask(owner, 1, identity(1), newest(1))).collect();
    assert_eq!(told(&world.ask(owner, 1, identity(1), newest(1))), Some(Answer::Busy));
    world.send(ann, &past::ask("newest", 0, 50));
    assert_eq!(world.errors(ann), ["storage_unavailable", "rate_limited"]);
    assert!(world.last(ann, "error")["retry_after_ms"].is_u64());
    world.reader_mode = Mode::Auto;
    while world.answer_load(owner) {}
    world.settle();
    assert!(waiting.iter().all(|answer| page(answer).messages.len() == 1));
    assert_eq!(page(&world.ask(owner, 1, identity(1), newest(1))).messages.len(), 1);
    world.finish();
}

#[test]
fn a_socket_that_goes_while_it_waits_leaves_nothing_behind() {
    let (mut world, ann) = talkative();
    world.reader_mode = Mode::Held;
    world.send(ann, &past::ask("newest", 0, 50));
    world.hang_up(ann);
    world.finish();
}

#[test]
fn a_socket_on_another_core_has_its_pages_as_well() {
    let setup = Setup { cores: 2, wide_threshold: 1, ..Setup::default() };
    let mut world = World::new(setup);
    let owner = world.owner(1);
    let ann = world.enter(1, 1);
    let elsewhere = Knock { core: 1 - owner, user: 2, conversation: 1, ..Knock::default() };
    let far = world.connect(elsewhere);
    for n in 0..4 {
        world.say(ann, &n.to_string());
    }
    let before = world.ids(far)[3];
    world.send(far, &past::ask("before", before, 2));
    let frames: Vec<_> = world.seen(far).iter().filter_map(|seen| seen.json()).collect();
    let page = frames.iter().find(|json| json["type"] == "history").unwrap();
    let ids: Vec<_> =
        page["messages"].as_array().unwrap().iter().map(|m| m["id"].clone()).collect();
    assert_eq!(ids, [json!(world.ids(far)[1]), json!(world.ids(far)[2])]);
    assert_eq!(
        (&page["ref"], &page["has_more"], &page["seq"]),
        (&json!(format!("before:{before}:2")), &json!(true), &json!(4))
    );
    world.finish();
}
