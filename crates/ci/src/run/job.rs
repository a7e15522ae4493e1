//! From a job as written to a leg that can be run: matrix, names, images, variables. Owns evaluating a job's own keys;
//! must never start anything.

use std::time::Duration;

use gantry_adapters::engine::{Image, ServiceSpec};
use gantry_core::limits::{JOB_TIMEOUT, SERVICE_READY_WITHIN};
use gantry_core::mask::{Secrets, mask_text};
use gantry_workflow::expression::{Value, workflow};
use gantry_workflow::graph::Expansion;
use gantry_workflow::matrix::{EvaluationFault, LEGS_MAX, Leg as MatrixLeg, Matrix};
use gantry_workflow::model::{
    Container, Defaults, Diagnostic, Job, OrExpression, Place, RunsOn, Services, Spanned, Step, StepKind,
    StepsJob, Strategy, UsesRef,
};

use super::evaluate::{Contexts, Evaluator, json_of_value, value_of_json};
use super::github::{GithubContext, runner_context};
use super::layout;
use super::leg::{LegPlan, StepDefaults};
use super::request::RunRequest;
use super::run_leg::LegOrder;
use super::step::minutes_of;

/// The legs of a job, and how they are run.
#[derive(Debug, Clone)]
pub(super) struct JobLegs {
    pub(super) expansion: Expansion,
    pub(super) legs: Vec<MatrixLeg>,
    max_parallel: usize,
}

/// Makes the legs of a job.
///
/// Errors: why there are none, in a sentence.
pub(super) fn expand(job: &Job, evaluator: &Evaluator<'_>) -> Result<JobLegs, String> {
    let at = &workflow::JOB_STRATEGY;
    let (fail_fast, max_parallel, matrix) = match &job.strategy {
        None => (true, None, None),
        Some(Strategy::Written {
            fail_fast,
            max_parallel,
            matrix,
        }) => {
            let fail_fast = match fail_fast {
                None => true,
                Some(_) => evaluator.boolean(fail_fast.as_ref(), at).map_err(invalid)?,
            };
            let max_parallel = max_parallel
                .as_ref()
                .map(|number| evaluator.number(number, at))
                .transpose()
                .map_err(invalid)?;
            let evaluate = |text: &str, place: Place| {
                evaluator
                    .value_at(text, place, at)
                    .map(|value| json_of_value(&value))
            };
            let matrix = matrix
                .as_ref()
                .map(|node| Matrix::from_node(node, evaluate))
                .transpose();
            let matrix = matrix.map_err(|fault| match fault {
                EvaluationFault::Expression(diagnostic) => invalid(diagnostic),
                EvaluationFault::Matrix(fault) => fault.to_string(),
            })?;
            (fail_fast, max_parallel, matrix)
        }
        Some(Strategy::Expression(text)) => {
            let Value::Object(object) = evaluator.value(text, at).map_err(invalid)? else {
                return Err("the strategy must be a mapping".to_owned());
            };
            let matrix = match object.get("matrix").map(json_of_value) {
                Some(serde_json::Value::Object(pairs)) => {
                    Some(Matrix::from_pairs(pairs.into_iter().collect()).map_err(|fault| fault.to_string())?)
                }
                Some(serde_json::Value::Null) | None => None,
                Some(_) => return Err("the matrix must be a mapping".to_owned()),
            };
            let fail_fast = object.get("fail-fast").is_none_or(Value::truthy);
            (
                fail_fast,
                object.get("max-parallel").map(Value::to_number),
                matrix,
            )
        }
    };
    let legs = match matrix {
        None => vec![MatrixLeg::single()],
        Some(matrix) => matrix.expand().map_err(|fault| fault.to_string())?,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "held within 0 and the most legs"
    )]
    let max_parallel = max_parallel
        .map(|number| number.clamp(0.0, LEGS_MAX as f64) as usize)
        .filter(|max| *max > 0);
    Ok(JobLegs {
        expansion: Expansion {
            legs: legs.len(),
            fail_fast,
            max_parallel,
        },
        max_parallel: max_parallel.unwrap_or(legs.len()),
        legs,
    })
}

fn invalid(diagnostic: Diagnostic) -> String {
    format!("The template is not valid. {diagnostic}")
}

