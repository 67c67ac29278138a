//! What a v2 socket asks for itself: a sign of life, and to go on with a newer token.

use loquat::auth::{NewToken, issue};
use loquat::limits::{Limits, Rate};
use loquat::model::{Access, ConversationId, Role, UserId, Wall};
use loquat::node::admin::AdminCommand;
use loquat::node::guard::Buckets;
use serde_json::json;

use super::client::{Knock, chat};
use super::past;
use super::world::{Mode, Setup, World};

#[test]
fn a_pong_comes_behind_every_event_that_it_names() {
    for wide_threshold in [1, 1_024] {
        let mut world = World::new(Setup { cores: 2, wide_threshold, ..Setup::default() });
        let owner = world.owner(1);
        let ann = world.connect(Knock { core: owner, ..Knock::default() });
        let bob = world.connect(Knock { core: 1 - owner, user: 2, ..Knock::default() });
        for n in 0..20 {
            world.push(ann, &chat("x"));
            world.push(bob, &json!({"type": "ping", "ref": format!("p{n}")}));
            world.round();
        }
        world.settle();
        assert_eq!(world.count(bob, "pong"), 20);
        assert_eq!(world.last(bob, "pong")["ref"], "p19");
        world.finish();
    }
}

#[test]
fn a_question_about_the_past_counts_as_ten_frames() {
    let limits = Limits { frames: Rate { per_second: 1, burst: 20 }, ..Limits::DEFAULT };
    let mut world = World::new(Setup { limits, buckets: Buckets::On, ..Setup::default() });
    let ann = world.enter(1, 1);
    let question = past::ask("newest", 1, 5);
    for _ in 0..3 {
        world.send(ann, &question);
    }
    assert_eq!(world.count(ann, "history"), 2);
    let error = world.last(ann, "error");
    let expected = (&json!("rate_limited"), &question["ref"], &json!(10_000));
    assert_eq!((&error["code"], &error["ref"], &error["retry_after_ms"]), expected);
    world.finish();
}

/// Nobody answers pings here.
fn patient(setup: Setup) -> World {
    let limits = Limits { ping_after_ms: 1 << 40, ..Limits::DEFAULT };
    World::new(Setup { limits, ..setup })
}

/// A token of `user` that ends in so many seconds.
fn token(world: &World, user: u64, ttl_s: u64) -> String {
    let user = UserId::from_number(user).unwrap();
    let claims = NewToken::new(&user, ttl_s, &world.rules);
    issue(&world.key, &claims, world.now.wall, "0123456789abcdef").unwrap()
}

fn enter_with(world: &mut World, core: usize, token: &str) -> usize {
    world.connect(Knock { core, user: 2, token: Some(token), ..Knock::default() })
}

#[test]
fn a_session_is_warned_before_its_token_ends_and_closed_after_a_grace() {
    let mut world = patient(Setup::default());
    let short = token(&world, 2, 300);
    let bob = enter_with(&mut world, 0, &short);
    world.advance(269_000);
    assert_eq!(world.count(bob, "token_expiring"), 0);
    world.advance(2_000);
    assert_eq!(world.last(bob, "token_expiring")["expires_in_ms"], json!(30_000));
    world.advance(58_000);
    assert!(world.is_open(bob));
    world.advance(2_000);
    assert_eq!((world.close_code(bob), world.count(bob, "token_expiring")), (Some(4001), 1));
    world.finish();
}

#[test]
fn a_v1_socket_outlives_its_token() {
    let mut world = patient(Setup::default());
    let short = token(&world, 2, 20);
    let version = loquat::model::Version::V1;
    let knock = Knock { user: 2, version, token: Some(&short), ..Knock::default() };
    let bob = world.connect(knock);
    world.advance(500_000);
    assert!(world.is_open(bob));
    world.finish();
}

#[test]
fn a_newer_token_carries_the_session_on_here_and_on_another_core() {
    let mut world = patient(Setup { cores: 2, wide_threshold: 1, ..Setup::default() });
    let owner = world.owner(1);
    world.connect(Knock { core: owner, ..Knock::default() });
    for core in [owner, 1 - owner] {
        let short = token(&world, 2, 40);
        let bob = enter_with(&mut world, core, &short);
        world.advance(20_000);
        let newer = token(&world, 2, 300);
        world.send(bob, &json!({"type": "token_refresh", "ref": "t", "token": newer}));
        assert_eq!(world.last(bob, "ack")["ref"], "t");
        world.advance(200_000);
        assert!(world.is_open(bob));
        world.advance(150_000);
        assert_eq!((world.close_code(bob), world.count(bob, "token_expiring")), (Some(4001), 2));
    }
    world.finish();
}

