//! The `github` context and the variables every step gets. Owns their names and values; must never read a clock or an
//! environment.
//!
//! Source: "Contexts" and "Variables" of GitHub's documentation.

use gantry_workflow::expression::Value;

use super::evaluate::value_of_json;
use super::layout::{self, COMMAND_FILES, StepFolder};
use super::request::RunRequest;

/// `github` of one job, but for what hangs on a step.
#[derive(Debug, Clone)]
pub(super) struct GithubContext {
    fields: Vec<(&'static str, Value)>,
}

/// What `github` holds of a step.
pub(super) struct StepFields<'a> {
    /// `github.action`.
    pub(super) action: &'a str,
    /// `github.action_path`.
    pub(super) path: &'a str,
    /// `github.action_repository`.
    pub(super) repository: &'a str,
    /// `github.action_ref`.
    pub(super) reference: &'a str,
    /// `github.action_status`, in composite actions.
    pub(super) status: Option<&'static str>,
    /// Where its files are; `None` outside of steps.
    pub(super) folder: Option<&'a StepFolder>,
}

/// Splits a ref into what is shown of it and its kind.
fn ref_parts(git_ref: &str) -> (&str, &str) {
    if let Some(name) = git_ref.strip_prefix("refs/heads/") {
        return (name, "branch");
    }
    if let Some(name) = git_ref.strip_prefix("refs/tags/") {
        return (name, "tag");
    }
    (git_ref.strip_prefix("refs/pull/").unwrap_or(git_ref), "branch")
}

impl GithubContext {
    /// Makes the context of a run.
    ///
    /// Shape: `caller` is the path of the workflow that the event started.
    pub(super) fn of_run(request: &RunRequest<'_>, workflow: &str, caller: &str) -> Self {
        let event = request.event;
        let repository = request.repository;
        let (ref_name, ref_type) = ref_parts(&event.git_ref);
        let full_name = format!("{}/{}", repository.owner, repository.name);
        let sha = event.commit.to_string();
        let text = |text: &str| Value::from(text);
        let fields = vec![
            ("token", text("")),
            ("job", text("")),
            ("ref", text(&event.git_ref)),
            ("sha", text(&sha)),
            ("repository", text(&full_name)),
            ("repository_owner", text(&repository.owner)),
            (
                "repositoryUrl",
                text(&format!("git://github.com/{full_name}.git")),
            ),
            ("run_id", text(&request.identity.id.to_string())),
            ("run_number", text(&request.identity.number.to_string())),
            ("retention_days", text("90")),
            ("run_attempt", text(&request.identity.attempt.to_string())),
            ("actor", text(request.actor)),
            ("triggering_actor", text(request.actor)),
            ("workflow", text(workflow)),
            ("head_ref", text(&event.head_ref)),
            ("base_ref", text(&event.base_ref)),
            ("event_name", text(&event.name)),
            ("event", value_of_json(&event.payload)),
            ("server_url", text("https://github.com")),
            ("api_url", text("https://api.github.com")),
            ("graphql_url", text("https://api.github.com/graphql")),
            ("ref_name", text(ref_name)),
            ("ref_protected", Value::Bool(false)),
            ("ref_type", text(ref_type)),
            ("secret_source", text("Actions")),
            (
                "workflow_ref",
                text(&format!("{full_name}/{caller}@{}", event.git_ref)),
            ),
            ("workflow_sha", text(&sha)),
            ("workspace", text(&layout::workspace(&repository.name))),
            ("event_path", text(layout::EVENT_PATH)),
        ];
        Self { fields }
    }

    /// Returns the context of a job.
    pub(super) fn of_job(&self, job: &str) -> Self {
        let mut fields = self.fields.clone();
        for (name, value) in &mut fields {
            if *name == "job" {
                *value = Value::from(job);
            }
        }
        Self { fields }
    }

    fn get(&self, wanted: &str) -> Option<&Value> {
        self.fields
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    }

    /// Returns the value outside of steps.
    pub(super) fn value(&self) -> Value {
        Value::Object(
            self.fields
                .iter()
                .map(|(name, value)| (*name, value.clone()))
                .collect(),
        )
    }

