//! What a rebuild takes over that is no event: who belongs where, profiles, marks, what is gone, ids given.
//!
//! The store's own values hold, and what its kept segments say behind its mark. A kind of values of which
//! something cannot be read is begun with the backup's and with everything that journals say, in the order of the
//! log; what can be read of the store's own goes over it. What was deleted or erased since the backup is not
//! taken from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use crate::limits::ERASURE_GRACE_MS;
use crate::model::{ConversationId, Erasure, Import, UserId, Wall};
use crate::node::journal::Scan;

use super::super::build;
use super::super::error::{OpenError, StoreError};
use super::super::gather::gather;
use super::super::given;
use super::super::import;
use super::super::keys::{Key, KeyReader, Kind};
use super::super::pages::{Batch, Pages};
use super::super::salvage::Salvage;
use super::super::values::{self, Gone, ValueReader, ValueWriter, Why};
use super::super::verify::other_way_round;
use super::source::Source;
use super::{Sources, Told};

/// Kinds that are taken over as they are.
const KINDS: [Kind; 7] = [
    Kind::Created,
    Kind::Retention,
    Kind::Profile,
    Kind::Revoked,
    Kind::Erasure,
    Kind::Member,
    Kind::Mark,
];
const BATCH_KEYS: usize = 500;

/// What must not come back, and what imports brought.
#[derive(Default)]
pub struct Known {
    pub gone: BTreeMap<ConversationId, Gone>,
    /// Until when everything of the user is erased.
    pub erased: BTreeMap<UserId, Wall>,
    pub imports: BTreeMap<ConversationId, Import>,
    /// Conversations that were deleted since the backup: it knows nothing of what they are now.
    stale: BTreeSet<ConversationId>,
}

impl Known {
    pub fn of(sources: &Sources) -> Result<Known, StoreError> {
        let mut known = Known::default();
        for source in sources.all() {
            known.gone_in(source)?;
            source.each(Kind::Erasure, &[Kind::Erasure as u8], |key, value| {
                let user = KeyReader::new(key, Kind::Erasure)?.user()?;
                let (Erasure::Running { begun_at } | Erasure::Done { begun_at, .. }) =
                    values::read_erasure(value)?;
                let until = Wall(begun_at.0.saturating_add(ERASURE_GRACE_MS));
                let held = known.erased.entry(user).or_insert(until);
                *held = (*held).max(until);
                Ok(())
            })?;
        }
        for source in sources.all().filter(|source| source.is_backup) {
            for (conversation, gone) in &known.gone {
                let of = |kind: Kind| Key::new(kind).conversation(conversation);
                let own = source.pages.get(&of(Kind::Gone)).ok().flatten();
                let own = own.and_then(|value| values::read_gone(&value).ok());
                if own != Some(*gone) && gone.why == Why::Deleted {
                    known.stale.insert(conversation.clone());
                }
            }
        }
        Ok(known)
    }

    fn gone_in(&mut self, source: &Source) -> Result<(), StoreError> {
        source.each(Kind::Gone, &[Kind::Gone as u8], |key, value| {
            let conversation = KeyReader::new(key, Kind::Gone)?.conversation()?;
            let gone = values::read_gone(value)?;
            let held = self.gone.entry(conversation).or_insert(gone);
            if held.through.last_seq < gone.through.last_seq {
                *held = gone;
            }
            Ok(())
        })
    }

    /// Whether a value of the backup speaks of what was deleted or erased since.
    pub fn is_stale(&self, kind: Kind, key: &[u8]) -> Result<bool, StoreError> {
        let mut parts = KeyReader::new(key, kind)?;
        if kind == Kind::FirstSend {
            parts.day()?;
        }
        let of_user = matches!(kind, Kind::Profile | Kind::Revoked | Kind::Erasure);
        let is_stale = !of_user && self.stale.contains(&parts.conversation()?);
        let user = match kind {
            Kind::Profile => Some(parts.user()?),
            Kind::Member | Kind::Mark => Some(parts.user()?),
            _ => None,
        };
        Ok(is_stale || user.is_some_and(|user| self.erased.contains_key(&user)))
    }
}

/// Puts keys in by the batch.
pub struct Putter<'a> {
    pages: &'a Pages,
    batch: Batch,
    keys: usize,
}

impl<'a> Putter<'a> {
    pub fn new(pages: &'a Pages) -> Putter<'a> {
        Putter { pages, batch: Batch::default(), keys: 0 }
    }

    pub fn put(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        self.batch.insert(key, value);
        self.count()
    }

    pub fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.batch.remove(key);
        self.count()
    }

    fn count(&mut self) -> Result<(), StoreError> {
        self.keys += 1;
        if self.keys < BATCH_KEYS {
            return Ok(());
        }
        self.keys = 0;
        self.pages.apply(std::mem::take(&mut self.batch))
    }

    pub fn end(self) -> Result<(), StoreError> {
        self.pages.apply(self.batch)
    }
}

