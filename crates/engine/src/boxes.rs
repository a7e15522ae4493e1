//! What the line asks of the boxes. Owns the trait and its words; the real one is `runner`, the fake lives in the
//! tests.

use gantry_core::id::{BuildId, CommitId};
use gantry_core::queue::build::{Build, CheckRun, Ending};

use crate::gate::Gate;

/// A build to be run.
#[derive(Debug, Clone)]
pub struct BoxOrder {
    /// Which build.
    pub build: BuildId,
    /// What is checked out.
    pub commit: CommitId,
    /// The commit of the target below it.
    pub base: CommitId,
    /// What has to pass.
    pub gate: Gate,
    /// The digest of the gate's definition.
    pub gate_digest: String,
    /// The boxes it was decided for, as [`Boxes::identity`] named them.
    pub sandbox: String,
}

/// What a build came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxReport {
    /// Which build.
    pub build: BuildId,
    /// How it ended; never `Cancelled` unless it was asked for.
    pub ending: Ending,
    /// What each check came to.
    pub checks: Vec<CheckRun>,
}

/// Boxes of one factory.
pub trait Boxes {
    /// Names engine, profiles and images as they are now: results are kept under it.
    fn identity(&self) -> String;
    /// Starts a build; its report comes as a message. A build that cannot start reports trouble, too.
    fn start(&mut self, order: BoxOrder);
    /// Ends a build early; a build that is not there is no error. Its report may still come and is ignored.
    fn cancel(&mut self, build: BuildId);
    /// Says whether the build runs or its report waits: started by this process, or by an earlier one and found
    /// again. Not so once its report was handed over.
    fn is_running(&mut self, build: &Build) -> bool;
    /// Takes note that a report was taken over: the build does not run any more.
    fn hand_over(&mut self, build: BuildId);
    /// Says whether output was seen that means it will fail.
    fn is_doomed(&self, build: BuildId) -> bool;
}
