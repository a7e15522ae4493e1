//! `build …`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Common, show};
use crate::exit_code::{Coded, ExitCode};
use crate::web::client::encoded;

#[derive(Debug, Subcommand)]
pub enum Build {
    /// List the last builds
    #[command(after_help = "Example:\n  gantry build list")]
    List {
        /// As many as one answer holds, instead of the last 50
        #[arg(long)]
        all: bool,
        /// The repository, if there is more than one
        #[arg(long)]
        repository: Option<String>,
    },
    /// Show one build: what it tested, on what, and how its checks ended
    #[command(after_help = "Example:\n  gantry build show B12")]
    Show {
        /// The build
        build: String,
    },
    /// Print the output of a build's checks
    #[command(after_help = "Example:\n  gantry build log B12 --check test")]
    Log {
        /// The build
        build: String,
        /// Only this check
        #[arg(long)]
        check: Option<String>,
    },
}

impl Build {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let client = common.client()?;
        match self {
            Self::List { all, repository } => {
                let name = repository.map_or(String::new(), |name| format!("&repository={}", encoded(&name)));
                let value = client.get(&format!("/v1/builds?all={all}{name}"))?;
                if common.json() {
                    show::json(&value)?;
                } else {
                    table(show::list(&value, "builds"))?;
                }
            }
            Self::Show { build } => {
                let value = client.get(&format!("/v1/builds/{}", encoded(&build)))?;
                if common.json() {
                    show::json(&value)?;
                } else {
                    whole(&value)?;
                }
            }
            Self::Log { build, check } => {
                let value = client.get(&format!("/v1/builds/{}", encoded(&build)))?;
                return log(common, &value, check.as_deref());
            }
        }
        Ok(ExitCode::Done)
    }
}

fn members(build: &Value) -> String {
    let names: Vec<&str> = show::list(build, "members")
        .iter()
        .map(|member| show::text(member, "change"))
        .collect();
    if names.is_empty() {
        "(the target itself)".to_owned()
    } else {
        names.join(" ")
    }
}

fn table(builds: &[Value]) -> Result<(), Coded> {
    if builds.is_empty() {
        return show::line("no build yet");
    }
    let rows: Vec<Vec<String>> = builds
        .iter()
        .map(|build| {
            let took: u64 = show::list(build, "checks")
                .iter()
                .filter_map(|c| c["duration_ms"].as_u64())
                .sum();
            let state = match show::text(build, "trouble") {
                "" => show::text(build, "state").to_owned(),
                trouble => format!("{} ({trouble})", show::text(build, "state")),
            };
            let reuses = show::text(build, "reuses");
            vec![
                show::text(build, "id").to_owned(),
                state,
                show::text(build, "purpose").to_owned(),
                if reuses.is_empty() {
                    format!("{:.1} s", took as f64 / 1000.0)
                } else {
                    format!("as {reuses}")
                },
                show::text(build, "candidate").get(..10).unwrap_or("").to_owned(),
                members(build),
            ]
        })
        .collect();
    show::table(&["ID", "STATE", "PURPOSE", "TOOK", "CANDIDATE", "MEMBERS"], &rows)
}

fn whole(build: &Value) -> Result<(), Coded> {
    show::line(&format!(
        "{} {} ({})",
        show::text(build, "id"),
        show::text(build, "state"),
        show::text(build, "purpose")
    ))?;
    show::line(&format!(
        "  candidate {}\n  tree      {}",
        show::text(build, "candidate"),
        show::text(build, "tree")
    ))?;
    show::line(&format!(
        "  base      {}\n  members   {}",
        show::text(build, "base"),
        members(build)
    ))?;
    for check in show::list(build, "checks") {
        let seconds = check["duration_ms"].as_f64().unwrap_or(0.0) / 1000.0;
        show::line(&format!(
            "  check {} {} in {seconds:.1} s",
            show::text(check, "name"),
            show::text(check, "detail")
        ))?;
        for line in show::list(check, "evidence") {
            show::line(&format!("    | {}", line.as_str().unwrap_or("")))?;
        }
    }
    Ok(())
}

/// Prints logs line by line: they may be larger than memory is meant to hold.
fn log(common: &Common, build: &Value, check: Option<&str>) -> Result<ExitCode, Coded> {
    let folder = Path::new(show::text(build, "log_folder"));
    let mut names: Vec<String> = match check {
        Some(name) => vec![format!("{name}.log")],
        None => std::fs::read_dir(folder)
            .map_err(|_| no_log(folder))?
            .filter_map(|entry| entry.ok().and_then(|entry| entry.file_name().into_string().ok()))
            .filter(|name| name.ends_with(".log"))
            .collect(),
    };
    names.sort();
    if common.json() {
        let logs: Vec<Value> = names
            .iter()
            .map(|name| json!({"path": folder.join(name)}))
            .collect();
        show::json(&json!({"build": build["id"], "logs": logs}))?;
        return Ok(ExitCode::Done);
    }
    let mut out = std::io::stdout().lock();
    for name in &names {
        let path = folder.join(name);
        let file = std::fs::File::open(&path).map_err(|_| no_log(&path))?;
        if names.len() > 1 {
            writeln!(out, "==> {name} <==")?;
        }
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .with_context(|| format!("cannot read {}", path.display()))?
            > 0
        {
            out.write_all(show::harmless(&String::from_utf8_lossy(&line)).as_bytes())?;
            line.clear();
        }
    }
    Ok(ExitCode::Done)
}

fn no_log(path: &Path) -> Coded {
    let text = format!(
        "there is no log at {}: the build took over another's verdict, did not start, or is too old",
        path.display()
    );
    Coded::new(ExitCode::NotFound, text)
}
