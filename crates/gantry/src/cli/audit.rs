//! `audit`.

use clap::Args;
use gantry_core::id::ChangeId;
use gantry_core::queue::change::ChangeState;
use gantry_engine::audit::audit;
use gantry_engine::git_forge::GitForge;
use gantry_store::Store;
use serde_json::{Value, json};

use super::{Common, show};
use crate::exit_code::{Coded, ExitCode};
use crate::web::dto::StepBody;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  gantry audit\n\nReads Git and the database itself; no daemon is needed. Ends with \
    7 and freezes the queue, if a daemon runs, on the first landing that cannot be proven."
)]
pub struct Audit {
    /// Only this repository
    #[arg(long)]
    repository: Option<String>,
}

impl Audit {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let data = common.data()?;
        if !data.database().exists() {
            let text = format!(
                "there is no factory in {}; `gantry init --repo PATH` makes one",
                data.root().display()
            );
            return Err(Coded::new(ExitCode::NotFound, text));
        }
        let store = Store::open_to_read(&data.database())?;
        let mut results = Vec::new();
        let mut sound = true;
        for repository in store.load_repositories()? {
            if self
                .repository
                .as_ref()
                .is_some_and(|name| *name != repository.name)
            {
                continue;
            }
            let mut landed = Vec::new();
            let mut below = ChangeId::new(i64::MAX as u64);
            loop {
                let page = store.load_changes_below(repository.id, below, 1_000)?;
                let Some(last) = page.last() else { break };
                below = last.id;
                landed.extend(
                    page.into_iter()
                        .filter(|c| matches!(c.state, ChangeState::Landed(_))),
                );
            }
            let mut forge = GitForge::open(repository.path.as_ref(), repository.target.clone())?;
            let seen = audit(&mut forge, &repository, &landed)?;
            sound &= seen.faults.is_empty();
            if !seen.faults.is_empty() {
                stop_the_line(common, &repository.name);
            }
            results.push(json!({
                "repository": repository.name,
                "target": repository.target.as_str(),
                "tip": seen.tip.map(|tip| tip.to_string()),
                "sound": seen.faults.is_empty(),
                "landings": seen.landings.iter().map(|(commit, build)| json!({"sha": commit.to_string(), "build": build.to_string()})).collect::<Vec<_>>(),
                "changes": seen.changes,
                "pushed": seen.pushed.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "faults": seen.faults.iter().map(|fault| json!({
                    "sha": fault.commit.map(|commit| commit.to_string()),
                    "build": fault.build.map(|build| build.to_string()),
                    "change": fault.change.map(|change| change.to_string()),
                    "text": fault.text,
                })).collect::<Vec<_>>(),
            }));
        }
        if results.is_empty() {
            return Err(Coded::new(
                ExitCode::NotFound,
                "no such repository in this factory",
            ));
        }
        print(common, &results)?;
        Ok(if sound { ExitCode::Done } else { ExitCode::Untested })
    }
}

/// Nothing more lands until somebody has looked; without a daemon nothing lands anyway.
fn stop_the_line(common: &Common, repository: &str) {
    let body = StepBody {
        repository: Some(repository.to_owned()),
        reason: Some("the audit found a landing that cannot be proven".to_owned()),
        author: Some("gantry audit".to_owned()),
        ..StepBody::default()
    };
    let frozen = common
        .client()
        .and_then(|client| client.post("/v1/freeze", &body));
    if let Err(coded) = frozen
        && coded.code != ExitCode::NoDaemon
    {
        eprintln!(
            "gantry: the queue of {repository} could not be frozen: {:#}",
            coded.error
        );
    }
}

fn print(common: &Common, results: &[Value]) -> Result<(), Coded> {
    if common.json() {
        return show::json(&json!({"repositories": results}));
    }
    for result in results {
        let (landings, pushed) = (
            show::list(result, "landings").len(),
            show::list(result, "pushed").len(),
        );
        let verdict = if result["sound"] == json!(true) {
            "proven"
        } else {
            "NOT PROVEN"
        };
        show::line(&format!(
            "{}: {verdict}: {landings} landings on {}, {} changes, each tested as the very commit that landed; {pushed} direct pushes",
            show::text(result, "repository"),
            show::text(result, "target"),
            result["changes"],
        ))?;
        for fault in show::list(result, "faults") {
            show::line(&format!(
                "  {} {} {}: {}",
                show::text(fault, "change"),
                show::text(fault, "build"),
                show::text(fault, "sha").get(..10).unwrap_or(""),
                show::text(fault, "text")
            ))?;
        }
    }
    Ok(())
}
