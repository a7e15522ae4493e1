//! Whether an event starts a workflow. Owns activity types and filters, with the reason when the answer is no.

use super::pattern::{Pattern, PatternFault, last_match};
use crate::model::{EventFilter, EventRule, Spanned, Trigger, TriggerKind};

/// Something that happened to a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The event's name under `on`.
    pub name: String,
    /// The activity type, e.g. `opened`.
    pub action: Option<String>,
    /// What was pushed; for pull requests and merge groups the branch they go into; for `workflow_run` its branch.
    pub git_ref: Option<GitRef>,
    /// The paths that changed; `None` if nobody knows, which passes every path filter as GitHub does for huge changes.
    pub changed_paths: Option<Vec<String>>,
    /// `schedule`: the cron text that fired. `workflow_run`: the name of the workflow that ran.
    pub subject: Option<String>,
}

/// A branch or tag by its short name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitRef {
    /// A branch.
    Branch(String),
    /// A tag.
    Tag(String),
}

/// Whether an event starts a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerDecision {
    /// It does.
    Starts,
    /// It does not, for this reason.
    Ignored(Refusal),
}

/// Why an event does not start a workflow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `on` does not name the event.
    #[error("`on` does not name the event {0}")]
    NotNamed(String),
    /// The activity type is not among those that count.
    #[error("the activity type {action} is not one of: {}", .wanted.join(", "))]
    ActivityType {
        /// What happened.
        action: String,
        /// What counts.
        wanted: Vec<String>,
    },
    /// The filter of this key does not take the branch or tag.
    #[error("`{key}` does not take {name}")]
    Ref {
        /// The key.
        key: &'static str,
        /// The branch or tag.
        name: String,
    },
    /// Only the other kind of ref is named.
    #[error("only {key} are named, and this is {name}")]
    OtherRefKind {
        /// `branches` or `tags`.
        key: &'static str,
        /// The branch or tag.
        name: String,
    },
    /// No changed path passes the filter of this key.
    #[error("`{0}` leaves out every changed path")]
    Paths(&'static str),
    /// The schedule that fired is not one of the file's, or the workflow that ran is not named.
    #[error("`{key}` does not name {subject}")]
    Subject {
        /// The key.
        key: &'static str,
        /// What fired or ran.
        subject: String,
    },
    /// A filter cannot be read.
    #[error("line {line}: {fault}")]
    Pattern {
        /// Where it stands.
        line: usize,
        /// What is wrong.
        fault: PatternFault,
    },
}

/// Decides whether an event starts a workflow with these triggers.
pub fn triggers(on: &[Trigger], event: &Event) -> TriggerDecision {
    let Some(trigger) = on.iter().find(|trigger| trigger.event.value == event.name) else {
        return TriggerDecision::Ignored(Refusal::NotNamed(event.name.clone()));
    };
    let checked = match &trigger.kind {
        TriggerKind::Dispatch(_) | TriggerKind::Call(_) => Ok(()),
        TriggerKind::Schedule(entries) => match &event.subject {
            Some(cron) if !entries.iter().any(|entry| entry.cron.value == *cron) => Err(Refusal::Subject {
                key: "schedule",
                subject: cron.clone(),
            }),
            _ => Ok(()),
        },
        TriggerKind::Filtered(filter) => check_filter(filter, event),
    };
    match checked {
        Ok(()) => TriggerDecision::Starts,
        Err(refusal) => TriggerDecision::Ignored(refusal),
    }
}

fn check_filter(filter: &EventFilter, event: &Event) -> Result<(), Refusal> {
    check_action(filter, event)?;
    if let (Some(workflows), Some(name)) = (&filter.workflows, &event.subject)
        && last_match(&parse_all(workflows)?, name) != Some(true)
    {
        return Err(Refusal::Subject {
            key: "workflows",
            subject: name.clone(),
        });
    }
    let branches = RefFilter {
        key: "branches",
        ignore_key: "branches-ignore",
        only: &filter.branches,
        not: &filter.branches_ignore,
    };
    let tags = RefFilter {
        key: "tags",
        ignore_key: "tags-ignore",
        only: &filter.tags,
        not: &filter.tags_ignore,
    };
    match &event.git_ref {
        Some(GitRef::Branch(name)) => branches.check(name, &tags)?,
        Some(GitRef::Tag(name)) => {
            tags.check(name, &branches)?;
            // GitHub does not look at paths when a tag is pushed.
            return Ok(());
        }
        None => {}
    }
    check_paths(filter, event)
}

