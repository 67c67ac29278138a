//! The running server, seen from outside. Modules are named by what they prove or by what fails.

mod harness;

mod harness_itself;
mod messages;
mod presence;
mod receipts;
