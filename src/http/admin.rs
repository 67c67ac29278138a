//! The admin API: who belongs to which conversation, how users are shown, kicks and revocations.
//! Each change is answered once a shard says that it is durable; described in `docs/http.md`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::oneshot;

use super::failure::Failure;
use super::handover::{Counters, count};
use super::input::{
    InConversation, Input, MemberBody, Nothing, OfUser, Page, ProfileBody, RevokeBody,
};
use super::ports::{
    ConversationEntry, Directory, Health, MemberEntry, Metrics, Shards, Unreadable,
};
use super::token::AdminToken;
use super::{HttpBounds, HttpPorts, admin_erase, health, instant, metrics};
use crate::model::{ConversationId, Profile, Role, UserId, Wall};
use crate::node::admin::{AdminAnswer, AdminCommand};

pub struct Admin {
    shards: Arc<dyn Shards>,
    directory: Arc<dyn Directory>,
    pub metrics: Arc<dyn Metrics>,
    pub counters: Arc<Counters>,
    pub bounds: HttpBounds,
}

pub type Answer<T> = Result<T, Failure>;

/// What guards the routes.
pub struct Guard {
    pub token: AdminToken,
    pub counters: Arc<Counters>,
}

/// Everything but health wants the token, unknown paths too.
pub fn routes(admin: Admin, ways: Router, guard: Guard, health: Arc<dyn Health>) -> Router {
    let guard = Arc::new(guard);
    let member = put(set_member).delete(remove_member);
    let conversation = put(create).get(show).delete(admin_erase::delete_conversation);
    Router::new()
        .route("/admin/conversations", get(list_conversations))
        .route("/admin/conversations/{conversation}", conversation)
        .route("/admin/conversations/{conversation}/retention", put(admin_erase::set_retention))
        .route("/admin/conversations/{conversation}/messages", post(admin_erase::send))
        .route(
            "/admin/conversations/{conversation}/messages/{message}",
            delete(admin_erase::delete_message),
        )
        .route("/admin/conversations/{conversation}/members", get(list_members))
        .route("/admin/conversations/{conversation}/members/{user}", member)
        .route("/admin/conversations/{conversation}/members/{user}/kick", post(kick))
        .route("/admin/users/{user}", put(set_profile))
        .route("/admin/users/{user}/revoke", post(revoke))
        .route("/admin/users/{user}/erase", post(admin_erase::erase).get(admin_erase::erasure))
        .route("/openapi.json", get(openapi))
        .route("/metrics", get(metrics::show))
        .fallback(async || Failure::NO_SUCH_PATH)
        .with_state(Arc::new(admin))
        .merge(ways)
        .layer(middleware::from_fn_with_state(guard, authorize))
        .merge(health::routes(health))
        .method_not_allowed_fallback(async || Failure::METHOD_NOT_ALLOWED)
}

async fn authorize(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if !bearer(request.headers()).is_some_and(|token| guard.token.matches(token)) {
        count(&guard.counters.unauthorized);
        let sentence = "this needs the header Authorization: Bearer <admin token>";
        return Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", sentence).into_response();
    }
    next.run(request).await
}

/// The token of the one Authorization header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut found = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (found.next()?.as_bytes(), found.next()) else { return None };
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

impl Admin {
    pub fn new(ports: &HttpPorts, bounds: HttpBounds, counters: Arc<Counters>) -> Admin {
        Admin {
            shards: ports.shards.clone(),
            directory: ports.directory.clone(),
            metrics: ports.metrics.clone(),
            counters,
            bounds,
        }
    }

