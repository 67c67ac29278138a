//! A conversation against a small model of it, driven at random: joins, leaves, commands, a store that
//! answers late, in any order or not at all, a log whose watermarks lag, seals, memory that is short,
//! conversations that are dropped and come back.
//!
//! Checked after each effect: seq dense, ids and times never back, nobody addressed who left, nothing
//! loaded that the store does not wholly have, nothing asked twice at once. At the end: every command
//! has the outcome that the model gives it, the fold of the events is the model's state, marks are what
//! receipts and sends made them, and all of it can leave memory. Twice the same: the same effects.

#[path = "chat_model/checks.rs"]
mod checks;
#[path = "chat_model/model.rs"]
mod model;
#[path = "chat_model/world.rs"]
mod world;

use proptest::prelude::*;
use world::{Step, World};

fn step() -> impl Strategy<Value = Step> {
    let pick = 0..16_usize;
    prop_oneof![
        6 => (0..4_u64, any::<bool>(), 0..6_usize)
            .prop_map(|(user, is_v2, role)| Step::Join { user, is_v2, role }),
        2 => pick.clone().prop_map(Step::Leave),
        14 => (pick.clone(), 0..3_usize, prop::option::of(pick.clone()), prop::option::of(0..4_usize))
            .prop_map(|(by, text, parent, key)| Step::Send { by, text, parent, key }),
        6 => (pick.clone(), pick.clone(), 0..3_usize)
            .prop_map(|(by, message, text)| Step::Edit { by, message, text }),
        3 => (pick.clone(), pick.clone()).prop_map(|(by, message)| Step::Delete { by, message }),
        8 => (pick.clone(), pick.clone(), 0..3_usize, 0..3_usize)
            .prop_map(|(by, message, emoji, action)| Step::React { by, message, emoji, action }),
        8 => (pick.clone(), pick.clone()).prop_map(|(by, message)| Step::Read { by, message }),
        4 => (pick.clone(), any::<bool>()).prop_map(|(by, is_typing)| Step::Type { by, is_typing }),
        8 => (pick.clone(), 0..8_u8).prop_map(|(which, luck)| Step::Answer { which, luck }),
        8 => (1..6_usize).prop_map(Step::Durable),
        3 => Just(Step::FlushMarks),
        4 => Just(Step::Seal),
        3 => Just(Step::Shrink),
        3 => Just(Step::Forget),
        5 => (0..7_000_u64).prop_map(Step::Pass),
        1 => (0..4_u64, 0..6_usize).prop_map(|(user, role)| Step::SetMember { user, role }),
        2 => (1..8_usize).prop_map(Step::Recent),
        1 => Just(Step::Settle),
        1 => Just(Step::Empty),
    ]
}

fn run(steps: &[Step]) -> Vec<String> {
    let mut world = World::new();
    for step in steps {
        world.step(step);
    }
    world.finish();
    world.trace
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_conversation_is_its_model(steps in prop::collection::vec(step(), 1..160)) {
        run(&steps);
    }

    #[test]
    fn the_same_inputs_give_the_same_effects(steps in prop::collection::vec(step(), 1..80)) {
        prop_assert_eq!(run(&steps), run(&steps));
    }
}
