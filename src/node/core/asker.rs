//! One frame's command, as the socket that sent it asks for it: its own limits first, then the shard that
//! owns the conversation, here or on another core.

use std::borrow::Cow;
use std::sync::Arc;

use crate::auth::Verifier;
use crate::limits::{HISTORY_FRAMES, Limits, QUESTIONS_PER_SOCKET_MAX};
use crate::model::{
    CloseReason, Command, ErrorCode, HistoryQuery, Identity, Now, Refusal, Reply, Request, Seq,
    SessionCommand, SessionId, SessionRequest, UserId, Version,
};
use crate::node::connection::{Adoption, Place};
use crate::node::guard::{Guard, Verdict};
use crate::node::links::{Links, Peer};
use crate::node::mail::Mail;
use crate::node::outbox::Outbox;
use crate::node::shard::{RATE_LIMITED, Shard};
use crate::telemetry::{CoreCounters, Counter};
use crate::wire::json;

/// How long a client leaves alone a core whose ring is full, or its own questions.
const PAUSE_MS: u64 = 100;

const BAD_TOKEN: Refusal = Refusal::new(ErrorCode::Forbidden, "the token does not hold");
const OTHER_USER: Refusal = Refusal::new(ErrorCode::Forbidden, "the token is another user's");

/// What handling one frame means for the socket.
pub(super) enum After {
    GoOn,
    Close(CloseReason),
    /// The peer closed: its frame was answered already.
    Closed,
}

/// A socket in a conversation, as its commands see it.
pub(super) struct Asker<'a> {
    pub session: SessionId,
    pub user: &'a UserId,
    pub version: Version,
    /// The last event that it was sent.
    pub through: Seq,
    pub guard: &'a mut Guard,
    pub place: &'a mut Place,
    /// Questions about the past that are under way.
    pub questions: &'a mut u8,
    /// A newer token is being looked at.
    pub is_refreshing: &'a mut bool,
    pub outbox: &'a mut Outbox,
    pub limits: &'a Limits,
    pub counters: &'a CoreCounters,
    pub now: Now,
}

impl Asker<'_> {
    /// What it sent is no command.
    pub fn rejected(&mut self, rejected: json::Rejected) -> After {
        self.counters.increment(Counter::InRejected);
        let is_bad = rejected.refusal.code.is_bad_frame();
        refuse(self.outbox, rejected.refusal, rejected.reference, self.counters);
        after(match is_bad {
            true => self.guard.bad_frame(self.limits, self.now.mono),
            false => self.guard.frame(1, self.now.mono),
        })
    }

    pub fn asked<S>(
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
            self.guard.frame(1, self.now.mono)
        };
        match verdict {
            Verdict::Close(reason) => return After::Close(reason),
            Verdict::RetryAfter(ms) => self.slow_down(ms, request.reference),
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
                return self.slow_down(PAUSE_MS, request.reference);
            }
            self.guard.paused_until = Some(self.now.mono.after(PAUSE_MS));
        }
        let request = Box::new(request.into_owned());
        peer.send(Mail::Command { session: self.session, request });
    }

    fn slow_down(&mut self, retry_after_ms: u64, reference: Option<Cow<'_, str>>) {
        let refusal = Refusal { retry_after_ms: Some(retry_after_ms), ..RATE_LIMITED };
        refuse(self.outbox, refusal, reference.map(Cow::into_owned), self.counters);
    }

    /// What changes no conversation: the past, a sign of life, a newer token.
    pub fn asked_of_session<S>(
        &mut self,
        request: SessionRequest<'_>,
        verifier: &Verifier,
        shard: &mut Shard,
        links: &mut Links<S, Adoption>,
    ) -> After {
        self.counters.increment(Counter::received_of_session(&request.command));
        let cost = match request.command {
            SessionCommand::History(_) => HISTORY_FRAMES,
            SessionCommand::Ping | SessionCommand::RefreshToken { .. } => 1,
        };
        match self.guard.frame(cost, self.now.mono) {
            Verdict::Close(reason) => return After::Close(reason),
            Verdict::RetryAfter(ms) => self.slow_down(ms, request.reference),
            Verdict::Fine => match request.command {
                SessionCommand::Ping => {
                    self.counters.increment(Counter::OutPong);
                    let (reference, seq) = (request.reference.map(Cow::into_owned), self.through);
                    self.outbox.push_own(|out| json::reply(out, &Reply::Pong { reference, seq }));
                }
                SessionCommand::RefreshToken { token } => {
                    self.refresh(&token, request.reference, verifier, (shard, links));
                }
                SessionCommand::History(query) => {
                    self.ask(query, request.reference, shard, links);
                }
            },
        }
        After::GoOn
    }

    fn verified(&self, token: &str, verifier: &Verifier) -> Result<Identity, Refusal> {
        let identity = verifier.verify(token, self.now.wall).map_err(|error| {
            tracing::debug!(%error, "a newer token was refused");
            BAD_TOKEN
        })?;
        if identity.user == *self.user { Ok(identity) } else { Err(OTHER_USER) }
    }

    /// One at a time: what waits for the store is bounded, and the last one that was sent is the last one
    /// that is taken.
    fn refresh<S>(
        &mut self,
        token: &str,
        reference: Option<Cow<'_, str>>,
        verifier: &Verifier,
        (shard, links): (&mut Shard, &mut Links<S, Adoption>),
    ) {
        let is_congested = match &*self.place {
            Place::Here { .. } => false,
            Place::Far { owner, .. } => links.peer(*owner).is_congested(),
        };
        if *self.is_refreshing || is_congested {
            return self.slow_down(PAUSE_MS, reference);
        }
        let reference = reference.map(Cow::into_owned);
        let identity = match self.verified(token, verifier) {
            Ok(identity) => Arc::new(identity),
            Err(refusal) => return refuse(self.outbox, refusal, reference, self.counters),
        };
        let session = self.session;
        *self.is_refreshing = true;
        match &*self.place {
            Place::Here { room } => shard.refresh(*room, session, identity, reference),
            Place::Far { owner, .. } => {
                links.peer(*owner).send(Mail::Refresh { session, identity, reference });
            }
        }
    }

    fn ask<S>(
        &mut self,
        query: HistoryQuery,
        reference: Option<Cow<'_, str>>,
        shard: &mut Shard,
        links: &mut Links<S, Adoption>,
    ) {
        if *self.questions >= QUESTIONS_PER_SOCKET_MAX {
            return self.slow_down(PAUSE_MS, reference);
        }
        let session = self.session;
        match &*self.place {
            Place::Here { room } => {
                shard.history(*room, session, query, reference.map(Cow::into_owned));
            }
            Place::Far { owner, .. } => {
                let peer = links.peer(*owner);
                if peer.is_congested() {
                    return self.slow_down(PAUSE_MS, reference);
                }
                let reference = reference.map(Cow::into_owned);
                peer.send(Mail::History { session, query, reference });
            }
        }
        *self.questions += 1;
    }
}

pub(super) fn refuse(
    outbox: &mut Outbox,
    refusal: Refusal,
    reference: Option<String>,
    counters: &CoreCounters,
) {
    counters.increment(Counter::OutError);
    counters.increment(Counter::refused(refusal.code));
    outbox.push_own(|out| json::reply(out, &Reply::Error { refusal, reference }));
}

pub(super) fn after(verdict: Verdict) -> After {
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
