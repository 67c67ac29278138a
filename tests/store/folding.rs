//! What happened adds up to the same state from pages as in memory, over segments and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use loquat::model::*;
use loquat::node::ports::{LoadQuery, LoadResult, Record};
use loquat::store::{Ended, ReadHandle, verify};

use crate::rig::{Shard, conversation, message, settings, start, stop, user};

#[test]
fn what_was_durable_is_in_pages_after_a_clean_stop() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 2);
    for seq in 1..=3_000 {
        shards[(seq % 2) as usize].append(message(
            seq % 2,
            seq.div_ceil(2),
            seq,
            seq.div_ceil(2) - 1,
            "hello there",
        ));
    }
    shards.iter_mut().for_each(Shard::wait_durable);
    assert_eq!(stop(running, shards), Ended::Sealed);

    let (running, mut shards) = start(directory.path(), settings(), 1);
    let read = running.read_handle();
    for of in [0, 1] {
        let header = read.header(&conversation(of)).unwrap();
        assert_eq!((header.last_seq, header.messages), (Seq(1_500), 1_500));
        let events = read.events(&conversation(of), Seq(0), usize::MAX).unwrap();
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == Seq(seq)));
        assert_eq!(events.len(), 1_500);
    }
    let LoadResult::State(Loaded::Recent(recent)) =
        shards[0].load(conversation(1), LoadQuery::State(LoadKey::Recent(10)))
    else {
        panic!("not the recent ones")
    };
    assert_eq!(
        recent.iter().map(|state| state.seq.0).collect::<Vec<_>>(),
        (1_491..=1_500).collect::<Vec<_>>()
    );
    shards[0].wait("a lease", |shard| !shard.ids.is_empty());
    assert!(shards[0].ids[0].start > 2 * 65_536, "{:?}", shards[0].ids);
    stop(running, shards);
}

/// A small generator: the same seed gives the same run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn wall_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What the store should say: the plain fold of all events.
#[derive(Default)]
struct Expected {
    messages: BTreeMap<(ConversationId, u64), MessageState>,
    headers: BTreeMap<ConversationId, Header>,
    marks: BTreeMap<(ConversationId, UserId), Mark>,
    first_sends: BTreeMap<(ConversationId, UserId, String), FirstSend>,
    next_id: u64,
}

impl Expected {
    fn event(&mut self, of: &ConversationId, body: EventBody) -> Record {
        let header = self.headers.entry(of.clone()).or_default();
        let event = Event { seq: header.last_seq.next(), at: Wall(wall_now()), body };
        header.last_seq = event.seq;
        header.last_at = event.at;
        if let EventBody::Message(body) = &event.body {
            header.last_message = body.id.0;
            header.messages += 1;
            if let Some(client_msg_id) = &body.client_msg_id {
                let key = (of.clone(), body.sender.id.clone(), client_msg_id.clone());
                let content_hash = FirstSend::hash_content(&body.content);
                let first = FirstSend {
                    message: body.id,
                    seq: event.seq,
                    created_at: event.at,
                    content_hash,
                };
                self.first_sends.insert(key, first);
            }
        }
        for ((id, _), state) in &mut self.messages {
            if id == of {
                state.apply(&event);
            }
        }
        if let Some(state) = MessageState::created(&event) {
            self.messages.insert((of.clone(), state.id.0), state);
        }
        Record::Event { conversation: of.clone(), event: Arc::new(event) }
    }

    fn random(&mut self, dice: &mut Dice) -> Record {
        let of = [conversation(1), conversation(2), ConversationId::parse("lobby").unwrap()]
            [dice.roll(3) as usize]
            .clone();
        let ids: Vec<u64> =
            self.messages.keys().filter(|(id, _)| *id == of).map(|(_, id)| *id).collect();
        let by = user(dice.roll(5));
        let some = ids.get(dice.roll(ids.len().max(1) as u64) as usize).copied().map(MessageId);
        // A deleted message is gone: nobody edits it or reacts to it.
        let some = some.filter(|id| self.messages[&(of.clone(), id.0)].deleted_at.is_none());
        let content = "wörter ".repeat(dice.roll(60) as usize);
        let body = match (dice.roll(10), some) {
            (0, Some(message)) => EventBody::Edit { message, by, content },
            (1, Some(message)) if dice.roll(3) == 0 => EventBody::Delete { message, by },
            (2..=4, Some(message)) => EventBody::Reaction {
                message,
                user: by,
                emoji: ["👍", "❤️", "a\0b"][dice.roll(3) as usize].to_owned(),
                action: [ReactionAction::Added, ReactionAction::Removed][dice.roll(2) as usize],
            },
            (5, Some(message)) => return self.mark(of, by, message, dice),
            (_, parent) => {
                self.next_id += 1 + dice.roll(3);
                let id = self.next_id;
                EventBody::Message(MessageBody {
                    id: MessageId(id),
                    ordinal: self.headers.get(&of).map_or(0, |header| header.messages),
                    sender: Profile { email: "a@b.c".to_owned(), ..Profile::nameless(by) }.into(),
                    content,
                    parent: parent.filter(|_| dice.roll(4) == 0),
                    client_msg_id: (dice.roll(2) == 0).then(|| format!("c-{id}")),
                })
            }
        };
        self.event(&of, body)
    }

