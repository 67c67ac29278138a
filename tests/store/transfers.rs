//! The ways in and out on real files: the log's order from whatever has it, and an import that is there
//! wholly or not at all wherever it was cut.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use loquat::model::*;
use loquat::node::ports::Record;
use loquat::store::{
    EventsError, Export, Happening, Line, LineMessage, Position, Staged, Store, StoreSettings,
    Transfers, verify,
};

use crate::rig::{Shard, conversation, message, settings, start, stop, user};

const CHILD: &str = "LOQUAT_IMPORT_CHILD";
pub const IMPORTED: u64 = 77;
const MESSAGES: u64 = 400;

pub fn forgetful() -> StoreSettings {
    StoreSettings { journal_keep_days: 0, ..settings() }
}

/// Conversation and seq of every event from a position on, in pages of changing sizes.
fn told(transfers: &Transfers, mut from: Position) -> (Vec<(ConversationId, u64)>, Position) {
    let mut told = Vec::new();
    for limit in (1..200).map(|n: usize| 1 + n * 7919 % 300).cycle() {
        let page = transfers.events(from, limit).unwrap();
        assert!(page.happenings.len() <= limit);
        let last = page.happenings.last().map(|(behind, _)| *behind);
        for (_, happening) in page.happenings {
            if let Happening::Event { conversation, event, .. } = happening {
                told.push((conversation, event.seq.0));
            }
        }
        // Every third time from behind the last line itself.
        from = last.filter(|_| limit % 3 == 0 && page.has_more).unwrap_or(page.next);
        if !page.has_more {
            return (told, from);
        }
    }
    unreachable!("the sizes go round")
}

#[test]
fn the_order_of_the_log_outlives_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), forgetful(), 1);
    let transfers = running.transfers();
    let mut appended = Vec::new();
    let mut seqs = [0; 5];
    let (mut followed, mut at) = (Vec::new(), Position::START);
    let content = "z".repeat(900);
    for n in 0..3_000_u64 {
        let of = (n * n + n / 7) % 5;
        seqs[of as usize] += 1;
        let seq = seqs[of as usize];
        shards[0].append(message(of, seq, n + 1, seq - 1, &content));
        appended.push((conversation(of), seq));
        if n % 500 == 499 {
            shards[0].wait_durable();
            let (more, next) = told(&transfers, at);
            followed.extend(more);
            at = next;
        }
    }
    assert_eq!(followed, appended);
    shards[0].wait("some seals", |shard| shard.sealed >= 8);
    let (all, end) = told(&transfers, Position::START);
    assert_eq!(all, appended);
    assert_eq!(end, at);
    let files = |directory: &Path| std::fs::read_dir(directory.join("journal")).unwrap().count();
    assert!(files(directory.path()) < 6, "the first files are gone");
    let beyond = Position { commit: end.commit + 1, place: 0, seq: 0 };
    assert!(matches!(transfers.events(beyond, 1), Err(EventsError::Future)));
    drop(transfers);
    stop(running, shards);
    let opened = Store::open(directory.path(), forgetful()).unwrap();
    assert_eq!(told(&opened.transfers(), Position::START).0, appended);
}

fn line(id: u64) -> Line {
    Line::Message(Box::new(LineMessage {
        id: MessageId(id),
        at: Wall(id),
        sender: Profile::nameless(user(id % 3)),
        parent: id.checked_sub(10).filter(|&id| id > 0).map(MessageId),
        content: Some(format!("{id} {}", "c".repeat(9_000))),
        edited_at: None,
    }))
}

/// What is imported: messages, edits that are much later, a deletion, reactions, members, marks.
fn lines() -> Vec<Line> {
    let mut lines = vec![Line::Member { user: user(1), role: Role::Admin, profile: None }];
    for id in 1..=MESSAGES {
        let message = MessageId(id);
        lines.push(line(id));
        if id % 5 == 0 {
            let at = Wall(id + 100);
            lines.push(Line::Edit { message, at, by: user(1), content: format!("edited {id}") });
        }
        if id % 7 == 0 {
            let at = Wall(id + 50);
            lines.push(Line::Reaction { message, at, user: user(2), emoji: "👍".to_owned() });
        }
        if id % 11 == 0 {
            lines.push(Line::Deletion { message, at: Wall(id + 200), by: user(1) });
        }
    }
    lines.push(Line::Mark { user: user(2), message: MessageId(MESSAGES - 1), at: Wall(9_000) });
    lines
}

pub fn staged(transfers: &Transfers) -> Staged {
    let mut staging = transfers.stage(conversation(IMPORTED)).unwrap();
    for (line, number) in lines().into_iter().zip(1..) {
        staging.take(number, line).unwrap();
    }
    staging.finish(Some(Wall(5)), Wall(10_000)).unwrap()
}

