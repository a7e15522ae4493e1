//! Chores of the project. Owns the list of them; each one is a module of its own.

mod ci;
mod crash;
mod demo;
mod differential;
mod leftovers;
mod licences;
mod shown;
mod tidy;

use std::process::ExitCode;

use clap::Parser as _;

/// Chores of the project.
#[derive(Debug, clap::Parser)]
#[command(name = "xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, clap::Subcommand)]
enum Chore {
    /// Runs every check a commit has to pass.
    Ci(ci::Arguments),
    /// Kills the modelled process at effects of its work, and checks that nothing ends otherwise.
    Crash(crash::Arguments),
    /// Makes a repository with a rotted backlog, drains it with the real program, and proves what happened.
    Demo(demo::Arguments),
    /// Merges pairs of a repository's commits as gantry does and as `git merge-tree` does, and prints what differs.
    Differential(differential::Arguments),
    /// Kills the real program's processes at random moments, and looks for anything that was left.
    Leftovers(leftovers::Arguments),
    /// Checks that each dependency's licence is allowed.
    Licences,
    /// Checks what a machine can of how the code is written.
    Tidy,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Ci(arguments) => ci::run(&arguments),
        Chore::Crash(arguments) => crash::run(&arguments),
        Chore::Demo(arguments) => demo::run(&arguments),
        Chore::Differential(arguments) => differential::run(&arguments),
        Chore::Leftovers(arguments) => leftovers::run(&arguments),
        Chore::Licences => licences::run(),
        Chore::Tidy => tidy::run(),
    }
}
