//! The keys of a workflow file. Owns the table; must never decide what a key does.
//!
//! Source: the workflow schema that GitHub's language services publish.

use super::rule::MappingRule;
use super::rule::{
    ANY, BOOLEAN, NON_EMPTY, NON_EMPTY_LIST, NULL, NUMBER, ONE_OR_MORE, Rule, Shape, TEXT, TEXT_LIST, map_of,
    mapping, optional, required, rule, within,
};

const RUN: &[&str] = &["github", "inputs", "vars"];
const NEEDS: &[&str] = &["github", "inputs", "vars", "needs"];
const LEG: &[&str] = &["github", "inputs", "vars", "needs", "strategy", "matrix"];
const LEG_SECRETS: &[&str] = &[
    "github", "inputs", "vars", "needs", "strategy", "matrix", "secrets",
];
const JOB_IF: &[&str] = &[
    "github",
    "inputs",
    "vars",
    "needs",
    "always()",
    "failure()",
    "cancelled()",
    "success()",
];
const RUNNER: &[&str] = &[
    "github", "inputs", "vars", "needs", "strategy", "matrix", "secrets", "steps", "job", "runner", "env",
];
const RUNNER_NO_SECRETS: &[&str] = &[
    "github", "inputs", "vars", "needs", "strategy", "matrix", "steps", "job", "runner", "env",
];
const STEP: &[&str] = &[
    "github",
    "inputs",
    "vars",
    "needs",
    "strategy",
    "matrix",
    "secrets",
    "steps",
    "job",
    "runner",
    "env",
    "hashFiles()",
];
const STEP_IF: &[&str] = &[
    "github",
    "inputs",
    "vars",
    "needs",
    "strategy",
    "matrix",
    "steps",
    "job",
    "runner",
    "env",
    "always()",
    "failure()",
    "cancelled()",
    "success()",
    "hashFiles()",
];

/// A whole workflow file.
pub(crate) static WORKFLOW: Rule = rule(mapping(&[
    optional("on", &ON),
    optional("name", &TEXT),
    optional("description", &TEXT),
    optional("run-name", &RUN_TEXT),
    optional("defaults", &DEFAULTS),
    optional("env", &WORKFLOW_ENV),
    optional("permissions", &PERMISSIONS),
    optional("cache-mode", &CACHE_MODE),
    optional("concurrency", &WORKFLOW_CONCURRENCY),
    required("jobs", &JOBS),
]));

static RUN_TEXT: Rule = within(RUN, Shape::Text);

static ON: Rule = rule(Shape::OneOf(&[&EVENT_NAME, &EVENT_NAMES, &EVENT_MAPPING]));
static EVENT_NAME: Rule = rule(Shape::NonEmpty);
static EVENT_NAMES: Rule = rule(Shape::Sequence(&EVENT_NAME));
static EVENT_MAPPING: Rule = rule(Shape::Events);

/// The value of `schedule`.
pub(crate) static SCHEDULE: Rule = rule(Shape::Sequence(&CRON));
static CRON: Rule = rule(mapping(&[
    required("cron", &NON_EMPTY),
    optional("timezone", &NON_EMPTY),
]));

/// The value of `repository_dispatch`.
pub(crate) static REPOSITORY_DISPATCH: Rule = rule(Shape::OneOf(&[&NULL, &REPOSITORY_DISPATCH_MAPPING]));
static REPOSITORY_DISPATCH_MAPPING: Rule = rule(mapping(&[optional("types", &ONE_OR_MORE)]));

/// The value of `workflow_dispatch`.
pub(crate) static WORKFLOW_DISPATCH: Rule = rule(Shape::OneOf(&[&NULL, &DISPATCH_MAPPING]));
/// GitHub reads over other keys here.
static DISPATCH_MAPPING: Rule = rule(Shape::Mapping(MappingRule {
    properties: &[optional("inputs", &DISPATCH_INPUTS)],
    rest: Some(&ANY),
}));
static DISPATCH_INPUTS: Rule = rule(Shape::OneOf(&[&NULL, &DISPATCH_INPUT_MAP]));
static DISPATCH_INPUT_MAP: Rule = rule(map_of(&DISPATCH_INPUT));
static DISPATCH_INPUT: Rule = rule(Shape::OneOf(&[&NULL, &DISPATCH_INPUT_MAPPING]));
static DISPATCH_INPUT_MAPPING: Rule = rule(mapping(&[
    optional("description", &TEXT),
    optional("deprecationMessage", &TEXT),
    optional("type", &DISPATCH_TYPE),
    optional("required", &BOOLEAN),
    optional("default", &DISPATCH_DEFAULT),
    optional("options", &TEXT_LIST),
]));
static DISPATCH_TYPE: Rule = rule(Shape::Words(&[
    "string",
    "boolean",
    "number",
    "environment",
    "choice",
]));
static DISPATCH_DEFAULT: Rule = rule(Shape::OneOf(&[&TEXT, &BOOLEAN, &NUMBER]));

