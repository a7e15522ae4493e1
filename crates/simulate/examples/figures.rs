//! Prints the figures of the two reference days for every policy: `cargo run --release -p gantry-simulate --example figures`.

use gantry_core::queue::planner::{PATIENCE, Policy, Settings};
use gantry_simulate::{Day, Outcome, oracle, simulate};

/// Seeds the planner was not tuned on.
const FIRST_SEED: u64 = 1000;

const ALL: [Policy; 5] = [
    Policy::Priced,
    Policy::Serial,
    Policy::Batch,
    Policy::Optimistic,
    Policy::BestFirst,
];

fn settings(policy: Policy) -> Settings {
    Settings {
        policy,
        batch_max: 16,
        slots: 0,
        patience: PATIENCE,
        independent: false,
    }
}

fn main() {
    let day = |seed| Day {
        slots: 8,
        arrivals_per_hour: 40.0,
        check_minutes: 6.0,
        bad: 0.1,
        pair_conflict: 0.005,
        changes: 400,
        seed,
        hint: 0.9,
        flake: 0.0,
    };
    let full = |seed| Day {
        slots: 4,
        arrivals_per_hour: 60.0,
        bad: 0.05,
        pair_conflict: 0.001,
        ..day(seed)
    };
    print("busy", day);
    print("full", full);
}

fn print(name: &str, day: impl Fn(u64) -> Day) {
    let mean = |f: &dyn Fn(u64) -> f64| (FIRST_SEED..FIRST_SEED + 10).map(f).sum::<f64>() / 10.0;
    for policy in ALL {
        let runs: Vec<Outcome> = (FIRST_SEED..FIRST_SEED + 10)
            .map(|s| simulate(&day(s), settings(policy)))
            .collect();
        let best: Vec<Outcome> = (FIRST_SEED..FIRST_SEED + 10).map(|s| oracle(&day(s))).collect();
        let at = |s: u64| usize::try_from(s).expect("small");
        let p50 = mean(&|s| runs[at(s - FIRST_SEED)].percentile(0.5));
        let p95 = mean(&|s| runs[at(s - FIRST_SEED)].percentile(0.95));
        let o50 = mean(&|s| best[at(s - FIRST_SEED)].percentile(0.5));
        let o95 = mean(&|s| best[at(s - FIRST_SEED)].percentile(0.95));
        let builds = mean(&|s| runs[at(s - FIRST_SEED)].builds_per_change());
        let used = mean(&|s| runs[at(s - FIRST_SEED)].processor_minutes);
        let red: usize = runs.iter().map(|r| r.red_landings).sum();
        println!(
            "{name} {policy:?}: P50 {p50:.1} ({:.2}x) P95 {p95:.1} ({:.2}x) builds {builds:.2} minutes {used:.0} red {red}",
            p50 / o50,
            p95 / o95
        );
    }
}
