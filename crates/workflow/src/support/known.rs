//! What the machine that will run a workflow can offer. Owns the questions only; the caller fills in the answers.

use std::collections::BTreeSet;

use crate::model::{RemoteRef, WorkflowRef};

/// What is available.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// `owner/repo` or `owner/repo/path` of actions that are built in, in lower case, whatever the version.
    pub built_in_actions: BTreeSet<String>,
    /// `owner/repo[/path]@ref` of actions and workflows in the local mirror, the part before `@` in lower case; the path
    /// `*` stands for everything of a repository.
    pub mirrored: BTreeSet<String>,
    /// Runner labels that map to a box, in lower case; an entry that ends with `*` takes every label it begins.
    pub labels: Vec<String>,
    /// Shells that boxes have, beside `bash` and `sh`.
    pub shells: BTreeSet<String>,
    /// Whether an engine runs job containers and services.
    pub containers: bool,
    /// Whether an engine runs Docker actions.
    pub docker_actions: bool,
}

impl Known {
    /// Tells whether an action can be had.
    pub fn has_action(&self, action: &RemoteRef) -> bool {
        self.built_in_actions.contains(&name_of(action)) || self.is_mirrored(action)
    }

    /// Tells whether a reusable workflow can be had; local ones are in the repository.
    pub fn has_workflow(&self, workflow: &WorkflowRef) -> bool {
        match workflow {
            WorkflowRef::Local { .. } => true,
            WorkflowRef::Remote(remote) => self.is_mirrored(remote),
        }
    }

    fn is_mirrored(&self, remote: &RemoteRef) -> bool {
        let whole = format!("{}/*@{}", remote.repository_key(), remote.reference);
        self.mirrored.contains(&key_of(remote)) || self.mirrored.contains(&whole)
    }

    /// Tells whether a label maps to a box.
    pub fn has_label(&self, label: &str) -> bool {
        let label = label.to_ascii_lowercase();
        self.labels.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => label.starts_with(start),
            None => *known == label,
        })
    }

    /// Tells whether a shell can be had; templates of one's own (`perl {0}`) are taken at their word.
    pub fn has_shell(&self, shell: &str) -> bool {
        let name = shell.split_whitespace().next().unwrap_or("");
        matches!(name, "bash" | "sh") || shell.contains("{0}") || self.shells.contains(name)
    }
}

fn name_of(action: &RemoteRef) -> String {
    match action.path.as_str() {
        "" => action.repository_key(),
        path => format!("{}/{}", action.repository_key(), path.to_ascii_lowercase()),
    }
}

fn key_of(action: &RemoteRef) -> String {
    format!("{}@{}", name_of(action), action.reference)
}