/// The value of `workflow_call`.
pub(crate) static WORKFLOW_CALL: Rule = rule(Shape::OneOf(&[&NULL, &CALL_MAPPING]));
static CALL_MAPPING: Rule = rule(mapping(&[
    optional("inputs", &CALL_INPUTS),
    optional("secrets", &CALL_SECRETS),
    optional("outputs", &CALL_OUTPUTS),
]));
static CALL_INPUTS: Rule = rule(map_of(&CALL_INPUT));
static CALL_INPUT: Rule = rule(mapping(&[
    optional("description", &TEXT),
    required("type", &CALL_TYPE),
    optional("required", &BOOLEAN),
    optional("default", &CALL_DEFAULT),
]));
static CALL_TYPE: Rule = rule(Shape::Words(&["string", "boolean", "number"]));
static CALL_DEFAULT: Rule = within(RUN, Shape::OneOf(&[&TEXT, &BOOLEAN, &NUMBER]));
static CALL_SECRETS: Rule = rule(map_of(&CALL_SECRET));
static CALL_SECRET: Rule = rule(Shape::OneOf(&[&NULL, &CALL_SECRET_MAPPING]));
static CALL_SECRET_MAPPING: Rule = rule(mapping(&[
    optional("description", &TEXT),
    optional("required", &BOOLEAN),
]));
static CALL_OUTPUTS: Rule = rule(map_of(&CALL_OUTPUT));
static CALL_OUTPUT: Rule = rule(mapping(&[
    optional("description", &TEXT),
    required("value", &CALL_OUTPUT_VALUE),
]));
static CALL_OUTPUT_VALUE: Rule = within(&["github", "inputs", "vars", "jobs"], Shape::Text);

/// Newer than the published schema; named by those who follow GitHub's changes.
static CACHE_MODE: Rule = rule(Shape::Words(&["read", "write", "write-only", "none"]));

static PERMISSIONS: Rule = rule(Shape::OneOf(&[&PERMISSION_MAPPING, &PERMISSION_ALL]));
static PERMISSION_ALL: Rule = rule(Shape::Words(&["read-all", "write-all"]));
static LEVEL: Rule = rule(Shape::Words(&["read", "write", "none"]));
static LEVEL_WRITE: Rule = rule(Shape::Words(&["write", "none"]));
static LEVEL_READ: Rule = rule(Shape::Words(&["read", "none"]));
static PERMISSION_MAPPING: Rule = rule(mapping(&[
    optional("actions", &LEVEL),
    optional("artifact-metadata", &LEVEL),
    optional("attestations", &LEVEL),
    optional("checks", &LEVEL),
    optional("code-quality", &LEVEL),
    optional("contents", &LEVEL),
    optional("copilot-requests", &LEVEL_WRITE),
    optional("deployments", &LEVEL),
    optional("discussions", &LEVEL),
    optional("drives", &LEVEL),
    optional("id-token", &LEVEL_WRITE),
    optional("issues", &LEVEL),
    optional("models", &LEVEL_READ),
    optional("packages", &LEVEL),
    optional("pages", &LEVEL),
    optional("pull-requests", &LEVEL),
    optional("repository-projects", &LEVEL),
    optional("security-events", &LEVEL),
    optional("statuses", &LEVEL),
    optional("vulnerability-alerts", &LEVEL_READ),
]));

static DEFAULTS: Rule = rule(mapping(&[optional("run", &DEFAULTS_RUN)]));
static DEFAULTS_RUN: Rule = rule(mapping(&[
    optional("shell", &NON_EMPTY),
    optional("working-directory", &NON_EMPTY),
]));
static WORKFLOW_ENV: Rule = within(&["github", "inputs", "vars", "secrets"], map_of(&TEXT));
static WORKFLOW_CONCURRENCY: Rule = within(RUN, Shape::OneOf(&[&TEXT, &CONCURRENCY_MAPPING]));
static CONCURRENCY_MAPPING: Rule = rule(mapping(&[
    required("group", &NON_EMPTY),
    optional("cancel-in-progress", &BOOLEAN),
    optional("queue", &CONCURRENCY_QUEUE),
]));
static CONCURRENCY_QUEUE: Rule = rule(Shape::Words(&["single", "max"]));

