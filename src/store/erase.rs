//! Takes a conversation out of pages: everything but its tombstone. What the journal still has of it is
//! rewritten later (see `erasing`).
//!
//! It may be cut short and begun again at any point: the tombstone is put first, keys are removed in slices,
//! and what is built from the same segment afterwards is put in again by the builder.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::ConversationId;

use super::error::StoreError;
use super::keys::{Day, Key, KeyReader, Kind};
use super::pages::{Batch, Pages};
use super::values::{self, Gone, ToErase};

/// Keys that one slice removes: what sled rewrites for them is far less than one segment of its file.
const SLICE_KEYS: usize = 128;

/// Kinds whose keys begin with the conversation; each page's index goes before the page.
const OF_A_CONVERSATION: [Kind; 10] = [
    Kind::Retention,
    Kind::Created,
    Kind::Edit,
    Kind::MessagePage,
    Kind::ReplyCount,
    Kind::Page,
    Kind::Reply,
    Kind::Reaction,
    Kind::Deletion,
    Kind::ToErase,
];

/// The header is left to whoever knows where the conversation goes on.
pub fn conversation(
    pages: &Pages,
    conversation: &ConversationId,
    gone: Gone,
    stop: &AtomicBool,
) -> Result<(), StoreError> {
    pages.insert(&Key::new(Kind::Gone).conversation(conversation), values::write_gone(&gone))?;
    by_user(pages, conversation, (Kind::Member, Kind::Membership), stop)?;
    by_user(pages, conversation, (Kind::Mark, Kind::Marked), stop)?;
    for kind in OF_A_CONVERSATION {
        prefix(pages, &Key::new(kind).conversation(conversation), stop)?;
    }
    first_sends(pages, conversation, stop)?;
    let text =
        values::write_to_erase(&ToErase { through: gone.through.last_seq, since: gone.through.at });
    pages.insert(&Key::new(Kind::ToErase).conversation(conversation).number(0), text)
}

/// What is kept by conversation and user, with its index by user. The index is there as long as what it
/// names: the next try finds it by that.
fn by_user(
    pages: &Pages,
    conversation: &ConversationId,
    (kind, index): (Kind, Kind),
    stop: &AtomicBool,
) -> Result<(), StoreError> {
    let prefix = Key::new(kind).conversation(conversation);
    slices(pages, stop, || {
        let mut keys = Vec::new();
        for pair in pages.scan(&prefix).take(SLICE_KEYS) {
            let (key, _) = pair?;
            let user = KeyReader::behind(&key, &prefix)?.user()?;
            let indexed = Key::new(index).user(&user).conversation(conversation);
            keys.extend([key.to_vec(), indexed.into_bytes()]);
        }
        Ok(keys)
    })
}

/// Their keys begin with the day: there are not more days than they are kept.
fn first_sends(
    pages: &Pages,
    conversation: &ConversationId,
    stop: &AtomicBool,
) -> Result<(), StoreError> {
    let all = Key::new(Kind::FirstSend);
    let mut from = Day(0);
    loop {
        let first = pages.scan_from(&all, &all.clone().day(from)).next().transpose()?;
        let Some((key, _)) = first else { return Ok(()) };
        let day = KeyReader::new(&key, Kind::FirstSend)?.day()?;
        prefix(pages, &all.clone().day(day).conversation(conversation), stop)?;
        let Some(next) = day.0.checked_add(1) else { return Ok(()) };
        from = Day(next);
    }
}

fn prefix(pages: &Pages, prefix: &Key, stop: &AtomicBool) -> Result<(), StoreError> {
    slices(pages, stop, || {
        let pairs = pages.scan(prefix).take(SLICE_KEYS);
        pairs.map(|pair| Ok(pair?.0.to_vec())).collect()
    })
}

/// Removes what `next` finds until it finds nothing.
fn slices(
    pages: &Pages,
    stop: &AtomicBool,
    mut next: impl FnMut() -> Result<Vec<Vec<u8>>, StoreError>,
) -> Result<(), StoreError> {
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(StoreError::Stopped);
        }
        let keys = next()?;
        if keys.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        keys.into_iter().for_each(|key| batch.remove(key));
        pages.apply(batch)?;
        std::thread::yield_now();
    }
}
