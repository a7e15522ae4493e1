//! `simulate`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use gantry_core::limits::{BATCH_CHANGES_MAX, SLOTS_MAX};
use gantry_core::queue::planner::{PATIENCE, Policy, Settings};
use gantry_engine::gate::POLICIES;
use gantry_simulate::{Contender, Day, Row, Scenario, Trace, compare, curve, curve_svg};
use serde_json::json;

use super::{Common, show};
use crate::exit_code::{Coded, ExitCode};

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  gantry simulate --slots 8 --arrivals-per-hour 40 --check-minutes 6 --bad 0.10 \
    --pair-conflict 0.005 --changes 400 --seeds 10\n  gantry simulate --trace day.jsonl --slots 4\n  gantry simulate \
    --curve waiting.svg\n\nA trace is JSON lines: at_s, duration_s, ok, conflicts_with[], and optionally paths[], author."
)]
pub struct Simulate {
    /// Builds at once
    #[arg(long, default_value_t = 8)]
    slots: usize,
    /// Mean number of changes offered in an hour
    #[arg(long, default_value_t = 40.0)]
    arrivals_per_hour: f64,
    /// Median check time
    #[arg(long, default_value_t = 6.0)]
    check_minutes: f64,
    /// Share of changes that are bad by themselves
    #[arg(long, default_value_t = 0.10)]
    bad: f64,
    /// Share of pairs, pending at the same time, that fail only together
    #[arg(long, default_value_t = 0.005)]
    pair_conflict: f64,
    /// How many changes are offered in a day
    #[arg(long, default_value_t = 400)]
    changes: usize,
    /// How many days, each with a seed of its own
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// The first day's seed
    #[arg(long, default_value_t = 1000)]
    seed: u64,
    /// Share of changes whose record tells good from bad
    #[arg(long, default_value_t = 0.9)]
    hint: f64,
    /// Share of runs of good trees that fail all the same
    #[arg(long, default_value_t = 0.0)]
    flake: f64,
    /// What an hour of waiting is worth in processor-hours
    #[arg(long, default_value_t = PATIENCE)]
    patience: f64,
    /// The most changes in a candidate
    #[arg(long, default_value_t = 16)]
    batch_max: usize,
    /// Only these policies: priced, serial, batch, optimistic, best-first
    #[arg(long, value_name = "POLICY")]
    policy: Vec<String>,
    /// A recorded day instead of synthetic ones
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Also draw waiting time against cost for many values of patience, as SVG
    #[arg(long, value_name = "FILE")]
    curve: Option<PathBuf>,
}

/// The values of patience that the curve shows.
const CURVE: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0];

