//! Bytes from a disk that lies: records, commits and whole segments never panic, what reads as a record is
//! written and read again as the same, and an outline says the same as the whole.

use loquat::model::EventBody;
use loquat::node::journal::record::{self, MessageOutline, Outline};
use loquat::node::journal::{Recovery, RecoveryStep, SealedMark, Tail, scan};
use loquat::node::ports::Record;

pub fn run(data: &[u8]) {
    let outline = record::outline(data);
    assert_eq!(outline.as_ref().err().copied(), record::decode(data).err());
    if let Ok(read) = record::decode(data) {
        if let (
            Ok(Outline::Message(conversation, outline)),
            Record::Event { conversation: id, event },
        ) = (outline, &read)
        {
            let EventBody::Message(body) = &event.body else {
                panic!("not a message: {outline:?}")
            };
            assert_eq!((&conversation, outline), (id, MessageOutline::of(event, body)));
        }
        let bytes = record::to_bytes(&read).expect("what was read can be written");
        assert_eq!(record::decode(&bytes), Ok(read));
    }
    for tail in [Tail::Strict, Tail::Loose] {
        if let Ok(found) = scan(data, 1, tail) {
            assert!(found.end <= data.len());
            for bytes in found.commits.iter().flat_map(|commit| commit.records()) {
                let _ = record::decode(bytes);
            }
            recovers_as_it_was(data, found.commits.len(), tail);
        }
    }
}

/// A recovered segment is whole: recovering it again changes nothing.
fn recovers_as_it_was(data: &[u8], commits: usize, tail: Tail) {
    let mut recovery = Recovery::new(&[1], SealedMark::default(), tail);
    let mut answer = None;
    while let Ok(step) = recovery.next(answer.take()) {
        match step {
            RecoveryStep::Read { .. } => answer = Some(data.to_vec()),
            RecoveryStep::Replace { bytes, .. } => {
                let again = scan(&bytes, 1, Tail::Strict).expect("a recovered segment");
                assert_eq!(again.commits.len(), commits);
                assert!(!again.tail_is_dirty);
            }
            RecoveryStep::Remove { .. } => assert_eq!(commits, 0),
            RecoveryStep::SyncDirectory => {}
            RecoveryStep::Finished(_) => return,
        }
    }
}