/// As an export tells it: deleted texts are gone, and their edits with them.
pub fn expected() -> Vec<Line> {
    let is_deleted = |id: u64| id.is_multiple_of(11);
    let told = |line: Line| match line {
        Line::Message(mut message) if is_deleted(message.id.0) => {
            message.content = None;
            message.edited_at = (message.id.0 % 5 == 0).then_some(Wall(message.id.0 + 100));
            Some(Line::Message(message))
        }
        Line::Edit { message, .. } if is_deleted(message.0) => None,
        line => Some(line),
    };
    lines().into_iter().filter_map(told).collect()
}

pub fn export(transfers: &Transfers) -> Option<Vec<Line>> {
    let export: Option<Export> = transfers.export(conversation(IMPORTED)).unwrap();
    export.map(|lines| lines.map(Result::unwrap).collect())
}

pub fn publish(shard: &mut Shard, mut staged: Staged) {
    staged.keep();
    let import = DirectoryChange::ConversationImported(staged.import.clone());
    shard.append(Record::Directory(import));
    shard.wait_durable();
}

pub fn wait_built(transfers: &Transfers) {
    while transfers.importing(&conversation(IMPORTED)).is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn an_import_is_exported_as_it_came_in_and_its_events_are_in_the_order_of_time() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), forgetful(), 1);
    let transfers = running.transfers();
    let staged = staged(&transfers);
    let (events, ids) = (staged.import.events, staged.ids().to_vec());
    assert_eq!(transfers.clash(&staged).unwrap(), None);
    publish(&mut shards[0], staged);
    wait_built(&transfers);
    assert_eq!(export(&transfers), Some(expected()));
    let again = self::staged(&transfers);
    assert_eq!((again.ids(), transfers.clash(&again).unwrap()), (&*ids, Some(0)));
    drop(again);
    let check = |transfers: &Transfers| {
        let (mut happenings, mut from, mut has_more) = (Vec::new(), Position::START, true);
        while has_more {
            let page = transfers.events(from, 1_000).unwrap();
            // A page ends by its bytes, too.
            assert!(page.happenings.len() < 300);
            happenings.extend(page.happenings);
            (from, has_more) = (page.next, page.has_more);
        }
        let mut seen = Vec::new();
        for (_, happening) in happenings {
            if let Happening::Event { conversation: of, event, is_deleted } = happening
                && of == conversation(IMPORTED)
            {
                let is_clean = match &event.body {
                    EventBody::Message(body) => body.content.is_empty() == is_deleted,
                    EventBody::Edit { content, .. } => content.is_empty() == is_deleted,
                    _ => true,
                };
                assert!(is_clean, "{event:?}");
                seen.push((event.seq.0, event.at));
            }
        }
        assert_eq!(seen.len() as u64, events);
        assert!(seen.iter().zip(1..).all(|((seq, _), n)| *seq == n));
        assert!(seen.is_sorted_by_key(|(_, at)| *at));
    };
    check(&transfers);
    drop(transfers);
    stop(running, shards);
    // The record's file is gone after two more: pages alone tell it the same.
    for round in 1..=2 {
        let (running, mut shards) = start(directory.path(), forgetful(), 1);
        shards[0].append(message(5, round, 10_000 + round, round - 1, "more"));
        shards[0].wait_durable();
        stop(running, shards);
    }
    let opened = Store::open(directory.path(), forgetful()).unwrap();
    check(&opened.transfers());
    assert_eq!(export(&opened.transfers()), Some(expected()));
    drop(opened);
    let report = verify(directory.path()).unwrap();
    assert!(report.is_whole(), "{report:?}");
}

#[test]
fn what_was_staged_and_never_recorded_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (running, shards) = start(directory.path(), settings(), 1);
    let transfers = running.transfers();
    let mut whole = staged(&transfers);
    whole.keep();
    let mut cut = transfers.stage(conversation(8)).unwrap();
    cut.take(1, line(1)).unwrap();
    std::mem::forget(cut);
    let imports = directory.path().join("imports");
    assert_eq!(std::fs::read_dir(&imports).unwrap().count(), 2);
    drop(transfers);
    stop(running, shards);
    let opened = Store::open(directory.path(), settings()).unwrap();
    assert_eq!(std::fs::read_dir(&imports).unwrap().count(), 0);
    assert_eq!(export(&opened.transfers()), None);
}

#[test]
fn a_record_whose_file_is_gone_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let before = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let transfers = running.transfers();
    copy(&directory.path().join("pages"), &before.path().join("pages"));
    let staged = staged(&transfers);
    copy(&directory.path().join("imports"), &before.path().join("imports"));
    publish(&mut shards[0], staged);
    // As after a power loss right behind the commit: the journal has it, pages have nothing.
    for part in ["journal", "life", "format"] {
        copy(&directory.path().join(part), &before.path().join(part));
    }
    stop(running, shards);
    let without = tempfile::tempdir().unwrap();
    copy(before.path(), without.path());
    std::fs::remove_dir_all(without.path().join("imports")).unwrap();
    let refused = Store::open(without.path(), settings()).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|why| why.contains("imports")));
    let opened = Store::open(before.path(), settings()).unwrap();
    assert_eq!(export(&opened.transfers()), Some(expected()));
}

