//! Bytes of an open socket: frames, commands, and what the peer is told at once.

use super::Core;
use crate::limits::Limits;
use crate::model::{
    CloseReason, Command, ErrorCode, Now, Refusal, Reply, Request, SessionId, Version,
};
use crate::node::connection::{Adoption, Guard, Open, Phase, Place, Verdict};
use crate::node::links::{Links, Peer};
use crate::node::mail::Mail;
use crate::node::outbox::Outbox;
use crate::node::shard::{RATE_LIMITED, Shard};
use crate::telemetry::{CoreCounters, Counter};
use crate::wire::frame::OpCode;
use crate::wire::session::Found;
use crate::wire::{close, frame, json};

/// How long a client leaves alone a core whose ring is full.
const PAUSE_MS: u64 = 100;

/// What handling one frame means for the socket.
enum After {
    GoOn,
    Close(CloseReason),
    /// The peer closed: its frame was answered already.
    Closed,
}

const UNEXPECTED_BINARY: Refusal =
    Refusal::new(ErrorCode::UnexpectedBinary, "binary messages are not part of this protocol");

impl<S> Core<S> {
    /// The socket received `bytes`; all of them are used up.
    pub fn received(&mut self, slot: u32, bytes: &mut [u8], now: Now) {
        self.counters.add(Counter::BytesIn, bytes.len() as u64);
        if self.comes_too_late(slot) {
            return;
        }
        let connection = &mut self.connections[slot as usize];
        connection.note_received(now.mono);
        connection.note_queueing(now.mono);
        match connection.phase {
            Phase::Head(_) => self.head_received(slot, bytes, now),
            Phase::Open(_) => self.frames_received(slot, bytes, now),
            Phase::Echo(_) => self.echo_received(slot, bytes, now),
            _ => {
                if connection.lingered(bytes.len()) {
                    self.abort(slot, now);
                }
            }
        }
    }

    pub(super) fn frames_received(&mut self, slot: u32, bytes: &mut [u8], now: Now) {
        let mut at = 0;
        loop {
            let (consumed, after) = self.next_frame(slot, &mut bytes[at..], now);
            at += consumed;
            match after {
                Some(After::GoOn) if self.is_over_its_outbox(slot) => {
                    // It asks, and does not read the answers.
                    return self.close(slot, CloseReason::FellBehind, now);
                }
                Some(After::GoOn) => {}
                Some(After::Close(reason)) => return self.close(slot, reason, now),
                Some(After::Closed) => return self.closed_by_peer(slot, now),
                None => break,
            }
        }
        let connection = &mut self.connections[slot as usize];
        if let Phase::Open(open) = &mut connection.phase {
            open.guard.note_message(&open.wire, now.mono);
        }
        let has_something = !connection.outbox.is_empty();
        self.arm(slot);
        if has_something {
            self.attend(slot);
        }
    }

    pub(super) fn is_over_its_outbox(&self, slot: u32) -> bool {
        let unsent = self.connections[slot as usize].outbox.backlog_bytes();
        unsent > self.reloadable.limits.outbox_bytes
    }

    /// Decodes and handles one frame; `None` when there is no whole one.
    fn next_frame(&mut self, slot: u32, bytes: &mut [u8], now: Now) -> (usize, Option<After>) {
        let Core { connections, shard, decoder, links, reloadable, counters, .. } = self;
        let limits = &reloadable.limits;
        let connection = &mut connections[slot as usize];
        let (session, outbox) = (connection.session, &mut connection.outbox);
        let Phase::Open(open) = &mut connection.phase else { return (0, None) };
        let open = &mut **open;
        let decoded = open.wire.decode(bytes);
        count_found(&decoded.found, counters);
        let after = match decoded.found {
            Found::NeedMore => return (decoded.consumed, None),
            Found::Violation(reason) => After::Close(reason),
            Found::Close(peer) => {
                // At once, before anything that waits: a page that reconnects first would take the
                // old socket's late end for the new one's.
                outbox.drop_queued();
                outbox.push_own(|out| close::close_echo(out, &peer));
                After::Closed
            }
            Found::Pong(_) => After::GoOn,
            Found::Ping(payload) => match open.guard.ping(payload, limits, now.mono) {
                Verdict::Fine => {
                    counters.increment(Counter::OutPong);
                    outbox.push_own(|out| frame::pong(out, payload));
                    After::GoOn
                }
                Verdict::RetryAfter(_) => After::GoOn,
                Verdict::Close(reason) => After::Close(reason),
            },
            Found::Binary(_) => {
                refuse(outbox, UNEXPECTED_BINARY, None, counters);
                after(open.guard.bad_frame(limits, now.mono))
            }
            Found::Text(text) => {
                let rules = json::JsonRules::of(limits, open.version);
                let Open { guard, place, version, .. } = open;
                let mut asker = Asker {
                    session,
                    version: *version,
                    guard,
                    place,
                    outbox,
                    limits,
                    counters,
                    now,
                };
                match decoder.decode(text, &rules) {
                    Err(rejected) => asker.rejected(rejected),
                    Ok(request) => asker.asked(request, shard, links),
                }
            }
        };
        (decoded.consumed, Some(after))
    }

