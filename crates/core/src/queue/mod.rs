//! The merge queue's decisions: what a change and a build are, who is next, what to test together, what a
//! verdict means.

pub mod build;
pub mod change;
pub mod order;
pub mod planner;
