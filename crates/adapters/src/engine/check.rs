//! One check in one box: what it is given, its log, and what is told about it. Must never know how a box is made.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use gantry_core::id::CommitId;
use gantry_core::limits::{BOX_GRACE, CHECK_OUTPUT_FLOOD_FACTOR};
use gantry_core::queue::build::Trouble;
use nix::sys::signal::Signal;
use regex::bytes::Regex;

use super::evidence::{choose_evidence, show_line};
use super::output::{OutputLog, PatternWatch};
use super::sandbox::{
    BoxUser, ExecEnding, ExecSpec, Image, Limits, Network, OpenError, Sandbox, SandboxEngine, SandboxError,
    SandboxSpec, Workspace,
};
use super::{SandboxControl, SandboxReceipt};
use crate::clock::Stopwatch;

/// One check in one box.
#[derive(Debug, Clone)]
pub struct CheckSpec {
    /// What people call it, such as `B12-test`; two boxes may share a name.
    pub name: String,
    /// The Git directory that holds the commit.
    pub repository: PathBuf,
    /// The commit whose tree is the workspace.
    pub commit: CommitId,
    /// The program and its arguments, run at the workspace's root; a shell line is `/bin/sh -c LINE`.
    pub command: Vec<String>,
    /// Added to the environment every box has; the later of two equal names wins.
    pub env: Vec<(String, String)>,
    /// Wall time from the start of the command.
    pub timeout: Duration,
    /// Bytes of output kept in the log: the first half and the last half.
    pub output_bytes_max: u64,
    /// Where the log is written; replaced if it is there.
    pub log: PathBuf,
    /// Patterns that tell, while the check still runs, that it will fail.
    pub fail_fast: Vec<Regex>,
    /// What it can reach.
    pub network: Network,
}

/// How a box ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SandboxEnding {
    /// The command ended by itself; 127 also if it is not there or cannot be executed.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended the command.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// The tree cannot be checked out anywhere, which is the change's own fault; the reason.
    Refused(String),
    /// It needed more memory than its box may have.
    OutOfMemory,
    /// It ran into its time limit.
    TimedOut,
    /// [`SandboxControl::cancel`] ended it.
    Cancelled,
    /// No verdict, nobody is blamed; the reason.
    Trouble(Trouble, String),
}

impl SandboxEnding {
    /// Says whether the check passed.
    #[must_use]
    pub const fn passed(&self) -> bool {
        match self {
            Self::Exited { code } => *code == 0,
            Self::Signalled { .. }
            | Self::Refused(_)
            | Self::OutOfMemory
            | Self::TimedOut
            | Self::Cancelled
            | Self::Trouble(..) => false,
        }
    }
}

/// What is told about a box that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// How it ended.
    pub ending: SandboxEnding,
    /// Wall time from asking for the box to its end, without its removal.
    pub duration: Duration,
    /// Bytes the check wrote, kept or not.
    pub output_bytes: u64,
    /// The lines of the log that matter, in their order; empty if the check passed.
    ///
    /// Shape: at most `EVIDENCE_LINES_MAX` lines of `EVIDENCE_LINE_CHARS_MAX` characters, no control characters.
    pub evidence: Vec<String>,
    /// Whether a `fail_fast` pattern was seen.
    pub doomed: bool,
    /// What the box left to be known; `None` if it was never open.
    pub receipt: Option<SandboxReceipt>,
    /// What of the box could not be removed, and why; the next [`SandboxEngine::reap`] tries again.
    pub leftover: Option<String>,
}

/// What whoever runs a check does at its edges.
pub trait CheckHooks: Send {
    /// Is called when the box is open, before the command starts: writes into it what is handed in.
    ///
    /// Errors: the check is trouble then.
    fn opened(&mut self, sandbox: &dyn Sandbox) -> Result<(), SandboxError>;
    /// Is called when the command has ended so, before the box is closed: takes back what comes back.
    fn closing(&mut self, sandbox: &dyn Sandbox, ending: &ExecEnding);
    /// Puts output, as it may be seen, at the end of `shown`; `None` asks for what was held back.
    fn show(&mut self, bytes: Option<&[u8]>, shown: &mut Vec<u8>);
}

/// Hands nothing in and shows everything.
#[derive(Debug, Clone, Copy)]
pub struct NoHooks;

impl CheckHooks for NoHooks {
    fn opened(&mut self, _: &dyn Sandbox) -> Result<(), SandboxError> {
        Ok(())
    }

    fn closing(&mut self, _: &dyn Sandbox, _: &ExecEnding) {}

    fn show(&mut self, bytes: Option<&[u8]>, shown: &mut Vec<u8>) {
        shown.extend_from_slice(bytes.unwrap_or_default());
    }
}

/// Runs one check to its end in a plain box of its own. Blocks: call it on a thread of its own, which must live until it
/// returns. Nothing of the box is left then, but for [`CheckReport::leftover`].
pub fn run_check(engine: &dyn SandboxEngine, spec: &CheckSpec, control: &SandboxControl) -> CheckReport {
    run_check_in(engine, &spec.sandbox_spec(), spec, &mut NoHooks, control)
}

/// Runs one check to its end in a box of this specification, as [`run_check`] does; of `spec` its command, its limits
/// and its log count.
pub fn run_check_in(
    engine: &dyn SandboxEngine,
    sandbox: &SandboxSpec,
    spec: &CheckSpec,
    hooks: &mut dyn CheckHooks,
    control: &SandboxControl,
) -> CheckReport {
    let watch = Stopwatch::start();
    let mut check = Check {
        spec,
        control,
        doomed: false,
        output_bytes: 0,
        duration: None,
        receipt: None,
    };
    let ending = check
        .run(engine, sandbox, hooks, watch)
        .unwrap_or_else(|ending| ending);
    let evidence = check.evidence(&ending);
    CheckReport {
        ending,
        duration: check.duration.unwrap_or_else(|| watch.elapsed()),
        output_bytes: check.output_bytes,
        evidence,
        doomed: check.doomed || control.is_doomed(),
        leftover: check
            .receipt
            .as_ref()
            .and_then(|receipt| receipt.leftover.clone()),
        receipt: check.receipt,
    }
}

