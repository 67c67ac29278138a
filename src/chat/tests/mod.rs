//! Scenarios of whole conversations.
