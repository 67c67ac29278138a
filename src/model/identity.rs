//! Who someone is, and what they may do.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{ConversationId, UserId};

/// How a user is shown to others. Stored with each message, so that a replay has the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Profile {
    pub id: UserId,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
}

impl Profile {
    pub fn nameless(id: UserId) -> Profile {
        Profile { id, email: String::new(), first_name: String::new(), last_name: String::new() }
    }

    /// Who speaks when the operator's own backend does: a user like any other to clients, which cannot
    /// show a message without a sender.
    pub fn system() -> Profile {
        Profile { first_name: "System".to_owned(), ..Profile::nameless(UserId::system()) }
    }

    /// "First Last" trimmed, else the e-mail, else `User <id>`.
    pub fn display_name(&self) -> String {
        let full = format!("{} {}", self.first_name.trim(), self.last_name.trim());
        match (full.trim(), self.email.as_str()) {
            ("", "") => format!("User {}", self.id),
            ("", email) => email.to_owned(),
            (name, _) => name.to_owned(),
        }
    }
}

/// Rising rights: each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Receipts only.
    ReadOnly,
    /// Send, react, type; edit and delete one's own.
    Member,
    /// Edit and delete others' messages.
    Moderator,
    /// Change members, kick.
    Admin,
}

impl Role {
    pub fn parse(text: &str) -> Option<Role> {
        Some(match text {
            "read_only" => Role::ReadOnly,
            "member" => Role::Member,
            "moderator" => Role::Moderator,
            "admin" => Role::Admin,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Role::ReadOnly => "read_only",
            Role::Member => "member",
            Role::Moderator => "moderator",
            Role::Admin => "admin",
        }
    }
}

/// The token's `conversations` claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    All,
    Listed(Arc<[ConversationId]>),
}

impl Scope {
    pub fn covers(&self, conversation: &ConversationId) -> bool {
        match self {
            Scope::All => true,
            Scope::Listed(listed) => listed.contains(conversation),
        }
    }
}

/// What a verified token says. Names are `None` where the token has no such claim: the user
/// directory fills them in.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    pub user: UserId,
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub role: Option<Role>,
    pub scope: Option<Scope>,
    /// `iat` in ms since the Unix epoch, where the token has one: compared with revocations.
    pub issued_at_ms: Option<u64>,
    /// `exp` in ms since the Unix epoch.
    pub expires_at_ms: u64,
}

impl Identity {
    /// The token's names, completed from the directory.
    pub fn profile(&self, directory: Option<&Profile>) -> Profile {
        let pick = |claim: &Option<String>, known: fn(&Profile) -> &String| {
            claim.clone().or_else(|| directory.map(|p| known(p).clone())).unwrap_or_default()
        };
        Profile {
            id: self.user.clone(),
            email: pick(&self.email, |p| &p.email),
            first_name: pick(&self.first_name, |p| &p.first_name),
            last_name: pick(&self.last_name, |p| &p.last_name),
        }
    }
}

/// Who may enter a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// The conversation exists and the user is a member of it, by the directory.
    Members,
    /// The token's `conversations` claim.
    Claim,
    /// Anyone with a valid token.
    Open,
}
