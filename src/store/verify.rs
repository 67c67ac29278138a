//! Looks through a whole store that nobody uses: every value's checksum, every page's records, whether
//! each conversation's seqs are 1, 2, 3 … up to its header (or from where it is not gone on purpose), and whether the journal's commits form one
//! chain. It repairs nothing, and reports everything that it finds.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::{ConversationId, EventBody, Header, Seq};
use crate::node::journal::record;
use crate::node::journal::{SealedMark, Tail, scan};
use crate::node::ports::Record;

use super::error::{OpenError, StoreError, ValueError};
use super::files::SegmentDirectory;
use super::keys::{Key, KeyReader, Kind};
use super::life::{self, Existing, Lock};
use super::open::Place;
use super::page;
use super::pages::{Pages, guarded};
use super::values::{self, ValueReader};

const CACHE_BYTES: u64 = 16 << 20;

/// Events that ought to be in pages and are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub conversation: ConversationId,
    pub from: Seq,
    pub to: Seq,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub conversations: u64,
    pub events: u64,
    pub messages: u64,
    pub pages: u64,
    pub values: u64,
    pub segments: u64,
    /// Commits that are in the journal only: the next start builds their pages.
    pub unsealed_commits: u64,
    pub missing: Vec<Missing>,
    /// Each thing that does not hold, as a sentence.
    pub damaged: Vec<String>,
}

impl Report {
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.damaged.is_empty()
    }
}

/// Checks the store in `directory`, which no other process may use meanwhile.
pub fn verify(directory: &Path) -> Result<Report, OpenError> {
    let format = directory.join("format");
    if !format.try_exists().map_err(OpenError::io("looking at", &format))? {
        return Err(OpenError::NotAStore { path: directory.to_owned() });
    }
    let _lock = Lock::take(directory)?;
    life::check_format(directory)?;
    let place = Place::of(directory);
    if place.existing()? == Existing::Nothing {
        return Ok(Report::default());
    }
    let pages = Pages::open(&place.pages, CACHE_BYTES)?;
    let mut check = Check {
        pages: &pages,
        report: Report::default(),
        headers: BTreeMap::new(),
        gone: BTreeMap::new(),
    };
    if let Err(error) = guarded(|| check.tree()) {
        check.report.damaged.push(format!("the pages cannot be read to their end: {error}"));
    }
    let sealed = match pages.sealed() {
        Ok(sealed) => sealed,
        Err(error) => {
            check.report.damaged.push(format!("the mark of what is sealed: {error}"));
            SealedMark::default()
        }
    };
    check.journal(&SegmentDirectory::new(place.journal), sealed)?;
    Ok(check.report)
}

/// The run of one conversation's pages.
struct Run {
    conversation: ConversationId,
    next: Seq,
}

struct Check<'a> {
    pages: &'a Pages,
    report: Report,
    headers: BTreeMap<ConversationId, Header>,
    /// Up to where conversations are gone on purpose.
    gone: BTreeMap<ConversationId, Seq>,
}

