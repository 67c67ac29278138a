//! Pages of the past from the store alone: wherever they are cut, they fit together.

use std::sync::Arc;

use loquat::limits::{FIRST_SENDS_MAX, HISTORY_BYTES_MAX, MARKS_SHOWN_MAX};
use loquat::model::*;
use loquat::node::ports::{LoadQuery, LoadResult, Past, PastQuery, Record};
use loquat::store::ReadHandle;

use crate::rig::{Shard, conversation, message, settings, start, stop, user};

fn event(seq: u64, body: EventBody) -> Record {
    let event = Event { seq: Seq(seq), at: Wall(seq), body };
    Record::Event { conversation: conversation(1), event: Arc::new(event) }
}

fn mark(whose: u64, of: u64, id: u64) -> Record {
    let mark = Mark { user: user(whose), message: MessageId(id), ordinal: id / 10, at: Wall(1) };
    Record::Mark { conversation: conversation(of), mark }
}

fn page(read: &ReadHandle, anchor: Anchor, limit: u32) -> StoredPage {
    read.messages(&conversation(1), HistoryQuery { anchor, limit }).unwrap()
}

fn ids(page: &StoredPage) -> Vec<u64> {
    page.messages.iter().map(|state| state.id.0).collect()
}

#[test]
fn any_page_of_messages_is_the_run_that_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let shard: &mut Shard = &mut shards[0];
    // Pages of sled with many messages, with few, and with none.
    let (mut seq, mut all) = (0, Vec::new());
    for n in 0..300_u64 {
        let length = if n % 40 == 0 { 20_000 } else { 50 };
        seq += 1;
        all.push(n * 10 + 10);
        shard.append(message(1, seq, n * 10 + 10, n, &"x".repeat(length)));
        let edits = if n % 100 == 50 { 400 } else { 0 };
        for _ in 0..edits {
            seq += 1;
            let content = format!("{seq} {}", "y".repeat(500));
            shard.append(event(
                seq,
                EventBody::Edit { message: MessageId(10), by: user(1), content },
            ));
        }
    }
    shard.wait_durable();
    stop(running, shards);
    let (running, shards) = start(directory.path(), settings(), 1);
    let read = running.read_handle();
    let check = |anchor: Anchor, limit: u32, expected: &[u64], covers: (bool, bool)| {
        let page = page(&read, anchor, limit);
        assert_eq!(ids(&page), expected, "{anchor:?} {limit}");
        let is_whole = (page.covers_from == MessageId(0), page.covers_to == MessageId(u64::MAX));
        assert_eq!(is_whole, covers, "{anchor:?} {limit}");
    };
    for limit in [1, 2, 20, 200] {
        let more = limit as usize + 1;
        let from = all.len().saturating_sub(more);
        check(Anchor::Newest, limit, &all[from..], (from == 0, true));
        for at in (0..all.len()).step_by(17) {
            let from = at.saturating_sub(more);
            let whole = at < more;
            check(Anchor::Before(MessageId(all[at])), limit, &all[from..at], (whole, false));
            // An id between two messages is a place as well.
            check(Anchor::Before(MessageId(all[at] - 5)), limit, &all[from..at], (whole, false));
            let to = (at + 1 + more).min(all.len());
            let whole = all.len() - (at + 1) < more;
            check(Anchor::After(MessageId(all[at])), limit, &all[at + 1..to], (false, whole));
            check(Anchor::After(MessageId(all[at] + 5)), limit, &all[at + 1..to], (false, whole));
        }
    }
    check(Anchor::Before(MessageId(0)), 5, &[], (true, false));
    let around = page(&read, Anchor::Around(MessageId(all[150])), 4);
    assert_eq!(ids(&around), &all[148..154]);
    assert_eq!(page(&read, Anchor::Newest, u32::MAX).messages.len(), 201);
    stop(running, shards);
}