/// Fills the new pages with everything that is no event.
pub fn put(
    new: &Pages,
    sources: &mut Sources,
    known: &mut Known,
    told: &mut Told<'_>,
) -> Result<(), OpenError> {
    let lost = damaged_kinds(sources).map_err(super::failed)?;
    if !lost.is_empty() {
        if let Some(backup) = &sources.backup {
            for &kind in &lost {
                take_over(new, backup, kind, Some(known)).map_err(super::failed)?;
            }
        }
        replay(new, sources, (known, 0), told)?;
    }
    if let Some(store) = &sources.store {
        for kind in KINDS {
            if !lost.contains(&kind) {
                clear(new, kind).map_err(super::failed)?;
            }
            take_over(new, store, kind, None).map_err(super::failed)?;
        }
        let sealed = store.mark.commit;
        replay(new, sources, (known, sealed), told)?;
    }
    let mut rest = || {
        index(new)?;
        imports(new, sources, known)?;
        given_ids(new, sources)
    };
    rest().map_err(super::failed)
}

/// Kinds that the store's pages do not have wholly.
fn damaged_kinds(sources: &Sources) -> Result<Vec<Kind>, StoreError> {
    let Some(store) = &sources.store else { return Ok(KINDS.to_vec()) };
    for kind in KINDS {
        store.each(kind, &[kind as u8], |_, _| Ok(()))?;
    }
    // Who belongs where stands twice: where the two differ, one of them lacks something.
    for kind in [Kind::Member, Kind::Membership] {
        store.each(kind, &[kind as u8], |key, _| {
            let other = other_way_round(kind, KeyReader::new(key, kind)?)?;
            if store.pages.get(&other).ok().flatten().is_none() {
                store.found_damage(Kind::Member);
            }
            Ok(())
        })?;
    }
    Ok(KINDS.into_iter().filter(|&kind| !store.is_whole(kind)).collect())
}

fn clear(new: &Pages, kind: Kind) -> Result<(), StoreError> {
    let mut putter = Putter::new(new);
    for (key, _) in Salvage::of(new, &[kind as u8]) {
        putter.remove(&key)?;
    }
    putter.end()
}

fn take_over(
    new: &Pages,
    source: &Source,
    kind: Kind,
    known: Option<&Known>,
) -> Result<(), StoreError> {
    let mut putter = Putter::new(new);
    source.each(kind, &[kind as u8], |key, value| {
        if known.is_some_and(|known| known.is_stale(kind, key).unwrap_or(true)) {
            return Ok(());
        }
        putter.put(key, value.to_vec())
    })?;
    if kind == Kind::Member && !source.is_whole(kind) {
        // The same stands by user, too.
        source.each(Kind::Membership, &[Kind::Membership as u8], |key, value| {
            let mut parts = KeyReader::new(key, Kind::Membership)?;
            let (user, conversation) = (parts.user()?, parts.conversation()?);
            let key = Key::new(kind).conversation(&conversation).user(&user);
            if known.is_some_and(|known| known.is_stale(kind, key.as_ref()).unwrap_or(true)) {
                return Ok(());
            }
            putter.put(key.as_ref(), value.to_vec())
        })?;
    }
    putter.end()
}

/// What journals say about the directory, marks and what was deleted, from behind this commit on.
fn replay(
    new: &Pages,
    sources: &mut Sources,
    (known, behind): (&Known, u64),
    told: &mut Told<'_>,
) -> Result<(), OpenError> {
    let never = AtomicBool::new(false);
    let mut again = Told { notes: Vec::new(), watch: &mut *told.watch };
    for journal in sources.backup_journal.as_mut().into_iter().chain([&mut sources.journal]) {
        journal.each(&mut again, |_, scan| {
            let commits = scan.commits.iter().filter(|commit| commit.head.commit > behind);
            let scan = Scan { commits: commits.copied().collect(), ..*scan };
            let last = scan.commits.last().map_or(Wall(0), |last| last.head.at);
            let mut gathered = gather(&scan)?;
            // Names of before an erasure are not even put in for a moment.
            let profiles = &mut gathered.directory.profiles;
            profiles.retain(|user, _| known.erased.get(user).is_none_or(|until| last > *until));
            build::put_directory(new, &gathered, &never)
        })?;
    }
    let Told { notes: mut untold, .. } = again;
    untold.retain(|what| !told.notes.contains(what));
    told.notes.append(&mut untold);
    Ok(())
}

/// Where users belong and have marks, by user.
fn index(new: &Pages) -> Result<(), StoreError> {
    let mut putter = Putter::new(new);
    for (kind, index) in [(Kind::Member, Kind::Membership), (Kind::Mark, Kind::Marked)] {
        for (key, _) in Salvage::of(new, &[index as u8]) {
            putter.remove(&key)?;
        }
        for (key, value) in Salvage::of(new, &[kind as u8]) {
            let mut parts = KeyReader::new(&key, kind)?;
            let (conversation, user) = (parts.conversation()?, parts.user()?);
            let key = Key::new(index).user(&user).conversation(&conversation);
            let nothing = || ValueWriter::default().finish();
            putter
                .put(key.as_ref(), if kind == Kind::Mark { nothing() } else { value.to_vec() })?;
        }
    }
    putter.end()
}