pub fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        std::fs::copy(from, to).unwrap();
        return;
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// Not a test: what the killed process does. It imports while others write, and says how far it is.
#[test]
fn child_that_imports_until_it_is_killed() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    let (running, mut shards) = start(Path::new(&directory), settings(), 1);
    let transfers = running.transfers();
    println!("said opened");
    let staged = staged(&transfers);
    println!("said staged");
    publish(&mut shards[0], staged);
    println!("said recorded");
    let content = "y".repeat(20_000);
    let mut seq = 0;
    let mut is_done = false;
    loop {
        seq += 1;
        shards[0].append(message(1, seq, 1_000_000 + seq, seq - 1, &content));
        shards[0].wait_durable();
        let progress = transfers.importing(&conversation(IMPORTED));
        if !is_done {
            println!("said {progress:?}");
        }
        is_done = progress.is_none();
    }
}

/// Runs the child until it has said so many lines; whether it said that the import is recorded.
fn killed_after(directory: &Path, lines: usize) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "transfers::child_that_imports_until_it_is_killed", "--nocapture"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said = said.filter(|line| line.contains("said "));
    let last = said.by_ref().take(lines).last().unwrap_or_default();
    child.kill().unwrap();
    let rest: Vec<String> = said.collect();
    child.wait().unwrap();
    let is_later = |line: &String| line.contains("recorded") || line.contains("Some(");
    rest.iter().chain([&last]).any(|line| is_later(line) || line.contains("None"))
}

#[test]
fn an_import_that_is_killed_is_there_wholly_or_not_at_all() {
    let mut outcomes = [0, 0];
    for lines in [1, 2, 3, 4, 5, 6, 8] {
        let directory = tempfile::tempdir().unwrap();
        let was_recorded = killed_after(directory.path(), lines);
        // Killed again while it starts is the same start again.
        let opened = Store::open(directory.path(), settings()).unwrap();
        let found = export(&opened.transfers());
        assert!(found.is_some() || !was_recorded, "after {lines} lines");
        outcomes[usize::from(found.is_some())] += 1;
        if let Some(found) = found {
            assert_eq!(found, expected(), "after {lines} lines");
        }
        let count = std::fs::read_dir(directory.path().join("imports")).map_or(0, Iterator::count);
        assert_eq!(count, 0, "after {lines} lines");
        drop(opened);
        let report = verify(directory.path()).unwrap();
        assert!(report.is_whole(), "after {lines} lines: {report:?}");
    }
    assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
}

#[test]
fn an_export_stands_still_while_the_conversation_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), forgetful(), 1);
    let transfers = running.transfers();
    let mut seq = 0;
    let mut append = |shard: &mut Shard, body: EventBody| {
        seq += 1;
        let event = Arc::new(Event { seq: Seq(seq), at: Wall(seq), body });
        shard.append(Record::Event { conversation: conversation(IMPORTED), event });
    };
    let text = |id: u64| {
        EventBody::Message(MessageBody {
            id: MessageId(id),
            ordinal: id - 1,
            sender: Profile::nameless(user(1)).into(),
            content: format!("{id} {}", "t".repeat(3_000)),
            parent: None,
            client_msg_id: None,
        })
    };
    let react = |id: u64, action: ReactionAction| EventBody::Reaction {
        message: MessageId(id),
        user: user(1),
        emoji: "x".to_owned(),
        action,
    };
    for id in 1..=300 {
        append(&mut shards[0], text(id));
        append(&mut shards[0], react(id, ReactionAction::Added));
    }
    shards[0].wait_durable();
    let mut export = transfers.export(conversation(IMPORTED)).unwrap().unwrap();
    assert_eq!((export.head.seq, export.head.messages), (Seq(600), 300));
    let mut lines: Vec<Line> = export.by_ref().take(20).map(Result::unwrap).collect();
    // Everything is turned round, and sealed, while the reader has seen a few messages.
    let sealed = shards[0].sealed;
    for id in 1..=300 {
        append(&mut shards[0], react(id, ReactionAction::Removed));
        let (message, by) = (MessageId(id), user(2));
        append(&mut shards[0], EventBody::Edit { message, by, content: "later".to_owned() });
        append(&mut shards[0], text(300 + id));
    }
    shards[0].wait("the changes are in pages", |shard| shard.sealed >= sealed + 4);
    lines.extend(export.map(Result::unwrap));
    let (mut messages, mut reactions) = (0, 0);
    for line in &lines {
        match line {
            Line::Message(message) => {
                messages += 1;
                assert_eq!(message.id.0, messages);
                assert!(message.content.as_ref().is_some_and(|it| it.ends_with('t')));
            }
            Line::Reaction { message, .. } => {
                reactions += 1;
                assert_eq!(message.0, messages);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((messages, reactions), (300, 300));
    drop(transfers);
    stop(running, shards);
}