#[test]
fn another_users_token_and_one_that_does_not_hold_change_nothing() {
    let mut world = patient(Setup::default());
    let short = token(&world, 2, 100);
    let bob = enter_with(&mut world, 0, &short);
    let (others, forged) = (token(&world, 3, 900), "a.b.c".to_owned());
    for (n, bad) in [others, forged].iter().enumerate() {
        world.send(bob, &json!({"type": "token_refresh", "ref": format!("{n}"), "token": bad}));
        let error = world.last(bob, "error");
        assert_eq!((&error["code"], &error["ref"]), (&json!("forbidden"), &json!(n.to_string())));
    }
    world.advance(131_000);
    assert_eq!(world.close_code(bob), Some(4001));
    world.finish();
}

#[test]
fn a_token_that_was_revoked_meanwhile_ends_the_session() {
    let mut world = patient(Setup::default());
    let short = token(&world, 2, 100);
    let bob = enter_with(&mut world, 0, &short);
    let old = token(&world, 2, 900);
    world.advance(10_000);
    let user = UserId::from_number(2).unwrap();
    let issued_before = Some(Wall(world.now.wall.0 - 5_000));
    world.admin(0, AdminCommand::Revoke { user, issued_before });
    assert_eq!(world.close_code(bob), Some(4001));
    let short = token(&world, 2, 100);
    let bob = enter_with(&mut world, 0, &short);
    world.send(bob, &json!({"type": "token_refresh", "token": old}));
    assert_eq!(world.close_code(bob), Some(4001));
    world.finish();
}

#[test]
fn a_member_who_was_removed_while_the_token_was_looked_at_does_not_come_back_by_it() {
    let mut world = World::new(Setup { access: Access::Members, ..Setup::default() });
    let conversation = ConversationId::from_number(1).unwrap();
    let user = UserId::from_number(2).unwrap();
    world.admin(0, AdminCommand::CreateConversation { conversation: conversation.clone() });
    let member = |role| AdminCommand::SetMember {
        conversation: conversation.clone(),
        user: user.clone(),
        role,
    };
    world.admin(0, member(Role::Member));
    let short = token(&world, 2, 100);
    let bob = enter_with(&mut world, 0, &short);
    world.reader_mode = Mode::Held;
    let newer = token(&world, 2, 900);
    world.send(bob, &json!({"type": "token_refresh", "token": newer}));
    let removal =
        AdminCommand::RemoveMember { conversation: conversation.clone(), user: user.clone() };
    world.admin(0, removal);
    world.reader_mode = Mode::Auto;
    world.settle();
    assert_eq!(world.close_code(bob), Some(4004));
    world.finish();
}

#[test]
fn one_newer_token_at_a_time_is_looked_at() {
    for wide_threshold in [1, 1_024] {
        let mut world = patient(Setup { cores: 2, wide_threshold, ..Setup::default() });
        let owner = world.owner(1);
        world.connect(Knock { core: owner, ..Knock::default() });
        let short = token(&world, 2, 100);
        let bob = enter_with(&mut world, 1 - owner, &short);
        world.reader_mode = Mode::Held;
        let newer = token(&world, 2, 900);
        let refresh =
            |name: &str| json!({"type": "token_refresh", "ref": name, "token": newer.clone()});
        for n in 0..50 {
            world.send(bob, &refresh(&format!("t{n}")));
        }
        assert_eq!(world.seats[owner].loads.len(), 1);
        assert_eq!(world.errors(bob), ["rate_limited"; 49]);
        assert!(world.last(bob, "error")["retry_after_ms"].is_u64());
        world.reader_mode = Mode::Auto;
        while world.answer_load(owner) {}
        world.settle();
        assert_eq!(world.last(bob, "ack")["ref"], "t0");
        // Neither an answer nor a failure is in the way of the next one.
        world.reader_mode = Mode::Fails;
        world.send(bob, &refresh("fails"));
        let error = world.last(bob, "error");
        assert_eq!(
            (&error["code"], &error["ref"]),
            (&json!("storage_unavailable"), &json!("fails"))
        );
        world.reader_mode = Mode::Auto;
        world.send(bob, &refresh("last"));
        assert_eq!(world.last(bob, "ack")["ref"], "last");
        world.finish();
    }
}