fn check_action(filter: &EventFilter, event: &Event) -> Result<(), Refusal> {
    let Some(action) = &event.action else {
        return Ok(());
    };
    let wanted: Vec<String> = match &filter.types {
        Some(types) => types.iter().map(|name| name.value.clone()).collect(),
        None => EventRule::find(&event.name)
            .map(|rule| rule.default_types.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
    };
    let all_count = filter.types.is_none() && wanted.is_empty();
    if all_count || wanted.contains(action) {
        return Ok(());
    }
    Err(Refusal::ActivityType {
        action: action.clone(),
        wanted,
    })
}

struct RefFilter<'f> {
    key: &'static str,
    ignore_key: &'static str,
    only: &'f Option<Vec<Spanned<String>>>,
    not: &'f Option<Vec<Spanned<String>>>,
}

impl RefFilter<'_> {
    fn is_written(&self) -> bool {
        self.only.is_some() || self.not.is_some()
    }

    fn check(&self, name: &str, other: &RefFilter<'_>) -> Result<(), Refusal> {
        if let Some(only) = self.only
            && last_match(&parse_all(only)?, name) != Some(true)
        {
            return Err(Refusal::Ref {
                key: self.key,
                name: name.to_string(),
            });
        }
        if let Some(not) = self.not
            && last_match(&parse_all(not)?, name) == Some(true)
        {
            return Err(Refusal::Ref {
                key: self.ignore_key,
                name: name.to_string(),
            });
        }
        if !self.is_written() && other.is_written() {
            return Err(Refusal::OtherRefKind {
                key: other.key,
                name: name.to_string(),
            });
        }
        Ok(())
    }
}

fn check_paths(filter: &EventFilter, event: &Event) -> Result<(), Refusal> {
    let Some(changed) = &event.changed_paths else {
        return Ok(());
    };
    if let Some(paths) = &filter.paths {
        let patterns = parse_all(paths)?;
        if !changed
            .iter()
            .any(|path| last_match(&patterns, path) == Some(true))
        {
            return Err(Refusal::Paths("paths"));
        }
    }
    if let Some(paths) = &filter.paths_ignore {
        let patterns = parse_all(paths)?;
        if changed
            .iter()
            .all(|path| last_match(&patterns, path) == Some(true))
        {
            return Err(Refusal::Paths("paths-ignore"));
        }
    }
    Ok(())
}

