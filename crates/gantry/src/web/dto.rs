//! The JSON forms of the API and of `--json`: a contract, described in docs/cli.md. Fields are only ever added.

use gantry_core::id::BuildId;
use gantry_core::queue::build::{Build, BuildState};
use gantry_core::queue::planner::Purpose;
use gantry_core::repository::{Freeze, Repository};
use gantry_core::time::Timestamp;
use gantry_engine::explain::{ChangeView, Eta, Landed};
use gantry_store::Recorded;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Returns an instant as RFC 3339 in UTC, with milliseconds.
pub fn instant(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(at) => format!("{at:.3}"),
        // Beyond the years anybody can write: the number itself.
        Err(_) => at.as_millis().to_string(),
    }
}

/// A change to be offered.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferBody {
    /// The repository's name, if there is more than one.
    pub repository: Option<String>,
    /// The branch or topic.
    pub branch: String,
    /// `branch` (the default) or `topic`.
    pub source: Option<String>,
    /// The commit.
    pub sha: Option<String>,
    /// One line for people.
    pub title: Option<String>,
    /// Who offers it.
    pub author: Option<String>,
    /// `low`, `normal`, `high` or `urgent`.
    pub priority: Option<String>,
    /// Lands alone.
    #[serde(default)]
    pub solo: bool,
    /// What has to land before it.
    #[serde(default)]
    pub after: Vec<String>,
}

/// A repository to be added.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryBody {
    /// Its directory.
    pub path: String,
    /// The protected branch; `main` if not given.
    pub target: Option<String>,
    /// Its name; the directory's name if not given.
    pub name: Option<String>,
    /// Make a bare repository that gantry owns and serves.
    #[serde(default)]
    pub serve: bool,
}

/// Words with a step: a priority, a reason.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepBody {
    /// The repository's name, where one is meant.
    pub repository: Option<String>,
    /// The new priority.
    pub priority: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Only what is less urgent than this.
    pub below: Option<String>,
    /// Who.
    pub author: Option<String>,
}

/// Returns a change's JSON form.
pub fn change(view: &ChangeView) -> Value {
    let change = &view.change;
    json!({
        "id": change.id.to_string(),
        "repository": view.repository,
        "branch": change.branch.as_str(),
        "source": change.source.as_str(),
        "head": change.head.to_string(),
        "title": change.title,
        "author": change.author,
        "priority": change.priority.as_str(),
        "solo": change.solo,
        "after": change.after.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "state": change.state.as_str(),
        "reason": {
            "code": view.reason.code,
            "text": view.reason.text,
            "next_action": view.reason.next_action,
        },
        "position": view.position,
        "waiting_on": view.waiting_on,
        "eta": view.eta.map(eta),
        "builds": view.builds.iter().map(build).collect::<Vec<_>>(),
        "conflict": view.conflict.as_ref().map(|(paths, culprit)| json!({
            "paths": paths,
            "culprit": culprit.map(|commit| commit.to_string()),
        })),
        "landed": view.landed.as_ref().map(landed),
        "offered_at": instant(change.offered_at),
        "since": instant(change.since),
    })
}

fn eta(eta: Eta) -> Value {
    json!({"low": instant(eta.low), "expected": instant(eta.expected), "high": instant(eta.high)})
}

fn landed(landed: &Landed) -> Value {
    json!({
        "sha": landed.commit.map(|commit| commit.to_string()),
        "tree": landed.tree.map(|tree| tree.to_string()),
        "at": instant(landed.at),
        "base": landed.base.map(|base| base.to_string()),
        "build": landed.build.map(|build| build.to_string()),
    })
}

/// Returns a build's JSON form.
pub fn build(build: &Build) -> Value {
    let order = &build.order;
    let (state, trouble) = state_words(build.state);
    json!({
        "id": build.id.to_string(),
        "state": state,
        "trouble": trouble,
        "purpose": purpose_word(order.purpose),
        "base": order.base.to_string(),
        "candidate": order.candidate.to_string(),
        "tree": order.tree.to_string(),
        "members": order.members.iter().map(|member| json!({
            "change": member.change.to_string(),
            "head": member.head.to_string(),
            "commit": member.commit.to_string(),
        })).collect::<Vec<_>>(),
        "gate": order.gate,
        "sandbox": order.sandbox,
        "reuses": order.reuses.map(|id: BuildId| id.to_string()),
        "counts": build.counts,
        "prepared_at": instant(order.prepared_at),
        "started_at": build.started_at.map(instant),
        "ended_at": build.ended_at.map(instant),
        "checks": build.checks.iter().map(|check| json!({
            "name": check.name,
            "state": state_words(BuildState::Ended(check.ending)).0,
            "detail": check.detail,
            "duration_ms": u64::try_from(check.duration.as_millis()).unwrap_or(u64::MAX),
            "evidence": check.evidence,
        })).collect::<Vec<_>>(),
    })
}

fn state_words(state: BuildState) -> (&'static str, Option<&'static str>) {
    use gantry_core::queue::build::Ending;
    match state {
        BuildState::Prepared => ("prepared", None),
        BuildState::Running { .. } => ("running", None),
        BuildState::Ended(ending @ Ending::Trouble(trouble)) => (ending.as_str(), Some(trouble.as_str())),
        BuildState::Ended(ending) => (ending.as_str(), None),
    }
}

const fn purpose_word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Land => "land",
        Purpose::Split => "split",
        Purpose::Retry => "retry",
        Purpose::Control => "control",
        Purpose::Trace => "trace",
    }
}

/// Returns a freeze's JSON form.
pub fn freeze(freeze: &Freeze) -> Value {
    json!({
        "below": freeze.below.map(|below| below.as_str()),
        "author": freeze.author,
        "reason": freeze.reason,
        "since": instant(freeze.since),
    })
}

/// Returns a repository's JSON form.
pub fn repository(repository: &Repository) -> Value {
    json!({
        "name": repository.name,
        "path": repository.path,
        "target": repository.target.as_str(),
        "served": repository.served,
        "tip": repository.known_tip.map(|tip| tip.to_string()),
        "frozen": repository.frozen.as_ref().map(freeze),
    })
}

/// Returns a recorded fact's JSON form.
pub fn event(recorded: &Recorded, repository: &str) -> Value {
    let fact = &recorded.fact;
    json!({
        "sequence": recorded.sequence,
        "at": instant(fact.at),
        "kind": fact.kind.as_str(),
        "repository": repository,
        "change": fact.change.map(|id| id.to_string()),
        "build": fact.build.map(|id| id.to_string()),
        "text": fact.text,
        "evidence": fact.evidence,
    })
}
