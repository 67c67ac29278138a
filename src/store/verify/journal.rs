//! The journal's part of `verify`: each segment's commits and records, one chain over all of them, and
//! whether a start would take what is not sealed.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ConversationId, DirectoryChange, Seq};
use crate::node::journal::record;
use crate::node::journal::{Damage, Recovery, RecoveryStep, Scan, SealedMark, Tail, scan};
use crate::node::ports::Record;

use super::super::files::SegmentDirectory;
use super::{Report, Watch};

/// What commits that are not sealed touch.
#[derive(Debug, Default)]
pub struct Unsealed {
    /// The first seq of each conversation that pages need not have yet.
    first: BTreeMap<ConversationId, Seq>,
    /// Conversations that are brought in or deleted.
    whole: BTreeSet<ConversationId>,
    has_commits: bool,
}

impl Unsealed {
    /// What is sealed of the conversation ends before this seq.
    pub fn from(&self, conversation: &ConversationId) -> Seq {
        self.first.get(conversation).copied().unwrap_or(Seq(u64::MAX))
    }

    /// All that is kept about the conversation may be changing.
    pub fn is_changing(&self, conversation: &ConversationId) -> bool {
        self.whole.contains(conversation)
    }

    pub fn touches(&self, conversation: &ConversationId) -> bool {
        self.is_changing(conversation) || self.first.contains_key(conversation)
    }

    pub fn has_commits(&self) -> bool {
        self.has_commits
    }

    /// Pages of this conversation are still being built, whether its record is sealed or not.
    pub fn brings_in(&mut self, conversation: ConversationId) {
        self.whole.insert(conversation);
        self.has_commits = true;
    }

    fn add(&mut self, record: Record) {
        match record {
            Record::Event { conversation, event } => {
                self.first.entry(conversation).or_insert(event.seq);
            }
            Record::Directory(DirectoryChange::ConversationDeleted { conversation, .. }) => {
                self.whole.insert(conversation);
            }
            Record::Directory(DirectoryChange::ConversationImported(import)) => {
                self.whole.insert(import.conversation);
            }
            Record::Directory(_) | Record::Mark { .. } | Record::Erased => {}
        }
    }
}

/// `sealed`: nothing when the pages do not open.
pub fn check(
    segments: &SegmentDirectory,
    (sealed, tail): (Option<SealedMark>, Tail),
    report: &mut Report,
    watch: Watch<'_>,
) -> Unsealed {
    let listed = match segments.list() {
        Ok(listed) => listed,
        Err(error) => {
            report.damaged(format!("{}: {error}", segments.path().display()));
            Vec::new()
        }
    };
    let mut check = Check { segments, sealed, last_commit: None, unsealed: Unsealed::default() };
    for &segment in &listed {
        check.segment(segment, report);
        watch(report);
    }
    if let Some(sealed) = sealed {
        would_start(segments, &listed, (sealed, tail), report);
    }
    check.unsealed
}

struct Check<'a> {
    segments: &'a SegmentDirectory,
    sealed: Option<SealedMark>,
    last_commit: Option<u64>,
    unsealed: Unsealed,
}

impl Check<'_> {
    fn segment(&mut self, segment: u64, report: &mut Report) {
        report.segments += 1;
        let path = self.segments.path_of(segment);
        let bytes = match self.segments.read(segment) {
            Ok(bytes) => bytes,
            Err(error) => {
                report.damaged(format!("{}: {error}", path.display()));
                self.last_commit = None;
                return;
            }
        };
        let is_sealed = self.sealed.is_none_or(|sealed| segment <= sealed.segment);
        let found = match scan(&bytes, segment, Tail::Strict) {
            // What is not sealed is judged as a start would judge it.
            Err(Damage::Middle { .. }) if !is_sealed => scan(&bytes, segment, Tail::Loose),
            found => found,
        };
        match found {
            Ok(found) => {
                if self.sealed.is_some() && is_sealed && found.tail_is_dirty {
                    report.damaged(format!("{}: bad bytes from {} on", path.display(), found.end));
                }
                self.commits(&found, report);
            }
            Err(damage) => {
                report.damaged(format!("{}: {damage}", path.display()));
                self.last_commit = None;
            }
        }
    }

    fn commits(&mut self, found: &Scan<'_>, report: &mut Report) {
        let path = self.segments.path_of(found.header.segment);
        for commit in &found.commits {
            let number = commit.head.commit;
            if let Some(last) = self.last_commit.filter(|last| last + 1 != number) {
                let path = path.display();
                report.damaged(format!("{path}: commit {number} follows on commit {last}"));
            }
            self.last_commit = Some(number);
            let is_unsealed = number > self.sealed.unwrap_or_default().commit;
            report.unsealed_commits += u64::from(is_unsealed);
            self.unsealed.has_commits |= is_unsealed;
            let mut count = 0;
            for bytes in commit.records() {
                count += 1;
                match record::decode(bytes) {
                    Ok(record) if is_unsealed => self.unsealed.add(record),
                    Ok(_) => {}
                    Err(error) => {
                        report.damaged(format!("{}, commit {number}: {error}", path.display()));
                    }
                }
            }
            if count != commit.record_count() {
                report.damaged(format!("{}: commit {number} is not whole", path.display()));
            }
        }
    }
}

/// Asks what a start asks, and changes nothing.
fn would_start(
    segments: &SegmentDirectory,
    listed: &[u64],
    (sealed, tail): (SealedMark, Tail),
    report: &mut Report,
) {
    let mut recovery = Recovery::new(listed, sealed, tail);
    let mut answer = None;
    loop {
        match recovery.next(answer.take()) {
            Ok(RecoveryStep::Read { segment }) => match segments.read(segment) {
                Ok(bytes) => answer = Some(bytes),
                // That it cannot be read was told.
                Err(_) => return,
            },
            Ok(_) => return,
            Err(damage) => {
                let path = segments.path_of(damage.segment());
                let text = format!("{}: {damage}", path.display());
                if !report.damaged.contains(&text) {
                    report.damaged(text);
                }
                return;
            }
        }
    }
}
