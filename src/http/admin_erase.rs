//! The part of the admin API that speaks in conversations and takes things away; described in
//! `docs/http.md`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::admin::{Answer, NO_CONVERSATION, Shared};
use super::failure::Failure;
use super::input::{InConversation, Input, Nothing, OfMessage, OfUser, PostBody, RetentionBody};
use super::instant;
use crate::model::{ConversationId, Erasure, ErrorCode, MessageId, Seq, UserId};
use crate::node::admin::{AdminAnswer, AdminCommand, Sender};

pub async fn delete_conversation(
    State(admin): Shared,
    InConversation(conversation): InConversation,
    Input(Nothing {}): Input<Nothing>,
) -> Answer<StatusCode> {
    let command = AdminCommand::DeleteConversation { conversation };
    admin.change("delete_conversation", command, NO_CONVERSATION).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
pub struct RetentionJson {
    conversation_id: ConversationId,
    retention_days: Option<u32>,
}

pub async fn set_retention(
    State(admin): Shared,
    InConversation(conversation): InConversation,
    Input(body): Input<RetentionBody>,
) -> Answer<Json<RetentionJson>> {
    let days = body.days()?;
    let command = AdminCommand::SetRetention { conversation: conversation.clone(), days };
    admin.change("set_retention", command, NO_CONVERSATION).await?;
    Ok(Json(RetentionJson { conversation_id: conversation, retention_days: days }))
}

#[derive(Serialize)]
pub struct PostedJson {
    id: MessageId,
    seq: Seq,
    created_at: String,
}

pub async fn send(
    State(admin): Shared,
    InConversation(conversation): InConversation,
    Input(body): Input<PostBody>,
) -> Answer<(StatusCode, Json<PostedJson>)> {
    let command = AdminCommand::Post { conversation, post: body.post()? };
    match admin.ask("post", command).await? {
        AdminAnswer::Numbered { message, seq, created_at } => {
            let created_at = instant::format(created_at);
            Ok((StatusCode::CREATED, Json(PostedJson { id: message, seq, created_at })))
        }
        AdminAnswer::Refused(code) => Err(refused(code)),
        _ => Err(Failure::not_found(NO_CONVERSATION)),
    }
}

pub async fn delete_message(
    State(admin): Shared,
    InConversation(conversation): InConversation,
    OfMessage(message): OfMessage,
    Input(Nothing {}): Input<Nothing>,
) -> Answer<StatusCode> {
    let by = Sender::System;
    let command = AdminCommand::DeleteMessage { conversation, message, by };
    admin.change("delete_message", command, NO_CONVERSATION).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
pub struct ErasureJson {
    user_id: UserId,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    begun_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reactions: Option<u64>,
}

impl ErasureJson {
    fn running(user_id: UserId) -> ErasureJson {
        let (status, begun_at, done_at) = ("running", None, None);
        ErasureJson { user_id, status, begun_at, done_at, messages: None, reactions: None }
    }
}

/// It has begun, for good; the rest takes its time.
pub async fn erase(
    State(admin): Shared,
    OfUser(user): OfUser,
    Input(Nothing {}): Input<Nothing>,
) -> Answer<(StatusCode, Json<ErasureJson>)> {
    let command = AdminCommand::EraseUser { user: user.clone() };
    admin.change("erase_user", command, NO_ERASURE).await?;
    Ok((StatusCode::ACCEPTED, Json(ErasureJson::running(user))))
}

pub async fn erasure(State(admin): Shared, OfUser(user): OfUser) -> Answer<Json<ErasureJson>> {
    let whose = user.clone();
    let found = admin.read(move |directory| directory.erasure(&whose)).await?;
    let erasure = found.ok_or(Failure::not_found(NO_ERASURE))?;
    Ok(Json(match erasure {
        Erasure::Running { begun_at } => {
            ErasureJson { begun_at: Some(instant::format(begun_at)), ..ErasureJson::running(user) }
        }
        Erasure::Done { begun_at, done_at, messages, reactions } => ErasureJson {
            user_id: user,
            status: "done",
            begun_at: Some(instant::format(begun_at)),
            done_at: Some(instant::format(done_at)),
            messages: Some(messages),
            reactions: Some(reactions),
        },
    }))
}

const NO_ERASURE: &str = "nobody asked for this user to be erased";

/// What a conversation refuses, as HTTP has it.
pub fn refused(code: ErrorCode) -> Failure {
    let (status, sentence) = match code {
        ErrorCode::NotFound => {
            (StatusCode::NOT_FOUND, "there is no such message in this conversation")
        }
        ErrorCode::ParentNotFound => {
            (StatusCode::NOT_FOUND, "parent_message_id is no message of this conversation")
        }
        ErrorCode::Empty => (StatusCode::BAD_REQUEST, "content is empty"),
        ErrorCode::TooLong => (StatusCode::BAD_REQUEST, "content is too long"),
        ErrorCode::IdempotencyConflict => {
            (StatusCode::CONFLICT, "another message was sent under the same client_msg_id")
        }
        ErrorCode::Gone => (StatusCode::GONE, "the message was deleted"),
        ErrorCode::RateLimited | ErrorCode::StorageUnavailable => {
            let sentence = "the server cannot store this at the moment; nothing was changed";
            (StatusCode::SERVICE_UNAVAILABLE, sentence)
        }
        _ => (StatusCode::BAD_REQUEST, "client_msg_id has 1 to 64 bytes"),
    };
    Failure::new(status, code.as_str(), sentence)
}
