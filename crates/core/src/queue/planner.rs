//! Chooses which candidates to build, what a verdict proves, and what lands: pure, the same code in production
//! and in the simulator.
//!
//! Words: the *tip* is the target's commit. A build is of the tip plus an ordered list of members. The caller
//! strips members that have landed from the front of a build's list (the candidate of `[a, b]` descends from
//! the candidate of `[a]`, so after `a` landed that build is one of `[b]` on the new tip). Why it decides as it
//! does: docs/design/0002-planner.md.

use std::time::Duration;

use crate::id::{BuildId, ChangeId};
use crate::queue::change::Priority;
use crate::time::Timestamp;

/// A pending change as the planner sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Which change.
    pub change: ChangeId,
    /// When it was offered.
    pub offered_at: Timestamp,
    /// How urgent. The queue is already sorted; urgent ones also interrupt.
    pub priority: Priority,
    /// Never shares a candidate with another change (asked for, or it edits the gate).
    pub solo: bool,
    /// Pending changes that must be in front of this one in a candidate, or have landed.
    pub after: Vec<ChangeId>,
    /// Pending changes this one does not merge with: both in one candidate is a textual conflict.
    pub conflicts_with: Vec<ChangeId>,
    /// Changes that share a number form one stack, and land in one ref update unless a failure splits them.
    pub stack: Option<u64>,
    /// How likely its checks pass on a good base, from the author's, the paths' and its own record; in `(0, 1)`.
    pub pass_probability: f64,
    /// How many changes landed since it was offered: it was never tested with them.
    pub landed_since: usize,
    /// Numbers standing for the paths it touches, sorted; empty if unknown (then it overlaps with everything).
    pub footprint: Vec<u64>,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildProgress {
    /// Its checks run.
    Running {
        /// When they were started.
        started_at: Timestamp,
    },
    /// Its checks run, and their output already shows that one fails. Followers are planned as if it had failed;
    /// nobody is judged before it ends, and it keeps its slot until then.
    Doomed {
        /// When they were started.
        started_at: Timestamp,
    },
    /// All checks passed.
    Passed,
    /// A check failed.
    Failed,
    /// A check ran into its time limit: kept apart from a failure, because nothing was judged.
    TimedOut,
}

/// A build as the planner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildView {
    /// Which build.
    pub build: BuildId,
    /// The changes it holds that are not in the tip, in order, all pending. Empty: a control run of the tip
    /// itself.
    pub members: Vec<ChangeId>,
    /// The changes that landed and that it does not hold, in the order in which they landed. Empty if `on_tip`.
    pub missing: Vec<ChangeId>,
    /// Its candidate descends from the present tip. If false it can land nothing and bounce nobody; a failure of
    /// it is still a hint (one of the members was bad on an earlier base), and a pass shows what a change is
    /// good without.
    pub on_tip: bool,
    /// How far it is.
    pub progress: BuildProgress,
}

/// What is known about how changes behave in this repository.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BaseRates {
    /// Share of changes that are bad by themselves.
    pub bad: f64,
    /// Share of pairs of pending changes that fail only together.
    pub pair_conflict: f64,
    /// Share of check runs of good trees that fail all the same.
    pub flake: f64,
    /// Changes offered in an hour, lately.
    pub arrivals_per_hour: f64,
}

/// How long a build takes, learnt from those that ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckTime {
    /// The median.
    pub median: Duration,
    /// Spread of the logarithm of the duration.
    pub sigma: f64,
}

/// Which policy plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// gantry's own: batches and speculates, and prices both.
    Priced,
    /// One change at a time.
    Serial,
    /// One batch at a time, halved on failure (bors).
    Batch,
    /// Every change on top of all ahead of it, assuming all pass (Zuul).
    Optimistic,
    /// The likeliest needed paths of the speculation tree (SubmitQueue).
    BestFirst,
}