impl Check<'_> {
    /// What is gone and headers come before pages in the tree, so both ends of each run are known when it
    /// is read.
    fn tree(&mut self) -> Result<(), StoreError> {
        let mut run: Option<Run> = None;
        for pair in self.pages.all() {
            let (key, value) = pair?;
            self.report.values += 1;
            if let Err(error) = self.pair(&key, &value, &mut run) {
                let what = what_is(&key);
                self.report.damaged.push(format!("{what}: {error}"));
            }
        }
        self.end_of(run);
        for (conversation, header) in std::mem::take(&mut self.headers) {
            let first = self.first_of(&conversation);
            self.missing(conversation, first, header.last_seq);
        }
        Ok(())
    }

    fn pair(&mut self, key: &[u8], value: &[u8], run: &mut Option<Run>) -> Result<(), StoreError> {
        let reader = ValueReader::new(value)?;
        match key.first() {
            Some(&kind) if kind == Kind::Gone as u8 => {
                let conversation = KeyReader::new(key, Kind::Gone)?.conversation()?;
                let through = values::read_gone(value)?.through.last_seq;
                self.gone.insert(conversation, through);
                Ok(())
            }
            Some(&kind) if kind == Kind::Header as u8 => {
                let conversation = KeyReader::new(key, Kind::Header)?.conversation()?;
                self.headers.insert(conversation, values::read_header(value)?);
                self.report.conversations += 1;
                Ok(())
            }
            Some(&kind) if kind == Kind::Page as u8 => self.page(key, value, run),
            Some(&kind) if kind == Kind::MessagePage as u8 => self.message_page(key, reader),
            Some(&kind) if kind == Kind::Edit as u8 => record_behind(reader, 4),
            Some(&kind) if kind == Kind::Mark as u8 => record_behind(reader, 8),
            Some(&kind) if kind == Kind::Deletion as u8 || kind == Kind::Profile as u8 => {
                record_behind(reader, 0)
            }
            Some(_) => Ok(()),
            None => Err(ValueError::Key.into()),
        }
    }

    fn page(&mut self, key: &[u8], value: &[u8], run: &mut Option<Run>) -> Result<(), StoreError> {
        self.report.pages += 1;
        let mut reader = KeyReader::new(key, Kind::Page)?;
        let (conversation, first) = (reader.conversation()?, Seq(reader.number()?));
        if run.as_ref().is_none_or(|run| run.conversation != conversation) {
            self.end_of(run.take());
        }
        let entries = page::read(value)?;
        let next = run.as_ref().map_or_else(|| self.first_of(&conversation), |run| run.next);
        if first > next {
            self.missing(conversation.clone(), next, Seq(first.0 - 1));
        }
        let after = Seq(first.0.saturating_add(entries.len() as u64));
        *run = Some(Run { conversation: conversation.clone(), next: after.max(next) });
        if entries.first().is_none_or(|entry| entry.seq != first) || first < next {
            return Err(ValueError::Content.into());
        }
        for entry in &entries {
            self.report.events += 1;
            match record::decode(entry.record).map_err(ValueError::from)? {
                Record::Event { conversation: of, event }
                    if of == conversation && event.seq == entry.seq =>
                {
                    let is_message = matches!(event.body, EventBody::Message(_));
                    self.report.messages += u64::from(is_message);
                }
                _ => return Err(ValueError::Content.into()),
            }
        }
        Ok(())
    }

    fn message_page(&self, key: &[u8], mut value: ValueReader<'_>) -> Result<(), StoreError> {
        let conversation = KeyReader::new(key, Kind::MessagePage)?.conversation()?;
        let page = Key::new(Kind::Page).conversation(&conversation).number(value.u64()?);
        match self.pages.get(&page)? {
            Some(_) => Ok(()),
            None => Err(ValueError::Content.into()),
        }
    }

    /// The first seq that a conversation must have.
    fn first_of(&self, conversation: &ConversationId) -> Seq {
        self.gone.get(conversation).map_or(Seq(1), |through| through.next())
    }

    fn end_of(&mut self, run: Option<Run>) {
        let Some(run) = run else { return };
        match self.headers.remove(&run.conversation) {
            Some(header) => self.missing(run.conversation, run.next, header.last_seq),
            None => {
                let Run { conversation, .. } = run;
                self.report.damaged.push(format!("conversation {conversation} has no header"));
            }
        }
    }

    fn missing(&mut self, conversation: ConversationId, from: Seq, to: Seq) {
        if from <= to {
            self.report.missing.push(Missing { conversation, from, to });
        }
    }

    fn journal(
        &mut self,
        segments: &SegmentDirectory,
        sealed: SealedMark,
    ) -> Result<(), OpenError> {
        let numbers = segments.list().map_err(OpenError::io("listing", segments.path()))?;
        let mut last_commit = None;
        for segment in numbers {
            self.report.segments += 1;
            let path = segments.path_of(segment);
            let bytes = segments.read(segment).map_err(OpenError::io("reading", &path))?;
            let scanned = match scan(&bytes, segment, Tail::Strict) {
                Ok(scanned) => scanned,
                Err(damage) => {
                    self.report.damaged.push(format!("{}: {damage}", path.display()));
                    last_commit = None;
                    continue;
                }
            };
            for commit in &scanned.commits {
                let number = commit.head.commit;
                if last_commit.is_some_and(|last| last + 1 != number) {
                    let text = format!("{}: commit {number} is out of turn", path.display());
                    self.report.damaged.push(text);
                }
                if commit.records().any(|bytes| record::decode(bytes).is_err()) {
                    let text = format!("{}: commit {number} cannot be read", path.display());
                    self.report.damaged.push(text);
                }
                last_commit = Some(number);
                self.report.unsealed_commits += u64::from(number > sealed.commit);
            }
        }
        Ok(())
    }
}

fn record_behind(mut reader: ValueReader<'_>, skip_bytes: usize) -> Result<(), StoreError> {
    reader.bytes(skip_bytes)?;
    record::decode(reader.rest()).map_err(ValueError::from)?;
    Ok(())
}

/// What a key stands for, as far as it can be told, without anything that somebody wrote.
fn what_is(key: &[u8]) -> String {
    let Some(&kind) = key.first() else { return "an empty key".to_owned() };
    let per_conversation = [
        Kind::Created,
        Kind::Header,
        Kind::Member,
        Kind::Page,
        Kind::MessagePage,
        Kind::Edit,
        Kind::Deletion,
        Kind::Reaction,
        Kind::ReplyCount,
        Kind::Reply,
        Kind::Mark,
        Kind::Gone,
        Kind::ToErase,
    ];
    let name = char::from(kind).escape_default();
    let known = per_conversation.into_iter().find(|known| *known as u8 == kind);
    let Some(kind) = known else { return format!("a value of kind {name}") };
    let read = KeyReader::new(key, kind)
        .and_then(|mut reader| Ok((reader.conversation()?, reader.number().ok())));
    match read {
        Ok((conversation, Some(number))) if kind == Kind::Page => {
            format!("page of conversation {conversation} from seq {number}")
        }
        Ok((conversation, _)) => format!("a value of kind {name} of conversation {conversation}"),
        Err(_) => format!("a value of kind {name}"),
    }
}
