//! One workflow, started by an event or called by a job. Owns its inputs, secrets, variables and outputs, and its turn in
//! a concurrency group; its jobs are in `schedule`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gantry_core::mask::{Secrets, mask_text};
use gantry_core::queue::build::Ending;
use gantry_workflow::expression::{Availability, Value, workflow};
use gantry_workflow::graph::{CallStack, Conclusion, Queue, check_call};
use gantry_workflow::matrix::Leg;
use gantry_workflow::model::{
    CallInterface, CallJob, Concurrency, Diagnostic, InputDefinition, InputType, Job, OrExpression,
    PassedSecrets, WorkflowFile, WorkflowRef,
};

use super::cancel::Cancel;
use super::concurrency::Turn;
use super::evaluate::{Contexts, Evaluator, object_of};
use super::github::GithubContext;
use super::report::JobReport;
use super::request::RunRequest;
use super::schedule::{LegEnd, run_jobs};
use super::slots::Slots;

/// A workflow that runs.
pub(super) struct WorkflowRun<'a> {
    pub(super) request: &'a RunRequest<'a>,
    pub(super) file: &'a WorkflowFile,
    /// The path of the workflow that the event started.
    pub(super) top: &'a str,
    pub(super) github: GithubContext,
    pub(super) inputs: Value,
    pub(super) secrets: Vec<(String, String)>,
    pub(super) masks: Secrets,
    /// What goes before the ids and the names of its jobs.
    pub(super) prefix: (String, String),
    pub(super) cancel: Cancel,
    pub(super) slots: Slots,
    pub(super) reports: &'a Mutex<Vec<JobReport>>,
    pub(super) stack: CallStack,
    pub(super) called: &'a Mutex<BTreeSet<String>>,
    /// The concurrency groups that this run, or what called it, is in.
    pub(super) held: Vec<String>,
}

/// What a workflow came to.
pub(super) struct WorkflowEnd {
    pub(super) conclusion: Conclusion,
    pub(super) outputs: Vec<(String, String)>,
}

