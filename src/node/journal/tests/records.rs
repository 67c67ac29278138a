//! Records as bytes: every kind reads back as it was, and an outline says the same as the whole.

use super::super::record::{MessageOutline, Outline};
use super::*;

/// What an outline must say of a record: of a message all but its sender's names.
fn known(record: &Record) -> String {
    match record {
        Record::Event { conversation, event } => match &event.body {
            EventBody::Message(body) => {
                format!("{conversation} {:?}", MessageOutline::of(event, body))
            }
            _ => format!("{record:?}"),
        },
        _ => format!("{record:?}"),
    }
}

fn outlined(bytes: &[u8]) -> Result<String, record::RecordError> {
    Ok(match record::outline(bytes)? {
        Outline::Message(conversation, message) => format!("{conversation} {message:?}"),
        Outline::Other(record) => known(&record),
    })
}

#[test]
fn every_kind_of_record_reads_back_as_it_was() {
    let check = |record: Record| {
        let mut bytes = b"before".to_vec();
        record::encode(&(&record).into(), &mut bytes).unwrap();
        assert_eq!(outlined(&bytes[6..]), Ok(known(&record)));
        for at in 6..bytes.len().min(400) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x11;
            let decoded = record::decode(&damaged[6..]);
            assert_eq!(outlined(&damaged[6..]), decoded.map(|record| known(&record)), "byte {at}");
        }
        assert_eq!(record::decode(&bytes[6..]), Ok(record));
    };
    let conversation = ConversationId::from_number(9).unwrap();
    let message = MessageId(4);
    let bodies = [
        EventBody::Edit { message, by: user(2), content: "𝄞".repeat(10_000) },
        EventBody::Delete { message, by: UserId::parse("ann@x").unwrap() },
        EventBody::Reaction {
            message,
            user: user(3),
            emoji: "👍".to_owned(),
            action: ReactionAction::Removed,
        },
    ];
    for body in bodies {
        let event = Arc::new(Event { seq: Seq(5), at: Wall(6), body });
        check(Record::Event { conversation: conversation.clone(), event });
    }
    check(text(1, ""));
    let mark = Mark { user: user(1), message, ordinal: 3, at: Wall(8) };
    check(Record::Mark { conversation: conversation.clone(), mark });
    let changes = [
        DirectoryChange::ConversationCreated { conversation: conversation.clone(), at: Wall(1) },
        DirectoryChange::MemberSet {
            conversation: conversation.clone(),
            user: user(1),
            role: Role::Moderator,
        },
        DirectoryChange::ErasureBegun { user: user(1), at: Wall(7) },
        DirectoryChange::RetentionSet { conversation: conversation.clone(), days: Some(9) },
        DirectoryChange::RetentionSet { conversation: conversation.clone(), days: None },
        DirectoryChange::ConversationDeleted {
            conversation: conversation.clone(),
            tombstone: Tombstone { at: Wall(9), last_seq: Seq(4), last_message: 3 },
        },
        DirectoryChange::MemberRemoved { conversation: conversation.clone(), user: user(1) },
        DirectoryChange::ProfileSet { profile: Profile::nameless(user(1)) },
        DirectoryChange::Revoked { user: user(1), issued_before: Wall(7) },
        DirectoryChange::ConversationImported(Import {
            conversation,
            at: Wall(1),
            number: u64::MAX,
            events: 5,
            messages: 4,
        }),
    ];
    check(Record::Erased);
    changes.into_iter().for_each(|change| check(Record::Directory(change)));
}
