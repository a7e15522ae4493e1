//! What a planner that knows the future does: each change is built once, on the base that will be true.

use crate::Outcome;
use crate::scenario::{Scenario, minutes};

/// The same day with foresight: the bound that no policy of one build per change can beat.
#[must_use]
pub fn oracle(scenario: &Scenario) -> Outcome {
    foreseen(scenario, scenario.slots)
}

/// The same day in a strictly serial queue in which nothing goes wrong: one build for each change, one at a time.
///
/// `span_minutes` is what such a queue would have needed.
#[must_use]
pub fn serial(scenario: &Scenario) -> Outcome {
    foreseen(scenario, 1)
}

fn foreseen(scenario: &Scenario, slots: usize) -> Outcome {
    let mut free = vec![0_i64; slots.max(1)];
    let mut decided = 0;
    let mut decided_at = Vec::new();
    let mut outcome = Outcome {
        builds: scenario.changes.len(),
        most_running: slots.min(scenario.changes.len()),
        ..Outcome::default()
    };
    for (index, change) in scenario.changes.iter().enumerate() {
        free.sort_unstable();
        let start = free[0].max(change.at);
        free[0] = start + change.check;
        decided = decided.max(free[0]);
        outcome.waits.push(minutes(decided - change.at));
        outcome.processor_minutes += minutes(change.check);
        let pending = |other: &&usize| decided_at.get(**other).is_some_and(|at| *at > change.at);
        let mut met = scenario.clashes[index].iter().filter(pending);
        let clashes = met.any(|other| outcome.landed.contains(other));
        decided_at.push(decided);
        if change.bad || clashes {
            outcome.bounced.push(index);
        } else {
            outcome.landed.push(index);
        }
    }
    let first = scenario.changes.first().map_or(0, |c| c.at);
    outcome.span_minutes = minutes(decided - first);
    outcome
}
