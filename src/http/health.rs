//! `/livez` and `/readyz`, the same on both ports. Alive: restart the process when it is not.
//! Ready: send it clients.
//!
//! The thread that answers here is watched like the reactors: when it gives no sign of life the process
//! ends by itself, whether anybody asks or not.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::failure::Failure;
use super::ports::{Health, Vitals};

/// A reactor that finished no turn for so long is stuck.
const TURN_AGE_MS_MAX: u64 = 15_000;

impl Vitals {
    fn live(&self) -> Result<(), Failure> {
        if self.oldest_turn_ms > TURN_AGE_MS_MAX {
            return Err(Failure::unavailable("stalled", "a reactor has not turned for 15 s"));
        }
        Ok(())
    }

    fn ready(&self) -> Result<(), Failure> {
        if self.is_draining {
            return Err(Failure::unavailable("draining", "the server is shutting down"));
        }
        if !self.is_listening {
            return Err(Failure::unavailable("starting", "not all listeners are up yet"));
        }
        if !self.is_accepting {
            let sentence = "the store takes no records now";
            return Err(Failure::unavailable("storage_unavailable", sentence));
        }
        if !self.has_room {
            let sentence = "there is too little memory for more clients";
            return Err(Failure::unavailable("overload", sentence));
        }
        self.live()
    }
}

pub fn routes(health: Arc<dyn Health>) -> Router {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(health)
}

async fn live(State(health): State<Arc<dyn Health>>) -> Result<&'static str, Failure> {
    health.vitals().live().map(|()| "ok\n")
}

async fn ready(State(health): State<Arc<dyn Health>>) -> Result<&'static str, Failure> {
    health.vitals().ready().map(|()| "ok\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Vitals = Vitals {
        oldest_turn_ms: 15_000,
        is_listening: true,
        is_accepting: true,
        has_room: true,
        is_draining: false,
    };

    #[test]
    fn what_keeps_it_from_being_alive_or_ready_is_named() {
        let check = |vitals: Vitals, live: Option<&str>, ready: Option<&str>| {
            assert_eq!(vitals.live().err().map(|f| f.code), live, "{vitals:?}");
            assert_eq!(vitals.ready().err().map(|f| f.code), ready, "{vitals:?}");
        };
        check(FINE, None, None);
        check(Vitals { oldest_turn_ms: 15_001, ..FINE }, Some("stalled"), Some("stalled"));
        check(Vitals { is_listening: false, ..FINE }, None, Some("starting"));
        check(Vitals { is_accepting: false, ..FINE }, None, Some("storage_unavailable"));
        check(Vitals { has_room: false, ..FINE }, None, Some("overload"));
        check(Vitals { is_draining: true, ..FINE }, None, Some("draining"));
    }
}
