//! The part of the admin API that takes things away; described in `docs/http.md`.

use axum::extract::State;
use axum::http::StatusCode;

use super::admin::{Answer, NO_CONVERSATION, Shared};
use super::input::{InConversation, Input, Nothing};
use crate::node::admin::AdminCommand;

pub async fn delete_conversation(
    State(admin): Shared,
    InConversation(conversation): InConversation,
    Input(Nothing {}): Input<Nothing>,
) -> Answer<StatusCode> {
    let command = AdminCommand::DeleteConversation { conversation };
    admin.change("delete_conversation", command, NO_CONVERSATION).await?;
    Ok(StatusCode::NO_CONTENT)
}
