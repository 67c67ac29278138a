//! `POST /admin/conversations/{conversation}/import`: a conversation comes in whole, or not at all.
//!
//! ```text
//! body → lines, checked and staged (a thread) → ids set aside, leases given up → ids free? →
//!     the shard's record: from here on it is there → pages → 201
//! ```
//! What comes after staging goes on even if the client leaves.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::admin_export::now;
use super::failure::Failure;
use super::input::InConversation;
use super::intake::{Intake, Refused};
use super::long::{Patience, STALL};
use super::transfer::Ways;
use crate::limits::IMPORT_BYTES_MAX;
use crate::model::{ConversationId, Import};
use crate::node::admin::{AdminAnswer, AdminCommand};
use crate::store::Staged;

/// Chunks between the connection and the thread that stages them.
const CHUNKS: usize = 4;

const BUSY: Failure =
    Failure::unavailable("overload", "another import is under way; nothing was imported");
const EXISTS: Failure = Failure::new(
    StatusCode::CONFLICT,
    "exists",
    "there is a conversation of this name; nothing was imported",
);
const UNAVAILABLE: Failure = Failure::unavailable(
    "storage_unavailable",
    "the store cannot take it now; nothing was imported",
);
const NO_SPACE: Failure = Failure::new(
    StatusCode::INSUFFICIENT_STORAGE,
    "no_space",
    "the disk has no room for it; nothing was imported",
);
const TOO_LARGE: Failure = Failure::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "too_large",
    "an import is at most 1 GiB and 5,000,000 lines; nothing was imported",
);
const TIMEOUT: Failure = Failure::new(
    StatusCode::REQUEST_TIMEOUT,
    "timeout",
    "the body stood still for too long; nothing was imported",
);
const BROKEN_OFF: Failure =
    Failure::new(StatusCode::BAD_REQUEST, "broken_off", "the body broke off; nothing was imported");
const UNCONFIRMED: Failure = Failure::unavailable(
    "unconfirmed",
    "no confirmation came in time; it may still happen: ask for the import's state",
);

#[derive(Serialize)]
struct StateJson {
    conversation_id: ConversationId,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    built: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
}

#[derive(Serialize)]
struct RefusedJson {
    error: String,
    code: &'static str,
    line: u32,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Refused::Line { line, why, code } => {
                let error = format!("line {line}: {why}; nothing was imported");
                let body = Json(RefusedJson { error, code, line });
                let status =
                    if code == "id_taken" { StatusCode::CONFLICT } else { StatusCode::BAD_REQUEST };
                (status, body).into_response()
            }
            Refused::TooLarge => TOO_LARGE.into_response(),
            Refused::NoSpace => NO_SPACE.into_response(),
            Refused::BrokenOff => BROKEN_OFF.into_response(),
            Refused::Unavailable => UNAVAILABLE.into_response(),
        }
    }
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Response {
        failure.into_response()
    }
}

type Outcome<T> = Result<T, Response>;

pub async fn import(
    State(ways): State<Arc<Ways>>,
    patience: Option<Extension<Patience>>,
    InConversation(conversation): InConversation,
    request: Request,
) -> Response {
    let _needed = patience.map(|Extension(patience)| patience.need());
    match take(ways, conversation, request.into_body()).await {
        Ok(response) | Err(response) => response,
    }
}

async fn take(ways: Arc<Ways>, conversation: ConversationId, body: Body) -> Outcome<Response> {
    let permit = ways.imports.clone().try_acquire_owned().map_err(|_| BUSY)?;
    ways.check_free(&conversation).await?;
    let staged = stage(&ways, conversation, body).await?;
    let work = tokio::spawn(ways.publish(staged, permit));
    match work.await {
        Ok(outcome) => outcome,
        Err(_) => Err(UNCONFIRMED.into()),
    }
}

/// Gives the body to the thread that checks and stages it, as fast as that goes.
async fn stage(ways: &Arc<Ways>, conversation: ConversationId, mut body: Body) -> Outcome<Staged> {
    let (chunks, taken) = mpsc::channel::<Option<Bytes>>(CHUNKS);
    let (done, outcome) = oneshot::channel();
    let mut intake = Intake::new(ways.transfers.clone(), ways.bounds.content_chars, now());
    std::thread::Builder::new()
        .name("http-import".to_owned())
        .spawn(move || {
            let _ = done.send(intake.run(conversation, taken));
        })
        .map_err(|_| BUSY)?;
    let sent = send_body(&mut body, &chunks).await;
    drop(chunks);
    let outcome = outcome.await.unwrap_or(Err(Refused::Unavailable));
    // What the thread found wrong is said first: the rest of the body was not looked at.
    match (outcome, sent) {
        (Ok(staged), Ok(())) => Ok(staged),
        (Err(Refused::BrokenOff), Err(failure)) => Err(failure.into()),
        (Err(refused), _) => Err(refused.into_response()),
        (Ok(_), Err(failure)) => Err(failure.into()),
    }
}

/// A last `None` says that the body was whole.
async fn send_body(body: &mut Body, chunks: &mpsc::Sender<Option<Bytes>>) -> Result<(), Failure> {
    let mut bytes = 0;
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        let frame = match tokio::time::timeout(STALL, frame).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(BROKEN_OFF),
            Ok(None) => break,
            Err(_) => return Err(TIMEOUT),
        };
        let Ok(chunk) = frame.into_data() else { continue };
        bytes += chunk.len() as u64;
        if bytes > IMPORT_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        if chunks.send(Some(chunk)).await.is_err() {
            return Ok(());
        }
    }
    // A thread that is gone has said why.
    let _ = chunks.send(None).await;
    Ok(())
}