/// Where the workspace of every check is.
const WORKSPACE: &str = "/box/workspace";
const CHUNK_BYTES: usize = 64 * 1024;

struct Check<'a> {
    spec: &'a CheckSpec,
    control: &'a SandboxControl,
    doomed: bool,
    output_bytes: u64,
    duration: Option<Duration>,
    receipt: Option<SandboxReceipt>,
}

impl CheckSpec {
    fn sandbox_spec(&self) -> SandboxSpec {
        SandboxSpec {
            name: self.name.clone(),
            image: Image::Host,
            workspace: Workspace::Commit {
                repository: self.repository.clone(),
                commit: self.commit,
            },
            workspace_at: WORKSPACE.into(),
            mounts: Vec::new(),
            env: self.env.clone(),
            network: self.network.clone(),
            limits: Limits::default(),
            user: BoxUser::Plain,
            services: Vec::new(),
        }
    }
}

impl Check<'_> {
    fn run(
        &mut self,
        engine: &dyn SandboxEngine,
        sandbox: &SandboxSpec,
        hooks: &mut dyn CheckHooks,
        watch: Stopwatch,
    ) -> Result<SandboxEnding, SandboxEnding> {
        let mut log = OutputLog::create(&self.spec.log, self.spec.output_bytes_max)
            .map_err(|source| log_trouble("make", &source))?;
        let opened = engine
            .open(sandbox, self.control)
            .map_err(|failed| match failed {
                OpenError::Refused(why) => SandboxEnding::Refused(why),
                OpenError::Cancelled => SandboxEnding::Cancelled,
                OpenError::Unsupported(why) => SandboxEnding::Trouble(Trouble::CouldNotStart, why),
                OpenError::Trouble(trouble, why) => SandboxEnding::Trouble(trouble, why),
            })?;
        if let Err(failed) = hooks.opened(&*opened) {
            self.receipt = Some(opened.close());
            return Err(SandboxEnding::Trouble(Trouble::CouldNotStart, chain(&failed)));
        }
        let exec = ExecSpec {
            command: self.spec.command.clone(),
            env: Vec::new(),
            directory: sandbox.workspace_at.clone(),
            timeout: self.spec.timeout,
            grace: BOX_GRACE,
        };
        let mut patterns = PatternWatch::new(&self.spec.fail_fast);
        let flood_bytes = self
            .spec
            .output_bytes_max
            .saturating_mul(CHECK_OUTPUT_FLOOD_FACTOR);
        let (control, doomed) = (self.control, &mut self.doomed);
        let mut shown = Vec::new();
        let mut take = |bytes: &[u8]| {
            shown.clear();
            hooks.show(Some(bytes), &mut shown);
            log.write(&shown)?;
            if patterns.sees(&shown) {
                *doomed = true;
                control.doom();
            }
            if log.written_bytes() > flood_bytes {
                let why = format!("the check wrote more than {flood_bytes} bytes and was ended");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
            }
            Ok(())
        };
        let report = opened.exec(&exec, &mut take, self.control);
        self.duration = Some(watch.elapsed());
        hooks.closing(&*opened, &report.ending);
        self.receipt = Some(opened.close());
        shown.clear();
        hooks.show(None, &mut shown);
        let held_back = log.write(&shown);
        self.output_bytes = log.written_bytes();
        let finished = held_back.and_then(|()| log.finish());
        let ending = judge(report.ending);
        if matches!(
            ending,
            SandboxEnding::Exited { .. } | SandboxEnding::Signalled { .. }
        ) {
            finished.map_err(|source| log_trouble("write", &source))?;
        }
        Ok(ending)
    }

    fn evidence(&self, ending: &SandboxEnding) -> Vec<String> {
        if ending.passed() {
            return Vec::new();
        }
        let read = || choose_evidence(BufReader::with_capacity(CHUNK_BYTES, File::open(&self.spec.log)?));
        let mut lines =
            read().unwrap_or_else(|source| vec![format!("gantry: cannot read the log: {source}")]);
        if let SandboxEnding::Refused(why) = ending {
            lines.push(show_line(why.as_bytes()));
        }
        lines
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// Puts a command's ending into a check's words.
fn judge(ending: ExecEnding) -> SandboxEnding {
    match ending {
        ExecEnding::Exited { code } => SandboxEnding::Exited { code },
        // No command kills itself so; it was somebody's or something's outside.
        ExecEnding::Signalled { signal } if signal == Signal::SIGKILL as i32 => {
            SandboxEnding::Trouble(Trouble::Killed, "the check was killed from outside".to_owned())
        }
        ExecEnding::Signalled { signal } => SandboxEnding::Signalled { signal },
        ExecEnding::OutOfMemory => SandboxEnding::OutOfMemory,
        ExecEnding::TimedOut => SandboxEnding::TimedOut,
        ExecEnding::Cancelled => SandboxEnding::Cancelled,
        ExecEnding::Trouble(trouble, why) => SandboxEnding::Trouble(trouble, why),
    }
}

fn log_trouble(doing: &str, source: &io::Error) -> SandboxEnding {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&source.kind());
    let trouble = if full {
        Trouble::OutOfDisk
    } else {
        Trouble::CouldNotStart
    };
    SandboxEnding::Trouble(trouble, format!("cannot {doing} the log: {source}"))
}
