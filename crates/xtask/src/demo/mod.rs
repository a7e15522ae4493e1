//! `cargo xtask demo`: a real repository with a rotted backlog, drained by the real program. Owns the order of the
//! acts and the verdict; what it prints is what happened.

pub(crate) mod factory;
mod interrupt;
mod offers;
mod outcome;
mod proof;
mod repository;
mod story;
mod watch;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use gantry_adapters::clock::Stopwatch;

use self::factory::Factory;
use self::offers::OFFERS;
use self::outcome::Outcome;
use self::repository::Repository;
use crate::shown;

/// The data directory, in the scratch directory.
const DATA: &str = "factory";

/// What `cargo xtask demo` is given.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Keep the scratch directory: the repository, the database and the logs of every check.
    #[arg(long)]
    keep: bool,
    /// Use this program instead of building one.
    #[arg(long, value_name = "FILE")]
    gantry: Option<PathBuf>,
}

/// Plays the demo; an error if main was ever red or the audit is not sound.
///
/// Errors: also whatever kept it from being played.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let program = match &arguments.gantry {
        Some(path) => std::path::absolute(path)?,
        None => release_program()?,
    };
    let mut scratch = tempfile::Builder::new().prefix("gantry-demo-").tempdir()?;
    scratch.disable_cleanup(arguments.keep);
    println!("scratch directory: {}", scratch.path().display());
    interrupt::guard(
        &program,
        scratch.path().join(DATA),
        scratch.path(),
        arguments.keep,
    )?;
    let played = play(&program, scratch.path());
    if arguments.keep {
        println!("kept: {}", scratch.path().display());
    }
    played
}

fn play(program: &Path, scratch: &Path) -> anyhow::Result<()> {
    let repository = Repository::make(&scratch.join("tally"))?;
    let watch = Stopwatch::start();
    ensure!(
        proof::passes(repository.root())?,
        "the tests of main fail before anything is offered"
    );
    println!(
        "repository: a C program with tests that take {:.1} s; {} changes, main moved on after most were cut\n",
        watch.elapsed().as_secs_f64(),
        OFFERS.len()
    );
    let factory = Factory::start(program, &scratch.join(DATA), repository.root())?;
    let watch = Stopwatch::start();
    offer_all(&factory)?;
    let wall = watch::until_decided(&factory, watch)?;
    let outcome = Outcome::of(
        &factory.json(&["queue", "list", "--all"])?,
        &factory.json(&["build", "list", "--all"])?,
    );
    println!();
    outcome.print_changes();
    println!();
    outcome.print_sums(wall);
    let audit = factory.run(&["audit"])?;
    println!(
        "gantry audit:    {}",
        String::from_utf8_lossy(&audit.stdout).trim_end()
    );
    drop(factory);
    let proof = proof::of_main(&repository, scratch)?;
    println!(
        "main again:      the tests of each of its {} commits were run again: {} green, {} flaky, {} red",
        proof.green + proof.flaky.len() + proof.red.len(),
        proof.green,
        proof.flaky.len(),
        proof.red.len()
    );
    for (word, commits) in [("flaky", &proof.flaky), ("red", &proof.red)] {
        commits
            .iter()
            .for_each(|commit| println!("                 {word}: {commit}"));
    }
    ensure!(
        audit.status.success(),
        "the audit found a landing that was not tested"
    );
    ensure!(proof.red.is_empty(), "main was red");
    Ok(())
}

fn offer_all(factory: &Factory) -> anyhow::Result<()> {
    for offer in OFFERS {
        let priority = if offer.low { "low" } else { "normal" };
        factory
            .text(&["queue", "add", offer.branch, "--priority", priority])
            .with_context(|| format!("{} was not taken", offer.branch))?;
    }
    Ok(())
}

/// Finds the release program beside this one, or builds it.
fn release_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let profile = own.parent().context("this program is in no folder")?;
    if profile.ends_with("release") && profile.join("gantry").exists() {
        return Ok(profile.join("gantry"));
    }
    let target = profile.parent().context("this program is in no target folder")?;
    let mut command = shown::cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "gantry",
        "--target-dir",
    ]);
    shown::run(command.arg(target))?;
    Ok(target.join("release/gantry"))
}