impl WorkflowRun<'_> {
    /// Runs it.
    ///
    /// Errors: why it could not be started, in a sentence.
    pub(super) fn run(mut self) -> Result<WorkflowEnd, String> {
        let mut contexts = Contexts::default();
        contexts.set("github", self.github.value());
        contexts.set("vars", object_of(self.request.vars));
        contexts.set("secrets", object_of(&self.secrets));
        contexts.set("inputs", self.inputs.clone());
        let cancel = self.cancel.clone();
        let at = (&workflow::CONCURRENCY, &cancel);
        let Some((_turn, held)) = take_turn(&self, self.file.concurrency.as_ref(), &contexts, at)? else {
            return Ok(WorkflowEnd {
                conclusion: Conclusion::Cancelled,
                outputs: Vec::new(),
            });
        };
        self.held = held;
        let evaluator = Evaluator {
            file: &self.file.path,
            scope: &contexts,
        };
        let env = evaluator.map(&self.file.env, &workflow::ENV).map_err(invalid)?;
        let end = run_jobs(&self, contexts.clone(), &env);
        contexts.set("jobs", end.jobs);
        let evaluator = Evaluator {
            file: &self.file.path,
            scope: &contexts,
        };
        let mut outputs = Vec::new();
        for (name, value) in self
            .file
            .call()
            .map(|call| call.outputs.as_slice())
            .unwrap_or_default()
        {
            let value = evaluator
                .text(value, &workflow::CALL_OUTPUT_VALUE)
                .map_err(invalid)?;
            outputs.push((name.value.clone(), value));
        }
        Ok(WorkflowEnd {
            conclusion: end.conclusion,
            outputs,
        })
    }

    /// Returns the report of a job that has no box.
    pub(super) fn unrun_report(
        &self,
        job: &Job,
        leg: usize,
        (conclusion, ending): (Conclusion, Ending),
        detail: String,
    ) -> JobReport {
        let name = job.name.as_ref().filter(|name| !name.value.contains("${{"));
        let name = name.map_or(&job.id.value, |name| &name.value);
        JobReport {
            workflow: self.top.to_owned(),
            id: format!("{}{}", self.prefix.0, job.id.value),
            name: format!("{}{name}", self.prefix.1),
            leg,
            conclusion,
            tolerated: false,
            ending,
            detail: mask_text(&self.masks, &detail),
            steps: Vec::new(),
            outputs: Vec::new(),
            annotations: Vec::new(),
            annotations_left_out: 0,
            evidence: Vec::new(),
            summary: None,
            log: None,
            receipt: None,
            duration: Duration::ZERO,
        }
    }

    /// Runs the workflow that a job calls.
    ///
    /// Errors: why it could not be started, in a sentence.
    pub(super) fn call(
        &self,
        (job, leg): (&Job, &Leg),
        call: &CallJob,
        (name, contexts): (&str, &Contexts),
        (cancel, held): (&Cancel, Vec<String>),
    ) -> Result<LegEnd, String> {
        let stack = {
            let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
            self.stack
                .enter(&call.uses.value, &mut called)
                .map_err(|fault| fault.to_string())?
        };
        let file = self.find(&call.uses.value)?;
        let interface = file.call().ok_or_else(|| {
            format!(
                "workflow is not reusable as it is missing a `on.workflow_call` trigger: {}",
                call.uses.value
            )
        })?;
        let faults = check_call(&self.file.path, call, interface);
        if !faults.is_empty() {
            return Err(faults
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "));
        }
        let evaluator = Evaluator {
            file: &self.file.path,
            scope: contexts,
        };
        let inputs = call_inputs(&evaluator, call, (&file, interface, contexts))?;
        let secrets = match &call.secrets {
            PassedSecrets::None => Vec::new(),
            PassedSecrets::Inherit => self.secrets.clone(),
            PassedSecrets::Named(map) => evaluator.map(map, &workflow::JOB_SECRETS).map_err(invalid)?,
        };
        // Legs of a matrix call one workflow several times: its jobs are told apart by the leg.
        let id = match leg.values.as_slice() {
            [] => job.id.value.clone(),
            _ => format!("{}.{}", job.id.value, leg.index),
        };
        let mut masks = self.masks.clone();
        let named = secrets
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        masks.extend(named).map_err(|error| error.to_string())?;
        let run = WorkflowRun {
            request: self.request,
            file: &file,
            top: self.top,
            github: self.github.clone(),
            inputs,
            secrets,
            masks,
            prefix: (
                format!("{}{}/", self.prefix.0, id),
                format!("{}{name} / ", self.prefix.1),
            ),
            cancel: cancel.clone(),
            slots: self.slots.clone(),
            reports: self.reports,
            stack,
            called: self.called,
            held,
        };
        let end = run.run()?;
        Ok(LegEnd {
            conclusion: end.conclusion,
            tolerated: false,
            outputs: end.outputs,
        })
    }

    fn find(&self, wanted: &WorkflowRef) -> Result<Cow<'_, WorkflowFile>, String> {
        let remote = match wanted {
            WorkflowRef::Local { path } => {
                let found = self.request.workflows.iter().find(|file| file.path == *path);
                return found
                    .map(Cow::Borrowed)
                    .ok_or_else(|| format!("workflow was not found: ./{path}"));
            }
            WorkflowRef::Remote(remote) => remote,
        };
        let parts = self
            .request
            .library
            .repository(&remote.owner, &remote.repository, &remote.reference)?;
        let part = parts
            .iter()
            .flatten()
            .find(|part| part.path.to_str() == Some(&remote.path));
        let Some(part) = part else {
            return Err(format!(
                "workflow was not found: {remote}; run `gantry ci mirror {remote} PATH`"
            ));
        };
        let file = WorkflowFile::parse(&remote.to_string(), &String::from_utf8_lossy(&part.bytes));
        file.map(Cow::Owned)
            .map_err(|faults| gantry_workflow::model::render_invalid_workflow(&faults))
    }
}

fn invalid(diagnostic: Diagnostic) -> String {
    format!("The template is not valid. {diagnostic}")
}

/// Evaluates what a job passes to the workflow it calls.
fn call_inputs(
    evaluator: &Evaluator<'_>,
    call: &CallJob,
    (file, interface, contexts): (&WorkflowFile, &CallInterface, &Contexts),
) -> Result<Value, String> {
    let mut inputs: Vec<(String, Value)> = Vec::new();
    for definition in &interface.inputs {
        let name = &definition.name.value;
        let given = call
            .with
            .iter()
            .find(|(known, _)| known.value.eq_ignore_ascii_case(name));
        let value = match given {
            Some((_, node)) => {
                let mut evaluate = |text: &str, place| {
                    let value = evaluator.value_at(text, place, &workflow::JOB_WITH)?;
                    Ok(super::evaluate::json_of_value(&value))
                };
                let json = node.to_json_with(&mut evaluate).map_err(invalid)?;
                typed(definition, super::evaluate::value_of_json(&json))?
            }
            None => default_of(definition, &file.path, contexts)?,
        };
        inputs.push((name.clone(), value));
    }
    Ok(Value::Object(inputs.into_iter().collect()))
}

