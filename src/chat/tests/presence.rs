//! Who hears of whom, and when.

use super::Stage;
use super::stage::settings;
use crate::chat::Settings;
use crate::model::{Header, SessionId};

#[test]
fn the_first_socket_hears_of_itself_and_the_second_of_both() {
    let mut stage = Stage::new();
    stage.join(1);
    stage.check(&["one 1: 1 online"]);
    stage.pass(1_000);
    stage.join(2);
    stage.check(&["one 2: 2 online", "one 2: 1 online"]);
    stage.pass(49);
    stage.check(&[]);
    stage.pass(1);
    stage.check(&["before 2 but 2: 2 online"]);
}

#[test]
fn a_v2_socket_is_told_who_is_here_at_once() {
    let mut stage = Stage::new();
    stage.join_v2(2);
    stage.check(&["to 1: here 2 of 1"]);
    stage.pass(100);
    stage.join_v2(1);
    stage.join_v2(3);
    stage.check(&["to 2: here 1,2 of 2", "to 3: here 1,2,3 of 3"]);
    stage.pass(50);
    stage.check(&["before 2 but 1: 1 online", "before 3 but 3: 3 online"]);
}

#[test]
fn every_tab_hears_of_itself_and_others_only_of_the_first() {
    let mut stage = Stage::new();
    stage.join(1);
    stage.join(2);
    stage.pass(100);
    stage.take();
    stage.join(2);
    stage.pass(100);
    stage.check(&["one 3: 2 online", "one 3: 1 online"]);
}

#[test]
fn whoever_comes_in_the_same_tick_is_told_of_once() {
    let mut stage = Stage::new();
    for id in 1..=3 {
        stage.join(id);
        stage.pass(1);
    }
    stage.check(&[
        "one 1: 1 online",
        "one 2: 2 online",
        "one 2: 1 online",
        "one 3: 3 online",
        "one 3: 1 online",
        "one 3: 2 online",
    ]);
    stage.pass(48);
    stage.check(&["before 2 but 2: 2 online", "before 3 but 3: 3 online"]);
}

#[test]
fn those_who_come_at_one_moment_into_an_empty_conversation_hear_of_each_other_at_once() {
    let mut stage = Stage::new();
    for told in [
        ["before 2 but 2: 2 online", "before 3 but 3: 3 online"],
        ["before 5 but 2: 2 online", "before 6 but 3: 3 online"],
    ] {
        let sessions = [1, 2, 3].map(|id| stage.join(id));
        stage.take();
        stage.pass(0);
        stage.check(&told);
        for session in sessions {
            stage.leave(session);
        }
        stage.pass(10_000);
        stage.take();
    }
}

#[test]
fn the_first_tick_is_early_once() {
    let mut stage = Stage::new();
    stage.join(1);
    stage.join(2);
    stage.pass(0);
    stage.take();
    stage.join(3);
    stage.take();
    stage.pass(49);
    stage.check(&[]);
    stage.pass(1);
    stage.check(&["before 3 but 3: 3 online"]);
}

#[test]
fn offline_comes_after_the_grace() {
    let mut stage = Stage::new();
    stage.join(1);
    let bob = stage.join(2);
    let other_tab = stage.join(2);
    stage.pass(100);
    stage.leave(bob);
    stage.pass(10_000);
    stage.take();
    stage.leave(other_tab);
    stage.pass(4_999);
    stage.check(&[]);
    stage.pass(51);
    stage.check(&["all: 2 offline"]);
}

#[test]
fn coming_back_within_the_grace_is_no_news() {
    let mut stage = Stage::new();
    stage.join(1);
    let bob = stage.join(2);
    stage.pass(100);
    stage.leave(bob);
    stage.pass(4_000);
    stage.take();
    let bob = stage.join(2);
    stage.pass(4_000);
    stage.check(&["one 3: 2 online", "one 3: 1 online"]);
    stage.leave(bob);
    stage.pass(4_990);
    stage.check(&[]);
    stage.pass(100);
    stage.check(&["all: 2 offline"]);
}

