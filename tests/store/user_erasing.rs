//! A user is taken out of pages and kept segments; what others did, and what is newer, stays.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loquat::model::*;
use loquat::node::ports::Record;
use loquat::store::{Met, ReadHandle, Running, StoreSettings, Trace, verify};

use super::erasing::{files_with, values_with};
use super::rig::{Shard, conversation, settings, start, stop, user};

const NAME: &str = "Secret-Name";
const TEXT: &str = "secret-text";
const UNTIL: Wall = Wall(100);
const PATIENCE: Duration = Duration::from_secs(30);

fn event(of: u64, seq: u64, at: u64, body: EventBody) -> Record {
    let event = Arc::new(Event { seq: Seq(seq), at: Wall(at), body });
    Record::Event { conversation: conversation(of), event }
}

fn said(of: u64, (seq, at): (u64, u64), by: u64, content: &str) -> Record {
    let sender = Profile { first_name: format!("{NAME}-{by}"), ..Profile::nameless(user(by)) };
    let body = MessageBody {
        id: MessageId(of * 100 + seq),
        ordinal: seq - 1,
        sender: sender.into(),
        content: content.to_owned(),
        parent: None,
        client_msg_id: None,
    };
    event(of, seq, at, EventBody::Message(body))
}

fn reacted(of: u64, seq: u64, by: u64, message: u64, action: ReactionAction) -> Record {
    let (message, user) = (MessageId(message), user(by));
    event(of, seq, seq, EventBody::Reaction { message, user, emoji: format!("by-{by}"), action })
}

/// User 2 says something in two conversations, edits, reacts and reads; user 3 answers.
fn life(shard: &mut Shard) {
    let profile = Profile { email: format!("{NAME}-2@x"), ..Profile::nameless(user(2)) };
    let mark =
        |whose: u64| Mark { user: user(whose), message: MessageId(101), ordinal: 0, at: Wall(5) };
    let edit =
        EventBody::Edit { message: MessageId(101), by: user(2), content: format!("{TEXT} edited") };
    let added = ReactionAction::Added;
    for record in [
        Record::Directory(DirectoryChange::ProfileSet { profile }),
        said(1, (1, 1), 2, TEXT),
        event(1, 2, 2, edit),
        said(1, (3, 3), 3, "an answer"),
        reacted(1, 4, 2, 103, added),
        reacted(1, 5, 3, 103, added),
        Record::Mark { conversation: conversation(1), mark: mark(2) },
        Record::Mark { conversation: conversation(1), mark: mark(3) },
        said(2, (1, 1), 2, TEXT),
        said(2, (2, 500), 2, "newer"),
    ] {
        shard.append(record);
    }
    shard.wait_durable();
}

/// What the shards do when they are told to take the user's traces back.
fn taken_back(shard: &mut Shard) {
    let delete = |of: u64, seq: u64| {
        event(of, seq, seq, EventBody::Delete { message: MessageId(of * 100 + 1), by: user(2) })
    };
    for record in [
        Record::Directory(DirectoryChange::ErasureBegun { user: user(2), at: Wall(90) }),
        delete(1, 6),
        delete(2, 3),
        reacted(1, 7, 2, 103, ReactionAction::Removed),
    ] {
        shard.append(record);
    }
    shard.wait_durable();
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited for {what}");
        std::thread::yield_now();
    }
}

fn sealed(running: &Running) {
    let through = running.orders().rotate().recv_timeout(PATIENCE).unwrap();
    let read = running.read_handle();
    until("sealed pages", || read.sealed_commit().unwrap() >= through);
}

fn all_traces(read: &ReadHandle) -> Vec<Trace> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let traces = read.traces(&user(2), UNTIL, after.as_ref()).unwrap();
        all.extend(traces.found);
        match traces.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

fn check_gone(directory: &Path) {
    for text in [&format!("{NAME}-2@"), TEXT, "by-2"] {
        let found = files_with(&directory.join("journal"), text);
        assert_eq!((found, values_with(directory, text)), (vec![], 0), "{text}");
    }
    for text in ["an answer", "newer", &format!("{NAME}-3"), "by-3"] {
        assert!(values_with(directory, text) > 0, "{text}");
        assert!(!files_with(&directory.join("journal"), text).is_empty(), "{text}");
    }
    // The name stays with what is newer, and only there.
    assert_eq!(values_with(directory, &format!("{NAME}-2")), 1);
    let report = verify(directory).unwrap();
    assert!(report.is_whole(), "{report:?}");
}

#[test]
fn nothing_of_the_user_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let later = StoreSettings { erase_after_ms: u64::MAX, ..settings() };
    let (running, mut shards) = start(directory.path(), later, 1);
    life(&mut shards[0]);
    sealed(&running);
    let read = running.read_handle();
    let (one, two) = (conversation(1), conversation(2));
    let expected = [
        Trace::Message { conversation: one.clone(), message: MessageId(101) },
        Trace::Reaction {
            conversation: one.clone(),
            message: MessageId(103),
            emoji: "by-2".to_owned(),
        },
        Trace::Message { conversation: two, message: MessageId(201) },
    ];
    assert_eq!(all_traces(&read), expected);
    assert!(read.profile(&user(2)).unwrap().is_some());
    taken_back(&mut shards[0]);
    assert_eq!(read.profile(&user(2)).unwrap(), None);
    let admission = read.admission(&one, &user(2)).unwrap();
    assert_eq!(admission.revoked_before, Some(Wall(90)));
    let begun = Erasure::Running { begun_at: Wall(90) };
    assert_eq!(read.erasure(&user(2)).unwrap(), Some(begun));
    sealed(&running);
    assert_eq!(all_traces(&read), []);
    assert_eq!(read.erasures_running().unwrap(), [(user(2), Wall(90))].into());

    // A stop in the midst of it: it is asked for again.
    drop(running.orders().erase_user(user(2), UNTIL));
    drop(read);
    stop(running, shards);
    let (running, shards) = start(directory.path(), later, 1);
    let read = running.read_handle();
    assert_eq!(read.erasure(&user(2)).unwrap(), Some(begun));
    let met = running.orders().erase_user(user(2), UNTIL).recv_timeout(PATIENCE).unwrap();
    assert_eq!((met.messages, met.reactions >= 1), (2, true), "{met:?}");
    running.orders().user_erased(user(2), Wall(90), Met { messages: 2, reactions: 1 });
    until("the end", || {
        let erasure = read.erasure(&user(2)).unwrap();
        matches!(erasure, Some(Erasure::Done { messages: 2, reactions: 1, .. }))
    });
    assert!(read.erasures_running().unwrap().is_empty());
    let state = |key| read.state(&one, &key).unwrap();
    assert_eq!(state(LoadKey::Mark(user(2))), Loaded::Mark(None));
    assert!(matches!(state(LoadKey::Mark(user(3))), Loaded::Mark(Some(_))));
    let Loaded::Message(Some(message)) = state(LoadKey::Message(MessageId(101))) else {
        panic!("the message keeps its place")
    };
    assert_eq!((&*message.sender, &*message.content), (&Profile::nameless(user(2)), ""));
    let Loaded::Message(Some(answer)) = state(LoadKey::Message(MessageId(103))) else {
        panic!("the answer is there")
    };
    assert_eq!(answer.reactions.into_keys().collect::<Vec<_>>(), ["by-3"]);
    drop(read);
    stop(running, shards);
    check_gone(directory.path());
}
