//! CI workflows: text and values in, jobs and steps out. Owns parsing, expressions and planning; must never read a
//! file, start a process or read a clock.

pub mod command;
pub mod dispatch;
pub mod event;
pub mod expression;
pub mod graph;
pub mod matrix;
pub mod model;
pub mod support;
