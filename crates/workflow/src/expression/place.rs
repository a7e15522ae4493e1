//! The keys that hold expressions, and what is available in each. Owns GitHub's table and nothing else.

use super::availability::{Availability, StatusArguments};

/// Makes a place of a step: `hashFiles()` may be called.
const fn step(contexts: &'static [&'static str]) -> Availability<'static> {
    Availability {
        contexts,
        status: StatusArguments::Unavailable,
        hash_files: true,
    }
}

/// Makes a place of a step's condition: `hashFiles()` and the status functions may be called.
const fn step_if(contexts: &'static [&'static str]) -> Availability<'static> {
    Availability {
        contexts,
        status: StatusArguments::Nothing,
        hash_files: true,
    }
}

/// The keys of a workflow.
///
/// Source: "Context availability" of GitHub's documentation, and `workflow-v1.0.json` of actions/languageservices.
/// Where they differ (credentials of containers, `steps` in their variables) what either gives is available.
pub mod workflow {
    use super::{Availability, StatusArguments, step, step_if};

    type Place = Availability<'static>;

    const START: &[&str] = &["github", "inputs", "vars"];
    const AFTER_NEEDS: &[&str] = &["github", "inputs", "vars", "needs"];
    const IN_MATRIX: &[&str] = &["github", "inputs", "vars", "needs", "strategy", "matrix"];
    const IN_MATRIX_WITH_SECRETS: &[&str] = &[
        "github", "inputs", "vars", "needs", "strategy", "matrix", "secrets",
    ];
    const CREDENTIALS: &[&str] = &[
        "github", "inputs", "vars", "needs", "strategy", "matrix", "secrets", "env",
    ];
    const IN_STEPS: &[&str] = &[
        "github", "inputs", "vars", "needs", "strategy", "matrix", "job", "runner", "env", "steps",
    ];
    const IN_STEPS_WITH_SECRETS: &[&str] = &[
        "github", "inputs", "vars", "needs", "strategy", "matrix", "job", "runner", "env", "steps", "secrets",
    ];

    /// `run-name`.
    pub const RUN_NAME: Place = Place::of(START);
    /// `concurrency`.
    pub const CONCURRENCY: Place = Place::of(START);
    /// `env`.
    pub const ENV: Place = Place::of(&["github", "inputs", "vars", "secrets"]);
    /// `on.workflow_call.inputs.<inputs_id>.default`.
    pub const CALL_INPUT_DEFAULT: Place = Place::of(START);
    /// `on.workflow_call.outputs.<output_id>.value`.
    pub const CALL_OUTPUT_VALUE: Place = Place::of(&["github", "inputs", "vars", "jobs"]);

    /// `jobs.<job_id>.if`.
    pub const JOB_IF: Place = Place {
        contexts: AFTER_NEEDS,
        status: StatusArguments::Jobs,
        hash_files: false,
    };
    /// `jobs.<job_id>.strategy`.
    pub const JOB_STRATEGY: Place = Place::of(AFTER_NEEDS);
    /// `jobs.<job_id>.name`.
    pub const JOB_NAME: Place = Place::of(IN_MATRIX);
    /// `jobs.<job_id>.runs-on`.
    pub const JOB_RUNS_ON: Place = Place::of(IN_MATRIX);
    /// `jobs.<job_id>.timeout-minutes`.
    pub const JOB_TIMEOUT_MINUTES: Place = Place::of(IN_MATRIX);
    /// `jobs.<job_id>.continue-on-error`.
    pub const JOB_CONTINUE_ON_ERROR: Place = Place::of(IN_MATRIX);
    /// `jobs.<job_id>.concurrency`.
    pub const JOB_CONCURRENCY: Place = Place::of(IN_MATRIX);
    /// `jobs.<job_id>.defaults.run`.
    pub const JOB_DEFAULTS_RUN: Place =
        Place::of(&["github", "inputs", "vars", "needs", "strategy", "matrix", "env"]);
    /// `jobs.<job_id>.env`.
    pub const JOB_ENV: Place = Place::of(IN_MATRIX_WITH_SECRETS);
    /// `jobs.<job_id>.environment` and its name.
    pub const JOB_ENVIRONMENT: Place = Place::of(IN_MATRIX);
    /// `jobs.<job_id>.environment.url`.
    pub const JOB_ENVIRONMENT_URL: Place = Place::of(IN_STEPS);
    /// `jobs.<job_id>.outputs.<output_id>`.
    pub const JOB_OUTPUTS: Place = Place::of(IN_STEPS_WITH_SECRETS);
    /// `jobs.<job_id>.container` and its image.
    pub const JOB_CONTAINER: Place = Place::of(IN_MATRIX);
    /// `jobs.<job_id>.container.credentials`.
    pub const JOB_CONTAINER_CREDENTIALS: Place = Place::of(CREDENTIALS);
    /// `jobs.<job_id>.container.env.<env_id>`.
    pub const JOB_CONTAINER_ENV: Place = Place::of(IN_STEPS_WITH_SECRETS);
    /// `jobs.<job_id>.services`.
    pub const JOB_SERVICES: Place = Place::of(IN_MATRIX);
    /// `jobs.<job_id>.services.<service_id>.credentials`.
    pub const JOB_SERVICE_CREDENTIALS: Place = Place::of(CREDENTIALS);
    /// `jobs.<job_id>.services.<service_id>.env.<env_id>`.
    pub const JOB_SERVICE_ENV: Place = Place::of(IN_STEPS_WITH_SECRETS);
    /// `jobs.<job_id>.with.<with_id>`.
    pub const JOB_WITH: Place = Place::of(IN_MATRIX);
    /// `jobs.<job_id>.secrets.<secrets_id>`.
    pub const JOB_SECRETS: Place = Place::of(IN_MATRIX_WITH_SECRETS);

