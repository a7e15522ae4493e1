//! What a production queue would have learnt by now: durations, base rates, authors' records.

use std::time::Duration;

use gantry_core::queue::planner::BaseRates;

use crate::scenario::{Checks, Scenario, millis};

/// The check time assumed before the first build ended, in minutes.
const FIRST_GUESS_MINUTES: f64 = 6.0;
/// Decisions that the first guess of the bad share, one in ten, is worth.
const PRIOR: f64 = 10.0;
/// Decisions of one author that the base rate is worth beside the author's own.
const AUTHOR_PRIOR: f64 = 4.0;
/// Share of pairs that fail only together, as nobody records it. Source: SubmitQueue (EuroSys 2019) saw 5 % of
/// pairs that *may* conflict; most pairs may not.
const PAIR_CONFLICT: f64 = 0.002;
/// How many of the last durations the median is taken of.
const DURATIONS: usize = 101;

/// What was seen so far.
#[derive(Debug, Clone)]
pub(crate) struct Learnt {
    /// Told beforehand, in milliseconds.
    told: Option<i64>,
    durations: Vec<i64>,
    good: usize,
    bad: usize,
    /// Good and bad decisions by author.
    authors: Vec<(usize, usize)>,
}

impl Learnt {
    /// Nothing but what the day tells beforehand.
    pub(crate) fn of(day: &Scenario) -> Self {
        let authors = day.changes.iter().filter_map(|c| c.author).max();
        Learnt {
            told: match day.checks {
                Checks::Drawn(median) => Some(millis(median)),
                Checks::Recorded => None,
            },
            durations: Vec::new(),
            good: 0,
            bad: 0,
            authors: vec![(0, 0); authors.map_or(0, |last| last + 1)],
        }
    }

    /// A build ended after so many milliseconds.
    pub(crate) fn ended(&mut self, duration: i64) {
        if self.told.is_some() {
            return;
        }
        self.durations.push(duration);
        if self.durations.len() > DURATIONS {
            self.durations.remove(0);
        }
    }

    /// A change was decided.
    pub(crate) fn decided(&mut self, author: Option<usize>, good: bool) {
        let count = |(goods, bads): (&mut usize, &mut usize)| *(if good { goods } else { bads }) += 1;
        count((&mut self.good, &mut self.bad));
        if let Some((goods, bads)) = author.and_then(|a| self.authors.get_mut(a)) {
            count((goods, bads));
        }
    }

    /// The median check time in milliseconds.
    pub(crate) fn check_millis(&self) -> i64 {
        let mut sorted = self.durations.clone();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied();
        self.told
            .or(median)
            .unwrap_or_else(|| millis(FIRST_GUESS_MINUTES))
    }

    /// The median check time.
    pub(crate) fn check_median(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.check_millis()).unwrap_or(0))
    }

    /// The base rates, given so many offers in the last hour.
    pub(crate) fn rates(&self, offers_last_hour: usize, flake: f64) -> BaseRates {
        BaseRates {
            bad: self.bad_share(),
            pair_conflict: PAIR_CONFLICT,
            flake,
            arrivals_per_hour: offers_last_hour as f64,
        }
    }

    fn bad_share(&self) -> f64 {
        (self.bad as f64 + 1.0) / ((self.good + self.bad) as f64 + PRIOR)
    }

    /// How likely a change of this author passes.
    pub(crate) fn pass_probability(&self, author: Option<usize>) -> f64 {
        let (good, bad) = author
            .and_then(|a| self.authors.get(a))
            .copied()
            .unwrap_or((0, 0));
        let bad = (bad as f64 + AUTHOR_PRIOR * self.bad_share()) / ((good + bad) as f64 + AUTHOR_PRIOR);
        (1.0 - bad).clamp(0.01, 0.99)
    }
}
