//! A sealed segment without what was erased: the same commits with the same numbers, each with as many
//! records in the same places. Only records that must change are other bytes, and so are their commits'
//! checksums.

use super::frame::FrameBuilder;
use super::record;
use super::scan::{Damage, Scan};
use crate::node::ports::Record;

/// The segment's bytes with what `replace` gives for a record in that record's place; `None` when it
/// gives nothing for any.
pub fn rewrite(
    segment: &Scan<'_>,
    mut replace: impl FnMut(&Record) -> Option<Record>,
) -> Result<Option<Vec<u8>>, Damage> {
    let mut bytes = segment.header.to_bytes().to_vec();
    let mut has_changed = false;
    for commit in &segment.commits {
        let head = commit.head;
        let damage = |_| Damage::Record { segment: head.segment, commit: head.commit };
        let mut frame = FrameBuilder::default();
        for old in commit.records() {
            match replace(&record::decode(old).map_err(damage)?) {
                Some(new) => {
                    frame.push(&(&new).into()).map_err(damage)?;
                    has_changed = true;
                }
                None => frame.push_bytes(old),
            }
        }
        if frame.records() != commit.record_count() {
            return Err(Damage::Record { segment: head.segment, commit: head.commit });
        }
        bytes.extend(frame.finish(&head, segment.header.salt));
    }
    Ok(has_changed.then_some(bytes))
}