    /// A mark only rises: whoever reports a lower one stays where they are.
    fn mark(&mut self, of: ConversationId, by: UserId, to: MessageId, dice: &mut Dice) -> Record {
        let mark = Mark { user: by.clone(), message: to, ordinal: dice.roll(9), at: Wall(to.0) };
        let known = self.marks.entry((of.clone(), by)).or_insert_with(|| mark.clone());
        if known.message < mark.message {
            *known = mark;
        }
        Record::Mark { conversation: of, mark: known.clone() }
    }

    fn check(&self, read: &ReadHandle) {
        for ((of, id), state) in &self.messages {
            let found = read.state(of, &LoadKey::Message(MessageId(*id))).unwrap();
            assert_eq!(found, Loaded::Message(Some(Box::new(state.clone()))));
            let absent = read.state(of, &LoadKey::Message(MessageId(self.next_id + 1))).unwrap();
            assert_eq!(absent, Loaded::Message(None));
        }
        for (of, header) in &self.headers {
            assert_eq!(read.header(of).unwrap(), *header);
            let expected: Vec<MessageState> = self
                .messages
                .iter()
                .filter(|((id, _), _)| id == of)
                .map(|(_, s)| s.clone())
                .collect();
            for n in [0, 1, 20, 1_000] {
                let newest = expected[expected.len().saturating_sub(n)..].to_vec();
                let found = read.state(of, &LoadKey::Recent(n as u32)).unwrap();
                assert_eq!(found, Loaded::Recent(newest));
            }
        }
        for ((of, whose), mark) in &self.marks {
            let found = read.state(of, &LoadKey::Mark(whose.clone())).unwrap();
            assert_eq!(found, Loaded::Mark(Some(mark.clone())));
        }
        for ((of, whose, client_msg_id), first) in &self.first_sends {
            let key = |client_msg_id: &str| LoadKey::FirstSend {
                user: whose.clone(),
                client_msg_id: client_msg_id.to_owned(),
            };
            let found = read.state(of, &key(client_msg_id)).unwrap();
            assert_eq!(found, Loaded::FirstSend(Some(first.clone())));
            assert_eq!(read.state(of, &key("other")).unwrap(), Loaded::FirstSend(None));
        }
    }
}

#[test]
fn edits_reactions_deletions_marks_and_keys_fold_the_same_over_segments_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let mut dice = Dice(0x1234_5678_9abc);
    let mut expected = Expected::default();
    let mut segments = 0;
    for _ in 0..3 {
        let (running, mut shards) = start(directory.path(), settings(), 1);
        for _ in 0..900 {
            let record = expected.random(&mut dice);
            shards[0].append(record);
        }
        shards[0].wait_durable();
        assert_eq!(stop(running, shards), Ended::Sealed);
        let (running, shards) = start(directory.path(), settings(), 1);
        expected.check(&running.read_handle());
        stop(running, shards);
        let report = verify(directory.path()).unwrap();
        assert!(report.is_whole(), "{report:?}");
        assert_eq!(report.messages, expected.messages.len() as u64);
        segments = report.segments;
    }
    assert!(segments > 3, "{segments}");
}

#[test]
fn an_edit_history_has_every_edit_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    shards[0].append(message(1, 1, 10, 0, "first"));
    for seq in 2..=5 {
        let body = EventBody::Edit {
            message: MessageId(10),
            by: user(1),
            content: format!("edit {}", seq - 1),
        };
        let event = Event { seq: Seq(seq), at: Wall(seq), body };
        shards[0].append(Record::Event { conversation: conversation(1), event: Arc::new(event) });
    }
    stop(running, shards);
    let (running, shards) = start(directory.path(), settings(), 1);
    let read = running.read_handle();
    let check = |after: u64, limit: u32, expected: &[(u32, &str)]| {
        let query = EditsQuery { message: MessageId(10), after: Seq(after), limit };
        let edits = read.edits(&conversation(1), query).unwrap();
        assert!(edits.is_known && !edits.is_deleted && !edits.is_cut);
        assert_eq!((edits.last_number, edits.last_seq), (4, Seq(5)));
        let found: Vec<_> =
            edits.edits.iter().map(|edit| (edit.number, edit.content.as_str())).collect();
        assert_eq!(found, expected, "{after} {limit}");
    };
    // One more than was asked for says that there are more.
    check(0, 1, &[(0, "first"), (1, "edit 1")]);
    check(2, 2, &[(2, "edit 2"), (3, "edit 3"), (4, "edit 4")]);
    check(4, 5, &[(4, "edit 4")]);
    check(5, 5, &[]);
    let unknown = EditsQuery { message: MessageId(11), after: Seq(0), limit: 5 };
    assert_eq!(read.edits(&conversation(1), unknown).unwrap(), StoredEdits::default());
    stop(running, shards);
}