    /// `jobs.<job_id>.steps.if`.
    pub const STEP_IF: Place = step_if(IN_STEPS);
    /// `jobs.<job_id>.steps.name`.
    pub const STEP_NAME: Place = step(IN_STEPS_WITH_SECRETS);
    /// `jobs.<job_id>.steps.run`.
    pub const STEP_RUN: Place = step(IN_STEPS_WITH_SECRETS);
    /// `jobs.<job_id>.steps.with`.
    pub const STEP_WITH: Place = step(IN_STEPS_WITH_SECRETS);
    /// `jobs.<job_id>.steps.env`.
    pub const STEP_ENV: Place = step(IN_STEPS_WITH_SECRETS);
    /// `jobs.<job_id>.steps.working-directory`.
    pub const STEP_WORKING_DIRECTORY: Place = step(IN_STEPS_WITH_SECRETS);
    /// `jobs.<job_id>.steps.timeout-minutes`.
    pub const STEP_TIMEOUT_MINUTES: Place = step(IN_STEPS_WITH_SECRETS);
    /// `jobs.<job_id>.steps.continue-on-error`.
    pub const STEP_CONTINUE_ON_ERROR: Place = step(IN_STEPS_WITH_SECRETS);
}

/// The keys of an action's `action.yml`.
///
/// Source: `action_yaml.json` of actions/runner.
pub mod actions {
    use super::{Availability, step, step_if};

    type Place = Availability<'static>;

    const IN_STEPS: &[&str] = &[
        "github", "inputs", "strategy", "matrix", "steps", "job", "runner", "env",
    ];

    /// `inputs.<input_id>.default`.
    pub const INPUT_DEFAULT: Place = step(&["github", "strategy", "matrix", "job", "runner"]);
    /// `outputs.<output_id>.value`.
    pub const OUTPUT_VALUE: Place = Place::of(IN_STEPS);
    /// `runs.args` and `runs.env` of a container action.
    pub const CONTAINER_RUNS: Place = Place::of(&["inputs"]);
    /// `runs.steps[*].if` of a composite action.
    pub const STEP_IF: Place = step_if(IN_STEPS);
    /// Every other key of `runs.steps[*]` of a composite action.
    pub const STEP: Place = step(IN_STEPS);
}

#[cfg(test)]
mod tests {
    use super::super::{Availability, Expression};
    use super::{actions, workflow};

    #[test]
    fn each_key_has_what_githubs_table_gives_it() {
        let check = |place: &Availability<'_>, text: &str, expected: Result<(), &str>| {
            let answer = Expression::parse(text, place)
                .map(drop)
                .map_err(|error| error.kind.to_string());
            assert_eq!(answer, expected.map_err(str::to_owned), "{text}");
        };
        let no_context = Err("Unrecognized named-value");
        let no_function = Err("Unrecognized function");
        check(&workflow::RUN_NAME, "github.actor", Ok(()));
        check(&workflow::RUN_NAME, "secrets.x", no_context);
        check(&workflow::ENV, "SECRETS.x", Ok(()));
        check(&workflow::CALL_OUTPUT_VALUE, "jobs.a.outputs.b", Ok(()));
        check(
            &workflow::JOB_IF,
            "needs.a.result == 'success' && success('a', 'b')",
            Ok(()),
        );
        check(&workflow::JOB_IF, "matrix.os", no_context);
        check(&workflow::JOB_IF, "hashFiles('a')", no_function);
        check(
            &workflow::JOB_IF,
            "always('a')",
            Err("Too many parameters supplied"),
        );
        check(&workflow::JOB_RUNS_ON, "matrix.os", Ok(()));
        check(&workflow::JOB_RUNS_ON, "env.os", no_context);
        check(&workflow::JOB_ENV, "secrets.x", Ok(()));
        check(&workflow::JOB_ENV, "runner.os", no_context);
        check(&workflow::JOB_CONTAINER_ENV, "runner.os", Ok(()));
        check(&workflow::JOB_OUTPUTS, "steps.a.outputs.b", Ok(()));
        check(&workflow::JOB_OUTPUTS, "always()", no_function);
        check(&workflow::STEP_IF, "hashFiles('a') != '' || cancelled()", Ok(()));
        check(
            &workflow::STEP_IF,
            "success('a')",
            Err("Too many parameters supplied"),
        );
        check(&workflow::STEP_IF, "secrets.x", no_context);
        check(
            &workflow::STEP_RUN,
            "hashFiles()",
            Err("Too few parameters supplied"),
        );
        check(&workflow::STEP_RUN, "failure()", no_function);
        check(&actions::STEP, "inputs.a", Ok(()));
        check(&actions::STEP, "secrets.a", no_context);
        check(&actions::STEP_IF, "failure()", Ok(()));
    }
}
