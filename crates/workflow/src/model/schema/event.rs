//! The events a workflow may name under `on`, with their activity types and filters. Owns the table that both the check
//! of a file and the decision whether it is triggered read.
//!
//! Source: GitHub's workflow schema, and "Events that trigger workflows" for the default types.

/// One event.
#[derive(Debug)]
pub struct EventRule {
    /// Its name under `on`.
    pub name: &'static str,
    /// The activity types that `types` may name; empty where the key is not allowed.
    pub types: &'static [&'static str],
    /// The types that count if `types` is not written; empty means all.
    pub default_types: &'static [&'static str],
    /// The filters it takes.
    pub filters: &'static [Filters],
}

/// A kind of filter and the keys that spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filters {
    /// `branches` and `branches-ignore`.
    Branches,
    /// `tags` and `tags-ignore`.
    Tags,
    /// `paths` and `paths-ignore`.
    Paths,
    /// `workflows`.
    Workflows,
    /// `names`.
    Names,
    /// `versions`.
    Versions,
}

impl Filters {
    /// The keys that spell this filter.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Filters::Branches => &["branches", "branches-ignore"],
            Filters::Tags => &["tags", "tags-ignore"],
            Filters::Paths => &["paths", "paths-ignore"],
            Filters::Workflows => &["workflows"],
            Filters::Names => &["names"],
            Filters::Versions => &["versions"],
        }
    }
}

impl EventRule {
    /// Finds an event by its name.
    pub fn find(name: &str) -> Option<&'static EventRule> {
        EVENTS.iter().find(|event| event.name == name)
    }
}

const fn event(name: &'static str, types: &'static [&'static str], filters: &'static [Filters]) -> EventRule {
    EventRule {
        name,
        types,
        default_types: &[],
        filters,
    }
}

const PULL_REQUEST_TYPES: &[&str] = &[
    "assigned",
    "unassigned",
    "labeled",
    "unlabeled",
    "opened",
    "edited",
    "closed",
    "reopened",
    "synchronize",
    "converted_to_draft",
    "locked",
    "unlocked",
    "enqueued",
    "dequeued",
    "milestoned",
    "demilestoned",
    "ready_for_review",
    "review_requested",
    "review_request_removed",
    "auto_merge_enabled",
    "auto_merge_disabled",
    "stacked",
];

const PULL_REQUEST_DEFAULTS: &[&str] = &["opened", "synchronize", "reopened"];

const fn pull_request(name: &'static str) -> EventRule {
    EventRule {
        name,
        types: PULL_REQUEST_TYPES,
        default_types: PULL_REQUEST_DEFAULTS,
        filters: &[Filters::Branches, Filters::Paths],
    }
}

/// Every event GitHub knows.
pub static EVENTS: &[EventRule] = &[
    event("branch_protection_rule", &["created", "edited", "deleted"], &[]),
    event(
        "check_run",
        &["completed", "created", "rerequested", "requested_action"],
        &[],
    ),
    event("check_suite", &["completed"], &[]),
    event("create", &[], &[]),
    event("delete", &[], &[]),
    event("deployment", &[], &[]),
    event("deployment_status", &[], &[]),
    event(
        "discussion",
        &[
            "created",
            "edited",
            "deleted",
            "transferred",
            "pinned",
            "unpinned",
            "labeled",
            "unlabeled",
            "locked",
            "unlocked",
            "category_changed",
            "answered",
            "unanswered",
        ],
        &[],
    ),
    event("discussion_comment", &["created", "edited", "deleted"], &[]),
    event("fork", &[], &[]),
    event("gollum", &[], &[]),
    event(
        "image_version",
        &["created", "ready", "deleted"],
        &[Filters::Names, Filters::Versions],
    ),
    event("issue_comment", &["created", "edited", "deleted"], &[]),
    event(
        "issues",
        &[
            "opened",
            "edited",
            "deleted",
            "transferred",
            "pinned",
            "unpinned",
            "closed",
            "reopened",
            "assigned",
            "unassigned",
            "labeled",
            "unlabeled",
            "locked",
            "unlocked",
            "milestoned",
            "demilestoned",
            "field_added",
            "field_removed",
            "typed",
            "untyped",
        ],
        &[],
    ),
    event("label", &["created", "edited", "deleted"], &[]),
    event("merge_group", &["checks_requested"], &[Filters::Branches]),
    event(
        "milestone",
        &["created", "closed", "opened", "edited", "deleted"],
        &[],
    ),
    event("page_build", &[], &[]),
    event(
        "project",
        &["created", "closed", "reopened", "edited", "deleted"],
        &[],
    ),
    event(
        "project_card",
        &["created", "moved", "converted", "edited", "deleted"],
        &[],
    ),
    event("project_column", &["created", "updated", "moved", "deleted"], &[]),
    event("public", &[], &[]),
    pull_request("pull_request"),
    event("pull_request_comment", &["created", "edited", "deleted"], &[]),
    event("pull_request_review", &["submitted", "edited", "dismissed"], &[]),
    event(
        "pull_request_review_comment",
        &["created", "edited", "deleted"],
        &[],
    ),
    pull_request("pull_request_target"),
    event("push", &[], &[Filters::Branches, Filters::Tags, Filters::Paths]),
    event("registry_package", &["published", "updated"], &[]),
    event(
        "release",
        &[
            "published",
            "unpublished",
            "created",
            "edited",
            "deleted",
            "prereleased",
            "released",
        ],
        &[],
    ),
    event("repository_dispatch", &[], &[]),
    event("schedule", &[], &[]),
    event("status", &[], &[]),
    event("watch", &["started"], &[]),
    event("workflow_call", &[], &[]),
    event("workflow_dispatch", &[], &[]),
    event(
        "workflow_run",
        &["requested", "completed", "in_progress"],
        &[Filters::Workflows, Filters::Branches],
    ),
];
