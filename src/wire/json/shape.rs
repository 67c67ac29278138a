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
const DOUBLED_KEY: Refusal =
    Refusal::new(ErrorCode::Invalid, "a key appears twice in the same object");

/// Checks a whole tape. Keys are counted over all objects of the frame together, which also bounds
/// the pairwise comparison of keys.
pub(super) fn check(tape: &[Node<'_>], rules: &JsonRules) -> Result<(), Refusal> {
    if !matches!(tape.first(), Some(Node::Object { .. })) {
        return Err(NOT_AN_OBJECT);
    }
    let mut keys_left = rules.keys;
    check_value(tape, 0, rules.depth, &mut keys_left).map(|_| ())
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
                if is_doubled(tape, at + 1, next) {
                    return Err(DOUBLED_KEY);
                }
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

/// Whether the key at `key_at` is one of its object's earlier keys, the first of which is `first_at`.
fn is_doubled(tape: &[Node<'_>], first_at: usize, key_at: usize) -> bool {
    pairs(&tape[first_at..key_at]).any(|(key, _)| tape[key_at] == Node::String(key))
}

/// The pairs of an object, given the nodes inside it.
pub(super) fn pairs<'t, 'a>(
    mut inside: &'t [Node<'a>],
) -> impl Iterator<Item = (&'a str, Node<'a>)> + use<'t, 'a> {
    std::iter::from_fn(move || {
        let (&Node::String(key), &value) = (inside.first()?, inside.get(1)?) else {
            unreachable!("simd-json's tape has a string in each key's place")
        };
        let nested = match value {
            Node::Object { count, .. } | Node::Array { count, .. } => count,
            _ => 0,
        };
        inside = inside.get(2 + nested..).unwrap_or_default();
        Some((key, value))
    })
}