#[test]
fn without_a_grace_the_next_tick_tells() {
    let mut stage = Stage::with(Header::default(), Settings { offline_grace_ms: 0, ..settings() });
    stage.join(1);
    let bob = stage.join(2);
    stage.pass(100);
    stage.take();
    stage.leave(bob);
    stage.pass(50);
    stage.check(&["all: 2 offline"]);
    // A page that reloads within a tick was never gone.
    let bob = stage.join(2);
    stage.pass(100);
    stage.leave(bob);
    stage.pass(20);
    stage.take();
    stage.join(2);
    stage.pass(1_000);
    stage.check(&["one 4: 2 online", "one 4: 1 online"]);
}

#[test]
fn who_came_and_went_within_a_tick_was_never_here() {
    let mut stage = Stage::new();
    stage.join(1);
    stage.pass(100);
    let bob = stage.join(2);
    stage.leave(bob);
    stage.take();
    stage.pass(10_000);
    stage.check(&[]);
    stage.join(2);
    stage.pass(50);
    stage.check(&["one 3: 2 online", "one 3: 1 online", "before 3 but 2: 2 online"]);
}

#[test]
fn who_was_shown_to_a_newcomer_and_went_within_a_tick_is_taken_back() {
    let mut stage = Stage::with(Header::default(), Settings { offline_grace_ms: 0, ..settings() });
    stage.join(1);
    stage.pass(100);
    let bob = stage.join(2);
    stage.join(3);
    stage.leave(bob);
    stage.take();
    stage.pass(50);
    stage.check(&["all: 2 offline", "before 3 but 3: 3 online"]);
    stage.join(4);
    stage.check(&["one 4: 4 online", "one 4: 1 online", "one 4: 3 online"]);
}

#[test]
fn a_newcomer_hears_of_whoever_is_in_the_grace_and_of_its_end() {
    let mut stage = Stage::new();
    stage.join(1);
    stage.pass(100);
    let bob = stage.join(2);
    stage.leave(bob);
    stage.pass(1_000);
    stage.take();
    stage.join(3);
    stage.check(&["one 3: 3 online", "one 3: 1 online", "one 3: 2 online"]);
    stage.pass(50);
    stage.check(&["before 3 but 3: 3 online"]);
    stage.pass(5_000);
    stage.check(&["all: 2 offline"]);
}

/// 201 v1 sockets, of which the first 190 have heard of each other.
fn crowd() -> (Stage, Vec<SessionId>) {
    let mut stage = Stage::new();
    let mut sockets: Vec<_> = (1..=190).map(|id| stage.join(id)).collect();
    stage.pass(100);
    sockets.extend((191..=201).map(|id| stage.join(id)));
    stage.pass(2_000);
    (stage, sockets)
}

#[test]
fn a_crowd_hears_only_its_number() {
    let (mut stage, _) = crowd();
    stage.take();
    stage.join(202);
    stage.join_v2(203);
    stage.check(&["one 202: 202 online", "to 203: here  of 203"]);
    stage.pass(50);
    stage.check(&["v2: count 203"]);
    stage.join(204);
    stage.join(205);
    stage.pass(999);
    stage.check(&["one 204: 204 online", "one 205: 205 online"]);
    stage.pass(1);
    stage.check(&["v2: count 205"]);
    stage.pass(10_000);
    stage.check(&[]);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of turns, nothing unsafe")]
fn joining_a_crowd_is_not_quadratic() {
    let mut stage = Stage::new();
    let mut effects = 0;
    for id in 1..=5_000 {
        stage.join(id);
        stage.pass(1);
        effects += stage.take().len();
    }
    // Those up to the crowd hear of each other; after that one each, and the count.
    let before_the_crowd = 200 * 200 / 2 + 2 * 200;
    assert!(effects < before_the_crowd + 5_000 + 20, "{effects}");
}

#[test]
fn after_the_crowd_everybody_is_told_who_is_here() {
    let (mut stage, sockets) = crowd();
    stage.join(300);
    stage.take();
    for socket in &sockets[..20] {
        stage.leave(*socket);
    }
    stage.pass(5_050);
    assert!(stage.told().iter().all(|told| told.starts_with("v2: count")));
    stage.leave(sockets[20]);
    stage.leave(sockets[21]);
    stage.pass(5_100);
    let told = stage.told();
    let online = told.iter().filter(|told| told.ends_with("online")).count();
    let offline = told.iter().filter(|told| told.ends_with("offline")).count();
    assert_eq!((online, offline), (180, 22));
    assert!(told.contains(&"but 300: 300 online".to_owned()));
    stage.take();
    stage.join(400);
    assert_eq!(stage.told().len(), 181);
}
