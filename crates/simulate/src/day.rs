//! A synthetic day: arrivals, check times, which changes are bad, which pairs clash.
//!
//! Every figure in docs/benchmarks.md rests on the order in which it draws.

use gantry_core::queue::planner::BaseRates;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

use crate::scenario::{Checks, Offered, Scenario, millis};

/// Spread of the logarithm of the check time.
pub(crate) const SIGMA: f64 = 0.35;

/// A day to simulate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Day {
    /// Builds at once.
    pub slots: usize,
    /// Mean number of changes offered in an hour.
    pub arrivals_per_hour: f64,
    /// Median check time in minutes.
    pub check_minutes: f64,
    /// Share of changes that are bad by themselves.
    pub bad: f64,
    /// Share of pairs, pending at the same time, that fail only together.
    pub pair_conflict: f64,
    /// How many changes are offered.
    pub changes: usize,
    /// What all randomness follows from.
    pub seed: u64,
    /// Share of changes whose record tells good from bad.
    pub hint: f64,
    /// Share of runs of good trees that fail all the same.
    pub flake: f64,
}

/// Draws a check time in milliseconds.
pub(crate) fn check_time(median_minutes: f64, rng: &mut ChaCha8Rng) -> i64 {
    let factor = LogNormal::new(0.0, SIGMA).map_or(1.0, |law| law.sample(rng));
    millis(median_minutes * factor.clamp(0.4, 4.0))
}

/// Draws the day.
pub(crate) fn draw(day: &Day) -> Scenario {
    let mut rng = ChaCha8Rng::seed_from_u64(day.seed);
    let mut at = 0.0;
    let mut drawn = Scenario {
        slots: day.slots.max(1),
        flake: day.flake,
        seed: day.seed,
        changes: Vec::new(),
        clashes: Vec::new(),
        checks: Checks::Drawn(day.check_minutes),
        rates: Some(BaseRates {
            bad: day.bad,
            pair_conflict: day.pair_conflict,
            flake: day.flake,
            arrivals_per_hour: day.arrivals_per_hour,
        }),
    };
    for index in 0..day.changes {
        let uniform: f64 = rng.random();
        at += -(1.0 - uniform).ln() * 60.0 / day.arrivals_per_hour;
        let bad = rng.random_bool(day.bad);
        let hinted = rng.random_bool(day.hint);
        let pass_probability = match (hinted, bad) {
            (true, false) => 0.97,
            (true, true) => 0.25,
            (false, _) => 0.6,
        };
        drawn.changes.push(Offered {
            at: millis(at),
            bad,
            pass_probability: Some(pass_probability),
            author: None,
            footprint: Vec::new(),
            check: check_time(day.check_minutes, &mut rng),
        });
        let clashing = (0..index)
            .filter(|_| rng.random_bool(day.pair_conflict))
            .collect();
        drawn.clashes.push(clashing);
    }
    drawn
}