    /// Sends a command and waits until its outcome is durable.
    pub async fn ask(&self, operation: &'static str, command: AdminCommand) -> Answer<AdminAnswer> {
        let (sender, receiver) = oneshot::channel();
        // A receiver that has given up wants no answer.
        let reply = Box::new(move |answer| {
            let _ = sender.send(answer);
        });
        if self.shards.send(command, reply).is_err() {
            let sentence = "too much is waiting; nothing was changed";
            return Err(Failure::unavailable("overload", sentence));
        }
        let answer = tokio::time::timeout(self.bounds.timeout(), receiver).await;
        tracing::info!(operation, answer = ?answer, "admin command");
        match answer {
            Ok(Ok(AdminAnswer::Unavailable)) => {
                let sentence = "the store takes no records now; nothing was changed";
                Err(Failure::unavailable("storage_unavailable", sentence))
            }
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => {
                let sentence = "no confirmation came in time; it may still happen: ask again";
                Err(Failure::unavailable("unconfirmed", sentence))
            }
        }
    }

    /// As [`Admin::ask`], for what is either done or has nobody to be done to.
    pub async fn change(
        &self,
        operation: &'static str,
        command: AdminCommand,
        missing: &'static str,
    ) -> Answer<()> {
        match self.ask(operation, command).await? {
            AdminAnswer::NotFound => Err(Failure::not_found(missing)),
            AdminAnswer::Refused(code) => Err(admin_erase::refused(code)),
            AdminAnswer::Done
            | AdminAnswer::Numbered { .. }
            | AdminAnswer::Exists
            | AdminAnswer::Unavailable => Ok(()),
        }
    }

    /// Reads the directory on a blocking thread.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Directory) -> Result<T, Unreadable> + Send + 'static,
    ) -> Answer<T> {
        let directory = self.directory.clone();
        let work = tokio::task::spawn_blocking(move || read(&*directory));
        match tokio::time::timeout(self.bounds.timeout(), work).await {
            Ok(Ok(Ok(found))) => Ok(found),
            outcome => {
                let is_late = outcome.is_err();
                tracing::error!(is_late, "the directory could not be read");
                let sentence = "the directory could not be read";
                Err(Failure::unavailable("storage_unavailable", sentence))
            }
        }
    }

    async fn conversation(&self, id: ConversationId) -> Answer<ConversationEntry> {
        let found = self.read(move |directory| directory.conversation(&id)).await?;
        found.ok_or(Failure::not_found(NO_CONVERSATION))
    }
}

pub const NO_CONVERSATION: &str = "there is no such conversation";
const NO_MEMBER: &str = "there is no such conversation, or the user is not a member of it";

#[derive(Serialize)]
struct ConversationJson {
    conversation_id: ConversationId,
    created_at: String,
}

#[derive(Serialize)]
struct ConversationName {
    conversation_id: ConversationId,
}

#[derive(Serialize)]
struct ConversationsJson {
    conversations: Vec<ConversationJson>,
    has_more: bool,
}

#[derive(Serialize)]
struct MemberJson {
    user_id: UserId,
    role: Role,
}

#[derive(Serialize)]
struct MembersJson {
    conversation_id: ConversationId,
    members: Vec<MemberJson>,
    has_more: bool,
}

#[derive(Serialize)]
struct MembershipJson {
    conversation_id: ConversationId,
    user_id: UserId,
    role: Role,
}

impl From<ConversationEntry> for ConversationJson {
    fn from(entry: ConversationEntry) -> ConversationJson {
        let created_at = instant::format(entry.created_at);
        ConversationJson { conversation_id: entry.conversation, created_at }
    }
}

impl From<MemberEntry> for MemberJson {
    fn from(entry: MemberEntry) -> MemberJson {
        MemberJson { user_id: entry.user, role: entry.role }
    }
}

/// One entry more than the page takes was read, if there is one.
fn has_more<T>(entries: &mut Vec<T>, limit: usize) -> bool {
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    has_more
}

pub type Shared = State<Arc<Admin>>;

