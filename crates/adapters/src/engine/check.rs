//! One check in one box: what it is given, and what is told about it. Must never know how a box is made.

use std::path::PathBuf;
use std::time::Duration;

use gantry_core::id::CommitId;
use gantry_core::queue::build::Trouble;
use regex::bytes::Regex;

use super::SandboxControl;
use super::sandbox::{EngineUnavailable, Network, ReapError};

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
    /// What of the box could not be removed, and why; the next [`CheckEngine::reap`] tries again.
    pub leftover: Option<String>,
}

/// Runs checks in boxes.
pub trait CheckEngine: Send + Sync {
    /// Returns the name a configuration file uses for it.
    fn name(&self) -> &'static str;

    /// Makes one empty box and ends it, to tell whether the engine works here.
    ///
    /// Errors: [`EngineUnavailable`] with the cause and what mends it.
    fn probe(&self) -> Result<(), EngineUnavailable>;

    /// Runs one check to its end. Blocks: call it on a thread of its own, which must live until it returns.
    /// Nothing of the box is left when it returns, but for [`CheckReport::leftover`].
    fn run(&self, spec: &CheckSpec, control: &SandboxControl) -> CheckReport;

    /// Ends every leftover of an earlier daemon: processes, mounts and folders. Returns how many boxes it ended.
    /// Boxes of this engine that run now are left alone.
    ///
    /// Errors: [`ReapError`] for the first that could not be ended; the others are ended all the same.
    fn reap(&self) -> Result<usize, ReapError>;
}
