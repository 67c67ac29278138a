//! Typing, as others see it, down to the timers of the guide's hook.

use super::Stage;
use super::stage::send;
use crate::chat::{Audience, Effect};
use crate::model::{Command, Role, SessionId, Signal, Version};

const TRUE: &str = "but 1: U1 typing true";
const FALSE: &str = "but 1: U1 typing false";

fn two() -> (Stage, SessionId) {
    let mut stage = Stage::new();
    let ann = stage.join(1);
    stage.join(2);
    stage.pass(1_000);
    stage.take();
    (stage, ann)
}

fn key(stage: &mut Stage, session: SessionId) {
    stage.handle(session, Command::Typing { is_typing: true });
}

fn stop(stage: &mut Stage, session: SessionId) {
    stage.handle(session, Command::Typing { is_typing: false });
}

#[test]
#[cfg_attr(miri, ignore = "thousands of turns, nothing unsafe")]
fn keys_are_told_once_and_renewed_after_the_hooks_timer() {
    let (mut stage, ann) = two();
    for ms in 0..3_099 {
        if ms % 200 == 0 {
            key(&mut stage, ann);
        }
        stage.pass(1);
    }
    stage.check(&[TRUE]);
    stage.pass(1);
    stage.check(&[TRUE]);
}

#[test]
fn silence_ends_it() {
    let (mut stage, ann) = two();
    key(&mut stage, ann);
    stage.pass(1_000);
    key(&mut stage, ann);
    stage.pass(2_099);
    stage.check(&[TRUE]);
    stage.pass(1);
    stage.check(&[TRUE]);
    stage.pass(999);
    stage.check(&[]);
    stage.pass(1);
    stage.check(&[FALSE]);
    stage.pass(60_000);
    stage.check(&[]);
}

