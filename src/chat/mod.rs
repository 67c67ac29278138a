//! stub
use crate::limits::Limits;
use crate::model::*;
use std::sync::Arc;
pub mod rate {
    use crate::limits::Rate;
    use crate::model::Mono;
    pub struct Bucket(Rate);
    impl Bucket {
        pub fn new(r: Rate) -> Bucket {
            Bucket(r)
        }
        pub fn take(&mut self, _n: Mono) -> Result<(), u64> {
            Ok(())
        }
        pub fn is_full(&self, _n: Mono) -> bool {
            true
        }
    }
}
pub mod access {
    use crate::model::*;
    pub fn admit(
        _a: Access,
        _i: &Identity,
        _d: &Admission,
        _c: &ConversationId,
    ) -> Result<(Role, Profile), CloseReason> {
        Err(CloseReason::Forbidden)
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimits {
    On,
    Off,
}
pub struct Settings {
    pub limits: Limits,
    pub offline_grace_ms: u64,
    pub rate_limits: RateLimits,
}
pub struct Joiner {
    pub profile: Arc<Profile>,
    pub role: Role,
    pub version: Version,
}
pub struct Origin {
    pub session: Option<SessionId>,
    pub user: UserId,
    pub reference: Option<String>,
}
pub enum Audience {
    All,
    AllBut(UserId),
    One(SessionId),
    AllV1,
    AllV2,
}
pub enum Effect {
    Append { event: Arc<Event>, origin: Origin },
    Mark(Mark),
    Signal { audience: Audience, signal: Signal },
    Reply { session: SessionId, reply: Reply },
    ReplyWhenDurable { session: SessionId, reply: Reply },
    Close { session: SessionId, reason: CloseReason },
    Load(LoadKey),
}
pub trait Ids {
    fn next(&mut self, after: u64) -> Option<MessageId>;
}
pub struct Conversation;
impl Conversation {
    pub fn new(_: ConversationId, _: Header, _: Arc<Settings>) -> Self {
        Conversation
    }
    pub fn join(&mut self, _: SessionId, _: Joiner, _: Now, _: &mut Vec<Effect>) {}
    pub fn leave(&mut self, _: SessionId, _: Now, _: &mut Vec<Effect>) {}
    pub fn handle(
        &mut self,
        _: SessionId,
        _: Request<'_>,
        _: &mut dyn Ids,
        _: Now,
        _: &mut Vec<Effect>,
    ) {
    }
    pub fn loaded(&mut self, _: LoadKey, _: Loaded, _: &mut dyn Ids, _: Now, _: &mut Vec<Effect>) {}
    pub fn durable(&mut self, _: Seq, _: u64) {}
    pub fn mark_durable(&mut self, _: &UserId, _: MessageId, _: u64) {}
    pub fn sealed(&mut self, _: u64) {}
    pub fn is_idle(&self) -> bool {
        true
    }
    pub fn next_timeout(&self) -> Option<Mono> {
        None
    }
    pub fn handle_timeout(&mut self, _: Now, _: &mut Vec<Effect>) {}
    pub fn header(&self) -> Header {
        Header::default()
    }
    pub fn set_member(&mut self, _: &UserId, _: Option<Role>, _: Now, _: &mut Vec<Effect>) {}
    pub fn kick(&mut self, _: &UserId, _: Now, _: &mut Vec<Effect>) {}
    pub fn user_of(&self, _: SessionId) -> Option<&UserId> {
        None
    }
    pub fn version_of(&self, _: SessionId) -> Option<Version> {
        None
    }
    pub fn recent(&self, _: usize, _: Vec<MessageState>) -> Vec<MessageState> {
        vec![]
    }
    pub fn readers_of(&self, _: MessageId) -> Vec<UserId> {
        vec![]
    }
}
