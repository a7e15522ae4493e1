//! `queue …`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use gantry_adapters::clock;
use gantry_engine::config_text::parse_duration;
use serde_json::{Value, json};

use super::{Common, show};
use crate::exit_code::{Coded, ExitCode};
use crate::web::client::{Client, encoded};
use crate::web::dto::{OfferBody, StepBody};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Priority {
    Low,
    Normal,
    High,
    Urgent,
}

impl Priority {
    fn word(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

#[derive(Debug, Subcommand)]
pub enum Queue {
    /// Offer a branch for landing
    #[command(after_help = "Example:\n  gantry queue add feature/json --title 'Add --json' --after C3")]
    Add(Add),
    /// List changes that are not decided; with --all, every change
    #[command(after_help = "Example:\n  gantry queue list --json")]
    List {
        /// Also what landed or was cancelled
        #[arg(long)]
        all: bool,
        /// The repository, if there is more than one
        #[arg(long)]
        repository: Option<String>,
    },
    /// Show one change: where it is, why, and what would make it land sooner
    #[command(after_help = "Example:\n  gantry queue show C7")]
    Show {
        /// The change
        change: String,
    },
    /// Wait until the named changes, or all that are queued, are decided
    #[command(
        after_help = "Example:\n  gantry queue wait C7 C8 --timeout 10m\n\nEnds with 0 if all of them landed, \
        1 if one did not, 6 if the time ran out."
    )]
    Wait {
        /// The changes; all that are queued if none is named
        changes: Vec<String>,
        /// How long, such as 90s or 10m [default: for ever]
        #[arg(long, value_name = "DURATION")]
        timeout: Option<String>,
    },
    /// Take a change out
    #[command(after_help = "Example:\n  gantry queue cancel C7")]
    Cancel {
        /// The change
        change: String,
    },
    /// Make a change more or less urgent
    #[command(after_help = "Example:\n  gantry queue priority C7 urgent")]
    Priority {
        /// The change
        change: String,
        /// How urgent
        priority: Priority,
    },
    /// Hold a change until somebody releases it
    #[command(after_help = "Example:\n  gantry queue hold C7 --reason 'wait for the schema'")]
    Hold {
        /// The change
        change: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Let a held change go on, or have a bounced one tried again
    #[command(after_help = "Example:\n  gantry queue release C7")]
    Release {
        /// The change
        change: String,
    },
    /// Land nothing, or only what is urgent enough, until the thaw
    #[command(after_help = "Example:\n  gantry queue freeze --below high --reason 'release day'")]
    Freeze {
        /// Only what is less urgent than this
        #[arg(long, value_name = "PRIORITY")]
        below: Option<Priority>,
        /// Why
        #[arg(long)]
        reason: String,
        /// The repository, if there is more than one
        #[arg(long)]
        repository: Option<String>,
    },
    /// End a freeze
    #[command(after_help = "Example:\n  gantry queue thaw")]
    Thaw {
        /// The repository, if there is more than one
        #[arg(long)]
        repository: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct Add {
    /// The branch
    branch: String,
    /// The commit it must be at; refused if it moved meanwhile
    #[arg(long)]
    sha: Option<String>,
    /// One line for people [default: the subject of its head]
    #[arg(long)]
    title: Option<String>,
    /// Who offers it [default: the author of its head]
    #[arg(long)]
    author: Option<String>,
    /// How urgent
    #[arg(long)]
    priority: Option<Priority>,
    /// Test and land it alone
    #[arg(long)]
    solo: bool,
    /// A change that has to land before it; may be given more than once
    #[arg(long, value_name = "CHANGE")]
    after: Vec<String>,
    /// The repository, if there is more than one
    #[arg(long)]
    repository: Option<String>,
}

impl Queue {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let client = common.client()?;
        let step = |id: &str, step: &str, body: StepBody| {
            let value = client.post(&format!("/v1/changes/{}/{step}", encoded(id)), &body)?;
            print_change(common, &value)
        };
        match self {
            Self::Add(add) => {
                let body = OfferBody {
                    repository: add.repository,
                    branch: add.branch,
                    source: None,
                    sha: add.sha,
                    title: add.title,
                    author: add.author,
                    priority: add.priority.map(Priority::word),
                    solo: add.solo,
                    after: add.after,
                };
                print_change(common, &client.post("/v1/changes", &body)?)
            }
            Self::List { all, repository } => list(common, &client, all, repository.as_deref()),
            Self::Show { change } => {
                let value = client.get(&format!("/v1/changes/{}", encoded(&change)))?;
                if common.json() {
                    show::json(&value)?;
                } else {
                    print_whole(&value)?;
                }
                Ok(ExitCode::Done)
            }
            Self::Wait { changes, timeout } => wait(common, &client, &changes, timeout.as_deref()),
            Self::Cancel { change } => step(&change, "cancel", StepBody::default()),
            Self::Release { change } => step(&change, "release", StepBody::default()),
            Self::Hold { change, reason } => step(
                &change,
                "hold",
                StepBody {
                    reason: Some(reason),
                    ..StepBody::default()
                },
            ),
            Self::Priority { change, priority } => step(
                &change,
                "priority",
                StepBody {
                    priority: Some(priority.word()),
                    ..StepBody::default()
                },
            ),
            Self::Freeze {
                below,
                reason,
                repository,
            } => {
                let body = StepBody {
                    repository,
                    below: below.map(Priority::word),
                    reason: Some(reason),
                    author: Some(caller()),
                    ..StepBody::default()
                };
                print_or(
                    common,
                    &client.post("/v1/freeze", &body)?,
                    "frozen; `gantry queue thaw` ends it",
                )
            }
            Self::Thaw { repository } => {
                let body = StepBody {
                    repository,
                    author: Some(caller()),
                    ..StepBody::default()
                };
                print_or(common, &client.post("/v1/thaw", &body)?, "thawed")
            }
        }
    }
}

/// Who types: a name for the record, not an identity.
fn caller() -> String {
    std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned())
}

fn print_or(common: &Common, value: &Value, text: &str) -> Result<ExitCode, Coded> {
    if common.json() {
        show::json(value)?
    } else {
        show::line(text)?
    }
    Ok(ExitCode::Done)
}

fn print_change(common: &Common, value: &Value) -> Result<ExitCode, Coded> {
    if common.json() {
        show::json(value)?;
    } else {
        show::line(&one_line(value))?;
    }
    Ok(ExitCode::Done)
}

fn one_line(value: &Value) -> String {
    format!(
        "{} {} ({}): {}",
        show::text(value, "id"),
        show::text(value, "state"),
        show::text(value, "branch"),
        show::text(&value["reason"], "text")
    )
}

fn list(common: &Common, client: &Client, all: bool, repository: Option<&str>) -> Result<ExitCode, Coded> {
    let mut changes: Vec<Value> = Vec::new();
    let mut before = String::new();
    let mut answer;
    loop {
        let mut path = format!("/v1/changes?all={all}");
        if let Some(name) = repository {
            path.push_str(&format!("&repository={}", encoded(name)));
        }
        if !before.is_empty() {
            path.push_str(&format!("&before={before}"));
        }
        answer = client.get(&path)?;
        changes.extend_from_slice(show::list(&answer, "changes"));
        match answer["next_before"].as_str() {
            Some(next) => before = next.to_owned(),
            None => break,
        }
    }
    if common.json() {
        show::json(&json!({"changes": changes, "frozen": answer["frozen"]}))?;
        return Ok(ExitCode::Done);
    }
    if answer["frozen"].is_object() {
        show::line(&format!(
            "frozen by {}: {}",
            show::text(&answer["frozen"], "author"),
            show::text(&answer["frozen"], "reason")
        ))?;
    }
    if changes.is_empty() {
        show::line("nothing waits; offer a branch with `gantry queue add BRANCH`")?;
        return Ok(ExitCode::Done);
    }
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|change| {
            vec![
                change["position"]
                    .as_u64()
                    .map_or(String::new(), |position| position.to_string()),
                show::text(change, "id").to_owned(),
                show::text(change, "state").to_owned(),
                show::text(change, "priority").to_owned(),
                show::text(change, "title").to_owned(),
                show::text(&change["reason"], "text").to_owned(),
            ]
        })
        .collect();
    show::table(&["#", "ID", "STATE", "PRIORITY", "TITLE", "WHY"], &rows)?;
    Ok(ExitCode::Done)
}

