//! The matrix of deaths: kills the modelled process before and after effects, and prints what came of it. Decides
//! nothing; the matrix is `gantry-testkit`'s.

use std::collections::BTreeMap;

use anyhow::bail;
use gantry_testkit::crash::points;

/// What is tried.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many deaths
    #[arg(long, default_value_t = 1_000)]
    points: usize,
    /// What the scenarios and the random days follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Tries the deaths and prints a row for each scenario.
///
/// Errors: a death changed how something ended.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let tried = points(arguments.points, arguments.seed);
    let mut rows: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for point in &tried {
        let row = rows.entry(point.scenario.to_owned()).or_default();
        row.0 += 1;
        row.1 += usize::from(point.broken.is_some());
    }
    println!("seed {}", arguments.seed);
    for (name, (count, broken)) in &rows {
        println!("{count:>6} deaths, {broken} changed the end: {name}");
    }
    let broken: Vec<_> = tried.iter().filter(|point| point.broken.is_some()).collect();
    if let Some(first) = broken.first() {
        bail!(
            "{} of {} deaths changed the end; the first: {first:?}",
            broken.len(),
            tried.len()
        );
    }
    println!("{} deaths, none changed the end", tried.len());
    Ok(())
}