impl Ways {
    async fn check_free(&self, conversation: &ConversationId) -> Outcome<()> {
        let (transfers, conversation) = (self.transfers.clone(), conversation.clone());
        let look = tokio::task::spawn_blocking(move || {
            transfers.importing(&conversation).is_some()
                || transfers.exists(&conversation).unwrap_or(true)
        });
        match look.await {
            Ok(false) => Ok(()),
            Ok(true) => Err(EXISTS.into()),
            Err(_) => Err(UNAVAILABLE.into()),
        }
    }

    /// Everything from the staged file to the answer.
    async fn publish(
        self: Arc<Self>,
        staged: Staged,
        permit: OwnedSemaphorePermit,
    ) -> Outcome<Response> {
        let staged = self.with_free_ids(staged).await?;
        let import = staged.import.clone();
        tracing::info!(
            conversation = %import.conversation,
            messages = import.messages,
            events = import.events,
            "an import is staged"
        );
        self.record(staged).await?;
        let built = self.built(&import).await;
        if !built {
            // The next import waits until this one's ids are in pages.
            tokio::spawn(self.hold(import.conversation.clone(), permit));
        }
        let status = if built { StatusCode::CREATED } else { StatusCode::ACCEPTED };
        let state = StateJson {
            conversation_id: import.conversation,
            state: if built { "done" } else { "building" },
            events: Some(import.events),
            built: None,
            messages: Some(import.messages),
        };
        Ok((status, Json(state)).into_response())
    }

    /// Sets the ids aside for good, then looks whether any of them was ever given to a message.
    async fn with_free_ids(&self, staged: Staged) -> Outcome<Staged> {
        let Some(&highest) = staged.ids().last() else { return Ok(staged) };
        let floor = highest + 1;
        self.transfers.raise(floor);
        let is_raised = || self.transfers.is_raised(floor).then_some(());
        self.until(self.soon(), is_raised).await.ok_or(UNAVAILABLE)?;
        self.ask(AdminCommand::RenewLease { floor }).await.map_err(|_| UNAVAILABLE)?;
        let transfers = self.transfers.clone();
        let look = tokio::task::spawn_blocking(move || (transfers.clash(&staged), staged));
        let Ok((clash, staged)) = look.await else { return Err(UNAVAILABLE.into()) };
        match clash {
            Ok(None) => Ok(staged),
            Ok(Some(at)) => {
                let line = staged.line_of(at);
                let why = "a message of this server has, or had, this id";
                Err(Refused::Line { line, why, code: "id_taken" }.into_response())
            }
            Err(error) => {
                tracing::error!(%error, "the ids of an import could not be looked up");
                Err(UNAVAILABLE.into())
            }
        }
    }

    async fn record(&self, mut staged: Staged) -> Outcome<()> {
        // From here on the record may be written, whatever we hear of it.
        staged.keep();
        let failure = match self.ask(AdminCommand::Import(staged.import.clone())).await {
            Ok(AdminAnswer::Done) => return Ok(()),
            Ok(AdminAnswer::Exists) => EXISTS,
            Ok(
                AdminAnswer::NotFound
                | AdminAnswer::Unavailable
                | AdminAnswer::Numbered { .. }
                | AdminAnswer::Refused(_),
            ) => UNAVAILABLE,
            Err(NoAnswer::Busy) => UNAVAILABLE,
            Err(NoAnswer::Late) => return Err(UNCONFIRMED.into()),
        };
        staged.discard();
        Err(failure.into())
    }

    async fn ask(&self, command: AdminCommand) -> Result<AdminAnswer, NoAnswer> {
        let (sender, answer) = oneshot::channel();
        let reply = Box::new(move |answer| {
            // A receiver that has given up wants no answer.
            let _ = sender.send(answer);
        });
        let sent = match command {
            AdminCommand::RenewLease { .. } => self.shards.send_to_all(command, reply),
            command => self.shards.send(command, reply),
        };
        sent.map_err(|_| NoAnswer::Busy)?;
        match tokio::time::timeout_at(self.soon(), answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(NoAnswer::Late),
        }
    }

    /// Whether pages have all of it before the request's time is up.
    async fn built(&self, import: &Import) -> bool {
        let is_built = || self.transfers.importing(&import.conversation).is_none().then_some(());
        self.until(self.soon(), is_built).await.is_some()
    }

    async fn hold(self: Arc<Self>, conversation: ConversationId, permit: OwnedSemaphorePermit) {
        let is_built = || self.transfers.importing(&conversation).is_none().then_some(());
        while self.until(self.soon(), is_built).await.is_none() {}
        drop(permit);
    }
}

enum NoAnswer {
    Busy,
    Late,
}

/// `GET` of the same path: how far it is.
pub async fn state(
    State(ways): State<Arc<Ways>>,
    InConversation(conversation): InConversation,
) -> Result<Response, Failure> {
    let progress = ways.transfers.importing(&conversation);
    if progress.is_none() && !exists(&ways, &conversation).await? {
        return Err(Failure::not_found("there is no such conversation"));
    }
    let state = StateJson {
        conversation_id: conversation,
        state: if progress.is_some() { "building" } else { "done" },
        events: progress.map(|progress| progress.events),
        built: progress.map(|progress| progress.built),
        messages: None,
    };
    Ok(Json(state).into_response())
}

async fn exists(ways: &Ways, conversation: &ConversationId) -> Result<bool, Failure> {
    let (transfers, id) = (ways.transfers.clone(), conversation.clone());
    match tokio::task::spawn_blocking(move || transfers.exists(&id)).await {
        Ok(Ok(exists)) => Ok(exists),
        Ok(Err(_)) | Err(_) => {
            let sentence = "the directory could not be read";
            Err(Failure::unavailable("storage_unavailable", sentence))
        }
    }
}
