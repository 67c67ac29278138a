//! Who may enter, and who may do what (PROTOCOL "Who may do what"). Pure functions: the shard asks when
//! a socket wants in, the conversation on every command.

use crate::model::{
    Access, Admission, CloseReason, Command, ConversationId, Identity, Profile, Role,
};

/// What the rights are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Read,
    Type,
    Send,
    React,
    /// Edits and deletes one's own messages.
    ChangeOwn,
    /// Edits and deletes others' messages.
    ChangeOthers,
    /// Changes members, kicks.
    Manage,
}

/// Whether a role has a right.
pub fn can(role: Role, action: Action) -> bool {
    let least = match action {
        Action::Read => Role::ReadOnly,
        Action::Type | Action::Send | Action::React | Action::ChangeOwn => Role::Member,
        Action::ChangeOthers => Role::Moderator,
        Action::Manage => Role::Admin,
    };
    role >= least
}

impl Action {
    /// The least that a command needs; whose message it is comes later.
    pub fn of(command: &Command<'_>) -> Action {
        match command {
            Command::Send { .. } => Action::Send,
            Command::Typing { .. } => Action::Type,
            Command::Read { .. } => Action::Read,
            Command::React { .. } => Action::React,
            Command::Edit { .. } | Command::Delete { .. } => Action::ChangeOwn,
        }
    }
}

/// Lets a user with a verified token in, with role and names, or says why not. "Not a member" and "no
/// such conversation" are told alike.
pub fn admit(
    access: Access,
    identity: &Identity,
    admission: &Admission,
    conversation: &ConversationId,
) -> Result<(Role, Profile), CloseReason> {
    if is_revoked(identity, admission) {
        return Err(CloseReason::TokenRevoked);
    }
    if admission.is_deleted {
        return Err(CloseReason::Forbidden);
    }
    let claimed = identity.role.unwrap_or(Role::Member);
    let role = match access {
        Access::Members => admission.role.filter(|_| admission.conversation_exists),
        Access::Claim => {
            let covers = identity.scope.as_ref().is_some_and(|scope| scope.covers(conversation));
            covers.then_some(claimed)
        }
        Access::Open => Some(claimed),
    };
    let role = role.ok_or(CloseReason::Forbidden)?;
    Ok((role, identity.profile(admission.profile.as_ref())))
}

/// A token without `iat` cannot show that it is newer than a revocation.
fn is_revoked(identity: &Identity, admission: &Admission) -> bool {
    match (admission.revoked_before, identity.issued_at_ms) {
        (Some(before), Some(issued_at_ms)) => issued_at_ms < before.0,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Scope, UserId, Wall};

    fn room(id: u64) -> ConversationId {
        ConversationId::from_number(id).unwrap()
    }

    fn token(role: Option<Role>, scope: Option<Scope>, issued_at_ms: Option<u64>) -> Identity {
        Identity {
            user: UserId::from_number(1).unwrap(),
            email: None,
            first_name: Some("Ann".into()),
            last_name: None,
            role,
            scope,
            issued_at_ms,
            expires_at_ms: u64::MAX,
        }
    }

    fn known(exists: bool, role: Option<Role>, revoked_before: Option<u64>) -> Admission {
        Admission {
            conversation_exists: exists,
            role,
            revoked_before: revoked_before.map(Wall),
            ..Admission::default()
        }
    }

    fn check(
        access: Access,
        identity: Identity,
        admission: Admission,
        expected: Result<Role, CloseReason>,
    ) {
        let verdict = admit(access, &identity, &admission, &room(7)).map(|(role, _)| role);
        assert_eq!(verdict, expected, "{access:?} {identity:?} {admission:?}");
    }

    #[test]
    fn with_members_only_the_directory_counts() {
        let admin = || token(Some(Role::Admin), Some(Scope::All), None);
        let forbidden = Err(CloseReason::Forbidden);
        check(
            Access::Members,
            admin(),
            known(true, Some(Role::ReadOnly), None),
            Ok(Role::ReadOnly),
        );
        check(Access::Members, admin(), known(true, None, None), forbidden);
        check(Access::Members, admin(), known(false, Some(Role::Member), None), forbidden);
        check(Access::Members, admin(), known(false, None, None), forbidden);
    }

    #[test]
    fn with_claim_the_token_lists_the_conversations() {
        let listed = |id| Some(Scope::Listed([room(id)].into()));
        let nothing = || known(false, None, None);
        check(Access::Claim, token(None, listed(7), None), nothing(), Ok(Role::Member));
        check(Access::Claim, token(None, Some(Scope::All), None), nothing(), Ok(Role::Member));
        check(
            Access::Claim,
            token(Some(Role::Moderator), listed(7), None),
            nothing(),
            Ok(Role::Moderator),
        );
        check(Access::Claim, token(None, listed(8), None), nothing(), Err(CloseReason::Forbidden));
        check(Access::Claim, token(None, None, None), nothing(), Err(CloseReason::Forbidden));
    }

    #[test]
    fn open_takes_anyone() {
        check(Access::Open, token(None, None, None), known(false, None, None), Ok(Role::Member));
        let reader = token(Some(Role::ReadOnly), None, None);
        check(Access::Open, reader, known(true, Some(Role::Admin), None), Ok(Role::ReadOnly));
    }

    #[test]
    fn what_was_deleted_takes_nobody_in_any_mode() {
        for access in [Access::Members, Access::Claim, Access::Open] {
            let deleted = Admission { is_deleted: true, ..known(true, Some(Role::Admin), None) };
            let admin = token(Some(Role::Admin), Some(Scope::All), None);
            check(access, admin, deleted, Err(CloseReason::Forbidden));
        }
    }

    #[test]
    fn tokens_from_before_a_revocation_are_refused() {
        let revoked = Err(CloseReason::TokenRevoked);
        let at = |issued_at_ms| token(None, None, issued_at_ms);
        check(Access::Open, at(Some(99)), known(true, None, Some(100)), revoked);
        check(Access::Open, at(None), known(true, None, Some(100)), revoked);
        check(Access::Open, at(Some(100)), known(true, None, Some(100)), Ok(Role::Member));
        check(Access::Members, at(Some(99)), known(false, None, Some(100)), revoked);
    }

    #[test]
    fn names_come_from_the_token_then_from_the_directory() {
        let admission = Admission {
            profile: Some(Profile {
                id: UserId::from_number(1).unwrap(),
                email: "ann@example.com".into(),
                first_name: "Anna".into(),
                last_name: "Lee".into(),
            }),
            ..known(true, None, None)
        };
        let (_, profile) =
            admit(Access::Open, &token(None, None, None), &admission, &room(7)).unwrap();
        let names = (&*profile.email, &*profile.first_name, &*profile.last_name);
        assert_eq!(names, ("ann@example.com", "Ann", "Lee"));
    }

    #[test]
    fn rights_rise_with_the_role() {
        use Action::*;
        let check = |role, expected: &[Action]| {
            let all = [Read, Type, Send, React, ChangeOwn, ChangeOthers, Manage];
            let allowed: Vec<_> = all.into_iter().filter(|&action| can(role, action)).collect();
            assert_eq!(allowed, expected, "{role:?}");
        };
        check(Role::ReadOnly, &[Read]);
        check(Role::Member, &[Read, Type, Send, React, ChangeOwn]);
        check(Role::Moderator, &[Read, Type, Send, React, ChangeOwn, ChangeOthers]);
        check(Role::Admin, &[Read, Type, Send, React, ChangeOwn, ChangeOthers, Manage]);
    }
}
