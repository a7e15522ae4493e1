//! What happens to a queue on a day: arrivals, which changes are bad, which pairs clash.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

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

/// One drawn change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn {
    /// Milliseconds from the start of the day.
    pub at: i64,
    pub bad: bool,
    pub pass_probability: f64,
    /// Check time of the oracle's one build, in milliseconds.
    pub check: i64,
}

/// Everything drawn for a day.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    pub changes: Vec<Drawn>,
    /// For each change, the earlier ones it clashes with if they were pending together.
    pub clashes: Vec<Vec<usize>>,
}

/// Milliseconds of so many minutes.
pub(crate) fn millis(minutes: f64) -> i64 {
    let span = std::time::Duration::from_secs_f64((minutes * 60.0).max(0.0));
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Minutes of so many milliseconds.
pub(crate) fn minutes(millis: i64) -> f64 {
    millis as f64 / 60_000.0
}

/// Draws a check time in milliseconds.
pub(crate) fn check_time(day: &Day, rng: &mut ChaCha8Rng) -> i64 {
    let factor = LogNormal::new(0.0, SIGMA).map_or(1.0, |law| law.sample(rng));
    millis(day.check_minutes * factor.clamp(0.4, 4.0))
}

/// Draws the day.
pub(crate) fn draw(day: &Day) -> Draw {
    let mut rng = ChaCha8Rng::seed_from_u64(day.seed);
    let mut at = 0.0;
    let mut drawn = Draw {
        changes: Vec::new(),
        clashes: Vec::new(),
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
        drawn.changes.push(Drawn {
            at: millis(at),
            bad,
            pass_probability,
            check: check_time(day, &mut rng),
        });
        let clashing = (0..index)
            .filter(|_| rng.random_bool(day.pair_conflict))
            .collect();
        drawn.clashes.push(clashing);
    }
    drawn
}
