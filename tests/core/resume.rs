//! Who comes back gets exactly what it missed: from memory, from pages, across both, while more is
//! said. [`super::checked::Checked`] holds every seq against what the client has.

use std::sync::Arc;

use loquat::model::Version;
use loquat::node::admin::AdminCommand;
use loquat::node::ports::{LoadQuery, LoadResult, Past, Record};
use serde_json::json;

use super::client::{Knock, chat, receipt};
use super::world::{Mode, Setup, World};

const EPOCH: &str = "9f3c61d2";

/// A world in which somebody said so much; of it the first `sealed` are only in pages.
fn told(sealed: u64, events: u64) -> (World, usize) {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    for n in 1..=events {
        world.say(ann, &format!("c{n}"));
        if n == sealed {
            world.seal();
        }
    }
    (world, ann)
}

#[test]
fn what_was_missed_comes_once_and_in_order_wherever_it_lies() {
    for sealed in [0, 3, 7, 10] {
        for since in 0..=10 {
            let (mut world, ann) = told(sealed, 10);
            let bob = world.come_back(2, since);
            let expected: Vec<u64> = (since + 1..=10).collect();
            assert_eq!(world.seqs(bob), expected, "{sealed} sealed, since {since}");
            let resumed = world.last(bob, "resumed");
            assert_eq!((&resumed["from"], &resumed["to"]), (&json!(since), &json!(10)));
            world.say(ann, "live");
            assert_eq!(world.seqs(bob).last(), Some(&11));
            assert_eq!(world.count(bob, "resync"), 0);
            world.finish();
        }
    }
}

#[test]
fn hello_and_presence_come_first() {
    let (mut world, _) = told(2, 4);
    let bob = world.come_back(2, 1);
    let kinds: Vec<_> = world.seen(bob).iter().map(|seen| seen.kind()).collect();
    let expected = ["hello", "presence", "chat_message", "chat_message", "chat_message", "resumed"];
    assert_eq!(kinds[1..], expected, "{kinds:?}");
    assert_eq!(world.last(bob, "presence")["online"], json!([1, 2]));
    world.finish();
}

#[test]
fn another_log_and_a_seq_from_the_future_are_told_to_fetch_history() {
    let (mut world, ann) = told(3, 5);
    for (since, epoch) in [(2, Some("00000000")), (6, Some(EPOCH)), (6, None), (1 << 60, None)] {
        let knock = Knock { user: 2, since: Some(since), epoch, ..Knock::default() };
        let bob = world.connect(knock);
        let resync = world.last(bob, "resync");
        assert_eq!((&resync["seq"], &resync["epoch"]), (&json!(5), &json!(EPOCH)));
        assert_eq!((world.seqs(bob).len(), world.count(bob, "resumed")), (0, 0));
        world.reset(bob);
        world.settle();
    }
    let knock = Knock { user: 2, since: Some(2), epoch: Some(EPOCH), ..Knock::default() };
    let bob = world.connect(knock);
    world.say(ann, "live");
    assert_eq!(world.seqs(bob), [3, 4, 5, 6]);
    world.finish();
}

#[test]
fn what_is_not_stored_any_more_is_a_resync() {
    let (mut world, ann) = told(5, 8);
    world.reader_mode = Mode::Held;
    let core = world.owner(1);
    let bob = world.knock(Knock { core, user: 2, since: Some(1), ..Knock::default() });
    world.settle();
    while let Some(request) = world.seats[core].loads.front().cloned() {
        if matches!(request.query, LoadQuery::Past(_)) {
            world.seats[core].loads.pop_front();
            let kept = world.store.events[&request.conversation][3..5].iter();
            let kept = kept.map(|event| Arc::new(event.clone())).collect();
            world.reply_load(core, request.ticket, LoadResult::Past(Past::Events(kept)));
        } else {
            world.answer_load(core);
        }
        world.settle();
    }
    world.reader_mode = Mode::Auto;
    assert_eq!(world.last(bob, "resync")["seq"], json!(8));
    world.say(ann, "live");
    assert_eq!(world.seqs(bob), [9]);
    world.finish();
}

#[test]
fn a_seal_between_question_and_answer_loses_nothing() {
    // Sealed before the question, before its answer, and after it.
    for seal_at in 0..3 {
        let (mut world, ann) = told(4, 9);
        world.reader_mode = Mode::Held;
        let core = world.owner(1);
        let bob = world.knock(Knock { core, user: 2, since: Some(0), ..Knock::default() });
        world.settle();
        world.answer_load(core);
        for step in 0..3 {
            if step == seal_at {
                world.seal();
                world.settle();
            }
            world.say(ann, "more");
            world.answer_load(core);
            world.settle();
        }
        world.reader_mode = Mode::Auto;
        world.settle();
        assert_eq!(world.seqs(bob), (1..=12).collect::<Vec<_>>(), "sealed at step {seal_at}");
        assert_eq!(world.count(bob, "resumed"), 1);
        world.finish();
    }
}

