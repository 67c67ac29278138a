//! Who may enter, and who may do what.

use crate::model::{
    Access, Admission, CloseReason, Command, ConversationId, Identity, Profile, Role,
};

/// Decides on a socket by the token and by what the store knows: the role it has, and how its user is
/// shown. "No such conversation" and "not a member" look alike from outside.
pub fn admit(
    access: Access,
    identity: &Identity,
    admission: &Admission,
    conversation: &ConversationId,
) -> Result<(Role, Profile), CloseReason> {
    if let Some(before) = admission.revoked_before
        && identity.issued_at_ms.is_none_or(|issued| issued < before.0)
    {
        return Err(CloseReason::TokenRevoked);
    }
    let role = match access {
        Access::Members if admission.conversation_exists => admission.role,
        Access::Members => None,
        Access::Claim => identity
            .scope
            .as_ref()
            .filter(|scope| scope.covers(conversation))
            .map(|_| identity.role.unwrap_or(Role::Member)),
        Access::Open => Some(identity.role.unwrap_or(Role::Member)),
    };
    let role = role.ok_or(CloseReason::Forbidden)?;
    Ok((role, identity.profile(admission.profile.as_ref())))
}

/// Whether a role may use a command at all; whose message it is comes later.
pub fn may(role: Role, command: &Command<'_>) -> bool {
    match command {
        Command::Read { .. } => true,
        Command::Send { .. }
        | Command::Typing { .. }
        | Command::React { .. }
        | Command::Edit { .. }
        | Command::Delete { .. } => role >= Role::Member,
    }
}

/// Whether a role may change what others wrote.
pub fn may_moderate(role: Role) -> bool {
    role >= Role::Moderator
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Scope, UserId, Wall};

    fn identity() -> Identity {
        Identity {
            user: UserId::from_number(1).unwrap(),
            email: None,
            first_name: Some("Ada".to_owned()),
            last_name: None,
            role: None,
            scope: None,
            issued_at_ms: Some(1_000),
            expires_at_ms: 2_000,
        }
    }

    fn room(text: &str) -> ConversationId {
        ConversationId::parse(text).unwrap()
    }

    #[test]
    fn each_mode_looks_where_it_should() {
        let check = |access, identity: &Identity, admission: &Admission, expected| {
            let found = admit(access, identity, admission, &room("7")).map(|(role, _)| role);
            assert_eq!(found, expected, "{access:?} {admission:?}");
        };
        let nobody = Admission::default();
        let member = Admission {
            conversation_exists: true,
            role: Some(Role::ReadOnly),
            ..Admission::default()
        };
        let gone = Admission { conversation_exists: false, ..member.clone() };
        let token_admin = Identity { role: Some(Role::Admin), ..identity() };
        let scoped = Identity { scope: Some(Scope::Listed([room("7")].into())), ..identity() };
        let elsewhere = Identity { scope: Some(Scope::Listed([room("8")].into())), ..identity() };
        let all = Identity { scope: Some(Scope::All), role: Some(Role::Moderator), ..identity() };

        check(Access::Members, &identity(), &nobody, Err(CloseReason::Forbidden));
        check(Access::Members, &token_admin, &member, Ok(Role::ReadOnly));
        check(Access::Members, &identity(), &gone, Err(CloseReason::Forbidden));
        check(Access::Claim, &identity(), &member, Err(CloseReason::Forbidden));
        check(Access::Claim, &elsewhere, &member, Err(CloseReason::Forbidden));
        check(Access::Claim, &scoped, &nobody, Ok(Role::Member));
        check(Access::Claim, &all, &nobody, Ok(Role::Moderator));
        check(Access::Open, &identity(), &nobody, Ok(Role::Member));
        check(Access::Open, &token_admin, &nobody, Ok(Role::Admin));
    }

    #[test]
    fn tokens_from_before_a_revocation_are_refused_and_so_are_undated_ones() {
        let check = |issued_at_ms, expected: Result<(), CloseReason>| {
            let admission = Admission { revoked_before: Some(Wall(1_000)), ..Admission::default() };
            let identity = Identity { issued_at_ms, ..identity() };
            let found = admit(Access::Open, &identity, &admission, &room("7")).map(|_| ());
            assert_eq!(found, expected, "{issued_at_ms:?}");
        };
        check(Some(999), Err(CloseReason::TokenRevoked));
        check(None, Err(CloseReason::TokenRevoked));
        check(Some(1_000), Ok(()));
    }
}
