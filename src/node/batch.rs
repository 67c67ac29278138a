//! Batches: what one turn says to one conversation, encoded once.
//!
//! A batch is one contiguous buffer cut into segments, each with an audience. A member who gets all
//! of it holds one reference; another gets the runs of segments that are meant for it. Inside a core
//! a batch is shared by `Rc`; between cores by `Arc`, counted once per core.

use std::rc::Rc;
use std::sync::Arc;

use crate::model::{Seq, UserId, Version};

/// Whom a segment is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    All,
    AllBut(UserId),
    /// A sender's v2 sockets: their copy carries the `client_msg_id`.
    OnlyV2Of(UserId),
    AllButV2Of(UserId),
    V1,
    V2,
}

impl Audience {
    pub fn includes(&self, user: &UserId, version: Version) -> bool {
        match self {
            Audience::All => true,
            Audience::AllBut(other) => user != other,
            Audience::OnlyV2Of(sender) => version == Version::V2 && user == sender,
            Audience::AllButV2Of(sender) => version == Version::V1 || user != sender,
            Audience::V1 => version == Version::V1,
            Audience::V2 => version == Version::V2,
        }
    }
}

/// Whether a segment may be left out for a socket that falls behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Always,
    /// Typing.
    IfLevel,
}

/// How many frames there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Frames {
    pub events: u32,
    pub signals: u32,
}

impl std::ops::AddAssign for Frames {
    fn add_assign(&mut self, other: Frames) {
        self.events += other.events;
        self.signals += other.signals;
    }
}

#[derive(Debug)]
struct Segment {
    end: usize,
    audience: Audience,
    keep: Keep,
    frames: Frames,
}

impl Segment {
    /// The next frame may be part of it.
    fn is_like(&self, keep: Keep, next: Frames) -> bool {
        self.keep == keep && (self.frames.events > 0) == (next.events > 0)
    }

    fn is_for(&self, level: Level) -> bool {
        match level {
            Level::Level => true,
            Level::Behind => self.keep == Keep::Always,
            Level::Following => self.keep == Keep::Always && self.frames.events == 0,
        }
    }
}

/// Whole frames for one conversation, in the order in which they happened.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    segments: Vec<Segment>,
    through: Seq,
}

impl Batch {
    /// Appends the frame of a signal, which `encode` writes.
    pub fn push(&mut self, audience: Audience, keep: Keep, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.ends_here(audience, keep, Frames { events: 0, signals: 1 });
    }

    /// Appends the frame of an event, which is never left out.
    pub fn push_event(&mut self, audience: Audience, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.ends_here(audience, Keep::Always, Frames { events: 1, signals: 0 });
    }

    fn ends_here(&mut self, audience: Audience, keep: Keep, frames: Frames) {
        let end = self.bytes.len();
        match self.segments.last_mut() {
            Some(last) if last.audience == audience && last.is_like(keep, frames) => {
                last.end = end;
                last.frames += frames;
            }
            _ => self.segments.push(Segment { end, audience, keep, frames }),
        }
    }

    /// Takes what there is; who gets it has every event up to `through`.
    pub fn take(&mut self, through: Seq) -> Batch {
        Batch { through, ..std::mem::take(self) }
    }

    pub fn through(&self) -> Seq {
        self.through
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The runs of bytes meant for one socket, as (start, end); neighbours are joined. Says what is
    /// in them.
    pub fn runs_for(
        &self,
        user: &UserId,
        version: Version,
        level: Level,
        mut run: impl FnMut(usize, usize),
    ) -> Frames {
        let mut frames = Frames::default();
        let mut start = 0;
        let mut open: Option<usize> = None;
        for segment in &self.segments {
            let wanted = segment.is_for(level) && segment.audience.includes(user, version);
            if wanted {
                frames += segment.frames;
            }
            match (wanted, open) {
                (true, None) => open = Some(start),
                (false, Some(from)) => {
                    run(from, start);
                    open = None;
                }
                _ => {}
            }
            start = segment.end;
        }
        if let Some(from) = open {
            run(from, start);
        }
        frames
    }

    /// Everyone who is level gets every byte.
    pub fn is_for_all(&self) -> bool {
        self.segments.iter().all(|segment| segment.audience == Audience::All)
    }
}

/// Whether a socket keeps up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Level,
    Behind,
    /// It follows the log, and whoever feeds it does not know so yet: events come from there, but what is
    /// none would come from nowhere.
    Following,
}

