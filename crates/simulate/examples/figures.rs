//! Prints the figures of docs/benchmarks.md: `cargo run --release -p gantry-simulate --example figures`.

use gantry_core::queue::planner::{PATIENCE, Policy, Settings};
use gantry_simulate::{Day, Scenario, compare, curve};

/// Seeds the planner was not tuned on.
const FIRST_SEED: u64 = 1000;

const ALL: [Policy; 5] = [
    Policy::Priced,
    Policy::Serial,
    Policy::Batch,
    Policy::Optimistic,
    Policy::BestFirst,
];

const SETTINGS: Settings = Settings {
    policy: Policy::Priced,
    batch_max: 16,
    slots: 0,
    patience: PATIENCE,
    independent: false,
};

const BUSY: Day = Day {
    slots: 8,
    arrivals_per_hour: 40.0,
    check_minutes: 6.0,
    bad: 0.1,
    pair_conflict: 0.005,
    changes: 400,
    seed: 0,
    hint: 0.9,
    flake: 0.0,
};

const FULL: Day = Day {
    slots: 4,
    arrivals_per_hour: 60.0,
    bad: 0.05,
    pair_conflict: 0.001,
    ..BUSY
};

fn days(day: Day) -> Vec<Scenario> {
    (FIRST_SEED..FIRST_SEED + 10)
        .map(|seed| Scenario::synthetic(&Day { seed, ..day }))
        .collect()
}

fn main() {
    print("busy", BUSY, &ALL);
    print("saturated", FULL, &ALL);
    let clashing = Day {
        pair_conflict: 0.005,
        ..FULL
    };
    print("saturated, pairs 0.005", clashing, &ALL);
    print("busy, no hints", Day { hint: 0.0, ..BUSY }, &ALL);
    print("busy, flake 0.02", Day { flake: 0.02, ..BUSY }, &ALL);
    for point in curve(&days(BUSY), SETTINGS, &[0.25, 0.5, 1.0, 2.0, 2.5, 4.0, 8.0, 16.0]) {
        println!("{point:?}");
    }
}

fn print(name: &str, day: Day, policies: &[Policy]) {
    println!("{name}");
    for row in compare(&days(day), SETTINGS, policies) {
        println!(
            "  {:?}: P50 {:.1} ({:.2}) P95 {:.1} ({:.2}) builds {:.2} minutes {:.0} per hour {:.1} red {} wronged {}",
            row.contender,
            row.p50_minutes,
            row.p50_of_oracle,
            row.p95_minutes,
            row.p95_of_oracle,
            row.builds_per_change,
            row.processor_minutes,
            row.decided_per_hour,
            row.red_landings,
            row.wronged
        );
    }
}
