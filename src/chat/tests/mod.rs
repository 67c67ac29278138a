//! Scenarios of whole conversations, on a [`Stage`].

mod members;
mod memory;
mod old_state;
mod presence;
mod receipts;
mod sending;
mod stage;
mod typing;

use stage::Stage;
