//! An import on its way in: lines are checked one by one, put into the order of their times, numbered, and
//! written to a file of their own, which is whole and synced before anything in the log speaks of it.
//!
//! ```text
//! raw file: each line's record as it came → sorted by time → import-N, built like a segment of the journal
//! ```
//! Memory: 12 bytes for each message, 16 for each edit, reaction and deletion, 8 for each deleted one.
//!
//! It knows nothing of the rest of the store: whether the conversation exists and whether an id is
//! taken is looked at afterwards.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::limits::{IMPORT_ID_MAX, REACTION_KINDS_MAX};
use crate::model::{
    ConversationId, DirectoryChange, Event, EventBody, Import, Mark, MessageBody, MessageId,
    Profile, ReactionAction, Role, Seq, UserId, Wall,
};
use crate::node::journal::frame::{CommitHead, FrameBuilder, SegmentHeader};
use crate::node::journal::record;
use crate::node::ports::Record;

use super::error::{StoreError, ValueError};
use super::export::{Line, LineMessage};
use super::files;
use super::import::file_of;
use super::life;

const CHUNK_BYTES: usize = 1 << 20;
/// What is stored in the place of a deleted message's text.
const DELETED: &str = "Message deleted";

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The line that was taken last does not hold.
    #[error("{0}")]
    Line(&'static str),
    #[error("there is no room on the disk")]
    NoSpace,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<io::Error> for ImportError {
    fn from(source: io::Error) -> ImportError {
        match source.kind() {
            io::ErrorKind::StorageFull => ImportError::NoSpace,
            _ => ImportError::Store(StoreError::Io { what: "writing an import", source }),
        }
    }
}

impl From<ValueError> for ImportError {
    fn from(error: ValueError) -> ImportError {
        ImportError::Store(error.into())
    }
}

type Taken = Result<(), ImportError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Members,
    Messages,
    Marks,
}

/// The message whose lines are coming in.
struct Current {
    id: MessageId,
    created_at: Wall,
    /// The last thing that happened to it so far.
    newest: Wall,
    has_content: bool,
    is_deleted: bool,
    reactions: HashSet<(String, UserId)>,
    kinds: HashSet<String>,
}

pub struct Staging {
    conversation: ConversationId,
    number: u64,
    path: PathBuf,
    raw: Raw,
    section: Section,
    current: Option<Current>,
    last_at: Wall,
    ids: Vec<u64>,
    /// The line of each id.
    lines: Vec<u32>,
    line: u32,
    /// Time and place of what happened to messages.
    later: Vec<(u64, u64)>,
    deleted: Vec<u64>,
}

/// A file that is ready, and what its record will say.
pub struct Staged {
    pub import: Import,
    ids: Vec<u64>,
    lines: Vec<u32>,
    path: PathBuf,
    file: Removed,
}

/// A file that goes with its owner.
struct Removed(Option<PathBuf>);

