//! Bytes of an open socket: frames, commands, and what the peer is told at once.

use super::Core;
use super::asker::{After, Asker, after, refuse};
use crate::model::{Asked, ErrorCode, Now, Refusal};
use crate::node::connection::{Open, Phase};
use crate::node::guard::Verdict;
use crate::telemetry::{CoreCounters, Counter};
use crate::wire::frame::OpCode;
use crate::wire::session::Found;
use crate::wire::{close, frame, json};

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
                    counters.increment(Counter::OutPongFrame);
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
                let Open { user, version, through, guard, place, questions, is_refreshing, .. } =
                    open;
                let (version, through) = (*version, *through);
                let mut asker = Asker {
                    session,
                    user,
                    version,
                    through,
                    guard,
                    place,
                    questions,
                    is_refreshing,
                    outbox,
                    limits,
                    counters,
                    now,
                };
                match decoder.decode(text, &rules) {
                    Err(rejected) => asker.rejected(rejected),
                    Ok(Asked::Conversation(request)) => asker.asked(request, shard, links),
                    Ok(Asked::Session(request)) => {
                        let verifier = &reloadable.verifier;
                        asker.asked_of_session(request, verifier, shard, links)
                    }
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

/// Texts are counted when it is known what they ask for.
fn count_found(found: &Found<'_>, counters: &CoreCounters) {
    match found {
        Found::Ping(_) => counters.increment(Counter::InPingFrame),
        Found::Pong(_) => counters.increment(Counter::InPongFrame),
        Found::Close(_) => counters.increment(Counter::InCloseFrame),
        Found::Binary(_) => counters.increment(Counter::InRejected),
        Found::Text(_) | Found::NeedMore | Found::Violation(_) => {}
    }
}
