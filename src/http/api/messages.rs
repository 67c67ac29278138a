//! Pages of messages, of replies, and of what a message said before it was edited.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::super::failure::Failure;
use super::super::input::InConversation;
use super::input::{Behind, InHistory, OfMessage};
use super::{Api, Caller, failure_of, json};
use crate::model::{EditsQuery, RepliesQuery};
use crate::node::question::{About, Answer};
use crate::wire;

type Asker = Extension<Arc<Caller>>;

pub async fn history(
    State(api): State<Arc<Api>>,
    Extension(caller): Asker,
    InConversation(conversation): InConversation,
    InHistory(query): InHistory,
) -> Result<Response, Failure> {
    page(api.answer(&caller, conversation, About::History(query)).await?)
}

pub async fn replies(
    State(api): State<Arc<Api>>,
    Extension(caller): Asker,
    InConversation(conversation): InConversation,
    OfMessage(parent): OfMessage,
    behind: Behind,
) -> Result<Response, Failure> {
    let query = RepliesQuery { parent, after: behind.message(), limit: behind.limit };
    page(api.answer(&caller, conversation, About::Replies(query)).await?)
}

pub async fn edits(
    State(api): State<Arc<Api>>,
    Extension(caller): Asker,
    InConversation(conversation): InConversation,
    OfMessage(message): OfMessage,
    behind: Behind,
) -> Result<Response, Failure> {
    let query = EditsQuery { message, after: behind.seq(), limit: behind.limit };
    match api.answer(&caller, conversation, About::Edits(query)).await? {
        Answer::Edits(page) => {
            let mut body = Vec::new();
            wire::json::edits(&mut body, &page);
            Ok(json(body))
        }
        other => Err(failure_of(&other)),
    }
}

fn page(answer: Answer) -> Result<Response, Failure> {
    match answer {
        Answer::History(page) => {
            let mut body = Vec::new();
            wire::json::page(&mut body, &page);
            Ok(json(body))
        }
        other => Err(failure_of(&other)),
    }
}
