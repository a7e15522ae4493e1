//! Random days: every rule is checked after every step, and at the end everything has come to its end.

use gantry_testkit::day::run_day;

#[test]
fn a_thousand_random_days_break_no_rule() {
    let first: u64 = std::env::var("GANTRY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let days: u64 = std::env::var("GANTRY_DAYS").ok().and_then(|s| s.parse().ok()).unwrap_or(1_000);
    let (mut changes, mut landed, mut deaths) = (0, 0, 0);
    for seed in first..first + days {
        let day = std::panic::catch_unwind(|| run_day(seed)).unwrap_or_else(|_| panic!("day {seed} broke a rule"));
        changes += day.changes;
        landed += day.landed;
        deaths += day.deaths;
    }
    println!("{days} days: {landed} of {changes} landed, {deaths} deaths");
}
