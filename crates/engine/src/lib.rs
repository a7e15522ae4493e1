//! The loop of the factory: load, decide, save, act, record. Knows no HTTP and no terminal.

pub mod gate;
