//! The whole engine in a virtual world: a repository in memory, boxes that know the truth, a clock that jumps.
//! For tests and `xtask` only; product code never depends on it.

mod boxes;
mod check;
pub mod crash;
pub mod day;
mod dice;
mod forge;
mod fuse;
mod git;
mod merge;
mod people;
mod truth;
mod world;

pub use boxes::{BoxFaults, FakeBoxes};
pub use dice::Dice;
pub use forge::FakeForge;
pub use fuse::{Fuse, Moment};
pub use git::{Git, Move};
pub use people::request;
pub use truth::{Truth, truth_of};
pub use world::{Setup, TestWorld};
