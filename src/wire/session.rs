//! One socket's incoming bytes → messages and control frames (RFC 6455, server side).
//!
//! A frame that lies wholly in the input is unmasked and handed out where it is. Of any other frame
//! the bytes are taken at once: unmasked, checked, and kept in the session's own buffer. So the
//! caller's read buffer is always used up and one can serve all sockets of a core.
//!
//! ```text
//!          ┌────────── head complete ─────────┐
//!          ▼                                  │
//!   Payload (left bytes, mask turned) ──► Head (up to 13 bytes of it)
//!          │        payload complete          │
//!          └── close frame, broken rule ──────┴──► Over
//! ```
//! Invariants: what is found does not depend on how the bytes were cut. The buffer holds the message
//! so far, then the control frame that interrupts it; it grows with what arrived, never with what a
//! head announces, and an idle session has none. After a close or a violation nothing is decoded.

use std::ops::Range;

use fastwebsockets::{OpCode, unmask};

use super::close::PeerClose;
use super::frame::{CLIENT_HEAD_BYTES_MAX, ClientHead, Fin, is_control};
use super::utf8;
use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, Limits};
use crate::model::CloseReason;

/// The part of [`Limits`] that frames are held to; small, as each session has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    pub frame_bytes: u32,
    pub message_bytes: u32,
    /// Frames of one message; empty ones count.
    pub message_fragments: u32,
}

impl SessionLimits {
    pub fn of(limits: &Limits) -> SessionLimits {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        SessionLimits {
            frame_bytes: narrow(limits.frame_bytes),
            message_bytes: narrow(limits.message_bytes),
            message_fragments: narrow(limits.message_fragments),
        }
    }
}

/// What a call of [`Session::decode`] came to.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// How much of the input is used up; the next call gets the rest.
    pub consumed: usize,
    pub found: Found<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The input is used up.
    NeedMore,
    /// A whole message, valid UTF-8.
    Text(&'a mut [u8]),
    Binary(&'a mut [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// The peer closes: answer with [`super::close::close_echo`]. Nothing follows.
    Close(PeerClose),
    /// The peer broke a rule: close with this reason. Nothing follows.
    Violation(CloseReason),
}

/// The decoder of one socket.
pub struct Session {
    limits: SessionLimits,
    /// The message so far, then the control frame in progress.
    buffer: Vec<u8>,
    /// How much of the buffer is the message, and how much of that is whole characters.
    message_bytes: u32,
    checked_bytes: u32,
    /// Frames of the message in progress; 0: there is none.
    fragments: u32,
    begun: u32,
    /// Text or Binary, of the message in progress.
    kind: OpCode,
    spent: Spent,
    place: Place,
}

/// What the last call handed out of the buffer, to be released by the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spent {
    Nothing,
    Control,
    Everything,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Head { bytes: [u8; CLIENT_HEAD_BYTES_MAX], have: u8 },
    Payload(Payload),
    Over,
}

/// A frame whose head is read. `mask` is turned so that its first byte is for the next byte.
#[derive(Debug, Clone, Copy)]
struct Payload {
    opcode: OpCode,
    fin: Fin,
    mask: [u8; 4],
    left: u32,
}

const BETWEEN_FRAMES: Place = Place::Head { bytes: [0; CLIENT_HEAD_BYTES_MAX], have: 0 };

/// What one step found; places instead of references, so that the steps can go on.
enum Step {
    GoOn,
    NeedMore,
    /// A whole frame in the input.
    InPlace(OpCode, Range<usize>),
    /// The message in the buffer is complete.
    Message,
    /// The control frame at the buffer's end is complete.
    Control(OpCode),
    Close(PeerClose),
}

impl Session {
    pub fn new(limits: SessionLimits) -> Session {
        Session {
            limits,
            buffer: Vec::new(),
            message_bytes: 0,
            checked_bytes: 0,
            fragments: 0,
            begun: 0,
            kind: OpCode::Text,
            spent: Spent::Nothing,
            place: BETWEEN_FRAMES,
        }
    }

