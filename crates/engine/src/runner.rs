//! The boxes of one repository, run by a box engine: one thread for each build that runs. Owns those threads and
//! their logs; decides nothing but how a check's ending reads.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use gantry_adapters::engine::{CheckSpec, Network, SandboxControl, SandboxEnding, SandboxEngine, run_check};
use gantry_core::id::{BuildId, CommitId};
use gantry_core::limits::{BUILD_LOGS_MAX, CHECK_OUTPUT_BYTES_MAX};
use gantry_core::queue::build::{CheckRun, Ending, Trouble};

use crate::boxes::{BoxOrder, BoxReport, Boxes};
use crate::gate::Check;

/// What a runner tells the loop.
#[derive(Debug)]
pub enum BoxNews {
    /// A build ended.
    Ended(BoxReport),
    /// Output was seen that means it will fail.
    Doomed(BuildId),
}

/// Where the news go.
pub type Tell = Arc<dyn Fn(BoxNews) + Send + Sync>;

/// Runs the builds of one repository.
pub struct BoxRunner {
    engine: Arc<dyn SandboxEngine>,
    repository: PathBuf,
    logs: PathBuf,
    tell: Tell,
    running: HashMap<BuildId, Running>,
}

struct Running {
    control: SandboxControl,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for BoxRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoxRunner")
            .field("repository", &self.repository)
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}

impl BoxRunner {
    /// Makes a runner for the repository whose Git storage is at `repository`; logs go under `logs`.
    #[must_use]
    pub fn new(engine: Arc<dyn SandboxEngine>, repository: PathBuf, logs: PathBuf, tell: Tell) -> Self {
        Self {
            engine,
            repository,
            logs,
            tell,
            running: HashMap::new(),
        }
    }

    /// Ends every build and waits until its box is gone.
    pub fn stop(&mut self) {
        for running in self.running.values() {
            running.control.cancel();
        }
        for (_, running) in self.running.drain() {
            // A thread that panicked has told of it already.
            drop(running.thread.join());
        }
    }
}

/// Returns where the log of one check of a build is.
#[must_use]
pub fn log_path(logs: &Path, build: BuildId, check: &str) -> PathBuf {
    logs.join(build.to_string()).join(format!("{check}.log"))
}

impl Boxes for BoxRunner {
    fn identity(&self) -> String {
        format!("{}:host", self.engine.name())
    }

    fn start(&mut self, order: BoxOrder) {
        let build = order.build;
        let tell = Arc::clone(&self.tell);
        let doomed = Arc::clone(&self.tell);
        let control = SandboxControl::new(move || doomed(BoxNews::Doomed(build)));
        let job = Job {
            engine: Arc::clone(&self.engine),
            repository: self.repository.clone(),
            logs: self.logs.clone(),
            control: control.clone(),
        };
        let started = std::thread::Builder::new()
            .name(build.to_string())
            .spawn(move || {
                let report = catch_unwind(AssertUnwindSafe(|| job.run(&order))).unwrap_or_else(|_| {
                    trouble(build, "the thread of the build panicked; see the daemon's log")
                });
                tell(BoxNews::Ended(report));
            });
        match started {
            Ok(thread) => {
                self.running.insert(build, Running { control, thread });
            }
            Err(error) => {
                let text = format!("no thread could be started: {error}");
                (self.tell)(BoxNews::Ended(trouble(build, &text)));
            }
        }
    }

    fn cancel(&mut self, build: BuildId) {
        if let Some(running) = self.running.get(&build) {
            running.control.cancel();
        }
    }

    fn is_running(&self, build: BuildId) -> bool {
        self.running.contains_key(&build)
    }

    fn hand_over(&mut self, build: BuildId) {
        if let Some(running) = self.running.remove(&build) {
            drop(running.thread.join());
        }
    }

    fn is_doomed(&self, build: BuildId) -> bool {
        self.running
            .get(&build)
            .is_some_and(|running| running.control.is_doomed())
    }
}

fn trouble(build: BuildId, text: &str) -> BoxReport {
    let ending = Ending::Trouble(Trouble::CouldNotStart);
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

/// What the thread of one build needs.
struct Job {
    engine: Arc<dyn SandboxEngine>,
    repository: PathBuf,
    logs: PathBuf,
    control: SandboxControl,
}

impl Job {
    fn run(&self, order: &BoxOrder) -> BoxReport {
        self.forget_old_logs(order.build);
        let mut checks = Vec::with_capacity(order.checks.len());
        let mut ending = Ending::Passed;
        for check in &order.checks {
            let run = self.check(order.build, order.commit, check);
            ending = run.ending;
            checks.push(run);
            if ending != Ending::Passed {
                break;
            }
        }
        BoxReport {
            build: order.build,
            ending,
            checks,
        }
    }

    fn check(&self, build: BuildId, commit: CommitId, check: &Check) -> CheckRun {
        let log = log_path(&self.logs, build, &check.name);
        if let Some(folder) = log.parent()
            && let Err(error) = std::fs::create_dir_all(folder)
        {
            let full = error.kind() == std::io::ErrorKind::StorageFull;
            let trouble = if full {
                Trouble::OutOfDisk
            } else {
                Trouble::CouldNotStart
            };
            return CheckRun {
                name: check.name.clone(),
                ending: Ending::Trouble(trouble),
                detail: format!("its log folder {} cannot be made: {error}", folder.display()),
                duration: Duration::ZERO,
                evidence: Vec::new(),
            };
        }
        let spec = CheckSpec {
            name: format!("{build}-{}", check.name),
            repository: self.repository.clone(),
            commit,
            command: check.command.clone(),
            env: Vec::new(),
            timeout: check.timeout,
            output_bytes_max: CHECK_OUTPUT_BYTES_MAX,
            log,
            fail_fast: check.fail_fast.clone(),
            network: Network::None,
        };
        let report = run_check(self.engine.as_ref(), &spec, &self.control);
        if let Some(leftover) = &report.leftover {
            tracing::warn!(build = %build, leftover, "a box left something behind; it is tried again at the next start");
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

    /// Removes the logs of the build that is now one too old; its evidence lines stay in the database.
    fn forget_old_logs(&self, build: BuildId) {
        let Some(old) = build.number().checked_sub(BUILD_LOGS_MAX as u64) else {
            return;
        };
        let folder = self.logs.join(BuildId::new(old).to_string());
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "old logs cannot be removed");
        }
    }
}

/// Puts a box's ending into the build's words.
fn words(ending: &SandboxEnding, limit: Duration) -> (Ending, String) {
    match ending {
        SandboxEnding::Exited { code: 0 } => (Ending::Passed, "passed".into()),
        SandboxEnding::Exited { code } => (Ending::Failed, format!("failed (exit {code})")),
        SandboxEnding::Signalled { signal } => (Ending::Failed, format!("was ended by signal {signal}")),
        SandboxEnding::Refused(why) => (Ending::Failed, format!("could not be checked out: {why}")),
        SandboxEnding::OutOfMemory => (Ending::Failed, "needed more memory than its box may have".into()),
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
