//! The checks of one build, one fresh box each, in order. Owns how a box's ending reads; decides nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gantry_adapters::engine::{CheckEngine, CheckSpec, Network, SandboxControl, SandboxEnding};
use gantry_core::id::{BuildId, CommitId};
use gantry_core::limits::CHECK_OUTPUT_BYTES_MAX;
use gantry_core::queue::build::{CheckRun, Ending, Trouble};

use crate::boxes::BoxReport;
use crate::gate::{Check, Gate};
use crate::job::JobEvent;

/// Everything the checks of one build need.
pub struct CheckJob {
    /// Which build.
    pub build: BuildId,
    /// What is checked out.
    pub commit: CommitId,
    /// The Git storage that holds it.
    pub repository: PathBuf,
    /// What has to pass.
    pub gate: Gate,
    /// Makes the boxes.
    pub engine: Arc<dyn CheckEngine>,
    /// Where the logs go.
    pub folder: PathBuf,
    /// Ends it.
    pub control: SandboxControl,
    /// Told what happens.
    pub tell: Arc<dyn Fn(JobEvent) + Send + Sync>,
}

impl std::fmt::Debug for CheckJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckJob")
            .field("build", &self.build)
            .finish_non_exhaustive()
    }
}

impl CheckJob {
    /// Runs the checks in order; the first that does not pass ends the build.
    #[must_use]
    pub fn run(&self) -> BoxReport {
        let mut checks = Vec::with_capacity(self.gate.checks.len());
        let mut ending = Ending::Passed;
        for check in &self.gate.checks {
            (self.tell)(JobEvent::CheckStarted {
                name: check.name.clone(),
            });
            let run = self.check(check);
            ending = run.ending;
            (self.tell)(JobEvent::CheckEnded {
                name: check.name.clone(),
                ending: ending.as_str().to_owned(),
            });
            checks.push(run);
            if ending != Ending::Passed {
                break;
            }
        }
        BoxReport {
            build: self.build,
            ending,
            checks,
        }
    }

    fn check(&self, check: &Check) -> CheckRun {
        let spec = CheckSpec {
            name: format!("{}-{}", self.build, check.name),
            repository: self.repository.clone(),
            commit: self.commit,
            command: check.command.clone(),
            env: Vec::new(),
            timeout: check.timeout,
            output_bytes_max: CHECK_OUTPUT_BYTES_MAX,
            log: self.folder.join(format!("{}.log", check.name)),
            fail_fast: check.fail_fast.clone(),
            network: Network::None,
        };
        let report = self.engine.run(&spec, &self.control);
        if let Some(leftover) = &report.leftover {
            tracing::warn!(build = %self.build, leftover, "a box left something behind; it is tried again at the next start");
        }
        let (ending, detail) = words(&report.ending, check.timeout);
        CheckRun {
            name: check.name.clone(),
            ending,
            detail,
            duration: report.duration,
            evidence: report.evidence,
        }
    }
}

/// Makes the report of a build that could not begin.
#[must_use]
pub fn trouble(build: BuildId, text: &str) -> BoxReport {
    trouble_of(build, Trouble::CouldNotStart, text)
}

pub(crate) fn trouble_of(build: BuildId, kind: Trouble, text: &str) -> BoxReport {
    let ending = Ending::Trouble(kind);
    BoxReport {
        build,
        ending,
        checks: vec![CheckRun {
            name: "box".into(),
            ending,
            detail: text.to_owned(),
            duration: Duration::ZERO,
            evidence: Vec::new(),
        }],
    }
}

/// Puts a box's ending into the build's words.
fn words(ending: &SandboxEnding, limit: Duration) -> (Ending, String) {
    match ending {
        SandboxEnding::Exited { code: 0 } => (Ending::Passed, "passed".into()),
        SandboxEnding::Exited { code } => (Ending::Failed, format!("failed (exit {code})")),
        SandboxEnding::Signalled { signal } => (Ending::Failed, format!("was ended by signal {signal}")),
        SandboxEnding::Refused(why) => (Ending::Failed, format!("could not be checked out: {why}")),
        SandboxEnding::TimedOut => (
            Ending::TimedOut,
            format!("ran longer than its limit of {} s", limit.as_secs_f64()),
        ),
        SandboxEnding::Cancelled => (Ending::Cancelled, "was ended early".into()),
        SandboxEnding::Trouble(trouble, why) => {
            (Ending::Trouble(*trouble), format!("gave no verdict: {why}"))
        }
    }
}
