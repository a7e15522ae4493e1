//! What a run of workflows shows: lines while it goes on, and what came of it at the end. Decides nothing.

use std::sync::Mutex;

use gantry_adapters::job::JobFolder;
use gantry_ci::run::{RunEvent, RunReport, WorkflowOutcome};
use gantry_core::queue::build::Ending;
use serde_json::{Value, json};

use crate::cli::{Common, show};
use crate::exit_code::{Coded, ExitCode};

/// Shows what happens, a line each.
pub(super) struct Screen {
    quiet: bool,
    lock: Mutex<()>,
}

impl Screen {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            lock: Mutex::new(()),
        }
    }

    pub(super) fn show(&self, event: &RunEvent<'_>) {
        if self.quiet {
            return;
        }
        let text = match event {
            RunEvent::WorkflowIgnored { workflow, reason } => format!("{workflow}: not started: {reason}"),
            RunEvent::WorkflowStarted { workflow } => format!("{workflow}: started"),
            RunEvent::JobStarted { job } => format!("{job}: started"),
            RunEvent::Lines { job, bytes, .. } => String::from_utf8_lossy(bytes)
                .lines()
                .map(|line| format!("{job} | {line}"))
                .collect::<Vec<_>>()
                .join("\n"),
            RunEvent::StepEnded {
                job,
                name,
                conclusion,
                duration,
                ..
            } => format!(
                "{job}: {} {name} ({} ms)",
                conclusion.as_str(),
                duration.as_millis()
            ),
            RunEvent::JobEnded(report) => format!(
                "{}: {} {}",
                report.name,
                report.conclusion.as_str(),
                report.detail
            ),
            RunEvent::StepStarted { .. } | RunEvent::WorkflowEnded { .. } => return,
        };
        let held = self.lock.lock();
        for line in text.lines() {
            // A reader that went away (`| head`) does not stop the run.
            drop(show::line(line.trim_end()));
        }
        drop(held);
    }
}

pub(super) fn finish(
    common: &Common,
    report: &RunReport,
    folder: &JobFolder,
    legs: usize,
) -> Result<ExitCode, Coded> {
    let ending = report.ending();
    let ran = report
        .workflows
        .iter()
        .filter(|workflow| matches!(workflow.outcome, WorkflowOutcome::Ran { .. }))
        .count();
    if common.json() {
        let workflows: Vec<Value> = report.workflows.iter().map(workflow_json).collect();
        show::json(&json!({"ending": ending.as_str(), "folder": folder.path(), "workflows": workflows}))?;
    } else {
        for workflow in &report.workflows {
            match &workflow.outcome {
                WorkflowOutcome::Ran {
                    fault: Some(fault), ..
                } => {
                    show::line(&format!("{}: {fault}", workflow.path))?;
                }
                WorkflowOutcome::Refused(what) => show::line(&refused_text(what))?,
                WorkflowOutcome::Ran { fault: None, .. } | WorkflowOutcome::Ignored(_) => {}
            }
        }
        show::line(&format!(
            "{}: {ran} workflows, {legs} jobs; logs, summaries and receipts are in {}",
            ending.as_str(),
            folder.path().display()
        ))?;
    }
    Ok(match ending {
        Ending::Passed if ran > 0 => ExitCode::Done,
        Ending::Passed | Ending::Failed => ExitCode::No,
        Ending::TimedOut => ExitCode::TimedOut,
        Ending::Trouble(_) | Ending::Cancelled => ExitCode::Trouble,
    })
}

fn workflow_json(workflow: &gantry_ci::run::WorkflowReport) -> Value {
    let (conclusion, why) = match &workflow.outcome {
        WorkflowOutcome::Ignored(why) => ("ignored", Some(why.clone())),
        WorkflowOutcome::Refused(what) => ("refused", Some(refused_text(what))),
        WorkflowOutcome::Ran { conclusion, fault } => (conclusion.as_str(), fault.clone()),
    };
    let jobs: Vec<Value> = workflow
        .jobs
        .iter()
        .map(|job| {
            let steps: Vec<Value> = job
                .steps
                .iter()
                .map(|step| {
                    json!({"name": step.name, "conclusion": step.conclusion.as_str(), "outcome": step.outcome.as_str(),
                        "detail": step.detail, "duration_ms": millis(step.duration)})
                })
                .collect();
            json!({"id": job.id, "name": job.name, "conclusion": job.conclusion.as_str(), "detail": job.detail,
                "duration_ms": millis(job.duration), "log": job.log, "summary": job.summary,
                "evidence": job.evidence, "steps": steps})
        })
        .collect();
    json!({"path": workflow.path, "name": workflow.name, "conclusion": conclusion, "why": why, "jobs": jobs})
}

fn refused_text(what: &[gantry_workflow::support::Unsupported]) -> String {
    what.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
