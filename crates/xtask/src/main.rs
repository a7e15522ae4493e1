//! Chores of the project. Owns the list of them; each one is a module of its own.

mod demo;

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
    /// Makes a repository with a rotted backlog, drains it with the real program, and proves what happened.
    Demo(demo::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Demo(arguments) => demo::run(&arguments),
    }
}