    /// Decodes the next thing in `input`. Call it again with what is left until it answers
    /// [`Found::NeedMore`]; that last call also gives the memory of a found message back.
    #[inline]
    pub fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Decoded<'a> {
        self.release_spent();
        let was_idle = !self.message_in_progress();
        let mut consumed = 0;
        let step = self.steps(input, &mut consumed);
        if matches!(step, Ok(Step::Close(_)) | Err(_)) {
            consumed = input.len();
            self.finish();
        }
        if was_idle && self.message_in_progress() {
            self.begun = self.begun.wrapping_add(1);
        }
        let found = match step {
            Ok(Step::GoOn | Step::NeedMore) => Found::NeedMore,
            Ok(Step::InPlace(opcode, place)) => found_in(opcode, &mut input[place]),
            Ok(Step::Message) => found_in(self.kind, &mut self.buffer),
            Ok(Step::Control(opcode)) => {
                found_in(opcode, &mut self.buffer[self.message_bytes as usize..])
            }
            Ok(Step::Close(close)) => Found::Close(close),
            Err(reason) => Found::Violation(reason),
        };
        Decoded { consumed, found }
    }

    /// Whether a message (or a frame, or a head) has begun and is not complete.
    #[inline]
    pub fn message_in_progress(&self) -> bool {
        self.fragments > 0
            || match self.place {
                Place::Head { have, .. } => have > 0,
                Place::Payload(_) => true,
                Place::Over => false,
            }
    }

    /// Changes whenever something incomplete begins: the time to compare the message timeout with is
    /// that of the last change. Control frames between fragments do not change it.
    pub fn messages_begun(&self) -> u32 {
        self.begun
    }

    /// A close or a violation was found: everything from now on is swallowed.
    pub fn is_over(&self) -> bool {
        matches!(self.place, Place::Over)
    }

    /// What this session holds apart from itself.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    #[inline]
    fn steps(&mut self, input: &mut [u8], consumed: &mut usize) -> Result<Step, CloseReason> {
        loop {
            match self.step(input, consumed)? {
                Step::GoOn => {}
                step => return Ok(step),
            }
        }
    }

    #[inline]
    fn step(&mut self, input: &mut [u8], consumed: &mut usize) -> Result<Step, CloseReason> {
        match self.place {
            Place::Over => {
                *consumed = input.len();
                Ok(Step::NeedMore)
            }
            Place::Payload(payload) => self.absorb(payload, input, consumed),
            Place::Head { have: 0, .. } => {
                let rest = &input[*consumed..];
                let Some(head) = ClientHead::parse(rest)? else {
                    self.keep_head(rest);
                    *consumed = input.len();
                    return Ok(Step::NeedMore);
                };
                *consumed += head.head_bytes;
                self.enter(head, input, consumed)
            }
            Place::Head { bytes, have } => self.go_on_with_head(bytes, have, input, consumed),
        }
    }

    /// A head that began in an earlier input.
    fn go_on_with_head(
        &mut self,
        mut bytes: [u8; CLIENT_HEAD_BYTES_MAX],
        have: u8,
        input: &mut [u8],
        consumed: &mut usize,
    ) -> Result<Step, CloseReason> {
        let have = usize::from(have);
        let rest = &input[*consumed..];
        let taken = rest.len().min(bytes.len() - have);
        bytes[have..have + taken].copy_from_slice(&rest[..taken]);
        let Some(head) = ClientHead::parse(&bytes[..have + taken])? else {
            self.keep_head(&bytes[..have + taken]);
            *consumed += taken;
            return Ok(Step::NeedMore);
        };
        *consumed += head.head_bytes - have;
        self.enter(head, input, consumed)
    }

    fn keep_head(&mut self, part: &[u8]) {
        let mut bytes = [0; CLIENT_HEAD_BYTES_MAX];
        bytes[..part.len()].copy_from_slice(part);
        self.place = Place::Head { bytes, have: part.len() as u8 };
    }

    /// The head is read: holds it to the rules, then takes the frame where it lies if it is all
    /// there and stands for itself, or else starts to absorb it.
    #[inline]
    fn enter(
        &mut self,
        head: ClientHead,
        input: &mut [u8],
        consumed: &mut usize,
    ) -> Result<Step, CloseReason> {
        let payload_bytes = self.check_head(&head)?;
        let whole = input.len() - *consumed >= payload_bytes as usize;
        let alone = is_control(head.opcode)
            || (head.fin == Fin::Last && head.opcode != OpCode::Continuation);
        if whole && alone {
            let place = *consumed..*consumed + payload_bytes as usize;
            *consumed = place.end;
            self.place = BETWEEN_FRAMES;
            return take_whole(&head, input, place);
        }
        if !is_control(head.opcode) {
            self.fragments += 1;
            if head.opcode != OpCode::Continuation {
                self.kind = head.opcode;
            }
        }
        let ClientHead { opcode, fin, mask, .. } = head;
        self.place = Place::Payload(Payload { opcode, fin, mask, left: payload_bytes });
        Ok(Step::GoOn)
    }

    /// The rules that depend on what came before, and the caps: both told at the first head that
    /// breaks them, before any of its payload is taken.
    #[inline]
    fn check_head(&self, head: &ClientHead) -> Result<u32, CloseReason> {
        if is_control(head.opcode) {
            return Ok(head.payload_bytes as u32);
        }
        let continues = head.opcode == OpCode::Continuation;
        if continues != (self.fragments > 0) {
            return Err(CloseReason::ProtocolError);
        }
        if self.fragments >= self.limits.message_fragments {
            return Err(CloseReason::FragmentFlood);
        }
        let room = u64::from(self.limits.message_bytes.saturating_sub(self.message_bytes));
        if head.payload_bytes > room.min(u64::from(self.limits.frame_bytes)) {
            return Err(CloseReason::TooBig);
        }
        Ok(head.payload_bytes as u32)
    }

    /// Takes what the input has of the payload.
    fn absorb(
        &mut self,
        mut payload: Payload,
        input: &mut [u8],
        consumed: &mut usize,
    ) -> Result<Step, CloseReason> {
        let taken = (payload.left as usize).min(input.len() - *consumed);
        let part = &mut input[*consumed..*consumed + taken];
        *consumed += taken;
        unmask(part, payload.mask);
        payload.mask.rotate_left(taken % 4);
        payload.left -= taken as u32;
        self.keep(part, payload);
        if !is_control(payload.opcode) {
            self.message_bytes += taken as u32;
            self.check_text(payload)?;
        }
        if payload.left > 0 {
            self.place = Place::Payload(payload);
            return Ok(Step::NeedMore);
        }
        self.place = BETWEEN_FRAMES;
        self.complete(payload)
    }

    /// Invalid UTF-8 is found as soon as it is there, inside a frame, too.
    fn check_text(&mut self, payload: Payload) -> Result<(), CloseReason> {
        if self.kind != OpCode::Text {
            return Ok(());
        }
        let fresh = &self.buffer[self.checked_bytes as usize..];
        let whole = utf8::whole_characters(fresh).map_err(|_| CloseReason::InvalidUtf8)?;
        self.checked_bytes += whole as u32;
        let ended = payload.left == 0 && payload.fin == Fin::Last;
        if ended && self.checked_bytes != self.message_bytes {
            return Err(CloseReason::InvalidUtf8);
        }
        Ok(())
    }

    /// All of a frame's payload is in the buffer.
    fn complete(&mut self, payload: Payload) -> Result<Step, CloseReason> {
        match (payload.opcode, payload.fin) {
            (OpCode::Close, _) => {
                PeerClose::parse(&self.buffer[self.message_bytes as usize..]).map(Step::Close)
            }
            (OpCode::Ping | OpCode::Pong, _) => {
                self.spent = Spent::Control;
                Ok(Step::Control(payload.opcode))
            }
            (_, Fin::MoreFollow) => Ok(Step::GoOn),
            (_, Fin::Last) => {
                self.spent = Spent::Everything;
                self.fragments = 0;
                self.message_bytes = 0;
                self.checked_bytes = 0;
                Ok(Step::Message)
            }
        }
    }

    /// Appends to the buffer. It grows to twice what arrived, but neither beyond what the message's
    /// last frame still brings nor beyond what any message may have.
    fn keep(&mut self, part: &[u8], payload: Payload) {
        let needed = self.buffer.len() + part.len();
        if needed > self.buffer.capacity() {
            let announced = needed + needed.min(payload.left as usize);
            let most = self.limits.message_bytes as usize + CONTROL_PAYLOAD_BYTES_MAX;
            let doubled = (2 * self.buffer.capacity()).min(most);
            let wanted = match payload.fin {
                Fin::Last => announced,
                Fin::MoreFollow => announced.max(doubled),
            };
            self.buffer.reserve_exact(wanted - self.buffer.len());
        }
        self.buffer.extend_from_slice(part);
    }

    #[inline]
    fn release_spent(&mut self) {
        match std::mem::replace(&mut self.spent, Spent::Nothing) {
            Spent::Nothing => return,
            Spent::Control => self.buffer.truncate(self.message_bytes as usize),
            Spent::Everything => self.buffer.clear(),
        }
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    fn finish(&mut self) {
        self.place = Place::Over;
        self.buffer = Vec::new();
        self.spent = Spent::Nothing;
        self.fragments = 0;
    }
}

/// A frame that lies in the input and needs no other.
#[inline]
fn take_whole(
    head: &ClientHead,
    input: &mut [u8],
    place: Range<usize>,
) -> Result<Step, CloseReason> {
    let payload = &mut input[place.clone()];
    unmask(payload, head.mask);
    match head.opcode {
        OpCode::Close => return PeerClose::parse(payload).map(Step::Close),
        OpCode::Text => utf8::check(payload).map_err(|_| CloseReason::InvalidUtf8)?,
        _ => {}
    }
    Ok(Step::InPlace(head.opcode, place))
}

#[inline]
fn found_in(opcode: OpCode, payload: &mut [u8]) -> Found<'_> {
    match opcode {
        OpCode::Text => Found::Text(payload),
        OpCode::Binary => Found::Binary(payload),
        OpCode::Ping => Found::Ping(payload),
        OpCode::Pong => Found::Pong(payload),
        OpCode::Close | OpCode::Continuation => {
            unreachable!("closes are parsed, continuations are told by their message's kind")
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
