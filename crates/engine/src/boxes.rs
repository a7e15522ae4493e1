//! What the line asks of the boxes. Owns the trait and its words; the real one is `runner`, the fake lives in the
//! tests.

use gantry_core::id::{BuildId, CommitId};
use gantry_core::queue::build::{CheckRun, Ending};

use crate::gate::Check;

/// A build to be run.
#[derive(Debug, Clone)]
pub struct BoxOrder {
    /// Which build.
    pub build: BuildId,
    /// What is checked out.
    pub commit: CommitId,
    /// What runs, in order; the first that does not pass ends the build.
    pub checks: Vec<Check>,
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
    /// Returns engine and image: results are kept under it.
    fn identity(&self) -> String;
    /// Starts a build; its report comes as a message. A build that cannot start reports trouble, too.
    fn start(&mut self, order: BoxOrder);
    /// Ends a build early; a build that is not there is no error. Its report may still come and is ignored.
    fn cancel(&mut self, build: BuildId);
    /// Says whether the build was started by this process and its report was not handed over yet.
    fn is_running(&self, build: BuildId) -> bool;
    /// Takes note that a report was taken over: the build does not run any more.
    fn hand_over(&mut self, build: BuildId);
    /// Says whether output was seen that means it will fail.
    fn is_doomed(&self, build: BuildId) -> bool;
}