/// A finished batch, held by the outboxes of one core.
#[derive(Debug, Clone)]
pub struct SharedBatch(Rc<Held>);

#[derive(Debug)]
enum Held {
    Here(Batch),
    Elsewhere(Arc<Batch>),
}

impl SharedBatch {
    pub fn local(batch: Batch) -> SharedBatch {
        SharedBatch(Rc::new(Held::Here(batch)))
    }

    pub fn remote(batch: Arc<Batch>) -> SharedBatch {
        SharedBatch(Rc::new(Held::Elsewhere(batch)))
    }

    pub fn batch(&self) -> &Batch {
        match &*self.0 {
            Held::Here(batch) => batch,
            Held::Elsewhere(batch) => batch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u64) -> UserId {
        UserId::from_number(number).unwrap()
    }

    fn sample() -> Batch {
        let mut batch = Batch::default();
        batch.push(Audience::All, Keep::Always, |out| out.extend(b"aa"));
        batch.push(Audience::AllBut(user(1)), Keep::IfLevel, |out| out.extend(b"t"));
        batch.push(Audience::OnlyV2Of(user(2)), Keep::Always, |out| out.extend(b"own"));
        batch.push(Audience::AllButV2Of(user(2)), Keep::Always, |out| out.extend(b"rest"));
        batch.push(Audience::All, Keep::Always, |out| out.extend(b"z"));
        batch
    }

    fn view(batch: &Batch, number: u64, version: Version, level: Level) -> Vec<String> {
        let mut runs = Vec::new();
        batch.runs_for(&user(number), version, level, |from, to| {
            runs.push(String::from_utf8(batch.bytes()[from..to].to_vec()).unwrap());
        });
        runs
    }

    #[test]
    fn each_socket_s_frames_are_counted() {
        let mut batch = sample();
        batch.push_event(Audience::All, |out| out.extend(b"e"));
        batch.push_event(Audience::OnlyV2Of(user(2)), |out| out.extend(b"f"));
        let check = |number, version, level, events, signals| {
            let frames = batch.runs_for(&user(number), version, level, |_, _| {});
            assert_eq!(frames, Frames { events, signals }, "{number} {version:?}");
        };
        check(1, Version::V1, Level::Level, 1, 3);
        check(2, Version::V2, Level::Level, 2, 4);
        check(3, Version::V2, Level::Behind, 1, 3);
    }

    #[test]
    fn each_socket_sees_its_own_runs() {
        let batch = sample();
        let check = |number, version, level, expected: &[&str]| {
            assert_eq!(view(&batch, number, version, level), expected, "{number} {version:?}");
        };
        check(1, Version::V1, Level::Level, &["aa", "restz"]);
        check(2, Version::V2, Level::Level, &["aatown", "z"]);
        check(2, Version::V1, Level::Level, &["aat", "restz"]);
        check(3, Version::V2, Level::Level, &["aat", "restz"]);
        check(3, Version::V2, Level::Behind, &["aa", "restz"]);
    }

    #[test]
    fn who_follows_gets_what_is_no_event() {
        let mut batch = sample();
        batch.push_event(Audience::All, |out| out.extend(b"event"));
        batch.push(Audience::All, Keep::Always, |out| out.extend(b"read"));
        assert_eq!(view(&batch, 3, Version::V1, Level::Following), ["aa", "restz", "read"]);
        assert_eq!(view(&batch, 3, Version::V1, Level::Level), ["aat", "restzeventread"]);
    }

    #[test]
    fn neighbours_for_the_same_audience_are_one_segment() {
        let mut batch = Batch::default();
        for _ in 0..3 {
            batch.push(Audience::All, Keep::Always, |out| out.extend(b"x"));
        }
        assert_eq!(batch.segments.len(), 1);
        assert!(batch.is_for_all());
        assert!(!sample().is_for_all());
    }
}