/// Adds `matrix` and `strategy` of a leg.
pub(super) fn leg_contexts(job: &Contexts, legs: &JobLegs, leg: usize) -> Contexts {
    let mut contexts = job.clone();
    let values = legs
        .legs
        .get(leg)
        .map(|leg| leg.values.as_slice())
        .unwrap_or_default();
    let matrix = match values {
        [] => Value::Null,
        values => Value::Object(
            values
                .iter()
                .map(|(name, value)| (name.as_str(), value_of_json(value)))
                .collect(),
        ),
    };
    contexts.set("matrix", matrix);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let number = |count: usize| Value::Number(count as f64);
    let strategy = [
        ("fail-fast", Value::Bool(legs.expansion.fail_fast)),
        ("job-index", number(leg)),
        ("job-total", number(legs.legs.len())),
        ("max-parallel", number(legs.max_parallel)),
    ];
    contexts.set("strategy", Value::Object(strategy.into_iter().collect()));
    contexts
}

/// Returns the name that GitHub shows for a leg.
pub(super) fn leg_name(job: &Job, leg: &MatrixLeg, evaluator: &Evaluator<'_>) -> Result<String, String> {
    let Some(name) = &job.name else {
        return Ok(leg.display_name(&job.id.value));
    };
    let name_shown = evaluator.text(name, &workflow::JOB_NAME).map_err(invalid)?;
    // A name without an expression is the same for every leg; GitHub tells them apart as it does without a name.
    Ok(if name.value.contains("${{") {
        name_shown
    } else {
        leg.display_name(&name_shown)
    })
}

/// What a leg inherits from its workflow.
pub(super) struct Surroundings<'a> {
    /// The workflow file's path.
    pub(super) file: &'a str,
    /// The path of the workflow that the event started.
    pub(super) workflow: &'a str,
    /// `env` of the workflow, evaluated.
    pub(super) env: &'a [(String, String)],
    pub(super) defaults: &'a Defaults,
    pub(super) github: &'a GithubContext,
    pub(super) secrets: &'a Secrets,
    /// The ids and names of the jobs that called the workflow.
    pub(super) prefix: (&'a str, &'a str),
}

/// Evaluates what a leg needs before its box is opened.
///
/// Errors: why it cannot be run, in a sentence.
pub(super) fn order<'a>(
    request: &RunRequest<'a>,
    around: &Surroundings<'a>,
    (job, steps_job): (&'a Job, &'a StepsJob),
    (leg, contexts): (&MatrixLeg, Contexts),
) -> Result<LegOrder<'a>, String> {
    let evaluator = Evaluator {
        file: around.file,
        scope: &contexts,
    };
    let name = leg_name(job, leg, &evaluator)?;
    let own_env = evaluator
        .map(&steps_job.env, &workflow::JOB_ENV)
        .map_err(invalid)?;
    let mut env = around.env.to_vec();
    own_env
        .into_iter()
        .for_each(|(name, value)| super::leg::set_pair(&mut env, name, value));
    let minutes = evaluated_number(&evaluator, steps_job.timeout_minutes.as_ref())?;
    let cancel_minutes = evaluated_number(&evaluator, steps_job.cancel_timeout_minutes.as_ref())?;
    let tolerated = evaluator
        .boolean(
            steps_job.continue_on_error.as_ref(),
            &workflow::JOB_CONTINUE_ON_ERROR,
        )
        .map_err(invalid)?;
    let defaults = step_defaults(&contexts, &env, around, &steps_job.defaults)?;
    let mut in_job = contexts.clone();
    in_job.set("env", super::evaluate::object_of(&env));
    in_job.set("runner", runner_context(request.identity.debug));
    let evaluator = Evaluator {
        file: around.file,
        scope: &in_job,
    };
    let container = job_container(request, &evaluator, steps_job.container.as_ref())?;
    let (services, services_context) = services(request, &evaluator, &steps_job.services)?;
    let labels = labels(&evaluator, &steps_job.runs_on)?;
    let (image, container_env) = match container {
        Some((image, env)) => (image, env),
        None => (request.images.for_labels(&labels)?, Vec::new()),
    };
    let mut fixed = contexts.clone();
    fixed.set("runner", runner_context(request.identity.debug));
    Ok(LegOrder {
        workflow: around.workflow,
        id: format!("{}{}", around.prefix.0, job.id.value),
        leg: leg.index,
        tolerated,
        wants_commit: checks_out(&steps_job.steps),
        container_env,
        services,
        secrets: around.secrets.clone(),
        plan: LegPlan {
            file: around.file,
            job: steps_job,
            name: mask_text(around.secrets, &format!("{}{name}", around.prefix.1)),
            github: around.github.of_job(&job.id.value),
            contexts: fixed,
            env,
            defaults,
            timeout: minutes.and_then(minutes_of).unwrap_or(JOB_TIMEOUT),
            cancel_grace: cancel_minutes
                .and_then(minutes_of)
                .unwrap_or(request.cancel_grace),
            workspace: layout::workspace(&request.repository.name),
            path: image_path(&image),
            container: Value::Object([("id", Value::from(""))].into_iter().collect()),
            services: services_context,
        },
        image,
    })
}