#[test]
fn nothing_undurable_is_replayed() {
    let (mut world, ann) = told(2, 4);
    world.log_mode = Mode::Held;
    world.say(ann, "not on disk");
    let bob = world.come_back(2, 1);
    assert_eq!(world.seqs(bob), [2, 3, 4]);
    assert_eq!(world.last(bob, "resumed")["to"], json!(4));
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(world.seqs(bob), [2, 3, 4, 5]);
    world.finish();
}

#[test]
fn the_senders_own_id_is_in_the_replay_too_and_nobody_elses() {
    let (mut world, ann) = told(0, 1);
    let named = |name: &str| json!({"type": "chat_message", "content": "x", "client_msg_id": name});
    world.send(ann, &named("first"));
    world.seal();
    world.send(ann, &named("second"));
    let names = |world: &World, client: usize| {
        let frames = world.seen(client).iter().filter(|seen| seen.kind() == "chat_message");
        let names =
            frames.filter_map(|seen| seen.json()?["client_msg_id"].as_str().map(str::to_owned));
        names.collect::<Vec<_>>()
    };
    let own = world.come_back(1, 0);
    let other = world.come_back(2, 0);
    assert_eq!(names(&world, own), ["first", "second"]);
    assert_eq!(names(&world, other), [""; 0]);
    world.finish();
}

#[test]
fn the_text_of_a_deleted_message_is_not_replayed() {
    for sealed in [false, true] {
        let (mut world, ann) = told(0, 2);
        let id = world.ids(ann)[0];
        world.send(ann, &json!({"type": "message_edit", "message_id": id, "content": "edited"}));
        if sealed {
            world.seal();
        }
        world.send(ann, &json!({"type": "message_delete", "message_id": id}));
        let bob = world.come_back(2, 0);
        assert_eq!(world.seqs(bob), [1, 2, 3, 4]);
        assert_eq!(world.contents(bob), ["Message deleted", "c2"], "{sealed}");
        assert_eq!(world.last(bob, "message_edit")["content"], "Message deleted");
        world.finish();
    }
}

#[test]
fn resumed_says_how_far_everybody_has_read() {
    let (mut world, ann) = told(0, 3);
    let bob = world.enter(2, 1);
    let ids = world.ids(ann);
    world.send(bob, &receipt(ids[1]));
    world.advance(1_000);
    world.seal();
    world.hang_up(bob);
    world.advance(200_000);
    let cid = world.enter_v1(3, 1);
    world.send(cid, &receipt(ids[0]));
    let dan = world.come_back(4, 3);
    let resumed = world.last(dan, "resumed");
    let expected = json!({"1": ids[2], "2": ids[1], "3": ids[0]});
    assert_eq!((&resumed["marks"], &resumed["marks_count"]), (&expected, &json!(3)));
    world.finish();
}

/// Somebody comes back, and while its marks are read, or after that, the newest mark of somebody else
/// leaves memory for pages.
fn resumed_while_a_mark_is_sealed(is_read_before: bool) {
    let (mut world, ann) = told(3, 3);
    let (core, cid) = (world.owner(1), world.enter(3, 1));
    let ids = world.ids(ann);
    world.send(cid, &receipt(ids[1]));
    world.advance(1_000);
    world.hang_up(cid);
    world.reader_mode = Mode::Held;
    let bob = world.knock(Knock { core, user: 2, since: Some(3), ..Knock::default() });
    world.settle();
    while !matches!(&world.seats[core].loads[0].query, LoadQuery::Past(_)) {
        world.answer_load(core);
        world.settle();
    }
    let request = world.seats[core].loads.pop_front().unwrap();
    let early = world.store.answer(&request);
    if is_read_before {
        world.say(ann, "more");
        world.sockets[bob].room = Some(0);
        world.reply_load(core, request.ticket, early.clone());
        world.settle();
    }
    world.seal();
    world.advance(1_000);
    if !is_read_before {
        world.reply_load(core, request.ticket, early);
    }
    world.reader_mode = Mode::Auto;
    world.take(bob, None);
    while world.answer_load(core) {}
    world.settle();
    let resumed = world.last(bob, "resumed");
    assert_eq!(resumed["marks"]["3"], json!(ids[1]), "{resumed}");
    world.finish();
}

