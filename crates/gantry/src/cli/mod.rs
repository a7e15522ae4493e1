//! The command line: one file for each group of commands. Commands parse, ask, and render; they decide nothing.

mod audit;
mod build;
mod ci;
mod config;
mod dock;
mod doctor;
mod events;
mod factory;
mod hook;
mod image;
mod queue;
mod sandbox;
mod show;
mod simulate;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::data_dir::DataDir;
use crate::exit_code::{Coded, ExitCode, TABLE};
use crate::web::client::Client;

/// Lands finished work: tests the exact commit that will land, and moves the target to that commit and no other.
#[derive(Debug, Parser)]
#[command(name = "gantry", version, max_term_width = 110, propagate_version = true)]
#[command(
    after_help = "First steps:\n  gantry up --repo PATH          protect a repository's main branch\n  \
    gantry queue add BRANCH        offer a branch for landing\n  gantry queue wait              wait until it \
    is decided\n\nExit codes: gantry help exit-codes"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The factory's directory [default: $GANTRY_HOME, else the XDG data directory and gantry]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a repository to the factory
    Init(factory::Init),
    /// Run the factory
    Up(factory::Up),
    /// Stop the factory
    #[command(after_help = "Example:\n  gantry down")]
    Down,
    /// Show the factory: repositories, what waits, what is in the way
    #[command(after_help = "Example:\n  gantry status --json")]
    Status,
    /// Look at configuration
    #[command(subcommand)]
    Config(config::Config),
    /// Offer changes and watch them land
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Look at builds and their logs
    #[command(subcommand)]
    Build(build::Build),
    /// Run the repository's own workflows, and say what would not be honoured
    #[command(subcommand)]
    Ci(ci::Ci),
    /// Build, import, look at and clear away what boxes stand on
    #[command(subcommand)]
    Image(image::Image),
    /// Run commands in fresh boxes, by hand
    #[command(subcommand, name = "box")]
    Sandbox(sandbox::Sandbox),
    /// Say what works on this host, and what mends what does not
    Doctor(doctor::Doctor),
    /// Show the radar: which open changes have rotted, and because of what
    Dock(dock::Dock),
    /// Prove from Git that every landing was tested as it landed
    Audit(audit::Audit),
    /// Print the recorded facts
    Events(events::Events),
    /// Run the planner over a synthetic or recorded day
    Simulate(simulate::Simulate),
    /// Print shell completions
    #[command(after_help = "Example:\n  gantry completions bash > /etc/bash_completion.d/gantry")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a folder
    #[command(after_help = "Example:\n  gantry man-pages /usr/local/share/man/man1")]
    ManPages {
        /// Where
        folder: PathBuf,
    },
    /// Explain exit codes
    #[command(name = "exit-codes", after_help = "Example:\n  gantry exit-codes")]
    ExitCodes,
    /// Started by Git, not by people
    #[command(name = "__hook", hide = true)]
    Hook(hook::Hook),
}

impl Common {
    /// Finds the data directory.
    ///
    /// Errors: none is known.
    pub fn data(&self) -> Result<DataDir, Coded> {
        Ok(DataDir::find(self.data_dir.as_deref())?)
    }

    /// Makes a client of the daemon.
    ///
    /// Errors: what the system said.
    pub fn client(&self) -> Result<Client, Coded> {
        Client::new(self.data()?.socket())
    }

    /// Says whether JSON is wanted.
    pub fn json(&self) -> bool {
        self.json
    }
}

pub use show::harmless;

/// Parses the command line and runs it. Returns whether JSON was asked for, and how it went.
pub fn run() -> (bool, Result<ExitCode, Coded>) {
    let mut words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // `gantry help exit-codes` is where people look for it; the command itself has no dash in front of help.
    if words.get(1).is_some_and(|w| w == "help") && words.get(2).is_some_and(|w| w == "exit-codes") {
        words.remove(1);
    }
    let json = words.iter().any(|word| word == "--json");
    match Cli::try_parse_from(words) {
        Ok(cli) => (cli.common.json, dispatch(cli)),
        Err(error) if json && error.use_stderr() => {
            let text = error.render().to_string();
            (json, Err(Coded::new(ExitCode::Usage, text.trim_end())))
        }
        // Help and the version are no errors; the library prints and ends them as people are used to.
        Err(error) => error.exit(),
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Coded> {
    let common = &cli.common;
    match cli.command {
        Command::Init(command) => command.run(common),
        Command::Up(command) => command.run(common),
        Command::Down => factory::down(common),
        Command::Status => factory::status(common),
        Command::Config(command) => command.run(common),
        Command::Queue(command) => command.run(common),
        Command::Build(command) => command.run(common),
        Command::Ci(command) => command.run(common),
        Command::Image(command) => command.run(common),
        Command::Sandbox(command) => command.run(common),
        Command::Doctor(command) => command.run(common),
        Command::Dock(command) => command.run(common),
        Command::Audit(command) => command.run(common),
        Command::Events(command) => command.run(common),
        Command::Simulate(command) => command.run(common),
        Command::Completions { shell } => completions(common, shell),
        Command::ManPages { folder } => man_pages(common, &folder),
        Command::ExitCodes => exit_codes(common),
        Command::Hook(command) => command.run(common),
    }
}

fn completions(common: &Common, shell: clap_complete::Shell) -> Result<ExitCode, Coded> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gantry", &mut script);
    if common.json() {
        let script = String::from_utf8_lossy(&script);
        show::json(&serde_json::json!({"shell": shell.to_string(), "script": script}))?;
    } else {
        show::raw(&script)?;
    }
    Ok(ExitCode::Done)
}

fn man_pages(common: &Common, folder: &std::path::Path) -> Result<ExitCode, Coded> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let command = Cli::command();
    let mut pages = Vec::new();
    list_pages(&command, "gantry", &mut pages);
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    if common.json() {
        show::json(&serde_json::json!({"folder": folder, "pages": pages}))?;
    } else {
        show::line(&format!("{} pages are in {}", pages.len(), folder.display()))?;
    }
    Ok(ExitCode::Done)
}

/// Names the page of a command and of every command below it that people use.
fn list_pages(command: &clap::Command, name: &str, pages: &mut Vec<String>) {
    pages.push(format!("{name}.1"));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        list_pages(sub, &format!("{name}-{}", sub.get_name()), pages);
    }
}

fn exit_codes(common: &Common) -> Result<ExitCode, Coded> {
    if common.json() {
        let rows: Vec<_> = TABLE
            .iter()
            .map(|(_, number, meaning)| serde_json::json!({"code": number, "meaning": meaning}))
            .collect();
        show::json(&serde_json::json!({"exit_codes": rows}))?;
    } else {
        for (_, number, meaning) in TABLE {
            show::line(&format!("{number}  {meaning}"))?;
        }
    }
    Ok(ExitCode::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_people_use_shows_an_example() {
        fn look(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            if command.get_subcommands().next().is_none() && !command.is_hide_set() {
                let help = command
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                if !help.contains("Example") {
                    missing.push(path.clone());
                }
            }
            command
                .get_subcommands()
                .for_each(|sub| look(sub, &path, missing));
        }
        let mut missing = Vec::new();
        look(&Cli::command(), "", &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }
}
