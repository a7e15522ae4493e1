//! The loop of the factory: load, decide, save, act, record. Knows no HTTP and no terminal.

pub mod audit;
pub mod boxes;
pub mod checks;
pub mod config_text;
pub mod event_loop;
pub mod explain;
pub mod factory;
pub mod forge;
pub mod gate;
pub mod git_forge;
pub mod job;
pub mod journal;
pub mod line;
pub mod profile;
pub mod rebuild;
pub mod runner;
pub mod sandbox;
pub mod workflows;