fn parse_all(list: &[Spanned<String>]) -> Result<Vec<Pattern>, Refusal> {
    list.iter()
        .map(|text| {
            Pattern::parse(&text.value).map_err(|fault| Refusal::Pattern {
                line: text.place.line,
                fault,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WorkflowFile;

    fn decide(on: &str, event: &Event) -> TriggerDecision {
        let text = format!(
            "on:\n  {}\njobs:\n  b:\n    runs-on: x\n",
            on.replace('\n', "\n  ")
        );
        triggers(&WorkflowFile::parse("x.yml", &text).unwrap().on, event)
    }

    fn event(name: &str, action: Option<&str>, git_ref: GitRef, paths: &[&str]) -> Event {
        Event {
            name: name.into(),
            action: action.map(Into::into),
            git_ref: Some(git_ref),
            changed_paths: Some(paths.iter().map(ToString::to_string).collect()),
            subject: None,
        }
    }

    fn branch(name: &str) -> GitRef {
        GitRef::Branch(name.into())
    }

    /// Asserts the decision by its reason's text; `None` means that the workflow starts.
    fn check(on: &str, event: &Event, reason: Option<&str>) {
        let said = match decide(on, event) {
            TriggerDecision::Starts => None,
            TriggerDecision::Ignored(refusal) => Some(refusal.to_string()),
        };
        assert_eq!(said.as_deref(), reason, "{on}\n{event:?}");
    }

    #[test]
    fn pushes_pass_branch_tag_and_path_filters() {
        let main = event("push", None, branch("main"), &["src/a.rs"]);
        let tag = event("push", None, GitRef::Tag("v1".into()), &["src/a.rs"]);
        check("push:", &main, None);
        check("push:", &tag, None);
        check("pull_request:", &main, Some("`on` does not name the event push"));
        check("push: {branches: [main]}", &main, None);
        check(
            "push: {branches: [main]}",
            &tag,
            Some("only branches are named, and this is v1"),
        );
        check(
            "push: {tags: ['v*']}",
            &main,
            Some("only tags are named, and this is main"),
        );
        check("push: {tags: ['v*'], branches: [main]}", &tag, None);
        check(
            "push: {branches: ['**', '!main']}",
            &main,
            Some("`branches` does not take main"),
        );
        check(
            "push: {branches-ignore: [main]}",
            &main,
            Some("`branches-ignore` does not take main"),
        );
        check("push: {branches-ignore: [dev]}", &main, None);
        check(
            "push: {paths: ['docs/**']}",
            &main,
            Some("`paths` leaves out every changed path"),
        );
        check("push: {paths: ['docs/**']}", &tag, None);
        check(
            "push: {paths: ['**', '!src/**']}",
            &main,
            Some("`paths` leaves out every changed path"),
        );
        check(
            "push: {paths-ignore: ['src/**']}",
            &main,
            Some("`paths-ignore` leaves out every changed path"),
        );
        check("push: {paths-ignore: ['docs/**']}", &main, None);
        check(
            "push: {branches: ['[']}",
            &main,
            Some("line 2: The pattern '[' is not valid: its [] is empty or not closed"),
        );
    }

    #[test]
    fn pull_requests_count_only_their_usual_types_unless_others_are_named() {
        for name in ["pull_request", "pull_request_target"] {
            let opened = event(name, Some("opened"), branch("main"), &["a"]);
            let labeled = event(name, Some("labeled"), branch("main"), &["a"]);
            check(&format!("{name}:"), &opened, None);
            let reason = "the activity type labeled is not one of: opened, synchronize, reopened";
            check(&format!("{name}:"), &labeled, Some(reason));
            check(&format!("{name}: {{types: labeled}}"), &labeled, None);
            check(
                &format!("{name}: {{branches: ['release/*']}}"),
                &opened,
                Some("`branches` does not take main"),
            );
        }
    }

    #[test]
    fn other_events_count_by_name_and_type() {
        let issue = Event {
            name: "issues".into(),
            action: Some("opened".into()),
            ..Event::default()
        };
        check("issues:", &issue, None);
        check(
            "issues: {types: [closed]}",
            &issue,
            Some("the activity type opened is not one of: closed"),
        );
        let group = event("merge_group", Some("checks_requested"), branch("main"), &["a"]);
        check("merge_group:", &group, None);
        check(
            "merge_group: {branches: [dev]}",
            &group,
            Some("`branches` does not take main"),
        );
        let timer = Event {
            name: "schedule".into(),
            subject: Some("0 0 * * *".into()),
            ..Event::default()
        };
        check("schedule: [{cron: '0 0 * * *'}]", &timer, None);
        check(
            "schedule: [{cron: '1 0 * * *'}]",
            &timer,
            Some("`schedule` does not name 0 0 * * *"),
        );
        let run = Event {
            name: "workflow_run".into(),
            action: Some("completed".into()),
            subject: Some("CI".into()),
            ..Event::default()
        };
        check("workflow_run: {workflows: [CI]}", &run, None);
        check(
            "workflow_run: {workflows: [Other]}",
            &run,
            Some("`workflows` does not name CI"),
        );
        for name in [
            "workflow_dispatch",
            "workflow_call",
            "release",
            "repository_dispatch",
        ] {
            check(
                &format!("{name}:"),
                &Event {
                    name: name.into(),
                    ..Event::default()
                },
                None,
            );
        }
    }
}