static JOBS: Rule = rule(map_of(&JOB));
static JOB: Rule = rule(Shape::OneOf(&[&STEPS_JOB, &CALL_JOB]));
static STEPS_JOB: Rule = rule(mapping(&[
    optional("needs", &ONE_OR_MORE),
    optional("if", &JOB_CONDITION),
    optional("strategy", &STRATEGY),
    optional("name", &LEG_TEXT),
    required("runs-on", &RUNS_ON),
    optional("timeout-minutes", &LEG_NUMBER),
    optional("cancel-timeout-minutes", &LEG_NUMBER),
    optional("continue-on-error", &LEG_BOOLEAN),
    optional("container", &CONTAINER),
    optional("services", &SERVICES),
    optional("env", &JOB_ENV),
    optional("environment", &ENVIRONMENT),
    optional("permissions", &PERMISSIONS),
    optional("cache-mode", &CACHE_MODE),
    optional("concurrency", &JOB_CONCURRENCY),
    optional("outputs", &OUTPUTS),
    optional("defaults", &JOB_DEFAULTS),
    optional("steps", &STEPS),
    optional("snapshot", &SNAPSHOT),
]));
static CALL_JOB: Rule = rule(mapping(&[
    optional("name", &LEG_TEXT),
    required("uses", &NON_EMPTY),
    optional("with", &CALL_WITH),
    optional("secrets", &PASSED_SECRETS),
    optional("needs", &ONE_OR_MORE),
    optional("if", &JOB_CONDITION),
    optional("permissions", &PERMISSIONS),
    optional("cache-mode", &CACHE_MODE),
    optional("concurrency", &JOB_CONCURRENCY),
    optional("strategy", &STRATEGY),
]));
static CALL_WITH: Rule = rule(map_of(&LEG_SCALAR));
static LEG_SCALAR: Rule = within(LEG, Shape::OneOf(&[&TEXT, &BOOLEAN, &NUMBER]));
static PASSED_SECRETS: Rule = rule(Shape::OneOf(&[&PASSED_SECRET_MAP, &INHERIT]));
static PASSED_SECRET_MAP: Rule = rule(map_of(&PASSED_SECRET));
static PASSED_SECRET: Rule = within(LEG_SECRETS, Shape::OneOf(&[&TEXT, &BOOLEAN, &NUMBER]));
static INHERIT: Rule = rule(Shape::Words(&["inherit"]));
static JOB_CONDITION: Rule = within(JOB_IF, Shape::Condition);
static LEG_TEXT: Rule = within(LEG, Shape::Text);
static LEG_NUMBER: Rule = within(LEG, Shape::Number);
static LEG_BOOLEAN: Rule = within(LEG, Shape::Boolean);
static STRATEGY: Rule = within(
    NEEDS,
    mapping(&[
        optional("fail-fast", &BOOLEAN),
        optional("max-parallel", &NUMBER),
        optional("matrix", &MATRIX),
    ]),
);
static MATRIX: Rule = rule(Shape::Mapping(MappingRule {
    properties: &[
        optional("include", &MATRIX_FILTER),
        optional("exclude", &MATRIX_FILTER),
    ],
    rest: Some(&VECTOR),
}));
static VECTOR: Rule = rule(Shape::Sequence(&ANY));
static MATRIX_FILTER: Rule = rule(Shape::Sequence(&MATRIX_FILTER_ITEM));
static MATRIX_FILTER_ITEM: Rule = rule(map_of(&ANY));
static SNAPSHOT: Rule = rule(Shape::OneOf(&[&NON_EMPTY, &SNAPSHOT_MAPPING]));
static SNAPSHOT_MAPPING: Rule = rule(mapping(&[
    required("image-name", &NON_EMPTY),
    optional("if", &LEG_TEXT),
    optional("version", &NON_EMPTY),
]));
static RUNS_ON: Rule = within(
    LEG,
    Shape::OneOf(&[&NON_EMPTY, &NON_EMPTY_LIST, &RUNS_ON_MAPPING]),
);
static RUNS_ON_MAPPING: Rule = rule(mapping(&[
    optional("group", &NON_EMPTY),
    optional("labels", &ONE_OR_MORE),
]));
static JOB_ENV: Rule = within(LEG_SECRETS, map_of(&TEXT));
static JOB_CONCURRENCY: Rule = within(LEG, Shape::OneOf(&[&NON_EMPTY, &CONCURRENCY_MAPPING]));
static ENVIRONMENT: Rule = within(LEG, Shape::OneOf(&[&TEXT, &ENVIRONMENT_MAPPING]));
static ENVIRONMENT_MAPPING: Rule = rule(mapping(&[
    required("name", &LEG_TEXT),
    optional("url", &ENVIRONMENT_URL),
    optional("deployment", &BOOLEAN),
]));
static ENVIRONMENT_URL: Rule = within(RUNNER_NO_SECRETS, Shape::Text);
static OUTPUTS: Rule = rule(map_of(&RUNNER_TEXT));
static RUNNER_TEXT: Rule = within(RUNNER, Shape::Text);
static JOB_DEFAULTS: Rule = rule(mapping(&[optional("run", &JOB_DEFAULTS_RUN)]));
static JOB_DEFAULTS_RUN: Rule = within(
    &["github", "inputs", "vars", "strategy", "matrix", "needs", "env"],
    mapping(&[
        optional("shell", &NON_EMPTY),
        optional("working-directory", &NON_EMPTY),
    ]),
);

