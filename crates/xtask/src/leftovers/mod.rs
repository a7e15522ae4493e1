//! What is left after deaths: kills the daemon, the processes of builds and boxes, and what runs in boxes, at random
//! moments, and looks for anything that stayed. Owns the order of things; the program under test is the real one.

mod remains;
mod scene;
mod victims;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use remains::Remains;
use scene::Scene;
use victims::{Victim, find, kill};

/// What is tried.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many processes are killed
    #[arg(long, default_value_t = 1_000)]
    kills: u32,
    /// What the moments and the victims follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program under test
    #[arg(long, default_value = "target/release/gantry")]
    program: PathBuf,
}

/// The longest pause between two deaths.
const PAUSE_MS_MAX: u64 = 60;
/// One change, and one box by hand, for so many deaths.
const KILLS_PER_OFFER: u32 = 10;
const KILLS_PER_BOX: u32 = 5;

/// Kills, lets everything come to rest, and looks for what stayed.
///
/// Errors: something stayed, or a change or a box has no end.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let program = std::path::absolute(&arguments.program)?;
    ensure!(
        program.is_file(),
        "{} is not there; build it first: cargo build --release -p gantry",
        program.display()
    );
    let before = Remains::look(None)?;
    let mut random = ChaCha8Rng::seed_from_u64(arguments.seed);
    let mut scene = Scene::make(&program)?;
    println!("seed {}, data in {}", arguments.seed, scene.data().display());
    let mut tally = [0_u32; Victim::ALL.len()];
    for number in 0..arguments.kills {
        if number.is_multiple_of(KILLS_PER_OFFER) {
            scene.offer(number)?;
        }
        if number.is_multiple_of(KILLS_PER_BOX) {
            scene.start_box()?;
        }
        std::thread::sleep(Duration::from_millis(random.random_range(0..=PAUSE_MS_MAX)));
        let wanted = random.random_range(0..Victim::ALL.len());
        // Whoever is not there just now is replaced by the next kind; the daemon always is.
        let found = (0..Victim::ALL.len()).find_map(|step| {
            let index = (wanted + step) % Victim::ALL.len();
            let all = find(Victim::ALL[index], scene.data()).ok()?;
            let chosen = all.get(random.random_range(0..all.len().max(1))).copied()?;
            Some((index, chosen))
        });
        let (index, pid) = found.context("nothing of the factory runs")?;
        kill(pid);
        tally[index] += 1;
        if Victim::ALL[index] == Victim::Daemon {
            scene.restart()?;
        }
    }
    for (victim, count) in Victim::ALL.iter().zip(tally) {
        println!("{count:>6} deaths of {}", victim.as_str());
    }
    scene.settle()?;
    let data = scene.data().to_owned();
    let ends = scene.end()?;
    println!("{} changes and {} boxes have an end", ends.changes, ends.boxes);
    let after = Remains::look(Some(&data))?;
    let left = after.beyond(&before);
    if !left.is_empty() {
        bail!("{} things were left:\n  {}", left.len(), left.join("\n  "));
    }
    println!("{} deaths, nothing is left", arguments.kills);
    Ok(())
}
