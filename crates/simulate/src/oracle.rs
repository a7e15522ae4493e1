//! What a planner that knows the future does: each change is built once, on the base that will be true.

use crate::Outcome;
use crate::day::{Day, draw, minutes};

/// The same day with foresight: the bound that no policy can be held to beat.
#[must_use]
pub fn oracle(day: &Day) -> Outcome {
    let drawn = draw(day);
    let mut free = vec![0_i64; day.slots.max(1)];
    let mut decided = 0;
    let mut outcome = Outcome {
        waits: Vec::new(),
        landed: Vec::new(),
        bounced: Vec::new(),
        wronged: 0,
        builds: drawn.changes.len(),
        most_running: day.slots,
        processor_minutes: 0.0,
        red_landings: 0,
    };
    for (index, change) in drawn.changes.iter().enumerate() {
        free.sort_unstable();
        let start = free[0].max(change.at);
        free[0] = start + change.check;
        decided = decided.max(free[0]);
        outcome.waits.push(minutes(decided - change.at));
        outcome.processor_minutes += minutes(change.check);
        if change.bad {
            outcome.bounced.push(index);
        } else {
            outcome.landed.push(index);
        }
    }
    outcome
}