static CONTAINER: Rule = within(LEG, Shape::OneOf(&[&TEXT, &CONTAINER_MAPPING]));
static CONTAINER_MAPPING: Rule = rule(mapping(&[
    optional("image", &NON_EMPTY),
    optional("options", &TEXT),
    optional("env", &CONTAINER_ENV),
    optional("ports", &NON_EMPTY_LIST),
    optional("volumes", &NON_EMPTY_LIST),
    optional("credentials", &CREDENTIALS),
]));
static SERVICES: Rule = within(LEG, map_of(&SERVICE));
static SERVICE: Rule = within(LEG, Shape::OneOf(&[&NON_EMPTY, &SERVICE_MAPPING]));
static SERVICE_MAPPING: Rule = rule(mapping(&[
    optional("image", &NON_EMPTY),
    optional("options", &TEXT),
    optional("env", &CONTAINER_ENV),
    optional("ports", &NON_EMPTY_LIST),
    optional("volumes", &NON_EMPTY_LIST),
    optional("credentials", &CREDENTIALS),
    optional("entrypoint", &TEXT),
    optional("command", &TEXT),
]));
static CREDENTIALS: Rule = within(
    &["github", "inputs", "vars", "secrets", "env"],
    mapping(&[optional("username", &NON_EMPTY), optional("password", &NON_EMPTY)]),
);
static CONTAINER_ENV: Rule = rule(map_of(&RUNNER_TEXT));

static STEPS: Rule = rule(Shape::Sequence(&STEP_ITEM));
static STEP_ITEM: Rule = rule(Shape::OneOf(&[
    &RUN_STEP,
    &USES_STEP,
    &WAIT_STEP,
    &WAIT_ALL_STEP,
    &CANCEL_STEP,
    &PARALLEL_STEP,
]));
static STEP_TEXT: Rule = within(STEP, Shape::Text);
static STEP_NUMBER: Rule = within(STEP, Shape::Number);
static STEP_BOOLEAN: Rule = within(STEP, Shape::Boolean);
static STEP_CONDITION: Rule = within(STEP_IF, Shape::Condition);
static STEP_MAP: Rule = within(STEP, map_of(&TEXT));
static RUN_STEP: Rule = rule(mapping(&[
    optional("name", &STEP_TEXT),
    optional("id", &NON_EMPTY),
    optional("if", &STEP_CONDITION),
    optional("timeout-minutes", &STEP_NUMBER),
    required("run", &STEP_TEXT),
    optional("continue-on-error", &STEP_BOOLEAN),
    optional("env", &STEP_MAP),
    optional("working-directory", &STEP_TEXT),
    optional("shell", &NON_EMPTY),
    optional("background", &BOOLEAN),
]));
static USES_STEP: Rule = rule(mapping(&[
    optional("name", &STEP_TEXT),
    optional("id", &NON_EMPTY),
    optional("if", &STEP_CONDITION),
    optional("continue-on-error", &STEP_BOOLEAN),
    optional("timeout-minutes", &STEP_NUMBER),
    required("uses", &NON_EMPTY),
    optional("with", &STEP_MAP),
    optional("env", &STEP_MAP),
    optional("background", &BOOLEAN),
]));
static WAIT_STEP: Rule = rule(mapping(&[
    optional("name", &STEP_TEXT),
    optional("id", &NON_EMPTY),
    optional("continue-on-error", &STEP_BOOLEAN),
    required("wait", &ONE_OR_MORE),
]));
static WAIT_ALL_STEP: Rule = rule(mapping(&[
    optional("name", &STEP_TEXT),
    optional("id", &NON_EMPTY),
    optional("continue-on-error", &STEP_BOOLEAN),
    required("wait-all", &WAIT_ALL_VALUE),
]));
static WAIT_ALL_VALUE: Rule = rule(Shape::OneOf(&[&NULL, &BOOLEAN]));
static CANCEL_STEP: Rule = rule(mapping(&[
    optional("name", &STEP_TEXT),
    optional("id", &NON_EMPTY),
    optional("continue-on-error", &STEP_BOOLEAN),
    required("cancel", &NON_EMPTY),
]));
static PARALLEL_STEP: Rule = rule(mapping(&[required("parallel", &STEPS)]));
