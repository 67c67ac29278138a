//! `/api` on the public port: what a user of the chat may read of it without a socket. The same tokens
//! as the sockets have, the same rights, the same objects as the `history` frame.
//!
//! ```text
//! request → origin (CORS) → token → handler ─ blocking thread: where the user belongs
//!                                          └─ shard: a question, answered when all of it is durable
//! ```

mod access;
mod conversations;
mod input;
mod messages;

pub use access::{ApiSettings, Gate};

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::failure::Failure;
use super::ports::{Directory, Memberships, Questions, Unreadable};
use super::{HttpBounds, HttpPorts};
use crate::model::{CloseReason, ConversationId, Identity};
use crate::node::question::{About, Answer, Asker, Question};

pub struct Api {
    settings: ApiSettings,
    questions: Arc<dyn Questions>,
    directory: Arc<dyn Directory>,
    memberships: Arc<dyn Memberships>,
    /// How long a request waits for its answers: less than the whole of it may take.
    patience: Duration,
}

/// Who asks, and until when it makes sense to answer.
struct Caller {
    identity: Arc<Identity>,
    until: Instant,
}

pub fn routes(settings: ApiSettings, ports: &HttpPorts, bounds: HttpBounds) -> Router {
    let api = Arc::new(Api {
        settings,
        questions: ports.questions.clone(),
        directory: ports.directory.clone(),
        memberships: ports.memberships.clone(),
        patience: bounds.timeout() * 4 / 5,
    });
    Router::new()
        .route("/conversations", get(conversations::list))
        .route("/conversations/{conversation}", get(conversations::show))
        .route("/conversations/{conversation}/messages", get(messages::history))
        .route("/conversations/{conversation}/messages/{message}/replies", get(messages::replies))
        .route("/conversations/{conversation}/messages/{message}/edits", get(messages::edits))
        .fallback(async || Failure::NO_SUCH_PATH)
        .method_not_allowed_fallback(async || Failure::METHOD_NOT_ALLOWED)
        .with_state(api.clone())
        .layer(middleware::from_fn_with_state(api, access::guard))
}

const REFUSED: Failure = Failure::new(
    StatusCode::FORBIDDEN,
    "forbidden",
    "there is no such conversation, or you may not read it",
);
const NO_MESSAGE: Failure = Failure::not_found("the conversation has no such message");
const GONE: Failure = Failure::new(StatusCode::GONE, "gone", "the message is deleted");
const REVOKED: Failure =
    Failure::new(StatusCode::UNAUTHORIZED, "token_revoked", "the token was revoked");
const UNREADABLE: Failure =
    Failure::unavailable("storage_unavailable", "the server cannot read this at the moment");

impl Api {
    /// Asks the shard that owns the conversation; the answer comes later.
    fn ask(
        &self,
        caller: &Caller,
        conversation: ConversationId,
        about: About,
    ) -> Result<oneshot::Receiver<Answer>, Failure> {
        let (sender, receiver) = oneshot::channel();
        // A receiver that has given up wants no answer.
        let to = Box::new(move |answer| {
            let _ = sender.send(answer);
        });
        let asker = Asker::User(caller.identity.clone());
        let question = Question { conversation, asker, about };
        match self.questions.ask(question, to) {
            Ok(()) => Ok(receiver),
            Err(_) => Err(failure_of(&Answer::Busy)),
        }
    }

    async fn answer(
        &self,
        caller: &Caller,
        conversation: ConversationId,
        about: About,
    ) -> Result<Answer, Failure> {
        let waiting = self.ask(caller, conversation, about)?;
        awaited(caller, waiting).await
    }

    /// Reads the directory on a blocking thread.
    async fn read<T: Send + 'static>(
        &self,
        caller: &Caller,
        read: impl FnOnce() -> Result<T, Unreadable> + Send + 'static,
    ) -> Result<T, Failure> {
        let work = tokio::task::spawn_blocking(read);
        match tokio::time::timeout_at(caller.until, work).await {
            Ok(Ok(Ok(found))) => Ok(found),
            outcome => {
                tracing::error!(is_late = outcome.is_err(), "the directory could not be read");
                Err(UNREADABLE)
            }
        }
    }
}

/// An answer that came in time. What is no answer to a user's question is a failure.
async fn awaited(caller: &Caller, waiting: oneshot::Receiver<Answer>) -> Result<Answer, Failure> {
    match tokio::time::timeout_at(caller.until, waiting).await {
        Ok(Ok(answer)) => Ok(answer),
        // The server stops, or is far behind.
        Ok(Err(_)) | Err(_) => Err(UNREADABLE),
    }
}

fn failure_of(answer: &Answer) -> Failure {
    match answer {
        Answer::Refused(CloseReason::TokenRevoked) => REVOKED,
        Answer::Refused(_) | Answer::NoConversation => REFUSED,
        Answer::NoMessage => NO_MESSAGE,
        Answer::Gone => GONE,
        Answer::Busy => Failure::unavailable("overload", "too many questions wait; ask again"),
        Answer::Unavailable | Answer::Standing(_) | Answer::History(_) | Answer::Edits(_) => {
            UNREADABLE
        }
    }
}

/// JSON as the encoder wrote it.
fn json(body: Vec<u8>) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ([kind], body).into_response()
}
