//! The events workflows run for. Owns what `github.event` holds for each; must never invent what is not known here.

use gantry_ci::run::EventInput;
use gantry_core::id::CommitId;
use gantry_workflow::event::{Event, GitRef, TriggerDecision, triggers};
use gantry_workflow::model::WorkflowFile;
use serde_json::{Value, json};

/// An event that a run can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventName {
    /// A candidate of the merge queue.
    MergeGroup,
    /// A change that is offered.
    PullRequest,
    /// Commits on a branch.
    Push,
    /// Somebody asked.
    WorkflowDispatch,
    /// The clock.
    Schedule,
}

impl EventName {
    /// Every event by its word.
    pub const ALL: [(&'static str, Self); 5] = [
        ("merge_group", Self::MergeGroup),
        ("pull_request", Self::PullRequest),
        ("push", Self::Push),
        ("workflow_dispatch", Self::WorkflowDispatch),
        ("schedule", Self::Schedule),
    ];

    /// Returns its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|row| row.1 == self)
            .map_or("push", |row| row.0)
    }
}

/// What an event is about.
#[derive(Debug, Clone)]
pub struct EventChoice {
    /// Which event.
    pub name: EventName,
    /// `owner/name` of the repository.
    pub repository: (String, String),
    /// The branch that is protected, or pushed to.
    pub branch: String,
    /// The commit that runs.
    pub commit: CommitId,
    /// The commit below it: the target's, or what the branch was before.
    pub base: Option<CommitId>,
    /// The branch a change came from.
    pub head_branch: String,
    /// The inputs of a `workflow_dispatch`.
    pub inputs: Vec<(String, String)>,
    /// What changed, if that is known.
    pub changed_paths: Option<Vec<String>>,
    /// First line and author of the commit.
    pub message: (String, String),
}

impl EventChoice {
    /// Returns what a run is given.
    #[must_use]
    pub fn input(&self) -> EventInput {
        let is_change = matches!(self.name, EventName::PullRequest);
        EventInput {
            name: self.name.as_str().to_owned(),
            payload: self.payload(),
            git_ref: self.git_ref(),
            commit: self.commit,
            base_ref: if is_change {
                self.branch.clone()
            } else {
                String::new()
            },
            head_ref: if is_change {
                self.head_branch.clone()
            } else {
                String::new()
            },
            changed_paths: self.changed_paths.clone(),
        }
    }

    /// Returns `github.ref`.
    #[must_use]
    pub fn git_ref(&self) -> String {
        match self.name {
            EventName::MergeGroup => format!("refs/heads/{}", self.queue_branch()),
            EventName::PullRequest => "refs/pull/1/merge".to_owned(),
            EventName::Push | EventName::WorkflowDispatch | EventName::Schedule => {
                format!("refs/heads/{}", self.branch)
            }
        }
    }

    /// Says whether the event starts a workflow; why not, if it does not.
    ///
    /// Errors: the sentence for people.
    pub fn starts(&self, file: &WorkflowFile) -> Result<(), String> {
        let git_ref = match self.name {
            EventName::MergeGroup | EventName::PullRequest | EventName::Push => {
                Some(GitRef::Branch(self.branch.clone()))
            }
            EventName::WorkflowDispatch | EventName::Schedule => None,
        };
        let event = Event {
            name: self.name.as_str().to_owned(),
            action: self.payload()["action"].as_str().map(str::to_owned),
            git_ref,
            changed_paths: self.changed_paths.clone(),
            subject: None,
        };
        match triggers(&file.on, &event) {
            TriggerDecision::Ignored(refusal) => Err(refusal.to_string()),
            TriggerDecision::Starts => Ok(()),
        }
    }

    fn queue_branch(&self) -> String {
        format!("gantry-queue/{}/{}", self.branch, self.commit)
    }

    fn payload(&self) -> Value {
        let (owner, name) = &self.repository;
        let base = self.base.map_or(Value::Null, |base| json!(base.to_string()));
        let commit = self.commit.to_string();
        let repository = json!({"name": name, "full_name": format!("{owner}/{name}"), "owner": {"login": owner},
            "default_branch": self.branch});
        let head_commit =
            json!({"id": commit, "message": self.message.0, "author": {"name": self.message.1}});
        match self.name {
            EventName::MergeGroup => json!({"action": "checks_requested", "repository": repository,
                "merge_group": {"head_sha": commit, "head_ref": format!("refs/heads/{}", self.queue_branch()),
                    "base_sha": base, "base_ref": format!("refs/heads/{}", self.branch),
                    "head_commit": head_commit}}),
            EventName::PullRequest => json!({"action": "synchronize", "number": 1, "repository": repository,
                "pull_request": {"number": 1, "title": self.message.0, "draft": false,
                    "head": {"ref": self.head_branch, "sha": commit},
                    "base": {"ref": self.branch, "sha": base}, "labels": []}}),
            EventName::Push => {
                json!({"ref": format!("refs/heads/{}", self.branch), "before": base, "after": commit,
                "repository": repository, "head_commit": head_commit, "commits": [head_commit], "forced": false,
                "created": false, "deleted": false})
            }
            EventName::WorkflowDispatch => {
                let inputs: serde_json::Map<String, Value> = self
                    .inputs
                    .iter()
                    .map(|(name, value)| (name.clone(), json!(value)))
                    .collect();
                json!({"ref": format!("refs/heads/{}", self.branch), "inputs": inputs, "repository": repository})
            }
            EventName::Schedule => json!({"repository": repository}),
        }
    }
}
