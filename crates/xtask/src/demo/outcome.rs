//! What came of the demo: the table of changes, the builds they cost, and what a strictly serial queue would have
//! needed for the same changes.

use std::time::Duration;

use gantry_simulate::{Offer, Scenario, Trace, serial};
use serde_json::Value;

use super::offers::OFFERS;

/// What the factory says at the end.
#[derive(Debug)]
pub struct Outcome {
    changes: Vec<Value>,
    builds: Vec<Value>,
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

impl Outcome {
    /// Takes the answers of `queue list --all` and `build list --all`.
    pub fn of(changes: &Value, builds: &Value) -> Self {
        let mut changes = list(changes, "changes").to_vec();
        changes.sort_by_key(|change| text(change, "id").get(1..).and_then(|id| id.parse::<u64>().ok()));
        Self {
            changes,
            builds: list(builds, "builds").to_vec(),
        }
    }

    /// Prints what became of each change, in the order of offering.
    pub fn print_changes(&self) {
        println!(
            "{:<4} {:<22} {:<21} {:<10} WHY",
            "", "CHANGE", "WRITTEN TO BE", "STATE"
        );
        for change in &self.changes {
            let branch = text(change, "branch");
            let nature = OFFERS
                .iter()
                .find(|offer| offer.branch == branch)
                .map_or("", |offer| offer.nature);
            println!(
                "{:<4} {:<22} {:<21} {:<10} {}",
                text(change, "id"),
                branch,
                nature,
                text(change, "state"),
                text(&change["reason"], "text").replace('\n', " "),
            );
        }
    }

    /// Prints the sums: what landed, what it cost, and what a serial queue would have needed.
    pub fn print_sums(&self, wall: Duration) {
        let count = |state: &str| {
            self.changes
                .iter()
                .filter(|change| text(change, "state") == state)
                .count()
        };
        println!(
            "{} offered: {} landed, {} bounced, {} held, {} cancelled, {} undecided",
            self.changes.len(),
            count("landed"),
            count("bounced"),
            count("held"),
            count("cancelled"),
            count("open") + count("queued") + count("testing") + count("landing"),
        );
        let ran: Vec<&Value> = self
            .builds
            .iter()
            .filter(|build| build["started_at"].is_string())
            .collect();
        let ended = |state: &str| ran.iter().filter(|build| text(build, "state") == state).count();
        println!(
            "builds:          {} run, {} of them passed, {} failed, {} ran out of time, {} were ended early",
            ran.len(),
            ended("passed"),
            ended("failed"),
            ended("timed_out"),
            ended("cancelled"),
        );
        println!("wall time:       {:.0} s", wall.as_secs_f64());
        let offers = self.serial_day();
        let (tested, never) = (offers.len(), self.changes.len() - offers.len());
        let day = serial(&Scenario::recorded(&Trace::of(offers), 1));
        println!(
            "strictly serial: {:.0} s and {} builds (simulated from the durations recorded above: one build at a time \
             for each of the {tested} changes that were tested, nothing retried; the other {never} did not merge and cost none)",
            day.span_minutes * 60.0,
            day.builds,
        );
    }

    /// The changes that were tested at all, as a day of one build each.
    fn serial_day(&self) -> Vec<Offer> {
        let tested: Vec<(&Value, f64)> = self
            .changes
            .iter()
            .filter_map(|change| Some((change, self.seconds(change)?)))
            .collect();
        let line_of = |id: &str| {
            tested
                .iter()
                .position(|(change, _)| text(change, "id") == id)
                .map(|at| at + 1)
        };
        tested
            .iter()
            .map(|(change, duration_s)| {
                let reason = &change["reason"];
                let together = text(reason, "code") == "fails_together";
                // The reason of such a bounce names the change that landed first.
                let rival = text(reason, "text")
                    .split(|c: char| !c.is_alphanumeric())
                    .find_map(line_of);
                Offer {
                    at_s: 0.0,
                    duration_s: *duration_s,
                    ok: together || text(change, "state") == "landed",
                    conflicts_with: rival.filter(|_| together).into_iter().collect(),
                    paths: Vec::new(),
                    author: None,
                }
            })
            .collect()
    }

    /// How long this change's own test took: its last build alone, else the last one it was in; `None` if it was
    /// never tested.
    fn seconds(&self, change: &Value) -> Option<f64> {
        let took = |build: &Value| {
            let checks: u64 = list(build, "checks")
                .iter()
                .filter_map(|check| check["duration_ms"].as_u64())
                .sum();
            checks as f64 / 1000.0
        };
        let ran = || list(change, "builds").iter().filter(|build| took(build) > 0.0);
        let alone = ran().rfind(|build| list(build, "members").len() == 1);
        alone.or_else(|| ran().next_back()).map(took)
    }
}
