//! Chores of the project. Owns the list of them; each one is a module of its own.

mod differential;

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
    /// Merges pairs of a repository's commits as gantry does and as `git merge-tree` does, and prints what differs.
    Differential(differential::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Differential(arguments) => differential::run(&arguments),
    }
}