#[test]
fn a_page_ends_where_it_is_long_enough() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    for n in 1..=20 {
        shards[0].append(message(1, n, n * 10, n - 1, &"z".repeat(30_000)));
    }
    shards[0].wait_durable();
    stop(running, shards);
    let (running, shards) = start(directory.path(), settings(), 1);
    let read = running.read_handle();
    let fitting = HISTORY_BYTES_MAX.div_ceil(30_000) as u64;
    let newest = page(&read, Anchor::Newest, 50);
    assert_eq!(ids(&newest), (21 - fitting..=20).map(|n| n * 10).collect::<Vec<_>>());
    assert_eq!(newest.covers_from, newest.messages[0].id);
    let first = page(&read, Anchor::After(MessageId(0)), 50);
    assert_eq!(ids(&first), (1..=fitting).map(|n| n * 10).collect::<Vec<_>>());
    assert_eq!(first.covers_to.0, fitting * 10);
    stop(running, shards);
}

#[test]
fn a_replay_has_every_seq_and_no_deleted_text() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let edit = |id: u64, text: &str| EventBody::Edit {
        message: MessageId(id),
        by: user(1),
        content: text.to_owned(),
    };
    let delete = EventBody::Delete { message: MessageId(10), by: user(1) };
    for record in [
        message(1, 1, 10, 0, "secret"),
        message(1, 2, 20, 1, "kept"),
        event(3, edit(10, "secret, too")),
        event(4, edit(20, "kept, too")),
        event(5, delete),
    ] {
        shards[0].append(record);
    }
    shards[0].wait_durable();
    stop(running, shards);
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let query = LoadQuery::Past(PastQuery::Events { after: Seq(0) });
    let LoadResult::Past(Past::Events(events)) = shards[0].load(conversation(1), query) else {
        panic!("no events")
    };
    let told: Vec<_> = events
        .iter()
        .map(|event| match &event.body {
            EventBody::Message(body) => (event.seq.0, body.content.as_str()),
            EventBody::Edit { content, .. } => (event.seq.0, content.as_str()),
            EventBody::Delete { .. } | EventBody::Reaction { .. } => (event.seq.0, "-"),
        })
        .collect();
    assert_eq!(told, [(1, ""), (2, "kept"), (3, ""), (4, "kept, too"), (5, "-")]);
    let edits = EditsQuery { message: MessageId(10), after: Seq(0), limit: 5 };
    assert!(running.read_handle().edits(&conversation(1), edits).unwrap().is_deleted);
    stop(running, shards);
}

#[test]
fn replies_come_in_order_and_by_the_page() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    shards[0].append(message(1, 1, 10, 0, "root"));
    for n in 2..=40_u64 {
        let body = MessageBody {
            id: MessageId(n * 10),
            ordinal: n - 1,
            sender: Profile::nameless(user(1)).into(),
            content: "reply".to_owned(),
            parent: Some(MessageId(if n % 2 == 0 { 10 } else { 20 })),
            client_msg_id: None,
        };
        shards[0].append(event(n, EventBody::Message(body)));
    }
    shards[0].wait_durable();
    stop(running, shards);
    let (running, shards) = start(directory.path(), settings(), 1);
    let read = running.read_handle();
    let all: Vec<u64> = (2..=40).filter(|n| n % 2 == 0).map(|n| n * 10).collect();
    let replies = |parent: u64, after: u64, limit: u32| {
        let (parent, after) = (MessageId(parent), MessageId(after));
        read.replies(&conversation(1), RepliesQuery { parent, after, limit }).unwrap()
    };
    assert_eq!(ids(&replies(10, 0, 200)), all);
    let page = replies(10, 60, 3);
    assert_eq!((ids(&page), page.covers_to), (vec![80, 100, 120, 140], MessageId(140)));
    assert_eq!(replies(10, 360, 3).covers_to, MessageId(u64::MAX));
    assert!(replies(10, 0, 1).has_parent && !replies(15, 0, 1).has_parent);
    stop(running, shards);
}