fn print_whole(value: &Value) -> Result<(), Coded> {
    show::line(&format!(
        "{}  {}",
        show::text(value, "id"),
        show::text(value, "title")
    ))?;
    let row = |name: &str, text: &str| {
        if text.is_empty() {
            Ok(())
        } else {
            show::line(&format!("  {name:<10}{text}"))
        }
    };
    row(
        "branch",
        &format!(
            "{} at {}",
            show::text(value, "branch"),
            show::text(value, "head").get(..10).unwrap_or("")
        ),
    )?;
    row("author", show::text(value, "author"))?;
    row("state", show::text(value, "state"))?;
    row("why", show::text(&value["reason"], "text"))?;
    row("to do", show::text(&value["reason"], "next_action"))?;
    if let Some(position) = value["position"].as_u64() {
        row("position", &position.to_string())?;
    }
    if value["eta"].is_object() {
        let eta = &value["eta"];
        row(
            "lands",
            &format!(
                "about {} ({} to {})",
                show::text(eta, "expected"),
                show::text(eta, "low"),
                show::text(eta, "high")
            ),
        )?;
    }
    if value["landed"].is_object() {
        let landed = &value["landed"];
        row(
            "landed",
            &format!(
                "{} at {}, tested in {}",
                show::text(landed, "sha"),
                show::text(landed, "at"),
                show::text(landed, "build")
            ),
        )?;
    }
    for build in show::list(value, "builds") {
        row(
            "build",
            &format!(
                "{} {} ({})",
                show::text(build, "id"),
                show::text(build, "state"),
                show::text(build, "purpose")
            ),
        )?;
        let checks = show::list(build, "checks");
        for check in checks
            .iter()
            .filter(|check| show::text(check, "state") == "failed")
        {
            for line in show::list(check, "evidence") {
                show::line(&format!("            | {}", line.as_str().unwrap_or("")))?;
            }
        }
    }
    Ok(())
}

