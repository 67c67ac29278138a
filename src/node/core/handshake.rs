//! From the request head to a verdict: path, origin, address, token, caps, and which core is next.
//!
//! What a browser's page can act on is told after the 101 as a close code; the rest in plain HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Core, EchoEndpoint, RejectStyle};
use crate::limits::Limits;
use crate::model::{CloseReason, ConversationId, Now};
use crate::node::admission::Full;
use crate::node::connection::{Adoption, Connection, Echo, Phase, Upgrade};
use crate::node::guard::{Buckets, Guard};
use crate::telemetry::Counter;
use crate::wire::close;
use crate::wire::session::Session;
use crate::wire::upgrade::{
    self, EchoLimits, Head, HeadBytes, HeadProgress, Path, Refused, TokenField, UpgradeRequest,
};

/// When a client that found no room may try again.
const RETRY_AFTER_S: u32 = 5;

pub(super) const OVERLOADED: Refused = Refused::Overloaded { retry_after_s: RETRY_AFTER_S };

impl<S> Core<S> {
    pub(super) fn head_received(&mut self, slot: u32, bytes: &[u8], now: Now) {
        let connection = &mut self.connections[slot as usize];
        let Phase::Head(reader) = &mut connection.phase else { return };
        match reader.push(bytes) {
            Ok(HeadProgress::NeedMore) => {}
            Ok(HeadProgress::Complete(head)) => self.head_complete(slot, head, now),
            Err(refused) => self.refuse(slot, refused, now),
        }
    }

    fn head_complete(&mut self, slot: u32, head: HeadBytes, now: Now) {
        match upgrade::parse(&head, &self.reloadable.limits) {
            Err(refused) => self.refuse(slot, refused, now),
            Ok(Head::Plain) => {
                let connection = &mut self.connections[slot as usize];
                connection.permits = Default::default();
                connection.phase = Phase::Plain(head.into_bytes());
            }
            Ok(Head::Upgrade(request)) => {
                if let Err(refused) = self.upgrade(slot, *request, head.rest().to_vec(), now) {
                    self.refuse(slot, refused, now);
                }
            }
        }
    }

    fn upgrade(
        &mut self,
        slot: u32,
        request: UpgradeRequest,
        rest: Vec<u8>,
        now: Now,
    ) -> Result<(), Refused> {
        let allowed = upgrade::origin_allowed(
            request.origin.as_deref(),
            &request.host,
            &self.reloadable.allowed_origins,
            self.settings.listening,
        );
        if !allowed {
            return Err(Refused::OriginRefused);
        }
        let peer = self.connections[slot as usize].peer;
        let client = upgrade::client_address(
            peer,
            request.x_forwarded_for.as_deref(),
            request.x_real_ip.as_deref(),
            &self.settings.trusted_proxies,
        );
        self.count_address(slot, client)?;
        let upgrade = Upgrade { key: request.key, subprotocol: request.subprotocol };
        match request.path {
            Path::Echo(limits) => self.open_echo(slot, limits, upgrade, rest, now)?,
            Path::Chat { conversation } => {
                let adoption = self.authenticate(slot, &request.token, now).map(|identity| {
                    Box::new(Adoption {
                        upgrade,
                        identity: Arc::new(identity),
                        version: request.version,
                        resume: request.resume,
                        conversation,
                        permits: Default::default(),
                        peer,
                        rest,
                    })
                });
                match adoption {
                    Ok(adoption) => self.route(slot, adoption),
                    Err(reason) => self.reject_upgrade(slot, upgrade, reason, now),
                }
            }
        }
        Ok(())
    }

    fn count_address(&mut self, slot: u32, client: IpAddr) -> Result<(), Refused> {
        if self.is_trusted(client) {
            return Ok(());
        }
        match self.admissions.address(client) {
            Ok(permit) => {
                self.connections[slot as usize].permits.address = Some(permit);
                Ok(())
            }
            Err(_) => {
                if !std::mem::replace(&mut self.has_warned_of_addresses, true) {
                    tracing::warn!(
                        setting = "limits.sockets_per_address",
                        "an address has as many sockets as one may have; if it is a proxy, add it \
                         to trusted_proxies"
                    );
                }
                Err(OVERLOADED)
            }
        }
    }

