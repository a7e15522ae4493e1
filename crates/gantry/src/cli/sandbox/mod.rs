//! `box …`: one box at a time, by hand. Needs no daemon.

mod ended;
mod live;
mod run;

use std::path::PathBuf;

use clap::Subcommand;

use super::Common;
use crate::exit_code::{Coded, ExitCode};

#[derive(Debug, Subcommand)]
pub enum Sandbox {
    /// Run a command in a fresh box on this checkout, and throw the box away
    #[command(
        after_help = "Example:\n  gantry box run -- cargo test\n  gantry box run --keep-on-failure --memory 2GiB -- ./ci.sh\n\n\
        The box holds the work tree as it stands, uncommitted changes and new files included, ignored files not. \
        Nothing it does changes the checkout. The exit code is the command's; 124: out of time, 125: no box could \
        be made, 137: out of memory."
    )]
    Run(Box<run::Run>),
    /// List boxes: those that live and those whose receipt is kept
    #[command(after_help = "Example:\n  gantry box list --json")]
    List,
    /// Show one box
    #[command(after_help = "Example:\n  gantry box show box-4")]
    Show {
        /// The box
        name: String,
    },
    /// Print a box's log, as it grows if the box lives
    #[command(after_help = "Example:\n  gantry box log box-4")]
    Log {
        /// The box
        name: String,
    },
    /// Run a further command in a box that lives
    #[command(after_help = "Example:\n  gantry box exec box-4 -- git status")]
    Exec {
        /// The box
        name: String,
        /// Where in the box, instead of the workspace
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Open a shell in a box that lives
    #[command(
        after_help = "Example:\n  gantry box shell box-4\n\nLines are sent as they are typed; the shell has no terminal of its own."
    )]
    Shell {
        /// The box
        name: String,
    },
    /// Run the command of a kept box again
    #[command(after_help = "Example:\n  gantry box retry box-4")]
    Retry {
        /// The box
        name: String,
    },
    /// Stop every process of a box, or let them go on
    #[command(after_help = "Example:\n  gantry box freeze box-4\n  gantry box freeze --thaw box-4")]
    Freeze {
        /// The box
        name: String,
        /// Let them go on
        #[arg(long)]
        thaw: bool,
    },
    /// End a box
    #[command(after_help = "Example:\n  gantry box stop box-4")]
    Stop {
        /// The box
        name: String,
    },
    /// Remove what is kept of boxes that have ended, and what dead owners left
    #[command(after_help = "Example:\n  gantry box prune --keep 20")]
    Prune {
        /// How many of the newest are kept
        #[arg(long, default_value_t = 0)]
        keep: usize,
    },
    /// Print the receipts of a box or a build
    #[command(after_help = "Example:\n  gantry box receipt box-4\n  gantry box receipt B31")]
    Receipt {
        /// The box or build
        name: String,
    },
}

impl Sandbox {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        match self {
            Self::Run(run) => run.run(common),
            Self::List => ended::list(common),
            Self::Show { name } => ended::show(common, &name),
            Self::Log { name } => live::log(common, &name),
            Self::Exec {
                name,
                directory,
                command,
            } => live::exec(common, &name, directory, command),
            Self::Shell { name } => live::shell(common, &name),
            Self::Retry { name } => live::retry(common, &name),
            Self::Freeze { name, thaw } => live::freeze(common, &name, !thaw),
            Self::Stop { name } => live::stop(common, &name),
            Self::Prune { keep } => ended::prune(common, keep),
            Self::Receipt { name } => ended::receipt(common, &name),
        }
    }
}