/// What was brought in is there, as far as its events are.
fn imports(new: &Pages, sources: &Sources, known: &mut Known) -> Result<(), StoreError> {
    let mut putter = Putter::new(new);
    // The store's own word comes last.
    for source in sources.all().collect::<Vec<_>>().into_iter().rev() {
        source.each(Kind::Import, &[Kind::Import as u8], |key, value| {
            if source.is_backup && known.is_stale(Kind::Import, key)? {
                return Ok(());
            }
            let conversation = KeyReader::new(key, Kind::Import)?.conversation()?;
            let (value, import) = import::as_built(&conversation, value)?;
            let created = Key::new(Kind::Created).conversation(&conversation);
            let gone = known.gone.get(&conversation);
            let is_deleted = gone.is_some_and(|gone| gone.through.at >= import.at);
            if new.get(&created)?.is_none() && !is_deleted {
                putter.put(created.as_ref(), values::write_wall(import.at))?;
            }
            if !is_deleted {
                known.imports.insert(conversation, import);
            }
            putter.put(key, value)
        })?;
    }
    putter.end()
}

fn given_ids(new: &Pages, sources: &Sources) -> Result<(), StoreError> {
    for source in sources.all() {
        source.each(Kind::GivenIds, &[Kind::GivenIds as u8], |key, value| {
            given::add(new, KeyReader::new(key, Kind::GivenIds)?.number()?, value)
        })?;
    }
    Ok(())
}

/// First sends as they were noted; of a text that is gone the hash is known by them only.
pub fn first_sends(new: &Pages, sources: &Sources, known: &Known) -> Result<(), StoreError> {
    let mut putter = Putter::new(new);
    for source in sources.all().collect::<Vec<_>>().into_iter().rev() {
        source.each(Kind::FirstSend, &[Kind::FirstSend as u8], |key, value| {
            if source.is_backup && known.is_stale(Kind::FirstSend, key)? {
                return Ok(());
            }
            let own = new.get_bytes(key)?.map(|own| values::read_first_send(&own)).transpose()?;
            let message = values::read_first_send(value)?.message;
            match own.is_some_and(|own| own.message == message) {
                true => putter.put(key, value.to_vec()),
                false => Ok(()),
            }
        })?;
    }
    putter.end()
}

/// The journal's segments of before, with their commits, without holes up to `last`. Gives the last of them.
pub fn spans(new: &Pages, sources: &Sources, last: u64) -> Result<Spans, StoreError> {
    let mut found: BTreeMap<u64, (u64, u64, u64)> = BTreeMap::new();
    for source in sources.all() {
        source.each(Kind::Segment, &[Kind::Segment as u8], |key, value| {
            let mut reader = ValueReader::new(value)?;
            let segment = KeyReader::new(key, Kind::Segment)?.number()?;
            let span = (reader.u64()?, reader.u64()?, reader.u64()?);
            // The widest is the whole one: of a damaged segment only a part was found.
            let held = found.entry(segment).or_insert(span);
            *held = (held.0.min(span.0), held.1.max(span.1), held.2.max(span.2));
            Ok(())
        })?;
    }
    let mut spans = Spans::default();
    for (segment, (_, through, at)) in found {
        let first = spans.last().map_or(1, |last| last.through + 1);
        if through >= first {
            spans.0.push(Span { segment, first, through, at });
        }
    }
    if spans.last().map_or(0, |span| span.through) < last {
        let next = spans.last().map_or(1, |span| span.segment + 1);
        let (first, at) = spans.last().map_or((1, 0), |span| (span.through + 1, span.at));
        spans.0.push(Span { segment: next.max(sources.last_segment()), first, through: last, at });
    }
    let mut putter = Putter::new(new);
    for Span { segment, first, through, at } in &spans.0 {
        let value = ValueWriter::default().u64(*first).u64(*through).u64(*at).finish();
        putter.put(Key::new(Kind::Segment).number(*segment).as_ref(), value)?;
    }
    putter.end()?;
    Ok(spans)
}

#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub segment: u64,
    first: u64,
    pub through: u64,
    at: u64,
}

/// All segments there ever were, oldest first.
#[derive(Debug, Default)]
pub struct Spans(Vec<Span>);

impl Spans {
    pub fn last(&self) -> Option<Span> {
        self.0.last().copied()
    }

    /// The segment that had this commit.
    pub fn of(&self, commit: u64) -> u64 {
        let at = self.0.partition_point(|span| span.through < commit);
        self.0.get(at).or(self.0.last()).map_or(1, |span| span.segment)
    }
}
