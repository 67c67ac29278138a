//! The running server, seen from outside. Modules are named by what they prove or by what fails.

mod harness;

mod api;
mod backup;
mod churn;
mod commands;
mod crash;
mod drain;
mod edits;
mod erasing;
mod errors;
mod faults;
mod forgeries;
mod framing;
mod handshake;
mod harness_itself;
mod history;
mod hostile;
mod kills;
mod messages;
mod metrics;
mod overload;
mod peers;
mod presence;
mod rates;
mod reactions;
mod receipts;
mod resume;
mod rfc6455;
mod rights;
mod startup;
mod storm;
mod tokens;
mod transfers;
mod typing;
mod wide;
