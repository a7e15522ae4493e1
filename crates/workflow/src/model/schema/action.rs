//! The keys of an `action.yml`. Owns the table; must never decide what a key does.
//!
//! Source: the action schema that GitHub's language services publish; the runner reads unknown keys at the top and in
//! inputs without complaint, so they are allowed here too.

use super::rule::{
    ANY, MappingRule, NON_EMPTY, Rule, Shape, TEXT, map_of, mapping, optional, required, rule, within,
};

const INPUT: &[&str] = &["github", "strategy", "matrix", "job", "runner", "hashFiles()"];
const OUTPUT: &[&str] = &[
    "github", "strategy", "matrix", "steps", "inputs", "job", "runner", "env",
];
const STEP: &[&str] = &[
    "github",
    "inputs",
    "strategy",
    "matrix",
    "steps",
    "job",
    "runner",
    "env",
    "hashFiles()",
];
const STEP_IF: &[&str] = &[
    "github",
    "inputs",
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

/// A whole action file.
pub(crate) static ACTION: Rule = rule(Shape::Mapping(MappingRule {
    properties: &[
        optional("name", &TEXT),
        optional("description", &TEXT),
        optional("author", &TEXT),
        optional("inputs", &INPUTS),
        optional("outputs", &OUTPUTS),
        required("runs", &RUNS),
    ],
    rest: Some(&ANY),
}));

static INPUTS: Rule = rule(Shape::OneOf(&[&super::rule::NULL, &INPUT_MAP]));
static INPUT_MAP: Rule = rule(map_of(&INPUT_DEFINITION));
static INPUT_DEFINITION: Rule = rule(Shape::OneOf(&[&super::rule::NULL, &INPUT_MAPPING]));
static INPUT_MAPPING: Rule = rule(Shape::Mapping(MappingRule {
    properties: &[optional("default", &INPUT_DEFAULT)],
    rest: Some(&ANY),
}));
static INPUT_DEFAULT: Rule = within(INPUT, Shape::Text);
static OUTPUTS: Rule = rule(Shape::OneOf(&[&super::rule::NULL, &OUTPUT_MAP]));
static OUTPUT_MAP: Rule = rule(map_of(&OUTPUT_DEFINITION));
static OUTPUT_DEFINITION: Rule = rule(mapping(&[
    optional("description", &TEXT),
    optional("value", &OUTPUT_VALUE),
]));
static OUTPUT_VALUE: Rule = within(OUTPUT, Shape::Text);

static RUNS: Rule = rule(Shape::OneOf(&[&DOCKER, &NODE, &COMPOSITE]));
static USING: Rule = rule(Shape::Words(&[
    "docker",
    "node12",
    "node16",
    "node20",
    "node24",
    "composite",
]));
static RUNS_IF: Rule = within(STEP_IF, Shape::Condition);
static DOCKER: Rule = rule(mapping(&[
    required("using", &USING),
    required("image", &NON_EMPTY),
    optional("entrypoint", &NON_EMPTY),
    optional("args", &DOCKER_ARGS),
    optional("env", &DOCKER_ENV),
    optional("pre-entrypoint", &NON_EMPTY),
    optional("pre-if", &RUNS_IF),
    optional("post-entrypoint", &NON_EMPTY),
    optional("post-if", &RUNS_IF),
]));
static DOCKER_ARGS: Rule = rule(Shape::Sequence(&DOCKER_ARG));
static DOCKER_ARG: Rule = within(&["inputs"], Shape::Text);
static DOCKER_ENV: Rule = within(&["inputs"], map_of(&TEXT));
static NODE: Rule = rule(mapping(&[
    required("using", &USING),
    required("main", &NON_EMPTY),
    optional("pre", &NON_EMPTY),
    optional("pre-if", &RUNS_IF),
    optional("post", &NON_EMPTY),
    optional("post-if", &RUNS_IF),
]));
static COMPOSITE: Rule = rule(mapping(&[
    required("using", &USING),
    required("steps", &COMPOSITE_STEPS),
]));
static COMPOSITE_STEPS: Rule = rule(Shape::Sequence(&COMPOSITE_STEP));
static COMPOSITE_STEP: Rule = rule(Shape::OneOf(&[&RUN_STEP, &USES_STEP]));
static STEP_TEXT: Rule = within(STEP, Shape::Text);
static STEP_BOOLEAN: Rule = within(STEP, Shape::Boolean);
static STEP_CONDITION: Rule = within(STEP_IF, Shape::Condition);
static STEP_MAP: Rule = within(STEP, map_of(&TEXT));
static RUN_STEP: Rule = rule(mapping(&[
    optional("name", &STEP_TEXT),
    optional("id", &NON_EMPTY),
    optional("if", &STEP_CONDITION),
    required("run", &STEP_TEXT),
    required("shell", &STEP_TEXT),
    optional("env", &STEP_MAP),
    optional("continue-on-error", &STEP_BOOLEAN),
    optional("working-directory", &STEP_TEXT),
]));
static USES_STEP: Rule = rule(mapping(&[
    optional("name", &STEP_TEXT),
    optional("id", &NON_EMPTY),
    optional("if", &STEP_CONDITION),
    required("uses", &NON_EMPTY),
    optional("with", &STEP_MAP),
    optional("env", &STEP_MAP),
    optional("continue-on-error", &STEP_BOOLEAN),
]));