    fn echo_received(&mut self, slot: u32, bytes: &mut [u8], now: Now) {
        let mut at = 0;
        loop {
            let limits = &self.reloadable.limits;
            let connection = &mut self.connections[slot as usize];
            let Phase::Echo(echo) = &mut connection.phase else { return };
            let outbox = &mut connection.outbox;
            let decoded = echo.wire.decode(&mut bytes[at..]);
            at += decoded.consumed;
            let after = match decoded.found {
                Found::NeedMore => break,
                Found::Violation(reason) => After::Close(reason),
                Found::Close(peer) => {
                    outbox.push_own(|out| close::close_echo(out, &peer));
                    After::Closed
                }
                Found::Pong(_) => After::GoOn,
                Found::Ping(payload) => match echo.guard.ping(payload, limits, now.mono) {
                    Verdict::Close(reason) => After::Close(reason),
                    Verdict::RetryAfter(_) => After::GoOn,
                    Verdict::Fine => {
                        outbox.push_own(|out| frame::pong(out, payload));
                        After::GoOn
                    }
                },
                Found::Text(text) => {
                    outbox.push_own(|out| frame::push_frame(out, OpCode::Text, text));
                    After::GoOn
                }
                Found::Binary(data) => {
                    outbox.push_own(|out| frame::push_frame(out, OpCode::Binary, data));
                    After::GoOn
                }
            };
            match after {
                After::GoOn => {}
                After::Close(reason) => return self.close(slot, reason, now),
                After::Closed => return self.closed_by_peer(slot, now),
            }
        }
        let connection = &mut self.connections[slot as usize];
        if let Phase::Echo(echo) = &mut connection.phase {
            echo.guard.note_message(&echo.wire, now.mono);
        }
        self.arm(slot);
        self.attend(slot);
    }

    fn closed_by_peer(&mut self, slot: u32, now: Now) {
        self.counters.increment(Counter::ClosedByPeer);
        self.leave(slot, now);
        self.end(slot, now);
    }
}

/// A socket in a conversation, as its commands see it.
struct Asker<'a> {
    session: SessionId,
    version: Version,
    guard: &'a mut Guard,
    place: &'a mut Place,
    outbox: &'a mut Outbox,
    limits: &'a Limits,
    counters: &'a CoreCounters,
    now: Now,
}

impl Asker<'_> {
    /// What it sent is no command.
    fn rejected(&mut self, rejected: json::Rejected) -> After {
        self.counters.increment(Counter::InRejected);
        let is_bad = rejected.refusal.code.is_bad_frame();
        refuse(self.outbox, rejected.refusal, rejected.reference, self.counters);
        after(match is_bad {
            true => self.guard.bad_frame(self.limits, self.now.mono),
            false => self.guard.frame(self.now.mono),
        })
    }

    fn asked<S>(
        &mut self,
        request: Request<'_>,
        shard: &mut Shard,
        links: &mut Links<S, Adoption>,
    ) -> After {
        self.counters.increment(Counter::received(&request.command));
        let verdict = if is_signal(&request.command) {
            self.guard.receipt(self.now.mono);
            Verdict::Fine
        } else {
            self.guard.frame(self.now.mono)
        };
        match verdict {
            Verdict::Close(reason) => return After::Close(reason),
            Verdict::RetryAfter(ms) => self.slow_down(ms, request),
            Verdict::Fine => match &mut *self.place {
                Place::Here { room } => shard.command(*room, self.session, request, self.now),
                Place::Far { owner, mark, .. } => {
                    if absorbed(&request.command, mark, self.version) {
                        self.counters.increment(Counter::ReceiptsRepeated);
                    } else {
                        let peer = links.peer(*owner);
                        self.pass_on(request, peer);
                    }
                }
            },
        }
        After::GoOn
    }

    /// To the core that owns the conversation, unless that does not keep up.
    fn pass_on<S>(&mut self, request: Request<'_>, peer: &mut Peer<S, Adoption>) {
        if peer.is_congested() {
            if !is_signal(&request.command) {
                return self.slow_down(PAUSE_MS, request);
            }
            self.guard.paused_until = Some(self.now.mono.after(PAUSE_MS));
        }
        let request = Box::new(request.into_owned());
        peer.send(Mail::Command { session: self.session, request });
    }

    fn slow_down(&mut self, retry_after_ms: u64, request: Request<'_>) {
        let refusal = Refusal { retry_after_ms: Some(retry_after_ms), ..RATE_LIMITED };
        let reference = request.reference.map(|r| r.into_owned());
        refuse(self.outbox, refusal, reference, self.counters);
    }
}

fn refuse(
    outbox: &mut Outbox,
    refusal: Refusal,
    reference: Option<String>,
    counters: &CoreCounters,
) {
    counters.increment(Counter::OutError);
    counters.increment(Counter::refused(refusal.code));
    outbox.push_own(|out| json::reply(out, &Reply::Error { refusal, reference }));
}

/// Texts are counted when it is known what they ask for.
fn count_found(found: &Found<'_>, counters: &CoreCounters) {
    match found {
        Found::Ping(_) => counters.increment(Counter::InPing),
        Found::Pong(_) => counters.increment(Counter::InPong),
        Found::Close(_) => counters.increment(Counter::InClose),
        Found::Binary(_) => counters.increment(Counter::InRejected),
        Found::Text(_) | Found::NeedMore | Found::Violation(_) => {}
    }
}

fn after(verdict: Verdict) -> After {
    match verdict {
        Verdict::Close(reason) => After::Close(reason),
        _ => After::GoOn,
    }
}

/// Receipts and keystrokes are never refused: where they are too many, reading pauses.
fn is_signal(command: &Command<'_>) -> bool {
    matches!(command, Command::Read { .. } | Command::Typing { .. })
}

/// A receipt that the owner would ignore anyway: a page sends each of them again and again.
fn absorbed(
    command: &Command<'_>,
    mark: &mut Option<crate::model::MessageId>,
    version: Version,
) -> bool {
    let Command::Read { message } = command else { return false };
    version == Version::V1 && mark.is_some_and(|mark| *message <= mark)
}
