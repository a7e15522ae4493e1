//! Runs workflow jobs in boxes. Declares its parts only; must never know an HTTP server or a terminal.

pub mod run;