#[test]
fn the_older_timer_of_a_pause_is_renewed_too() {
    let (mut stage, ann) = two();
    key(&mut stage, ann);
    stage.pass(2_000);
    stop(&mut stage, ann);
    stop(&mut stage, ann);
    stage.pass(700);
    key(&mut stage, ann);
    stage.check(&[TRUE, FALSE, TRUE]);
    // The hook's timer of the first one hides the line at 3,000 ms.
    stage.pass(399);
    stage.check(&[]);
    stage.pass(1);
    stage.check(&[TRUE]);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of turns, nothing unsafe")]
fn at_most_three_in_any_window() {
    let (mut stage, ann) = two();
    let mut trues = Vec::new();
    for ms in 0..20_000_u64 {
        // A client that flips as fast as it can.
        match ms % 7 {
            0 => key(&mut stage, ann),
            3 => stop(&mut stage, ann),
            _ => {}
        }
        stage.pass(1);
        trues.extend(stage.told().iter().filter(|told| *told == TRUE).map(|_| ms));
    }
    assert!(trues.len() > 10, "{trues:?}");
    for window in trues.windows(4) {
        assert!(window[3] - window[0] >= 3_099, "{window:?}");
    }
}

#[test]
fn a_burst_that_was_held_back_is_shown_when_there_is_room() {
    let (mut stage, ann) = two();
    for _ in 0..4 {
        key(&mut stage, ann);
        stop(&mut stage, ann);
    }
    key(&mut stage, ann);
    stage.check(&[TRUE, FALSE, TRUE, FALSE, TRUE, FALSE]);
    stage.pass(2_000);
    key(&mut stage, ann);
    stage.pass(1_100);
    stage.check(&[TRUE]);
}

#[test]
fn a_message_ends_it() {
    let (mut stage, ann) = two();
    key(&mut stage, ann);
    stage.take();
    stage.handle(ann, send("done"));
    stop(&mut stage, ann);
    stage.check(&[FALSE, "#1 message 1 by 1: done", "mark 1 1"]);
}

#[test]
fn the_socket_that_was_typed_on_takes_it_along() {
    let (mut stage, ann) = two();
    let tab = stage.join(1);
    stage.take();
    key(&mut stage, ann);
    stage.leave(tab);
    stage.check(&[TRUE]);
    stage.leave(ann);
    stage.check(&[FALSE]);
}

#[test]
fn who_may_not_type_is_told() {
    let (mut stage, _) = two();
    let reader = stage.join_as(3, Role::ReadOnly, Version::V2);
    stage.pass(100);
    stage.take();
    stage.handle_ref(reader, "r", Command::Typing { is_typing: true });
    stage.check(&["to 3: forbidden r"]);
}

#[test]
fn a_named_keystroke_has_its_ack() {
    let mut stage = Stage::new();
    let app = stage.join_v2(1);
    stage.take();
    stage.handle_ref(app, "r", Command::Typing { is_typing: true });
    stage.check(&[TRUE, "to 1: ack r - - #-"]);
}

#[test]
fn in_a_crowd_five_are_seen_typing() {
    let mut stage = Stage::new();
    let sockets: Vec<_> = (1..=201).map(|id| stage.join(id)).collect();
    stage.pass(2_000);
    stage.take();
    for socket in &sockets[..7] {
        key(&mut stage, *socket);
    }
    assert_eq!(stage.told().len(), 5);
    stop(&mut stage, sockets[0]);
    key(&mut stage, sockets[5]);
    key(&mut stage, sockets[6]);
    stage.check(&[FALSE, "but 6: U6 typing true"]);
    stage.pass(3_200);
    assert_eq!(stage.told().len(), 5, "each of the five has stopped");
}

/// The hook's typing line of one user: every `true` shows it and hides it 3 s later.
#[derive(Default)]
struct Hook {
    is_visible: bool,
    timers: Vec<u64>,
}

impl Hook {
    fn hear(&mut self, is_typing: bool, at: u64) {
        self.is_visible = is_typing;
        if is_typing {
            self.timers.push(at + 3_000);
        }
    }

    fn tick(&mut self, at: u64) {
        if self.timers.contains(&at) {
            self.is_visible = false;
        }
    }
}

/// The share of the time with somebody at the keys in which the line is seen, for a page that says
/// `false` after 2 s without a key.
fn visible(gaps: impl Iterator<Item = u64>) -> f64 {
    let (mut stage, ann) = two();
    let mut hook = Hook::default();
    let keys: Vec<u64> = gaps.scan(0, |at, gap| Some(std::mem::replace(at, *at + gap))).collect();
    let (mut is_typing, mut typed_ms, mut seen_ms, mut last_key, mut next) = (false, 0, 0, 0, 0);
    for at in 0..*keys.last().unwrap() {
        hook.tick(at);
        if keys[next] == at {
            key(&mut stage, ann);
            (is_typing, last_key, next) = (true, at, next + 1);
        } else if is_typing && at == last_key + 2_000 {
            stop(&mut stage, ann);
            is_typing = false;
        }
        for effect in stage.take() {
            if let Effect::Signal { audience, signal: Signal::Typing { is_typing, .. } } = effect {
                assert!(matches!(audience, Audience::AllBut(_)));
                hook.hear(is_typing, at);
            }
        }
        typed_ms += u64::from(is_typing);
        seen_ms += u64::from(is_typing && hook.is_visible);
        stage.pass(1);
    }
    seen_ms as f64 / typed_ms as f64
}

#[test]
#[cfg_attr(miri, ignore = "thousands of turns, nothing unsafe")]
fn the_hooks_line_is_seen_while_somebody_types() {
    let check = |name: &str, gaps: &mut dyn Iterator<Item = u64>| {
        let share = visible(gaps);
        assert!(share >= 0.93, "{name}: {share:.3}");
    };
    check("every 200 ms", &mut std::iter::repeat_n(200, 600));
    check("every second", &mut std::iter::repeat_n(1_000, 120));
    // Words, pauses of up to 6 s, by a small generator of its own.
    for mut seed in 1..=8_u64 {
        let mut random = move |max: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % max
        };
        let mut gaps = (0..900).map(move |_| match random(12) {
            0 => 1 + random(6_000),
            _ => 60 + random(340),
        });
        check("at random", &mut gaps);
    }
}