impl Drop for Removed {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What stays is removed at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

struct Raw {
    file: BufWriter<File>,
    end: u64,
    _path: Removed,
}

impl Raw {
    fn push(&mut self, record: &Record) -> Result<u64, ImportError> {
        let bytes = record::to_bytes(record).map_err(ValueError::from)?;
        let at = self.end;
        self.file.write_all(&(bytes.len() as u32).to_le_bytes())?;
        self.file.write_all(&bytes)?;
        self.end += 4 + bytes.len() as u64;
        Ok(at)
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

impl Staging {
    pub(super) fn begin(
        imports: &Path,
        conversation: ConversationId,
    ) -> Result<Staging, ImportError> {
        files::create_directory(imports)?;
        let number = life::random_u64().map_err(io::Error::other)?;
        let path = file_of(imports, number);
        let raw_path = path.with_extension("raw");
        let file = BufWriter::new(create(&raw_path)?);
        Ok(Staging {
            conversation,
            number,
            path,
            raw: Raw { file, end: 0, _path: Removed(Some(raw_path)) },
            section: Section::Members,
            current: None,
            last_at: Wall(0),
            ids: Vec::new(),
            lines: Vec::new(),
            line: 0,
            later: Vec::new(),
            deleted: Vec::new(),
        })
    }

    /// Bytes that were staged so far.
    pub fn bytes(&self) -> u64 {
        self.raw.end
    }

    pub fn messages(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Takes one line; `number` is told when its id turns out to be taken.
    pub fn take(&mut self, number: u32, line: Line) -> Taken {
        self.line = number;
        let section = match &line {
            Line::Member { .. } => Section::Members,
            Line::Mark { .. } => Section::Marks,
            _ => Section::Messages,
        };
        if section < self.section {
            return Err(ImportError::Line(
                "members come first, then messages with what happened to them, then marks",
            ));
        }
        if section > Section::Messages || matches!(line, Line::Message(_)) {
            self.end_message()?;
        }
        self.section = section;
        match line {
            Line::Member { user, role, profile } => self.member(user, role, profile),
            Line::Message(message) => self.message(*message),
            Line::Edit { message, at, by, content } => {
                self.about(message, at, EventBody::Edit { message, by, content })
            }
            Line::Reaction { message, at, user, emoji } => {
                self.reaction(&emoji, &user, message)?;
                let action = ReactionAction::Added;
                self.about(message, at, EventBody::Reaction { message, user, emoji, action })
            }
            Line::Deletion { message, at, by } => self.deletion(message, at, by),
            Line::Mark { user, message, at } => self.mark(user, message, at),
        }
    }

    fn member(&mut self, user: UserId, role: Role, profile: Option<Profile>) -> Taken {
        let conversation = self.conversation.clone();
        if let Some(profile) = profile {
            let change = DirectoryChange::ProfileSet { profile };
            self.raw.push(&Record::Directory(change))?;
        }
        let change = DirectoryChange::MemberSet { conversation, user, role };
        self.raw.push(&Record::Directory(change))?;
        Ok(())
    }

    fn deletion(&mut self, message: MessageId, at: Wall, by: UserId) -> Taken {
        self.about(message, at, EventBody::Delete { message, by })?;
        if let Some(current) = &mut self.current {
            current.is_deleted = true;
        }
        self.deleted.push(message.0);
        Ok(())
    }

    fn check_place(&self, LineMessage { id, at, parent, .. }: &LineMessage) -> Taken {
        if id.0 == 0 || id.0 > IMPORT_ID_MAX {
            return Err(ImportError::Line("a message id is 1 to 2^52"));
        }
        if self.ids.last().is_some_and(|&last| last >= id.0) {
            return Err(ImportError::Line("the ids of messages rise"));
        }
        if *at < self.last_at {
            return Err(ImportError::Line("the times of messages never go back"));
        }
        if parent.is_some_and(|parent| self.ids.binary_search(&parent.0).is_err()) {
            return Err(ImportError::Line("the parent is no message before this one"));
        }
        Ok(())
    }

    fn message(&mut self, message: LineMessage) -> Taken {
        self.check_place(&message)?;
        let LineMessage { id, at, sender, parent, content, edited_at } = message;
        let by = sender.id.clone();
        let body = MessageBody {
            id,
            ordinal: self.ids.len() as u64,
            sender: sender.into(),
            content: content.clone().unwrap_or_else(|| DELETED.to_owned()),
            parent,
            client_msg_id: None,
        };
        self.push(at, EventBody::Message(body))?;
        self.last_at = at;
        self.ids.push(id.0);
        self.lines.push(self.line);
        self.current = Some(Current {
            id,
            created_at: at,
            newest: at,
            has_content: content.is_some(),
            is_deleted: false,
            reactions: HashSet::new(),
            kinds: HashSet::new(),
        });
        if let Some(edited_at) = edited_at {
            let content = content.unwrap_or_else(|| DELETED.to_owned());
            self.about(id, edited_at, EventBody::Edit { message: id, by, content })?;
        }
        Ok(())
    }

    fn end_message(&mut self) -> Taken {
        match self.current.take() {
            Some(current) if !current.has_content && !current.is_deleted => {
                Err(ImportError::Line("the message before has no content and is not deleted"))
            }
            _ => Ok(()),
        }
    }

    fn push(&mut self, at: Wall, body: EventBody) -> Result<u64, ImportError> {
        let event = Arc::new(Event { seq: Seq(0), at, body });
        self.raw.push(&Record::Event { conversation: self.conversation.clone(), event })
    }

    /// Something that happened to the message of the lines just before.
    fn about(&mut self, message: MessageId, at: Wall, body: EventBody) -> Taken {
        let Some(current) = self.current.as_mut().filter(|current| current.id == message) else {
            return Err(ImportError::Line("this does not follow its message"));
        };
        if current.is_deleted {
            return Err(ImportError::Line("nothing happens to a message after its deletion"));
        }
        if at < current.created_at {
            return Err(ImportError::Line("nothing happens to a message before it is there"));
        }
        if matches!(body, EventBody::Delete { .. }) && at < current.newest {
            return Err(ImportError::Line("nothing happens to a message after its deletion"));
        }
        current.newest = current.newest.max(at);
        let place = self.push(at, body)?;
        self.later.push((at.0, place));
        Ok(())
    }

    fn reaction(&mut self, emoji: &str, user: &UserId, message: MessageId) -> Taken {
        let Some(current) = self.current.as_mut().filter(|current| current.id == message) else {
            return Err(ImportError::Line("this does not follow its message"));
        };
        if !current.kinds.contains(emoji) {
            if current.kinds.len() >= REACTION_KINDS_MAX {
                return Err(ImportError::Line("a message has at most 50 kinds of reactions"));
            }
            current.kinds.insert(emoji.to_owned());
        }
        if !current.reactions.insert((emoji.to_owned(), user.clone())) {
            return Err(ImportError::Line("the user reacted so already"));
        }
        Ok(())
    }

    /// At a message that is there: the one itself, or the last before it.
    fn mark(&mut self, user: UserId, message: MessageId, at: Wall) -> Taken {
        let count = self.ids.partition_point(|&id| id <= message.0);
        let Some(ordinal) = count.checked_sub(1) else { return Ok(()) };
        let message = MessageId(self.ids[ordinal]);
        let mark = Mark { user, message, ordinal: ordinal as u64, at };
        self.raw.push(&Record::Mark { conversation: self.conversation.clone(), mark })?;
        Ok(())
    }

    /// All lines were taken: the file is written, synced and has its name when this returns.
    pub fn finish(mut self, created_at: Option<Wall>, now: Wall) -> Result<Staged, ImportError> {
        self.end_message()?;
        self.raw.file.flush()?;
        self.later.sort_unstable();
        let unnamed = self.path.with_extension("new");
        let file = Removed(Some(unnamed.clone()));
        let mut output = Output::new(create(&unnamed)?, self.number, now)?;
        self.events(&mut output)?;
        self.rest(&mut output)?;
        let events = output.seq;
        output.finish()?;
        fs::rename(&unnamed, &self.path)?;
        drop(file);
        let file = Removed(Some(self.path.clone()));
        if let Some(directory) = self.path.parent() {
            files::sync_directory(directory)?;
        }
        let import = Import {
            conversation: self.conversation,
            at: created_at.unwrap_or(now),
            number: self.number,
            events,
            messages: self.ids.len() as u64,
        };
        Ok(Staged { import, ids: self.ids, lines: self.lines, path: self.path, file })
    }

    /// Messages in their order, and what happened to them where its time is.
    fn events(&mut self, output: &mut Output) -> Taken {
        let mut later = self.later.iter().peekable();
        let file = self.raw.file.get_ref();
        for record in Records::of(file)? {
            let Record::Event { event, .. } = record? else { continue };
            if !matches!(event.body, EventBody::Message(_)) {
                continue;
            }
            while let Some((_, place)) = later.next_if(|(at, _)| *at < event.at.0) {
                output.event(&self.conversation, &self.deleted, &*at_place(file, *place)?)?;
            }
            output.event(&self.conversation, &self.deleted, &event)?;
        }
        for (_, place) in later {
            output.event(&self.conversation, &self.deleted, &*at_place(file, *place)?)?;
        }
        Ok(())
    }

    fn rest(&mut self, output: &mut Output) -> Taken {
        for record in Records::of(self.raw.file.get_ref())? {
            match record? {
                Record::Event { .. } => {}
                record => output.push(&record)?,
            }
        }
        Ok(())
    }
}

fn at_place(file: &File, place: u64) -> Result<Arc<Event>, ImportError> {
    let mut length = [0; 4];
    file.read_exact_at(&mut length, place)?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    file.read_exact_at(&mut bytes, place + 4)?;
    match record::decode(&bytes).map_err(ValueError::from)? {
        Record::Event { event, .. } => Ok(event),
        _ => Err(ValueError::Content.into()),
    }
}

/// The records of a raw file, from its start.
struct Records<'a>(BufReader<&'a File>);

impl<'a> Records<'a> {
    fn of(mut file: &'a File) -> io::Result<Records<'a>> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Records(BufReader::with_capacity(256 << 10, file)))
    }

    fn read(&mut self) -> Result<Option<Record>, ImportError> {
        let mut length = [0; 4];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        self.0.read_exact(&mut bytes)?;
        Ok(Some(record::decode(&bytes).map_err(ValueError::from)?))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The staged file, written like a segment of the journal.
struct Output {
    file: BufWriter<File>,
    header: SegmentHeader,
    frame: FrameBuilder,
    commit: u64,
    seq: u64,
    now: Wall,
}

impl Output {
    fn new(file: File, number: u64, now: Wall) -> Result<Output, ImportError> {
        let salt = life::random_u64().map_err(io::Error::other)?;
        let header = SegmentHeader { segment: number, epoch: 0, salt };
        let mut file = BufWriter::new(file);
        file.write_all(&header.to_bytes())?;
        Ok(Output { file, header, frame: FrameBuilder::default(), commit: 1, seq: 0, now })
    }

    fn event(&mut self, of: &ConversationId, deleted: &[u64], event: &Event) -> Taken {
        self.seq += 1;
        let mut event = Event { seq: Seq(self.seq), ..event.clone() };
        match &mut event.body {
            EventBody::Message(MessageBody { id, content, .. })
            | EventBody::Edit { message: id, content, .. }
                if deleted.binary_search(&id.0).is_ok() =>
            {
                *content = DELETED.to_owned();
            }
            _ => {}
        }
        self.push(&Record::Event { conversation: of.clone(), event: Arc::new(event) })
    }

    fn push(&mut self, record: &Record) -> Taken {
        self.frame.push(&record.into()).map_err(ValueError::from)?;
        if self.frame.len_bytes() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Taken {
        if self.frame.records() == 0 {
            return Ok(());
        }
        let SegmentHeader { segment, salt, .. } = self.header;
        let head = CommitHead { segment, commit: self.commit, leased_to: 0, at: self.now };
        let frame = std::mem::take(&mut self.frame).finish(&head, salt);
        self.file.write_all(&frame)?;
        self.commit += 1;
        Ok(())
    }

    fn finish(mut self) -> Taken {
        self.flush()?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(())
    }
}

impl Staged {
    /// Rising.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// The line that brought an id, by its place.
    pub fn line_of(&self, at: usize) -> u32 {
        self.lines.get(at).copied().unwrap_or_default()
    }

    /// The record is about to be written: the file stays, whatever becomes of us.
    pub fn keep(&mut self) {
        self.file.0 = None;
    }

    /// The record was refused: the file goes after all.
    pub fn discard(mut self) {
        self.file.0 = Some(std::mem::take(&mut self.path));
    }
}