/// What a user may set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Which policy plans.
    pub policy: Policy,
    /// The most changes that one build judges. A candidate may hold more, where it is built behind others that are
    /// still being judged.
    pub batch_max: usize,
    /// Builds at once.
    pub slots: usize,
    /// What an hour of a change's waiting is worth, in processor-hours (hours of one slot). `Priced` starts a
    /// build that may turn out useless only if the waiting it is expected to save is worth its processor time.
    pub patience: f64,
    /// Changes that touch none of the same paths need not wait for one another's verdict.
    pub independent: bool,
}

/// The default of `Settings::patience`. Source: docs/benchmarks.md, "The planner, simulated".
pub const PATIENCE: f64 = 2.5;

/// Everything the planner may look at.
#[derive(Debug, Clone, Copy)]
pub struct QueueView<'a> {
    /// The present.
    pub now: Timestamp,
    /// Pending changes, first to land first; every `after` is in front of its dependant.
    pub items: &'a [Item],
    /// Builds of the present heads of pending changes, running or ended, oldest first. Interrupted ones gave no
    /// verdict and are left out, and so are those with a member that was sent back, cancelled or pushed again.
    pub builds: &'a [BuildView],
    /// The tip's own tree passed the gate's checks at least once, and no control run failed since.
    pub tip_is_green: bool,
    /// What is known about this repository's changes.
    pub rates: BaseRates,
    /// How long a build takes.
    pub check_time: CheckTime,
    /// What the user set.
    pub settings: Settings,
}

/// What a build is started for; it is recorded with the build and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To land its members.
    Land,
    /// To find the culprit of a failure.
    Split,
    /// A single that failed once, again.
    Retry,
    /// The tip itself, to tell a broken or flaky base from a bad change.
    Control,
    /// A bounced change on an earlier tip, to name the landing it does not work with. Never planned, never landed.
    Trace,
}

/// Why a change is bounced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blame {
    /// It failed alone on a base that is green.
    Alone {
        /// The failing build that shows it.
        build: BuildId,
    },
    /// It fails alone on a base that is green, and passed without one change that has landed since.
    Together {
        /// The failing build.
        build: BuildId,
        /// The build in which it passed.
        passed: BuildId,
        /// The change it does not work with; if the builds leave several possible, all of them, in the order in
        /// which they landed. Never empty.
        with: Vec<ChangeId>,
    },
    /// It ran into the time limit alone, twice, on a base that does not.
    TimedOut {
        /// The last build that shows it.
        build: BuildId,
    },
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Move the target to this passed build's candidate. The caller plans anew afterwards.
    Land {
        /// The passed build.
        build: BuildId,
    },
    /// Send the change back. The caller plans anew afterwards.
    Bounce {
        /// Which change.
        change: ChangeId,
        /// What shows that it is bad.
        blame: Blame,
    },
    /// End a running build whose answer is not worth its price any more.
    Cancel {
        /// Which build.
        build: BuildId,
    },
    /// Build the tip plus these members in this order.
    Start {
        /// In order; empty for a control run.
        members: Vec<ChangeId>,
        /// What for.
        purpose: Purpose,
    },
}

mod belief;
mod pair;
mod policy;
mod resolve;
#[cfg(test)]
mod rounds;
#[cfg(test)]
mod tests;
mod tree;

pub use pair::{Apart, tell_apart};
pub use resolve::base_is_broken;

/// Decides what to do next: what is proven first, then what to build.
///
/// Shape: one `Land` or `Bounce` alone, or any number of `Cancel`s followed by `Start`s that fit in the slots.
#[must_use]
pub fn plan(view: &QueueView<'_>) -> Vec<Step> {
    match resolve::resolve(view) {
        resolve::Resolved::Final(step) => vec![step],
        resolve::Resolved::Needed(needed) => policy::choose(view, &needed),
    }
}

impl BuildProgress {
    /// When it was started, if it still holds a slot.
    #[must_use]
    pub fn running_since(self) -> Option<Timestamp> {
        match self {
            BuildProgress::Running { started_at } | BuildProgress::Doomed { started_at } => Some(started_at),
            BuildProgress::Passed | BuildProgress::Failed | BuildProgress::TimedOut => None,
        }
    }
}
