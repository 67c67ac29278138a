//! What the machine does to the real process: a disk that fails or is full, clocks that jump, threads that stop, a
//! network that breaks, too little memory. Most of it is made by the library of `harness/faults.rs`.
//!
//! `LOQUAT_SOAK=1` takes the long forms (`scripts/soak faults`).

mod clock;
mod disk;
mod full;
mod memory;
mod network;
mod threads;

use serde_json::{Value, json};

use crate::crash::{Shown, note};
use crate::harness::{Client, DEADLINE, What};

/// Whether the long forms were asked for.
pub fn is_soak() -> bool {
    std::env::var_os("LOQUAT_SOAK").is_some()
}

/// One of the two, by that.
pub fn short_or_long<T>(short: T, long: T) -> T {
    if is_soak() { long } else { short }
}

/// Says something as soon as the one before was shown or refused, until the connection ends; returns what
/// it was shown.
async fn talk_until_the_end(mut client: Client, text: String, most: usize) -> Shown {
    let mut shown = Shown::new();
    let mut said = 0;
    loop {
        if said < most {
            let content = format!("{said} {text}");
            client.send_all([json!({"type": "chat_message", "content": content})]).await;
            said += 1;
        }
        match answer(&mut client).await {
            Some(frame) if frame["type"] == "chat_message" => note(&mut shown, &frame),
            Some(frame) if frame["code"] == "storage_unavailable" => {}
            Some(other) => panic!("{}: {other}", client.name),
            None => return shown,
        }
    }
}

/// The next frame but presence; `None` at the end, told or not.
async fn answer(client: &mut Client) -> Option<Value> {
    loop {
        match client.arrival_within(3 * DEADLINE).await.what {
            What::Frame(_, frame) if frame["type"] == "user_status" => {}
            What::Frame(_, frame) => return Some(frame),
            What::Dropped(_) | What::Closed(..) => return None,
            other => panic!("{}: {other:?}", client.name),
        }
    }
}