/// Returns what counts for an input that is not given.
fn default_of(definition: &InputDefinition, file: &str, contexts: &Contexts) -> Result<Value, String> {
    let evaluator = Evaluator {
        file,
        scope: contexts,
    };
    match &definition.default {
        Some(default) => match &default.value {
            OrExpression::Literal(scalar) => {
                typed(definition, super::evaluate::value_of_json(&scalar.to_json()))
            }
            OrExpression::Expression(text) => {
                let value = evaluator
                    .value_at(text, default.place, &workflow::CALL_INPUT_DEFAULT)
                    .map_err(invalid)?;
                typed(definition, value)
            }
        },
        None => Ok(match definition.kind {
            InputType::Boolean => Value::Bool(false),
            InputType::Number => Value::Number(0.0),
            InputType::String | InputType::Choice | InputType::Environment => Value::from(""),
        }),
    }
}

/// Holds a value against the type of its input.
fn typed(definition: &InputDefinition, value: Value) -> Result<Value, String> {
    let name = &definition.name.value;
    match (definition.kind, value) {
        (InputType::Boolean, Value::Bool(flag)) => Ok(Value::Bool(flag)),
        (InputType::Boolean, Value::String(text)) if matches!(&*text, "true" | "false") => {
            Ok(Value::Bool(&*text == "true"))
        }
        (InputType::Number, value) if !value.to_number().is_nan() => Ok(Value::Number(value.to_number())),
        (InputType::String | InputType::Choice | InputType::Environment, value) if value.is_primitive() => {
            let text = value.to_text();
            if definition.kind == InputType::Choice
                && !text.is_empty()
                && !definition.options.iter().any(|option| **option == *text)
            {
                return Err(format!(
                    "The input '{name}' must be one of: {}",
                    definition.options.join(", ")
                ));
            }
            Ok(Value::String(text))
        }
        (kind, value) => Err(format!(
            "The input '{name}' must be {kind:?}, and it is '{}'",
            value.to_text()
        )),
    }
}

/// Returns `inputs` of a run that was started by hand.
///
/// Errors: an input that is missing, unknown or of the wrong type.
pub(super) fn dispatch_inputs(
    file: &WorkflowFile,
    given: &[(String, String)],
    contexts: &Contexts,
) -> Result<Value, String> {
    let definitions = file.dispatch_inputs().unwrap_or_default();
    let is_known = |name: &str| {
        definitions
            .iter()
            .any(|known| known.name.value.eq_ignore_ascii_case(name))
    };
    if let Some((name, _)) = given.iter().find(|(name, _)| !is_known(name)) {
        return Err(format!("Unexpected inputs provided: [\"{name}\"]"));
    }
    let mut inputs = Vec::new();
    for definition in definitions {
        let name = &definition.name.value;
        let value = match given.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, text)) => typed(definition, Value::from(text.as_str()))?,
            None if definition.required && definition.default.is_none() => {
                return Err(format!("Required input '{name}' not provided"));
            }
            None => default_of(definition, &file.path, contexts)?,
        };
        inputs.push((name.clone(), value));
    }
    Ok(Value::Object(inputs.into_iter().collect()))
}

/// A turn in a group, if one is asked for, and all the groups held with it.
type TurnAndHeld = (Option<Turn>, Vec<String>);

/// Waits for a turn in the group that `concurrency` names; `None` if it was cancelled first.
///
/// Errors: the group cannot be evaluated, or is held by what waits for this.
pub(super) fn take_turn(
    run: &WorkflowRun<'_>,
    concurrency: Option<&Concurrency>,
    contexts: &Contexts,
    (at, cancel): (&Availability<'_>, &Cancel),
) -> Result<Option<TurnAndHeld>, String> {
    let mut held = run.held.clone();
    let Some(concurrency) = concurrency else {
        return Ok(Some((None, held)));
    };
    let evaluator = Evaluator {
        file: &run.file.path,
        scope: contexts,
    };
    let group = evaluator.text(&concurrency.group, at).map_err(invalid)?;
    if group.is_empty() {
        return Ok(Some((None, held)));
    }
    let repository = run.request.repository;
    let name = format!(
        "{}/{}\n{}",
        repository.owner,
        repository.name,
        group.to_lowercase()
    );
    if held.contains(&name) {
        return Err(format!(
            "Canceling since a deadlock was detected for concurrency group: '{group}'"
        ));
    }
    let in_progress = evaluator
        .boolean(concurrency.cancel_in_progress.as_ref(), at)
        .map_err(invalid)?;
    let queue = match concurrency.queue.as_ref().map(|queue| queue.value.as_str()) {
        Some("max") => Queue::Max,
        _ => Queue::Single,
    };
    let turn = run.request.groups.enter(&name, in_progress, queue, cancel);
    held.push(name);
    Ok(turn.map(|turn| (Some(turn), held)))
}
