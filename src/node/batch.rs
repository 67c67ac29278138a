//! Batches: what one turn says to one conversation, encoded once.
//!
//! A batch is one buffer cut into segments, each with an audience. A member who gets all of it holds one
//! reference; another gets the runs of segments that are meant for it. The copies that only a sender's own
//! sockets get lie behind all others, so that they do not cut up what everybody else is sent. Inside a
//! core a batch is shared by `Rc`; between cores by `Arc`, counted once per core.

use std::rc::Rc;
use std::sync::Arc;

use crate::model::{Seq, UserId, Version};

/// Whom a segment is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    All,
    AllBut(UserId),
    /// Of all but this user, the sockets that came in before this entrance.
    Earlier {
        than: u64,
        but: UserId,
    },
    /// A sender's v2 sockets: their copy carries the `client_msg_id`.
    OnlyV2Of(UserId),
    AllButV2Of(UserId),
    V1,
    V2,
}

impl Audience {
    /// Only a sender's own sockets.
    fn is_own(&self) -> bool {
        matches!(self, Audience::OnlyV2Of(_))
    }

    pub fn includes(&self, viewer: Viewer<'_>) -> bool {
        let Viewer { user, version, entrance } = viewer;
        match self {
            Audience::All => true,
            Audience::AllBut(other) => user != other,
            Audience::Earlier { than, but } => entrance < *than && user != but,
            Audience::OnlyV2Of(sender) => version == Version::V2 && user == sender,
            Audience::AllButV2Of(sender) => version == Version::V1 || user != sender,
            Audience::V1 => version == Version::V1,
            Audience::V2 => version == Version::V2,
        }
    }
}

/// A socket, as far as it decides what of a batch is for it.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'a> {
    pub user: &'a UserId,
    pub version: Version,
    /// Its place in the order in which sockets came in.
    pub entrance: u64,
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
    /// In `bytes`; in `own` for a sender's copies, until the batch is taken.
    start: usize,
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
    /// What is for a sender's own sockets alone, until the batch is taken.
    own: Vec<u8>,
    segments: Vec<Segment>,
    through: Seq,
}

impl Batch {
    /// Appends the frame of a signal, which `encode` writes.
    pub fn push(&mut self, audience: Audience, keep: Keep, encode: impl FnOnce(&mut Vec<u8>)) {
        self.add(audience, keep, Frames { events: 0, signals: 1 }, encode);
    }

    /// Appends the frame of an event, which is never left out.
    pub fn push_event(&mut self, audience: Audience, encode: impl FnOnce(&mut Vec<u8>)) {
        self.add(audience, Keep::Always, Frames { events: 1, signals: 0 }, encode);
    }

    fn add(
        &mut self,
        audience: Audience,
        keep: Keep,
        frames: Frames,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let out = if audience.is_own() { &mut self.own } else { &mut self.bytes };
        let start = out.len();
        encode(out);
        let end = out.len();
        match self.segments.last_mut() {
            Some(last) if last.audience == audience && last.is_like(keep, frames) => {
                last.end = end;
                last.frames += frames;
            }
            _ => self.segments.push(Segment { start, end, audience, keep, frames }),
        }
    }

    /// Takes what there is; who gets it has every event up to `through`.
    pub fn take(&mut self, through: Seq) -> Batch {
        let mut batch = Batch { through, ..std::mem::take(self) };
        let shared_bytes = batch.bytes.len();
        batch.bytes.append(&mut batch.own);
        for segment in batch.segments.iter_mut().filter(|segment| segment.audience.is_own()) {
            segment.start += shared_bytes;
            segment.end += shared_bytes;
        }
        batch
    }

