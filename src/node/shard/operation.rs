//! What the operator says and takes back in a conversation. Unlike changes of the directory these do not
//! wait for each other: each asks the store who it is about, is decided like a socket's command, and is
//! answered once what it shows is durable.

use std::borrow::Cow;
use std::sync::Arc;

use slab::Slab;

use super::directory::ADMIN_QUEUE_MAX;
use super::{AdminReply, Load, Shard};
use crate::chat;
use crate::limits::CLIENT_MSG_ID_BYTES_MAX;
use crate::model::{
    Access, Command, ConversationId, ErrorCode, Now, Profile, ReactAction, Reply, Request,
    SessionId,
};
use crate::node::admin::{AdminAnswer, AdminCommand, Post, Sender};
use crate::node::mail::Told;
use crate::node::ports::{LoadQuery, LoadResult};

/// The core of sessions that are no sockets.
pub(super) const NO_CORE: u16 = u16::MAX;

struct Pending {
    room: usize,
    /// The room's `directory_stamp` when the store was asked.
    stamp: u64,
    sender: Sender,
    /// `None` once it was handed to the conversation.
    command: Option<Command<'static>>,
    reply: AdminReply,
    generation: u32,
}

#[derive(Default)]
pub(super) struct Operations {
    pending: Slab<Pending>,
    generation: u32,
}

impl Operations {
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl Shard {
    /// Takes the command if it is an operation; gives any other back.
    pub(super) fn operate(
        &mut self,
        command: AdminCommand,
        reply: AdminReply,
    ) -> Option<(AdminCommand, AdminReply)> {
        let (conversation, sender, command) = match command {
            AdminCommand::Post { conversation, post } => {
                let sender = post.sender.clone();
                match self.send_of(post) {
                    Ok(command) => (conversation, sender, command),
                    Err(code) => {
                        reply(AdminAnswer::Refused(code));
                        return None;
                    }
                }
            }
            AdminCommand::DeleteMessage { conversation, message, by } => {
                (conversation, by, Command::Delete { message })
            }
            AdminCommand::RemoveReaction { conversation, message, emoji, user } => {
                let (emoji, action) = (Cow::Owned(emoji), ReactAction::Remove);
                let command = Command::React { message, emoji, action };
                (conversation, Sender::User(user), command)
            }
            other => return Some((other, reply)),
        };
        let is_full = self.operations.pending.len() >= ADMIN_QUEUE_MAX;
        if !self.is_accepting || self.is_refusing || is_full {
            reply(AdminAnswer::Unavailable);
            return None;
        }
        self.begin_operation(&conversation, sender, command, reply);
        None
    }

    /// The bounds of a socket's message hold here, too.
    fn send_of(&self, post: Post) -> Result<Command<'static>, ErrorCode> {
        let content = post.content.trim();
        if content.is_empty() {
            return Err(ErrorCode::Empty);
        }
        if content.chars().count() > self.settings.limits.content_chars {
            return Err(ErrorCode::TooLong);
        }
        let is_named = |name: &String| (1..=CLIENT_MSG_ID_BYTES_MAX).contains(&name.len());
        if !post.client_msg_id.as_ref().is_none_or(is_named) {
            return Err(ErrorCode::Invalid);
        }
        Ok(Command::Send {
            content: Cow::Owned(content.to_owned()),
            parent: post.parent,
            client_msg_id: post.client_msg_id.map(Cow::Owned),
        })
    }

    fn begin_operation(
        &mut self,
        conversation: &ConversationId,
        sender: Sender,
        command: Command<'static>,
        reply: AdminReply,
    ) {
        let room = self.room_of(conversation);
        self.operations.generation = self.operations.generation.wrapping_add(1);
        let at = self.operations.pending.insert(Pending {
            room,
            stamp: 0,
            sender,
            command: Some(command),
            reply,
            generation: self.operations.generation,
        });
        self.ask_for_operation(at);
    }

    fn ask_for_operation(&mut self, at: usize) {
        let pending = &mut self.operations.pending[at];
        let room = pending.room;
        pending.stamp = self.rooms[room].directory_stamp;
        let query = LoadQuery::Admission(pending.sender.id());
        self.load(room, query, Load::Operation { room, at });
    }

    /// The store knows the conversation and the sender, or not.
    pub(super) fn operation_known(&mut self, room: usize, at: usize, answer: LoadResult, now: Now) {
        self.rooms[room].under_way -= 1;
        self.may_be_idle(room);
        let LoadResult::Admission(admission) = answer else {
            return self.answer_operation(at, AdminAnswer::Unavailable);
        };
        // Its past is on its way to the disk: nothing is said in front of it.
        if self.rooms[room].is_importing {
            return self.answer_operation(at, AdminAnswer::Unavailable);
        }
        if self.rooms[room].is_deleting || admission.is_deleted {
            return self.answer_operation(at, AdminAnswer::NotFound);
        }
        let pending = &mut self.operations.pending[at];
        if pending.stamp != self.rooms[room].directory_stamp {
            return self.ask_for_operation(at);
        }
        if self.settings.access == Access::Members && !admission.conversation_exists {
            return self.answer_operation(at, AdminAnswer::NotFound);
        }
        let Some(command) = pending.command.take() else { return };
        let session = SessionId { core: NO_CORE, slot: at as u32, generation: pending.generation };
        let sender = match &pending.sender {
            Sender::System => Profile::system(),
            Sender::User(user) => {
                admission.profile.clone().unwrap_or_else(|| Profile::nameless(user.clone()))
            }
        };
        self.open(room, &admission);
        let request = Request { reference: None, command };
        let operation = chat::Operation { session, sender: Arc::new(sender), request };
        self.with_chat(room, now, |chat, ids, out| chat.operate(operation, ids, now, out));
    }

    /// What the conversation says to an operation is its answer.
    pub(super) fn operated(&mut self, session: SessionId, told: Told) {
        let at = session.slot as usize;
        let is_it = |pending: &&Pending| pending.generation == session.generation;
        let Some(pending) = self.operations.pending.get(at).filter(is_it) else { return };
        let room = pending.room;
        let answer = match told {
            Told::Reply(Reply::Ack(ack)) => match (ack.message, ack.seq, ack.created_at) {
                (Some(message), Some(seq), Some(created_at)) => {
                    AdminAnswer::Numbered { message, seq, created_at }
                }
                _ => AdminAnswer::Done,
            },
            Told::Reply(Reply::Error { refusal, .. }) => AdminAnswer::Refused(refusal.code),
            Told::Close(_) => AdminAnswer::NotFound,
            _ => return,
        };
        if let Some(chat) = &mut self.rooms[room].chat {
            chat.operated(session);
        }
        self.arm(room);
        self.may_be_idle(room);
        self.answer_operation(at, answer);
    }

    fn answer_operation(&mut self, at: usize, answer: AdminAnswer) {
        let Pending { reply, .. } = self.operations.pending.remove(at);
        reply(answer);
    }
}