fn evaluated_number(
    evaluator: &Evaluator<'_>,
    number: Option<&Spanned<OrExpression<f64>>>,
) -> Result<Option<f64>, String> {
    number
        .map(|number| evaluator.number(number, &workflow::JOB_TIMEOUT_MINUTES))
        .transpose()
        .map_err(invalid)
}

/// What a job's `defaults.run` does not say, the workflow's does.
fn step_defaults(
    contexts: &Contexts,
    env: &[(String, String)],
    around: &Surroundings<'_>,
    own: &Defaults,
) -> Result<StepDefaults, String> {
    let mut contexts = contexts.clone();
    contexts.set("env", super::evaluate::object_of(env));
    let evaluator = Evaluator {
        file: around.file,
        scope: &contexts,
    };
    let at = &workflow::JOB_DEFAULTS_RUN;
    let mut found = StepDefaults::default();
    for defaults in [own, around.defaults] {
        if let Some(text) = &defaults.expression
            && let Value::Object(object) = evaluator.value(text, at).map_err(invalid)?
        {
            let get = |name: &str| object.get(name).map(|value| value.to_text().to_string());
            found.shell = found.shell.or_else(|| get("shell"));
            found.working_directory = found.working_directory.or_else(|| get("working-directory"));
        }
        if found.shell.is_none() {
            found.shell = evaluator.optional(defaults.shell.as_ref(), at).map_err(invalid)?;
        }
        if found.working_directory.is_none() {
            found.working_directory = evaluator
                .optional(defaults.working_directory.as_ref(), at)
                .map_err(invalid)?;
        }
    }
    Ok(found)
}

/// Returns the labels of `runs-on`; a single one may be an expression that makes a list, or an object with labels.
fn labels(evaluator: &Evaluator<'_>, runs_on: &RunsOn) -> Result<Vec<String>, String> {
    let mut labels = Vec::new();
    for label in &runs_on.labels {
        add_labels(
            &evaluator.value(label, &workflow::JOB_RUNS_ON).map_err(invalid)?,
            &mut labels,
        );
    }
    Ok(labels)
}

fn add_labels(value: &Value, labels: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.items().iter().for_each(|item| add_labels(item, labels)),
        Value::Object(object) => {
            if let Some(inner) = object.get("labels") {
                add_labels(inner, labels);
            }
        }
        other => labels.push(other.to_text().to_string()),
    }
}

type ImageAndEnv = (Image, Vec<(String, String)>);

fn job_container(
    request: &RunRequest<'_>,
    evaluator: &Evaluator<'_>,
    container: Option<&Container>,
) -> Result<Option<ImageAndEnv>, String> {
    let Some(container) = container else {
        return Ok(None);
    };
    let Some(name) = image_name(evaluator, container)? else {
        return Ok(None);
    };
    refuse(container, "the job's container", true)?;
    let env = evaluator
        .map(&container.env, &workflow::JOB_CONTAINER_ENV)
        .map_err(invalid)?;
    Ok(Some((request.images.for_container(&name)?, env)))
}