    pub fn through(&self) -> Seq {
        self.through
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The runs of bytes meant for one socket, as (start, end); neighbours are joined. Says what is
    /// in them.
    pub fn runs_for(
        &self,
        viewer: Viewer<'_>,
        level: Level,
        mut run: impl FnMut(usize, usize),
    ) -> Frames {
        let mut frames = Frames::default();
        let mut open: Option<(usize, usize)> = None;
        for segment in &self.segments {
            if !segment.is_for(level) || !segment.audience.includes(viewer) {
                continue;
            }
            frames += segment.frames;
            open = match open {
                Some((from, to)) if to == segment.start => Some((from, segment.end)),
                before => {
                    if let Some((from, to)) = before {
                        run(from, to);
                    }
                    Some((segment.start, segment.end))
                }
            };
        }
        if let Some((from, to)) = open {
            run(from, to);
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

    fn viewer(user: &UserId, version: Version) -> Viewer<'_> {
        Viewer { user, version, entrance: 1 }
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

    #[test]
    fn own_copies_do_not_cut_up_what_the_others_get() {
        let mut batch = Batch::default();
        for sender in 1..=3 {
            let own = Audience::OnlyV2Of(user(sender));
            batch.push_event(own, |out| out.extend(format!("[own {sender}]").bytes()));
            let others = Audience::AllButV2Of(user(sender));
            batch.push_event(others, |out| out.extend(format!("[{sender}]").bytes()));
        }
        let batch = batch.take(Seq(3));
        let check = |number, version, expected: &[&str]| {
            assert_eq!(view(&batch, number, version, Level::Level), expected);
        };
        check(9, Version::V2, &["[1][2][3]"]);
        check(1, Version::V1, &["[1][2][3]"]);
        check(2, Version::V2, &["[1]", "[own 2]", "[3]"]);
    }

    fn view(batch: &Batch, number: u64, version: Version, level: Level) -> Vec<String> {
        let mut runs = Vec::new();
        batch.runs_for(viewer(&user(number), version), level, |from, to| {
            runs.push(String::from_utf8(batch.bytes()[from..to].to_vec()).unwrap());
        });
        runs
    }

    #[test]
    fn each_socket_s_frames_are_counted() {
        let mut batch = sample();
        batch.push_event(Audience::All, |out| out.extend(b"e"));
        batch.push_event(Audience::OnlyV2Of(user(2)), |out| out.extend(b"f"));
        let batch = batch.take(Seq(0));
        let check = |number, version, level, events, signals| {
            let frames = batch.runs_for(viewer(&user(number), version), level, |_, _| {});
            assert_eq!(frames, Frames { events, signals }, "{number} {version:?}");
        };
        check(1, Version::V1, Level::Level, 1, 3);
        check(2, Version::V2, Level::Level, 2, 4);
        check(3, Version::V2, Level::Behind, 1, 3);
    }

    #[test]
    fn each_socket_sees_its_own_runs() {
        let batch = sample().take(Seq(0));
        let check = |number, version, level, expected: &[&str]| {
            assert_eq!(view(&batch, number, version, level), expected, "{number} {version:?}");
        };
        check(1, Version::V1, Level::Level, &["aa", "restz"]);
        check(2, Version::V2, Level::Level, &["aat", "own", "z"]);
        check(2, Version::V1, Level::Level, &["aatrestz"]);
        check(3, Version::V2, Level::Level, &["aatrestz"]);
        check(3, Version::V2, Level::Behind, &["aa", "restz"]);
    }

    #[test]
    fn who_came_in_later_knows_already() {
        let mut batch = Batch::default();
        for than in 3..=5 {
            let audience = Audience::Earlier { than, but: user(than) };
            batch.push(audience, Keep::Always, |out| out.extend(than.to_string().bytes()));
        }
        let batch = batch.take(Seq(0));
        let check = |number, entrance, expected: &str| {
            let (user, mut seen) = (user(number), String::new());
            let viewer = Viewer { user: &user, version: Version::V1, entrance };
            batch.runs_for(viewer, Level::Level, |from, to| {
                seen += str::from_utf8(&batch.bytes()[from..to]).unwrap();
            });
            assert_eq!(seen, expected, "{number} at {entrance}");
        };
        check(9, 2, "345");
        check(4, 2, "35");
        check(9, 3, "45");
        check(9, 5, "");
    }

    #[test]
    fn who_follows_gets_what_is_no_event() {
        let mut batch = sample();
        batch.push_event(Audience::All, |out| out.extend(b"event"));
        batch.push(Audience::All, Keep::Always, |out| out.extend(b"read"));
        let batch = batch.take(Seq(0));
        assert_eq!(view(&batch, 3, Version::V1, Level::Following), ["aa", "restz", "read"]);
        assert_eq!(view(&batch, 3, Version::V1, Level::Level), ["aatrestzeventread"]);
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