    /// Who this is, by the token; and whether one more socket of this user is too many.
    fn authenticate(
        &mut self,
        slot: u32,
        token: &TokenField,
        now: Now,
    ) -> Result<crate::model::Identity, CloseReason> {
        let token = match token {
            TokenField::Missing => return Err(CloseReason::TokenMissing),
            TokenField::Unreadable => return Err(CloseReason::TokenInvalid),
            TokenField::Text(token) => token,
        };
        let verified = self.reloadable.verifier.verify(token.as_str(), now.wall);
        let identity = verified.map_err(|error| {
            tracing::debug!(%error, "a token was refused");
            error.close_reason()
        })?;
        match self.admissions.user(&identity.user) {
            Ok(permit) => {
                self.connections[slot as usize].permits.user = Some(permit);
                Ok(identity)
            }
            Err(Full::User) => Err(CloseReason::TooManyConnections),
            Err(_) => Err(CloseReason::Overload),
        }
    }

    /// The owner's core takes the socket over, unless the conversation is wide: then it stays.
    fn route(&mut self, slot: u32, mut adoption: Box<Adoption>) {
        let core = self.owner_of(&adoption.conversation);
        if core == self.settings.index || self.is_wide(&adoption.conversation) {
            self.ask_for_admission(slot, adoption);
            return;
        }
        let connection = &mut self.connections[slot as usize];
        adoption.permits = std::mem::take(&mut connection.permits);
        connection.phase = Phase::Leaving { core, adoption };
    }

    fn is_wide(&self, conversation: &ConversationId) -> bool {
        self.wide.contains(conversation)
    }

    fn open_echo(
        &mut self,
        slot: u32,
        limits: EchoLimits,
        upgrade: Upgrade,
        mut rest: Vec<u8>,
        now: Now,
    ) -> Result<(), Refused> {
        if self.settings.echo == EchoEndpoint::Absent {
            return Err(Refused::NotFound);
        }
        let generous = Limits::echo();
        let (limits, buckets) = match limits {
            EchoLimits::Serve => (&self.reloadable.limits, self.settings.buckets),
            EchoLimits::Generous => (&generous, Buckets::Off),
        };
        let echo = Echo {
            wire: Session::new(Connection::session_limits(limits)),
            guard: Guard::new(limits, buckets),
            outbox_bytes_max: limits.outbox_bytes,
        };
        self.counters.increment(Counter::SocketsOpened);
        let connection = &mut self.connections[slot as usize];
        connection.permits.handshake = None;
        connection.outbox.push_head(|out| {
            upgrade::accept_response(out, &upgrade.key, upgrade.subprotocol);
        });
        connection.phase = Phase::Echo(Box::new(echo));
        self.arm(slot);
        self.attend(slot);
        if !rest.is_empty() {
            self.received(slot, &mut rest, now);
        }
        Ok(())
    }

    /// 101 and a close frame, or the HTTP status for it, by `auth.reject`.
    pub(super) fn reject_upgrade(
        &mut self,
        slot: u32,
        upgrade: Upgrade,
        reason: CloseReason,
        now: Now,
    ) {
        let outbox = &mut self.connections[slot as usize].outbox;
        self.counters.increment(match self.settings.reject {
            RejectStyle::Http => Counter::refused_upgrade(refusal_for(reason).status()),
            RejectStyle::Close => Counter::closed(reason),
        });
        match self.settings.reject {
            RejectStyle::Http => {
                outbox.push_own(|out| upgrade::refuse_response(out, refusal_for(reason)));
            }
            RejectStyle::Close => outbox.push_own(|out| {
                upgrade::accept_response(out, &upgrade.key, upgrade.subprotocol);
                close::close_frame(out, reason);
            }),
        }
        self.end(slot, now);
    }
}

fn refusal_for(reason: CloseReason) -> Refused {
    match reason.code() {
        4001 => Refused::Unauthorized(reason),
        4003 => Refused::Forbidden,
        _ => OVERLOADED,
    }
}