fn image_name(evaluator: &Evaluator<'_>, container: &Container) -> Result<Option<String>, String> {
    let value = evaluator
        .value(&container.image, &workflow::JOB_CONTAINER)
        .map_err(invalid)?;
    let name = match &value {
        Value::Object(object) => object
            .get("image")
            .map(|image| image.to_text().to_string())
            .unwrap_or_default(),
        other => other.to_text().to_string(),
    };
    let name = name.strip_prefix("docker://").unwrap_or(&name).to_owned();
    Ok((!name.is_empty()).then_some(name))
}

/// Refuses what a box cannot hold.
fn refuse(container: &Container, what: &str, refuses_options: bool) -> Result<(), String> {
    let line = container.place.line;
    if container.credentials.is_some() {
        return Err(format!(
            "line {line}: {what} has credentials, and images are not pulled here; import the image first"
        ));
    }
    if !container.volumes.is_empty() {
        return Err(format!(
            "line {line}: {what} has volumes, which boxes here do not have; use the workspace"
        ));
    }
    if refuses_options && container.options.is_some() {
        return Err(format!(
            "line {line}: {what} has options, which are not understood here"
        ));
    }
    Ok(())
}

fn services(
    request: &RunRequest<'_>,
    evaluator: &Evaluator<'_>,
    written: &Services,
) -> Result<(Vec<ServiceSpec>, Value), String> {
    let pairs = match written {
        Services::Written(pairs) => pairs,
        Services::Expression(text) => {
            let line = text.place.line;
            return Err(format!(
                "line {line}: services that an expression makes are not understood here"
            ));
        }
    };
    let mut specs = Vec::new();
    let mut shown = Vec::new();
    for (name, container) in pairs {
        let Some(image) = image_name(evaluator, container)? else {
            continue;
        };
        let what = format!("the service '{}'", name.value);
        refuse(container, &what, false)?;
        let at = &workflow::JOB_SERVICES;
        let options = evaluator
            .optional(container.options.as_ref(), at)
            .map_err(invalid)?;
        let health = super::service::health(options.as_deref().unwrap_or(""))
            .map_err(|why| format!("line {}: {what}: {why}", container.place.line))?;
        let command = evaluator
            .optional(container.command.as_ref(), at)
            .map_err(invalid)?;
        let entrypoint = evaluator
            .optional(container.entrypoint.as_ref(), at)
            .map_err(invalid)?;
        let words = [entrypoint, command].into_iter().flatten();
        specs.push(ServiceSpec {
            name: name.value.clone(),
            image: request.images.for_container(&image)?,
            command: words.flat_map(|line| super::shell::split_words(&line)).collect(),
            env: evaluator
                .map(&container.env, &workflow::JOB_SERVICE_ENV)
                .map_err(invalid)?,
            health: health.command,
            ready_within: health.ready_within.unwrap_or(SERVICE_READY_WITHIN),
        });
        let ports = container.ports.iter().map(|port| evaluator.text(port, at));
        let ports = ports.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        shown.push((name.value.clone(), super::service::context(&name.value, &ports)?));
    }
    Ok((specs, Value::Object(shown.into_iter().collect())))
}

/// Returns the `PATH` of a box on an image.
fn image_path(image: &Image) -> String {
    let own = match image {
        Image::Layers { env, .. } => env
            .iter()
            .rev()
            .find(|(name, _)| name == "PATH")
            .map(|(_, value)| value.clone()),
        Image::Host | Image::Named(_) => None,
    };
    own.unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned())
}

/// Tells whether steps check the commit out where the workspace is: then it is there from the start.
fn checks_out(steps: &[Step]) -> bool {
    steps.iter().any(|step| match &step.kind {
        StepKind::Uses(uses) => {
            matches!(&uses.uses.value, UsesRef::Remote(remote)
                if remote.repository_key() == "actions/checkout" && remote.path.is_empty())
                && uses.with.get("path").is_none()
                && uses.with.get("repository").is_none()
        }
        StepKind::Parallel(inner) => checks_out(inner),
        StepKind::Run(_) | StepKind::Wait(_) | StepKind::WaitAll | StepKind::Cancel(_) => false,
    })
}

/// Shortens a leg's time to what is left of a cancelled run.
pub(super) fn hurry(order: &mut LegOrder<'_>, left: Duration) {
    order.plan.timeout = order.plan.timeout.min(left);
}
