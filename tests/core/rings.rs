//! The rings between the cores of a test, and their bells.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use loquat::mailbox::{Doorbell, ring};
use loquat::node::connection::Adoption;
use loquat::node::links::Peer;
use loquat::node::mail::Mail;

use super::pump::Token;

/// A ring for each ordered pair of cores.
pub fn mesh(bells: &[Arc<Doorbell>], slots: usize) -> Vec<Vec<Option<Peer<Token, Adoption>>>> {
    let count = bells.len();
    let mut ends: HashMap<(usize, usize), _> = HashMap::new();
    for from in 0..count {
        for to in (0..count).filter(|&to| to != from) {
            let (tx, rx) = ring::<Mail<Token, Adoption>>(slots, bells[to].clone());
            ends.insert((from, to), (Some(tx), Some(rx)));
        }
    }
    let mut pair = |own: usize, other: usize| {
        let to = ends.get_mut(&(own, other))?.0.take()?;
        let from = ends.get_mut(&(other, own))?.1.take()?;
        Some(Peer::new(to, from))
    };
    (0..count).map(|own| (0..count).map(|other| pair(own, other)).collect()).collect()
}

/// A bell that leaves a note for the core's next round.
pub fn bell_of(woken: Arc<AtomicBool>) -> Arc<Doorbell> {
    Arc::new(Doorbell::new(move || woken.store(true, Ordering::Relaxed)))
}
