//! What happens to a queue, whoever plans: the offers, which are bad, which clash, how long checks take.

use gantry_core::queue::planner::BaseRates;

use crate::day::{self, Day};
use crate::trace::Trace;

/// A day to run policies over, drawn or recorded.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub(crate) slots: usize,
    /// Share of runs of good trees that fail all the same.
    pub(crate) flake: f64,
    /// What the randomness of builds follows from.
    pub(crate) seed: u64,
    pub(crate) changes: Vec<Offered>,
    /// For each change, the earlier ones it clashes with if they were pending together.
    pub(crate) clashes: Vec<Vec<usize>>,
    pub(crate) checks: Checks,
    /// What the planner is told of the rates; none: it learns them as the day goes.
    pub(crate) rates: Option<BaseRates>,
}

/// How long builds take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Checks {
    /// Drawn around this median, in minutes.
    Drawn(f64),
    /// As long as the longest recorded check of a member.
    Recorded,
}

/// One change of a scenario.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    /// Milliseconds from the start of the day.
    pub at: i64,
    pub bad: bool,
    /// Its record; none: it follows from what was decided about its author.
    pub pass_probability: Option<f64>,
    /// Check time of this change alone, in milliseconds.
    pub check: i64,
    /// A number standing for its author.
    pub author: Option<usize>,
    /// Numbers standing for the paths it touches, sorted.
    pub footprint: Vec<u64>,
}

impl Scenario {
    /// Draws a synthetic day; the planner is told its rates.
    #[must_use]
    pub fn synthetic(day: &Day) -> Self {
        day::draw(day)
    }

    /// Replays a recorded day with so many slots; the planner learns rates and durations as it goes.
    #[must_use]
    pub fn recorded(trace: &Trace, slots: usize) -> Self {
        trace.scenario(slots)
    }

    /// How many changes are offered.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes.len()
    }
}

/// Milliseconds of so many minutes.
pub(crate) fn millis(minutes: f64) -> i64 {
    let span = std::time::Duration::from_secs_f64((minutes * 60.0).clamp(0.0, 1e12));
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Minutes of so many milliseconds.
pub(crate) fn minutes(millis: i64) -> f64 {
    millis as f64 / 60_000.0
}
