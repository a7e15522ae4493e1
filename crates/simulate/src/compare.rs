//! Policies beside one another and beside the oracle, over the same days.

use gantry_core::queue::planner::{Policy, Settings};

use crate::{Outcome, Scenario, oracle, simulate};

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// The production planner under this policy.
    Policy(Policy),
    /// The one that knows every outcome.
    Oracle,
}

/// One contender's figures: means over the days, save for the red landings, which are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Who decided.
    pub contender: Contender,
    /// Minutes from offer to decision that half of the changes do not exceed.
    pub p50_minutes: f64,
    /// Minutes from offer to decision that 95 in 100 do not exceed.
    pub p95_minutes: f64,
    /// `p50_minutes` as a multiple of the oracle's.
    pub p50_of_oracle: f64,
    /// `p95_minutes` as a multiple of the oracle's.
    pub p95_of_oracle: f64,
    /// Builds started for each decided change.
    pub builds_per_change: f64,
    /// Minutes of a slot used in a day.
    pub processor_minutes: f64,
    /// Changes decided in an hour.
    pub decided_per_hour: f64,
    /// Landings after which the tip was red, in all days together.
    pub red_landings: usize,
    /// Changes sent back although they pass, in all days together.
    pub wronged: usize,
}

/// Runs every policy and the oracle over the same days; the oracle is the last row.
#[must_use]
pub fn compare(days: &[Scenario], settings: Settings, policies: &[Policy]) -> Vec<Row> {
    let best: Vec<Outcome> = days.iter().map(oracle).collect();
    let bound = row(Contender::Oracle, &best);
    let mut rows: Vec<Row> = policies
        .iter()
        .map(|policy| {
            let settings = Settings {
                policy: *policy,
                ..settings
            };
            let runs: Vec<Outcome> = days.iter().map(|day| simulate(day, settings)).collect();
            row(Contender::Policy(*policy), &runs)
        })
        .collect();
    rows.push(bound);
    for row in &mut rows {
        row.p50_of_oracle = row.p50_minutes / bound.p50_minutes.max(1e-9);
        row.p95_of_oracle = row.p95_minutes / bound.p95_minutes.max(1e-9);
    }
    rows
}

/// The means over these runs, not yet compared with anything.
pub(crate) fn row(contender: Contender, runs: &[Outcome]) -> Row {
    let count = (runs.len() as f64).max(1.0);
    let mean = |figure: &dyn Fn(&Outcome) -> f64| runs.iter().map(figure).sum::<f64>() / count;
    Row {
        contender,
        p50_minutes: mean(&|r| r.percentile(0.5)),
        p95_minutes: mean(&|r| r.percentile(0.95)),
        p50_of_oracle: 1.0,
        p95_of_oracle: 1.0,
        builds_per_change: mean(&Outcome::builds_per_change),
        processor_minutes: mean(&|r| r.processor_minutes),
        decided_per_hour: mean(&Outcome::decided_per_hour),
        red_landings: runs.iter().map(|r| r.red_landings).sum(),
        wronged: runs.iter().map(|r| r.wronged).sum(),
    }
}
