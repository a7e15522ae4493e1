//! A run: every workflow that an event starts. Owns which are started and the joining of their reports.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::thread;

use gantry_core::mask::{MaskError, Secrets};
use gantry_workflow::event::{Event, GitRef, TriggerDecision, triggers};
use gantry_workflow::expression::Value;
use gantry_workflow::graph::{CallStack, Conclusion};
use gantry_workflow::model::WorkflowFile;
use gantry_workflow::support::Verdict;

use super::cancel::Cancel;
use super::evaluate::{Contexts, object_of};
use super::event::RunEvent;
use super::github::GithubContext;
use super::preflight::check_workflow;
use super::report::{RunReport, WorkflowOutcome, WorkflowReport};
use super::request::{EventInput, RunRequest};
use super::slots::Slots;
use super::workflow_run::{WorkflowRun, dispatch_inputs};

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A secret cannot be masked, so nothing may be run with it.
    #[error("the secrets of the run cannot be masked; nothing was run")]
    Mask(#[from] MaskError),
}

/// Runs every workflow that the event starts, as GitHub would. Blocks until all boxes are closed.
///
/// Shape: workflows run side by side; how many boxes live at once is [`RunRequest::slots`].
/// Errors: [`RunError`]; a workflow that fails is a report.
pub fn run_workflows(request: &RunRequest<'_>) -> Result<RunReport, RunError> {
    let mut masks = Secrets::new();
    masks.extend(
        request
            .secrets
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes())),
    )?;
    let cancel = Cancel::default();
    let told = cancel.clone();
    request.control.on_cancel(move || told.cancel());
    let slots = Slots::new(request.slots);
    let reports = thread::scope(|scope| {
        let started: Vec<_> = request
            .workflows
            .iter()
            .filter(|file| !is_only_called(file))
            .map(|file| {
                let (masks, slots, cancel) = (masks.clone(), slots.clone(), cancel.clone());
                scope.spawn(move || run_file(request, file, masks, (slots, cancel)))
            })
            .collect();
        let join = |handle: thread::ScopedJoinHandle<'_, WorkflowReport>| {
            handle
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        started.into_iter().map(join).collect()
    });
    // What was set above holds marks of this run only.
    request.control.on_cancel(|| {});
    Ok(RunReport { workflows: reports })
}

/// Tells whether a workflow is there for others to call and for nothing else.
fn is_only_called(file: &WorkflowFile) -> bool {
    file.on
        .iter()
        .all(|trigger| trigger.event.value == "workflow_call")
}

fn run_file(
    request: &RunRequest<'_>,
    file: &WorkflowFile,
    masks: Secrets,
    (slots, cancel): (Slots, Cancel),
) -> WorkflowReport {
    let name = file.display_name().to_owned();
    let path = file.path.clone();
    if let TriggerDecision::Ignored(refusal) = triggers(&file.on, &event_of(request.event)) {
        let reason = refusal.to_string();
        (request.tell)(RunEvent::WorkflowIgnored {
            workflow: &path,
            reason: &reason,
        });
        return WorkflowReport {
            path,
            name,
            outcome: WorkflowOutcome::Ignored(reason),
            jobs: Vec::new(),
        };
    }
    if let Err(outcome) = refused(request, file) {
        return WorkflowReport {
            path,
            name,
            outcome,
            jobs: Vec::new(),
        };
    }
    (request.tell)(RunEvent::WorkflowStarted { workflow: &path });
    let reports = Mutex::new(Vec::new());
    let called = Mutex::new(BTreeSet::new());
    let github = GithubContext::of_run(request, &name, &path);
    let mut contexts = Contexts::default();
    contexts.set("github", github.value());
    contexts.set("vars", object_of(request.vars));
    contexts.set("inputs", Value::Object(Default::default()));
    let (own_cancel, _attached) = cancel.child();
    let inputs = if request.event.name == "workflow_dispatch" {
        dispatch_inputs(file, request.inputs, &contexts)
    } else {
        Ok(Value::Object(Default::default()))
    };
    let ended = inputs.and_then(|inputs| {
        let run = WorkflowRun {
            request,
            file,
            top: &file.path,
            github,
            inputs,
            secrets: request.secrets.to_vec(),
            masks,
            prefix: (String::new(), String::new()),
            cancel: own_cancel,
            slots,
            reports: &reports,
            stack: CallStack::new(&file.path),
            called: &called,
            held: Vec::new(),
        };
        run.run()
    });
    let (conclusion, fault) = match ended {
        Ok(end) => (end.conclusion, None),
        Err(why) => (Conclusion::Failure, Some(why)),
    };
    (request.tell)(RunEvent::WorkflowEnded {
        workflow: &path,
        conclusion,
    });
    let jobs = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    WorkflowReport {
        path,
        name,
        outcome: WorkflowOutcome::Ran { conclusion, fault },
        jobs,
    }
}

/// Nothing of a workflow starts if a part of it could not be honoured.
fn refused(request: &RunRequest<'_>, file: &WorkflowFile) -> Result<(), WorkflowOutcome> {
    let found = check_workflow(request, file).map_err(|why| WorkflowOutcome::Ran {
        conclusion: Conclusion::Failure,
        fault: Some(why),
    })?;
    let refused: Vec<_> = found
        .into_iter()
        .filter(|found| found.verdict == Verdict::Refused)
        .collect();
    if refused.is_empty() {
        Ok(())
    } else {
        Err(WorkflowOutcome::Refused(refused))
    }
}

/// Returns what filters look at.
fn event_of(input: &EventInput) -> Event {
    let text = |pointer: &str| {
        input
            .payload
            .pointer(pointer)
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    let git_ref = match input.name.as_str() {
        // These are filtered by the branch they go into.
        "pull_request" | "pull_request_target" => Some(GitRef::Branch(input.base_ref.clone())),
        "merge_group" => {
            let base = text("/merge_group/base_ref").unwrap_or_else(|| input.base_ref.clone());
            Some(GitRef::Branch(base.trim_start_matches("refs/heads/").to_owned()))
        }
        "workflow_run" => text("/workflow_run/head_branch").map(GitRef::Branch),
        _ => {
            let branch = input
                .git_ref
                .strip_prefix("refs/heads/")
                .map(|name| GitRef::Branch(name.to_owned()));
            branch.or_else(|| {
                input
                    .git_ref
                    .strip_prefix("refs/tags/")
                    .map(|name| GitRef::Tag(name.to_owned()))
            })
        }
    };
    Event {
        name: input.name.clone(),
        action: text("/action"),
        git_ref,
        changed_paths: input.changed_paths.clone(),
        subject: match input.name.as_str() {
            "schedule" => text("/schedule"),
            "workflow_run" => text("/workflow_run/name"),
            _ => None,
        },
    }
}