async fn create(
    State(admin): Shared,
    InConversation(conversation): InConversation,
    Input(Nothing {}): Input<Nothing>,
) -> Answer<Response> {
    let command = AdminCommand::CreateConversation { conversation: conversation.clone() };
    let status = match admin.ask("create_conversation", command).await? {
        AdminAnswer::Done => StatusCode::CREATED,
        AdminAnswer::Exists => StatusCode::OK,
        AdminAnswer::NotFound
        | AdminAnswer::Unavailable
        | AdminAnswer::Numbered { .. }
        | AdminAnswer::Refused(_) => {
            return Err(Failure::not_found(NO_CONVERSATION));
        }
    };
    Ok((status, Json(ConversationName { conversation_id: conversation })).into_response())
}

async fn show(
    State(admin): Shared,
    InConversation(conversation): InConversation,
) -> Answer<Json<ConversationJson>> {
    admin.conversation(conversation).await.map(|entry| Json(entry.into()))
}

async fn list_conversations(
    State(admin): Shared,
    page: Page<ConversationId>,
) -> Answer<Json<ConversationsJson>> {
    let Page { after, limit } = page;
    let mut entries =
        admin.read(move |directory| directory.conversations(after.as_ref(), limit + 1)).await?;
    let has_more = has_more(&mut entries, limit);
    let conversations = entries.into_iter().map(ConversationJson::from).collect();
    Ok(Json(ConversationsJson { conversations, has_more }))
}

async fn list_members(
    State(admin): Shared,
    InConversation(conversation): InConversation,
    page: Page<UserId>,
) -> Answer<Json<MembersJson>> {
    let Page { after, limit } = page;
    let conversation = admin.conversation(conversation).await?.conversation;
    let id = conversation.clone();
    let mut entries =
        admin.read(move |directory| directory.members(&id, after.as_ref(), limit + 1)).await?;
    let has_more = has_more(&mut entries, limit);
    let members = entries.into_iter().map(MemberJson::from).collect();
    Ok(Json(MembersJson { conversation_id: conversation, members, has_more }))
}

async fn set_member(
    State(admin): Shared,
    InConversation(conversation): InConversation,
    OfUser(user): OfUser,
    Input(MemberBody { role }): Input<MemberBody>,
) -> Answer<Json<MembershipJson>> {
    let command =
        AdminCommand::SetMember { conversation: conversation.clone(), user: user.clone(), role };
    admin.change("set_member", command, NO_CONVERSATION).await?;
    Ok(Json(MembershipJson { conversation_id: conversation, user_id: user, role }))
}

async fn remove_member(
    State(admin): Shared,
    InConversation(conversation): InConversation,
    OfUser(user): OfUser,
    Input(Nothing {}): Input<Nothing>,
) -> Answer<StatusCode> {
    let command = AdminCommand::RemoveMember { conversation, user };
    admin.change("remove_member", command, NO_MEMBER).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn kick(
    State(admin): Shared,
    InConversation(conversation): InConversation,
    OfUser(user): OfUser,
    Input(Nothing {}): Input<Nothing>,
) -> Answer<StatusCode> {
    let command = AdminCommand::Kick { conversation, user };
    let missing = "there is no such conversation, or the user has no live socket in it";
    admin.change("kick", command, missing).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_profile(
    State(admin): Shared,
    OfUser(user): OfUser,
    Input(body): Input<ProfileBody>,
) -> Answer<Json<Profile>> {
    let profile = body.profile(user)?;
    let command = AdminCommand::SetProfile { profile: profile.clone() };
    admin.change("set_profile", command, "there is no such user").await?;
    Ok(Json(profile))
}

async fn revoke(
    State(admin): Shared,
    OfUser(user): OfUser,
    Input(body): Input<RevokeBody>,
) -> Answer<StatusCode> {
    let issued_before = body.issued_before(now())?;
    let command = AdminCommand::Revoke { user, issued_before };
    admin.change("revoke", command, "there is no such user").await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn openapi() -> Answer<Response> {
    let kind = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    let text = super::openapi::text();
    text.map(|text| (kind, text).into_response()).ok_or(Failure::NO_SUCH_PATH)
}

fn now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
