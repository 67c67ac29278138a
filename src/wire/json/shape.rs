//! What must hold of any frame, whatever it says: one object, not too deep, not too many keys, no
//! key twice. Works on simd-json's tape, where a container is followed by its `count` nodes and an
//! object's are key, value, key, value …

use simd_json::Node;

use super::decode::JsonRules;
use crate::model::{ErrorCode, Refusal};

const NOT_AN_OBJECT: Refusal = Refusal::new(ErrorCode::Invalid, "the frame is not a JSON object");
pub(super) const TOO_DEEP: Refusal =
    Refusal::new(ErrorCode::Invalid, "the frame is nested too deeply");
const TOO_MANY_KEYS: Refusal = Refusal::new(ErrorCode::Invalid, "the frame has too many keys");
pub(super) const DOUBLED_KEY: Refusal =
    Refusal::new(ErrorCode::Invalid, "a key appears twice in the same object");

/// What is left of a frame's allowance. Keys are counted over all objects of the frame together,
/// which also bounds the pairwise comparison of keys.
pub(super) struct Allowance {
    depth: usize,
    keys: usize,
}

/// The nodes inside the frame's object, and what the values in them may still use up.
pub(super) fn open<'t, 'a>(
    tape: &'t [Node<'a>],
    rules: &JsonRules,
) -> Result<(&'t [Node<'a>], Allowance), Refusal> {
    let Some((&Node::Object { len, .. }, inside)) = tape.split_first() else {
        return Err(NOT_AN_OBJECT);
    };
    let depth = rules.depth.checked_sub(1).ok_or(TOO_DEEP)?;
    let keys = rules.keys.checked_sub(len).ok_or(TOO_MANY_KEYS)?;
    Ok((inside, Allowance { depth, keys }))
}

impl Allowance {
    /// Checks the value at `at`.
    #[inline]
    pub fn check(&mut self, nodes: &[Node<'_>], at: usize) -> Result<(), Refusal> {
        match nodes.get(at) {
            Some(Node::Object { .. } | Node::Array { .. }) => {
                check_value(nodes, at, self.depth, &mut self.keys).map(|_| ())
            }
            _ => Ok(()),
        }
    }
}

/// Checks the value at `at` and answers where the next one begins. The recursion ends with `depth`,
/// which the settings keep to 64 at most.
fn check_value(
    tape: &[Node<'_>],
    at: usize,
    depth: usize,
    keys_left: &mut usize,
) -> Result<usize, Refusal> {
    match tape.get(at) {
        Some(&Node::Object { len, .. }) => {
            let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
            *keys_left = keys_left.checked_sub(len).ok_or(TOO_MANY_KEYS)?;
            let mut next = at + 1;
            for _ in 0..len {
                refuse_doubled(&tape[at + 1..], next - at - 1)?;
                next = check_value(tape, next + 1, depth, keys_left)?;
            }
            Ok(next)
        }
        Some(&Node::Array { len, .. }) => {
            let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
            (0..len).try_fold(at + 1, |next, _| check_value(tape, next, depth, keys_left))
        }
        _ => Ok(at + 1),
    }
}

/// Refuses the key at `key_at` if it is one of the keys before it in the same object, whose inside
/// `nodes` begins with.
pub(super) fn refuse_doubled(nodes: &[Node<'_>], key_at: usize) -> Result<(), Refusal> {
    let mut at = 0;
    while at < key_at {
        if nodes[at] == nodes[key_at] {
            return Err(DOUBLED_KEY);
        }
        at = next_key(nodes, at);
    }
    Ok(())
}

/// Where the next key stands, if there is one.
#[inline]
pub(super) fn next_key(nodes: &[Node<'_>], key_at: usize) -> usize {
    let nested = match nodes.get(key_at + 1) {
        Some(&(Node::Object { count, .. } | Node::Array { count, .. })) => count,
        _ => 0,
    };
    key_at + 2 + nested
}
