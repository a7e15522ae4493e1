//! A simulated day of a merge queue: seeded or recorded, in virtual time, with the production planner inside.

mod compare;
mod curve;
mod day;
mod learn;
mod oracle;
mod outcome;
mod run;
mod scenario;
#[cfg(test)]
mod tests;
mod trace;

pub use compare::{Contender, Row, compare};
pub use curve::{Point, curve, curve_svg};
pub use day::Day;
pub use oracle::{oracle, serial};
pub use outcome::Outcome;
pub use run::simulate;
pub use scenario::Scenario;
pub use trace::{Offer, Trace, TraceError};