fn wait(
    common: &Common,
    client: &Client,
    changes: &[String],
    timeout: Option<&str>,
) -> Result<ExitCode, Coded> {
    let limit = timeout
        .map(|text| {
            parse_duration(text).ok_or_else(|| {
                Coded::new(
                    ExitCode::Usage,
                    format!("{text:?} is no duration; write 90s, 10m or 1h"),
                )
            })
        })
        .transpose()?;
    let watch = clock::Stopwatch::start();
    let names = match changes {
        [] => moving(client)?,
        named => named.iter().map(|name| encoded(name)).collect(),
    };
    loop {
        let left = limit.map_or(Duration::from_secs(20), |limit| watch.left_of(limit));
        let wait_ms = left.min(Duration::from_secs(20)).as_millis();
        let body = json!({"changes": names, "wait_ms": u64::try_from(wait_ms).unwrap_or(u64::MAX)});
        let value = client.post("/v1/wait", &body)?;
        let ended = value["ended"] == json!(true);
        if !ended && limit.is_none_or(|limit| !watch.left_of(limit).is_zero()) {
            continue;
        }
        if common.json() {
            show::json(&value)?;
        } else {
            for change in show::list(&value, "changes") {
                show::line(&one_line(change))?;
            }
        }
        if !ended {
            return Ok(ExitCode::TimedOut);
        }
        let landed = show::list(&value, "changes")
            .iter()
            .all(|change| show::text(change, "state") == "landed");
        return Ok(if landed { ExitCode::Done } else { ExitCode::No });
    }
}

/// Names every change that goes on by itself, in every repository.
fn moving(client: &Client) -> Result<Vec<String>, Coded> {
    let answer = client.get("/v1/moving")?;
    let names = show::list(&answer, "changes").iter();
    Ok(names
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect())
}