#[test]
fn a_mark_that_is_sealed_while_marks_are_read_is_told() {
    resumed_while_a_mark_is_sealed(false);
    resumed_while_a_mark_is_sealed(true);
}

#[test]
fn pages_that_know_more_than_the_shard_was_told_double_nothing() {
    let (mut world, ann) = told(3, 3);
    world.log_mode = Mode::Held;
    world.say(ann, "on disk, but that is not known yet");
    world.reader_mode = Mode::Held;
    let core = world.owner(1);
    let bob = world.knock(Knock { core, user: 2, since: Some(0), ..Knock::default() });
    world.settle();
    while !matches!(&world.seats[core].loads[0].query, LoadQuery::Past(_)) {
        world.answer_load(core);
        world.settle();
    }
    let request = world.seats[core].loads.pop_front().unwrap();
    let (_, record) = world.seats[core].log.back().unwrap();
    let Record::Event { event, .. } = record else { panic!("{record:?}") };
    let known = world.store.events[&request.conversation].iter().cloned().map(Arc::new);
    let events = known.chain([event.clone()]).collect();
    world.reply_load(core, request.ticket, LoadResult::Past(Past::Events(events)));
    world.reader_mode = Mode::Auto;
    world.settle();
    assert_eq!(world.seqs(bob), [1, 2, 3]);
    world.log_mode = Mode::Auto;
    world.settle();
    assert_eq!(world.seqs(bob), [1, 2, 3, 4]);
    world.finish();
}

/// So many who come back to sixty events in pages; each waits for a reader.
fn crowd_of_returners(count: u64) -> (World, usize, Vec<usize>) {
    let (mut world, ann) = told(60, 60);
    world.reader_mode = Mode::Held;
    let core = world.owner(1);
    let knock = |n| Knock { core, user: 10 + n, since: Some(0), ..Knock::default() };
    let back: Vec<_> = (0..count).map(|n| world.knock(knock(n))).collect();
    world.settle();
    for _ in 0..count {
        let load = world.seats[core].loads.front().map(|load| load.query.clone());
        assert!(matches!(load, Some(LoadQuery::Admission(_))), "{load:?}");
        world.answer_load(core);
    }
    world.settle();
    (world, ann, back)
}

#[test]
fn many_who_come_back_at_once_share_the_readers_with_who_comes_in() {
    let (mut world, ann, back) = crowd_of_returners(40);
    let asked = world.seats[world.owner(1)].loads.iter();
    let asked = asked.filter(|load| matches!(load.query, LoadQuery::Past(_))).count();
    assert_eq!(asked, 16);
    world.reader_mode = Mode::Auto;
    world.settle();
    world.say(ann, "live");
    for client in back {
        assert_eq!(world.seqs(client), (1..=61).collect::<Vec<_>>());
        assert_eq!(world.count(client, "resumed"), 1);
    }
    world.finish();
}

#[test]
fn those_who_come_back_together_share_the_marks() {
    let (mut world, _) = told(3, 3);
    world.reader_mode = Mode::Held;
    let core = world.owner(1);
    let knock = |n| Knock { core, user: 10_u64 + n, since: Some(3), ..Knock::default() };
    let back: Vec<_> = (0..60_u64).map(|n| world.knock(knock(n))).collect();
    world.settle();
    let mut reads = 0;
    while let Some(load) = world.seats[core].loads.front() {
        reads += usize::from(matches!(load.query, LoadQuery::Past(_)));
        world.answer_load(core);
        world.settle();
    }
    for client in back {
        assert_eq!(world.last(client, "resumed")["marks_count"], json!(1));
    }
    // As many as may be under way at once.
    assert!(reads <= 16, "{reads}");
    world.reader_mode = Mode::Auto;
    world.finish();
}

#[test]
fn who_waits_for_a_reader_is_not_forgotten_when_all_others_go() {
    let (mut world, _, back) = crowd_of_returners(40);
    let (&last, others) = back.split_last().unwrap();
    for &client in others {
        world.reset(client);
    }
    world.settle();
    world.reader_mode = Mode::Auto;
    world.settle();
    assert_eq!(world.seqs(last), (1..=60).collect::<Vec<_>>());
    world.finish();
}

