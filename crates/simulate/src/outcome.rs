//! What came of a day.

/// What came of a day.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Minutes from offer to decision, per decided change in order of arrival.
    pub waits: Vec<f64>,
    /// Changes in the order in which they landed.
    pub landed: Vec<usize>,
    /// Changes that were sent back.
    pub bounced: Vec<usize>,
    /// Changes sent back although they pass on the tip they were judged on.
    pub wronged: usize,
    /// Builds started, those that were ended early included.
    pub builds: usize,
    /// The most builds that ran at once.
    pub most_running: usize,
    /// Minutes of a slot used.
    pub processor_minutes: f64,
    /// Landings after which the tip was red.
    pub red_landings: usize,
    /// Minutes from the first offer to the last decision.
    pub span_minutes: f64,
}

impl Outcome {
    /// The waiting in minutes that this share of the changes did not exceed; `share` in `[0, 1]`.
    #[must_use]
    pub fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.waits.clone();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len() as f64;
        let below = sorted
            .iter()
            .enumerate()
            .take_while(|(rank, _)| (*rank as f64) < (share * count - 1.0).max(0.0))
            .count();
        sorted.get(below).copied().unwrap_or(0.0)
    }

    /// Builds started per decided change.
    #[must_use]
    pub fn builds_per_change(&self) -> f64 {
        self.builds as f64 / (self.waits.len() as f64).max(1.0)
    }

    /// Changes decided in an hour, from the first offer to the last decision.
    #[must_use]
    pub fn decided_per_hour(&self) -> f64 {
        self.waits.len() as f64 * 60.0 / self.span_minutes.max(1e-9)
    }
}