    /// Returns the value for a step.
    pub(super) fn step_value(&self, step: &StepFields<'_>) -> Value {
        let mut fields: Vec<(&str, Value)> = self.fields.clone();
        fields.push(("action", Value::from(step.action)));
        if !step.path.is_empty() {
            fields.push(("action_path", Value::from(step.path)));
        }
        fields.push(("action_repository", Value::from(step.repository)));
        fields.push(("action_ref", Value::from(step.reference)));
        if let Some(status) = step.status {
            fields.push(("action_status", Value::from(status)));
        }
        if let Some(folder) = step.folder {
            for (file, _, key) in COMMAND_FILES {
                fields.push((key, Value::from(folder.file(file))));
            }
        }
        Value::Object(fields.into_iter().collect())
    }

    /// Returns the variables that GitHub sets for every step and that no step can change.
    pub(super) fn variables(&self, step: &StepFields<'_>) -> Vec<(String, String)> {
        let from_fields = [
            "actor",
            "api_url",
            "base_ref",
            "event_name",
            "event_path",
            "graphql_url",
            "head_ref",
            "job",
            "ref",
            "ref_name",
            "ref_protected",
            "ref_type",
            "repository",
            "repository_owner",
            "retention_days",
            "run_attempt",
            "run_id",
            "run_number",
            "server_url",
            "sha",
            "triggering_actor",
            "workflow",
            "workflow_ref",
            "workflow_sha",
            "workspace",
        ];
        let mut pairs: Vec<(String, String)> = from_fields
            .iter()
            .filter_map(|name| {
                let value = self.get(name)?.to_text().to_string();
                Some((format!("GITHUB_{}", name.to_ascii_uppercase()), value))
            })
            .collect();
        pairs.push(("GITHUB_ACTIONS".into(), "true".into()));
        pairs.push(("GITHUB_ACTION".into(), step.action.into()));
        pairs.push(("GITHUB_ACTION_REPOSITORY".into(), step.repository.into()));
        pairs.push(("GITHUB_ACTION_REF".into(), step.reference.into()));
        if !step.path.is_empty() {
            pairs.push(("GITHUB_ACTION_PATH".into(), step.path.into()));
        }
        if let Some(folder) = step.folder {
            for (file, variable, _) in COMMAND_FILES {
                pairs.push((variable.into(), folder.file(file)));
            }
        }
        pairs
    }
}

/// Returns the `runner` context.
pub(super) fn runner_context(debug: bool) -> Value {
    let mut fields = vec![
        ("os", Value::from("Linux")),
        ("arch", Value::from(architecture())),
        ("name", Value::from("gantry")),
        ("environment", Value::from("self-hosted")),
        ("tool_cache", Value::from(layout::TOOL_CACHE)),
        ("temp", Value::from(layout::TEMP)),
        ("workspace", Value::from(layout::WORK)),
    ];
    if debug {
        fields.push(("debug", Value::from("1")));
    }
    Value::Object(fields.into_iter().collect())
}

/// Returns the variables of the runner.
pub(super) fn runner_variables(debug: bool) -> Vec<(String, String)> {
    let mut pairs = vec![
        ("CI", "true"),
        ("RUNNER_OS", "Linux"),
        ("RUNNER_ARCH", architecture()),
        ("RUNNER_NAME", "gantry"),
        ("RUNNER_ENVIRONMENT", "self-hosted"),
        ("RUNNER_TOOL_CACHE", layout::TOOL_CACHE),
        ("RUNNER_TEMP", layout::TEMP),
        ("RUNNER_WORKSPACE", layout::WORK),
    ];
    if debug {
        pairs.push(("RUNNER_DEBUG", "1"));
    }
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Returns GitHub's word for the processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "X64",
        "x86" => "X86",
        "aarch64" => "ARM64",
        "arm" => "ARM",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_has_a_name_and_a_kind() {
        assert_eq!(ref_parts("refs/heads/a/b"), ("a/b", "branch"));
        assert_eq!(ref_parts("refs/tags/v1"), ("v1", "tag"));
        assert_eq!(ref_parts("refs/pull/7/merge"), ("7/merge", "branch"));
    }
}