#[test]
fn marks_are_counted_beyond_those_that_are_shown() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    shards[0].append(message(1, 1, 10, 0, "hi"));
    let readers = u64::from(MARKS_SHOWN_MAX) + 7;
    for reader in 1..=readers {
        shards[0].append(mark(reader, 1, 10));
    }
    shards[0].wait_durable();
    stop(running, shards);
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let LoadResult::Past(Past::Marks(marks)) =
        shards[0].load(conversation(1), LoadQuery::Past(PastQuery::Marks))
    else {
        panic!("no marks")
    };
    assert_eq!((marks.marks.len() as u32, u64::from(marks.count)), (MARKS_SHOWN_MAX, readers));
    let standing = |readers: ReadersQuery| {
        let query = StandingQuery { user: Some(user(5)), readers };
        running.read_handle().standing(&conversation(1), &query).unwrap()
    };
    let behind = ReadersQuery::Behind { after: Some(user(1_000)), limit: 3 };
    let found: Vec<_> = standing(behind).readers.into_iter().map(|mark| mark.user).collect();
    assert_eq!(found, [user(1_001), user(1_002), user(1_003), user(1_004)]);
    let these = standing(ReadersQuery::These(vec![user(9), user(5_000)]));
    assert_eq!(these.readers.len(), 1);
    assert_eq!(these.mark.map(|mark| mark.user), Some(user(5)));
    assert_eq!(these.last_message.map(|state| state.id), Some(MessageId(10)));
    stop(running, shards);
}

fn check_marked(read: &ReadHandle) {
    let check = |scope: &Scope, after: Option<u64>, limit: usize, expected: &[u64]| {
        let after = after.map(conversation);
        let found = read.marked_by(&user(7), scope, after.as_ref(), limit).unwrap();
        let expected: Vec<_> = expected.iter().copied().map(conversation).collect();
        assert_eq!(found, expected, "{scope:?} {after:?} {limit}");
    };
    check(&Scope::All, None, 10, &[1, 2, 3, 5, 8]);
    check(&Scope::All, None, 2, &[1, 2]);
    check(&Scope::All, Some(2), 2, &[3, 5]);
    check(&Scope::All, Some(5), 2, &[8]);
    check(&Scope::All, Some(8), 2, &[]);
    let listed = Scope::Listed([9, 5, 2, 5].map(conversation).into());
    check(&listed, None, 10, &[2, 5]);
    check(&listed, None, 1, &[2]);
    check(&listed, Some(2), 10, &[5]);
    check(&Scope::Listed([4].map(conversation).into()), None, 10, &[]);
}

#[test]
fn where_a_user_has_a_mark_is_known_once_it_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    for (whose, of) in [(7, 5), (7, 1), (6, 4), (7, 3), (8, 1)] {
        shards[0].append(mark(whose, of, 10));
    }
    shards[0].wait_durable();
    stop(running, shards);
    // Half of it lies in pages now; the rest is laid over it.
    let (running, mut shards) = start(directory.path(), settings(), 1);
    for (whose, of, id) in [(7, 8, 10), (7, 2, 10), (7, 3, 20), (6, 9, 10)] {
        shards[0].append(mark(whose, of, id));
    }
    shards[0].wait_durable();
    check_marked(&running.read_handle());
    stop(running, shards);
    let (running, shards) = start(directory.path(), settings(), 1);
    check_marked(&running.read_handle());
    stop(running, shards);
}

#[test]
fn all_first_sends_are_seen_step_by_step() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = now.as_millis() as u64;
    let day_ms = 24 * 3_600_000;
    let count = FIRST_SENDS_MAX as u64 + 500;
    for n in 1..=count {
        // The oldest are too old to count.
        let at = Wall(if n <= 10 { now - 30 * day_ms } else { now - (n % 5) * day_ms });
        let body = MessageBody {
            id: MessageId(n),
            ordinal: n - 1,
            sender: Profile::nameless(user(n % 3)).into(),
            content: "x".to_owned(),
            parent: None,
            client_msg_id: Some(format!("c-{n}")),
        };
        let event = Event { seq: Seq(n), at, body: EventBody::Message(body) };
        shards[0].append(Record::Event { conversation: conversation(1), event: Arc::new(event) });
    }
    shards[0].wait_durable();
    stop(running, shards);
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let mut seen = std::collections::BTreeSet::new();
    let (mut behind, mut steps) = (None, 0);
    loop {
        let query = LoadQuery::State(LoadKey::FirstSends(behind.clone()));
        let LoadResult::State(Loaded::FirstSends(step)) = shards[0].load(conversation(1), query)
        else {
            panic!("no step")
        };
        assert!(step.places.len() <= FIRST_SENDS_MAX);
        steps += 1;
        behind = step.places.last().cloned();
        for place in step.places {
            assert!(seen.insert((place.user, place.client_msg_id)), "seen twice");
        }
        if step.is_last {
            break;
        }
    }
    assert_eq!((seen.len() as u64, steps), (count - 10, 2));
    stop(running, shards);
}