fn set(of: u64, whose: u64, role: Role) -> Record {
    let (conversation, user) = (conversation(of), user(whose));
    Record::Directory(DirectoryChange::MemberSet { conversation, user, role })
}

fn removed(of: u64, whose: u64) -> Record {
    let (conversation, user) = (conversation(of), user(whose));
    Record::Directory(DirectoryChange::MemberRemoved { conversation, user })
}

fn check_directory(read: &ReadHandle) {
    let members = |after: Option<u64>, limit| -> Vec<_> {
        let after = after.map(user);
        read.members(&conversation(1), after.as_ref(), limit).unwrap()
    };
    let (admin, member, moderator) = (Role::Admin, Role::Member, Role::Moderator);
    let all = [(user(1), admin), (user(3), moderator), (user(4), member), (user(6), member)];
    assert_eq!(members(None, 10), all);
    assert_eq!(members(None, 2), all[..2]);
    assert_eq!(members(Some(2), 2), all[1..3]);
    assert_eq!(members(Some(3), 10), all[2..]);
    assert_eq!(members(Some(6), 10), []);
    let of_three = read.conversations_of(&user(3), None, 10).unwrap();
    assert_eq!(of_three, [(conversation(1), moderator), (conversation(2), member)]);
    let created = |after: Option<u64>| -> Vec<_> {
        let after = after.map(conversation);
        let found = read.created(after.as_ref(), 10).unwrap();
        found.into_iter().map(|(conversation, _)| conversation).collect()
    };
    assert_eq!(created(None), [conversation(1), conversation(2)]);
    assert_eq!(created(Some(1)), [conversation(2)]);
    assert!(read.created_at(&conversation(1)).unwrap().is_some());
    assert_eq!(read.created_at(&conversation(9)).unwrap(), None);
    let admission = read.admission(&conversation(1), &user(3)).unwrap();
    assert!(admission.conversation_exists);
    assert_eq!((admission.role, admission.revoked_before), (Some(moderator), Some(Wall(90))));
    assert_eq!(admission.profile.map(|profile| profile.first_name).as_deref(), Some("Cy"));
    assert_eq!(read.admission(&conversation(9), &user(2)).unwrap(), Admission::default());
    assert_eq!(read.admission(&conversation(1), &user(2)).unwrap().role, None);
}

#[test]
fn the_directory_is_seen_once_durable_and_after_it_went_into_pages() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let created =
        |of| DirectoryChange::ConversationCreated { conversation: conversation(of), at: Wall(5) };
    for change in [created(1), created(2)] {
        shards[0].append(Record::Directory(change));
    }
    for record in [
        set(1, 1, Role::Admin),
        set(1, 2, Role::Member),
        set(1, 3, Role::Member),
        set(1, 5, Role::Member),
        set(1, 6, Role::Member),
        set(2, 3, Role::Member),
    ] {
        shards[0].append(record);
    }
    stop(running, shards);

    // Half of it lies in pages now; the rest is laid over it.
    let (running, mut shards) = start(directory.path(), settings(), 1);
    for record in
        [removed(1, 2), set(1, 3, Role::Moderator), set(1, 4, Role::Member), removed(1, 5)]
    {
        shards[0].append(record);
    }
    let profile = Profile { first_name: "Cy".to_owned(), ..Profile::nameless(user(3)) };
    shards[0].append(Record::Directory(DirectoryChange::ProfileSet { profile }));
    for issued_before in [Wall(90), Wall(60)] {
        let revoked = DirectoryChange::Revoked { user: user(3), issued_before };
        shards[0].append(Record::Directory(revoked));
    }
    shards[0].wait_durable();
    check_directory(&running.read_handle());
    let LoadResult::Admission(admission) =
        shards[0].load(conversation(1), LoadQuery::Admission(user(4)))
    else {
        panic!("no admission")
    };
    assert_eq!(admission.role, Some(Role::Member));
    assert_eq!(stop(running, shards), Ended::Sealed);
    let (running, shards) = start(directory.path(), settings(), 1);
    check_directory(&running.read_handle());
    stop(running, shards);
}

#[test]
fn segments_are_sealed_while_the_store_runs() {
    let directory = tempfile::tempdir().unwrap();
    let (running, mut shards) = start(directory.path(), settings(), 1);
    let shard: &mut Shard = &mut shards[0];
    let content = "x".repeat(2_000);
    for seq in 1..=400 {
        shard.append(message(1, seq, seq, seq - 1, &content));
    }
    shard.wait("a sealed segment", |shard| shard.sealed >= 2 && shard.durable == 400);
    let header = running.read_handle().header(&conversation(1)).unwrap();
    assert!(header.last_seq.0 > 100, "{header:?}");
    stop(running, shards);
}