impl Simulate {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        self.check()?;
        let policies = self.policies()?;
        let days = self.days()?;
        let settings = Settings {
            policy: Policy::Priced,
            batch_max: self.batch_max,
            slots: self.slots,
            patience: self.patience,
            independent: false,
        };
        let rows = compare(&days, settings, &policies);
        let mut value = json!({"days": days.len(), "rows": rows.iter().map(row).collect::<Vec<_>>()});
        if let Some(path) = &self.curve {
            let points = curve(&days, settings, &CURVE);
            std::fs::write(path, curve_svg(&points))
                .with_context(|| format!("cannot write {}", path.display()))?;
            value["curve"] = json!(points.iter().map(|point| json!({
                "patience": point.patience, "p50_minutes": point.p50_minutes, "p95_minutes": point.p95_minutes,
                "builds_per_change": point.builds_per_change, "processor_minutes": point.processor_minutes,
            })).collect::<Vec<_>>());
        }
        if common.json() {
            show::json(&value)?;
        } else {
            print(&rows)?;
            if let Some(path) = &self.curve {
                show::line(&format!("the curve is in {}", path.display()))?;
            }
        }
        Ok(ExitCode::Done)
    }

    fn check(&self) -> Result<(), Coded> {
        let usage = |text: String| Err(Coded::new(ExitCode::Usage, text));
        let shares = [
            ("--bad", self.bad),
            ("--pair-conflict", self.pair_conflict),
            ("--hint", self.hint),
            ("--flake", self.flake),
        ];
        for (name, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return usage(format!("{name} is {share}; write a share from 0 to 1"));
            }
        }
        let amounts = [
            ("--arrivals-per-hour", self.arrivals_per_hour),
            ("--check-minutes", self.check_minutes),
            ("--patience", self.patience),
        ];
        for (name, amount) in amounts {
            if !(amount.is_finite() && amount > 0.0 && amount <= 1e6) {
                return usage(format!("{name} is {amount}; write a number above 0"));
            }
        }
        if !(1..=SLOTS_MAX).contains(&self.slots) {
            return usage(format!("--slots is {}; write 1 to {SLOTS_MAX}", self.slots));
        }
        if !(1..=BATCH_CHANGES_MAX).contains(&self.batch_max) {
            return usage(format!(
                "--batch-max is {}; write 1 to {BATCH_CHANGES_MAX}",
                self.batch_max
            ));
        }
        if self.seeds == 0 || self.seeds > 1_000 || self.changes == 0 || self.changes > 20_000 {
            return usage("write 1 to 1000 --seeds and 1 to 20000 --changes".to_owned());
        }
        Ok(())
    }

    fn policies(&self) -> Result<Vec<Policy>, Coded> {
        if self.policy.is_empty() {
            return Ok(POLICIES.iter().map(|(_, policy)| *policy).collect());
        }
        self.policy
            .iter()
            .map(|word| {
                POLICIES
                    .iter()
                    .find(|(name, _)| name == word)
                    .map(|(_, policy)| *policy)
                    .ok_or_else(|| {
                        let words: Vec<&str> = POLICIES.iter().map(|(name, _)| *name).collect();
                        Coded::new(
                            ExitCode::Usage,
                            format!("{word:?} is no policy; write one of {}", words.join(", ")),
                        )
                    })
            })
            .collect()
    }

    fn days(&self) -> Result<Vec<Scenario>, Coded> {
        if let Some(path) = &self.trace {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Coded::new(
                    ExitCode::NotFound,
                    format!("cannot read {}: {error}", path.display()),
                )
            })?;
            let trace = Trace::parse(&text)
                .map_err(|error| Coded::new(ExitCode::Usage, format!("{}: {error}", path.display())))?;
            if trace.is_empty() {
                return Err(Coded::new(
                    ExitCode::Usage,
                    format!("{} holds no change", path.display()),
                ));
            }
            return Ok(vec![Scenario::recorded(&trace, self.slots)]);
        }
        let day = |seed| Day {
            slots: self.slots,
            arrivals_per_hour: self.arrivals_per_hour,
            check_minutes: self.check_minutes,
            bad: self.bad,
            pair_conflict: self.pair_conflict,
            changes: self.changes,
            seed,
            hint: self.hint,
            flake: self.flake,
        };
        let last = self.seed.saturating_add(self.seeds);
        Ok((self.seed..last)
            .map(|seed| Scenario::synthetic(&day(seed)))
            .collect())
    }
}

fn name(contender: Contender) -> &'static str {
    match contender {
        Contender::Oracle => "oracle",
        Contender::Policy(policy) => POLICIES
            .iter()
            .find(|(_, other)| *other == policy)
            .map_or("?", |(name, _)| *name),
    }
}

fn row(row: &Row) -> serde_json::Value {
    json!({
        "policy": name(row.contender),
        "p50_minutes": row.p50_minutes,
        "p95_minutes": row.p95_minutes,
        "p50_of_oracle": row.p50_of_oracle,
        "p95_of_oracle": row.p95_of_oracle,
        "builds_per_change": row.builds_per_change,
        "processor_minutes": row.processor_minutes,
        "decided_per_hour": row.decided_per_hour,
        "red_landings": row.red_landings,
        "wronged": row.wronged,
    })
}

fn print(rows: &[Row]) -> Result<(), Coded> {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                name(row.contender).to_owned(),
                format!("{:.1}", row.p50_minutes),
                format!("{:.2}", row.p50_of_oracle),
                format!("{:.1}", row.p95_minutes),
                format!("{:.2}", row.p95_of_oracle),
                format!("{:.2}", row.builds_per_change),
                format!("{:.0}", row.processor_minutes),
                format!("{:.1}", row.decided_per_hour),
                row.red_landings.to_string(),
                row.wronged.to_string(),
            ]
        })
        .collect();
    let head = [
        "POLICY",
        "P50 min",
        "x oracle",
        "P95 min",
        "x oracle",
        "BUILDS/CHANGE",
        "SLOT MIN",
        "PER HOUR",
        "RED",
        "WRONGED",
    ];
    show::table(&head, &cells)
}