#[test]
fn a_long_replay_waits_for_its_reader_and_holds_up_nobody() {
    let mut world = World::new(Setup::default());
    let ann = world.enter(1, 1);
    for _ in 0..200 {
        world.say(ann, &"x".repeat(9_000));
    }
    let core = world.owner(1);
    let bob = world.knock(Knock { core, user: 2, since: Some(0), ..Knock::default() });
    world.sockets[bob].room = Some(1_000);
    world.settle();
    let unsent = world.seats[core].core.unsent_bytes(world.sockets[bob].slot);
    assert!(unsent < 80 * 1024, "{unsent}");
    world.say(ann, "live");
    assert_eq!(world.contents(ann).last().map(String::as_str), Some("live"));
    world.take(bob, None);
    assert_eq!(world.contents(bob).len(), 201);
    world.finish();
}

#[test]
fn who_goes_in_the_middle_of_a_replay_leaves_nothing_behind() {
    for answers in 0..5 {
        let (mut world, ann) = told(6, 9);
        world.reader_mode = Mode::Held;
        let core = world.owner(1);
        let bob = world.knock(Knock { core, user: 2, since: Some(0), ..Knock::default() });
        world.settle();
        for _ in 0..answers {
            world.answer_load(core);
            world.settle();
        }
        world.reset(bob);
        world.settle();
        world.reader_mode = Mode::Auto;
        world.settle();
        world.say(ann, "alone");
        world.finish();
    }
}

#[test]
fn who_is_removed_in_the_middle_of_a_replay_is_told_nothing_more() {
    let (mut world, ann) = told(6, 9);
    world.reader_mode = Mode::Held;
    let core = world.owner(1);
    let bob = world.knock(Knock { core, user: 2, since: Some(0), ..Knock::default() });
    world.settle();
    world.answer_load(core);
    world.settle();
    let conversation = loquat::model::ConversationId::from_number(1).unwrap();
    let user = loquat::model::UserId::from_number(2).unwrap();
    world.admin(core, AdminCommand::Kick { conversation, user });
    while world.answer_load(core) {
        world.settle();
    }
    world.reader_mode = Mode::Auto;
    world.say(ann, "without bob");
    // The kick was asked for behind one read, and shown before the next.
    assert_eq!((world.close_code(bob), world.seqs(bob)), (Some(4004), vec![1, 2, 3]));
    world.finish();
}

#[test]
fn readers_that_fail_send_a_replay_away_to_come_back_later() {
    let (mut world, _) = told(6, 9);
    world.reader_mode = Mode::Held;
    let core = world.owner(1);
    let bob = world.knock(Knock { core, user: 2, since: Some(0), ..Knock::default() });
    world.settle();
    world.answer_load(core);
    world.settle();
    world.reader_mode = Mode::Fails;
    world.settle();
    assert_eq!(world.close_code(bob), Some(4100));
    world.finish();
}

#[test]
fn a_replay_reaches_a_socket_on_another_core_and_meets_what_is_live_there() {
    for sealed in [0, 5, 9] {
        let setup = Setup { cores: 2, wide_threshold: 1, mail_slots: 2, ..Setup::default() };
        let mut world = World::new(setup);
        let owner = world.owner(1);
        let far = 1 - owner;
        let ann = world.connect(Knock { core: owner, ..Knock::default() });
        for n in 1..=9 {
            world.say(ann, &format!("c{n}"));
            if n == sealed {
                world.seal();
            }
        }
        let eve = world.connect(Knock { core: far, user: 5, ..Knock::default() });
        let knock = Knock { core: far, user: 2, since: Some(2), ..Knock::default() };
        let bob = world.knock(knock);
        // The owner goes on talking in each of its turns.
        for _ in 0..20 {
            world.push(ann, &chat("meanwhile"));
            world.round();
        }
        world.settle();
        assert_eq!(world.sockets[bob].core, far);
        assert_eq!(world.seqs(bob), (3..=29).collect::<Vec<_>>(), "{sealed} sealed");
        assert_eq!((world.count(bob, "resumed"), world.contents(eve).len()), (1, 20));
        // And when it falls behind there.
        world.sockets[bob].room = Some(0);
        for _ in 0..40 {
            world.say(ann, &"x".repeat(9_000));
        }
        world.take(bob, None);
        world.say(ann, "level");
        assert_eq!(world.seqs(bob), (3..=70).collect::<Vec<_>>());
        assert_eq!(world.contents(eve).len(), 61);
        world.finish();
    }
}

#[test]
fn v1_has_no_since() {
    let (mut world, _) = told(2, 4);
    let core = world.owner(1);
    let version = Version::V1;
    let bob = world.connect(Knock { core, user: 2, version, since: Some(1), ..Knock::default() });
    assert_eq!((world.seqs(bob).len(), world.count(bob, "resumed")), (0, 0));
    world.finish();
}
