//! Decisions and vocabulary of gantry. Pure and synchronous: no I/O, no clock, no randomness, no serde.
//!
//! Every function here takes what it needs to know, the present instant included, and answers with what
//! should be done. `gantry-engine` loads the facts, saves the intents and performs them.

pub mod event;
pub mod fault;
pub mod id;
pub mod limits;
pub mod mask;
pub mod queue;
pub mod repository;
pub mod time;
