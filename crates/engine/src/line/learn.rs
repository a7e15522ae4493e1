//! What the past teaches: how long checks take, how often changes are bad, how often checks flake. Read from the
//! store; kept until another build ended.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use gantry_core::id::{BuildId, ChangeId, TreeId};
use gantry_core::limits::LEARN_BUILDS_MAX;
use gantry_core::queue::build::{Build, BuildState, Ending, Trouble};
use gantry_core::queue::change::{BounceReason, Change, ChangeState, LandedBy};
use gantry_core::queue::planner::{BaseRates, CheckTime, Purpose};
use gantry_store::Store;

use super::{Line, LineError};
use crate::boxes::Boxes;
use crate::forge::Forge;

/// How long a build is taken to last before any has ended.
const FIRST_GUESS: Duration = Duration::from_secs(60);

/// What the last builds and changes teach.
#[derive(Debug, Clone)]
pub(crate) struct Learnt {
    pub(crate) rates: BaseRates,
    pub(crate) check_time: CheckTime,
    /// For each check, how long its passes took.
    pub(crate) passes: HashMap<String, Vec<Duration>>,
    /// Trees that were run again because they passed too fast.
    pub(crate) doubted: HashSet<TreeId>,
}

/// How many of the last offers tell how fast changes come.
const ARRIVALS_MAX: u32 = 50;
/// The shortest time over which they are counted.
const ARRIVALS_SPAN_MIN: Duration = Duration::from_secs(3_600);

/// How the changes of each author fared.
#[derive(Debug, Default)]
pub(super) struct Records {
    all: Record,
    by_author: HashMap<String, Record>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Record {
    good: f64,
    bad: f64,
}

/// Weight of the common rate against an author's own record, in changes.
const PRIOR_WEIGHT: f64 = 4.0;

impl Records {
    /// How likely this author's next change passes; in `(0, 1)`.
    pub(super) fn pass_probability(&self, author: &str) -> f64 {
        let common = (self.all.good + 9.0) / (self.all.good + self.all.bad + 10.0);
        let own = self.by_author.get(author).copied().unwrap_or_default();
        (own.good + common * PRIOR_WEIGHT) / (own.good + own.bad + PRIOR_WEIGHT)
    }
}

impl<F: Forge, B: Boxes> Line<F, B> {
    /// Returns what the last builds teach.
    pub(crate) fn learn(&mut self, store: &Store) -> Result<Learnt, LineError> {
        // Whatever teaches something is recorded as a fact with it.
        let told = store.last_fact()?;
        if let Some((_, learnt)) = &self.memory.learnt
            && self.memory.learnt_at == Some(told)
        {
            return Ok(learnt.clone());
        }
        let builds =
            store.load_builds_below(self.repository.id, Store::after_all_builds(), LEARN_BUILDS_MAX)?;
        let key = builds
            .iter()
            .filter(|build| matches!(build.state, BuildState::Ended(_)))
            .map(|build| build.id)
            .fold((BuildId::new(0), 0_u64), |(newest, count), id| {
                (newest.max(id), count + 1)
            });
        let key = BuildId::new(key.0.number() * 1_000 + key.1);
        if let Some((known, learnt)) = &self.memory.learnt
            && *known == key
        {
            self.memory.learnt_at = Some(told);
            return Ok(learnt.clone());
        }
        let changes = store.load_judged_changes(self.repository.id, LEARN_BUILDS_MAX)?;
        let learnt = Learnt {
            rates: BaseRates {
                arrivals_per_hour: arrivals_per_hour(&store.load_changes_below(
                    self.repository.id,
                    ChangeId::new(i64::MAX as u64),
                    ARRIVALS_MAX,
                )?),
                ..rates(&changes, &builds)
            },
            check_time: check_time(&builds),
            passes: passes(&builds),
            doubted: builds
                .iter()
                .filter(|build| build.state == BuildState::Ended(Ending::Trouble(Trouble::TooShort)))
                .map(|build| build.order.tree)
                .collect(),
        };
        self.memory.learnt = Some((key, learnt.clone()));
        self.memory.learnt_at = Some(told);
        Ok(learnt)
    }

    pub(super) fn records(&self, store: &Store) -> Result<Records, LineError> {
        let mut records = Records::default();
        for change in store.load_judged_changes(self.repository.id, LEARN_BUILDS_MAX)? {
            let own = records.by_author.entry(change.author.clone()).or_default();
            match is_good(&change) {
                Some(true) => {
                    own.good += 1.0;
                    records.all.good += 1.0;
                }
                Some(false) => {
                    own.bad += 1.0;
                    records.all.bad += 1.0;
                }
                None => {}
            }
        }
        Ok(records)
    }
}

/// True if its checks passed, false if they failed by its own fault, `None` if it was never judged.
fn is_good(change: &Change) -> Option<bool> {
    match &change.state {
        ChangeState::Landed(LandedBy::Build { .. }) => Some(true),
        ChangeState::Bounced(BounceReason::CheckFailed { .. } | BounceReason::TimedOut { .. }) => Some(false),
        _ => None,
    }
}

fn rates(changes: &[Change], builds: &[Build]) -> BaseRates {
    let count = |wanted: fn(&Change) -> bool| changes.iter().filter(|change| wanted(change)).count() as f64;
    let bad = count(|change| is_good(change) == Some(false));
    let judged = count(|change| is_good(change).is_some());
    let pairs = count(|c| matches!(c.state, ChangeState::Bounced(BounceReason::FailsTogether { .. })));
    let verdicts = |ending| {
        let ended = builds
            .iter()
            .filter(move |b| b.state == BuildState::Ended(ending) && b.order.reuses.is_none());
        ended.map(|build| build.order.tree).collect::<Vec<_>>()
    };
    let passed: HashSet<TreeId> = verdicts(Ending::Passed).into_iter().collect();
    let flaked = verdicts(Ending::Failed)
        .iter()
        .filter(|tree| passed.contains(tree))
        .count() as f64;
    BaseRates {
        bad: (bad + 1.0) / (judged + 10.0),
        // A change waits beside a handful of others, and each of them is a pair.
        pair_conflict: (pairs + 0.05) / (8.0 * judged + 10.0),
        flake: (flaked + 0.2) / (passed.len() as f64 + 20.0),
        arrivals_per_hour: 0.0,
    }
}

/// Counts the last offers over the time they came in; a burst is spread over [`ARRIVALS_SPAN_MIN`].
fn arrivals_per_hour(newest_first: &[Change]) -> f64 {
    let (Some(newest), Some(oldest)) = (newest_first.first(), newest_first.last()) else {
        return 0.0;
    };
    let span = newest.offered_at.since(oldest.offered_at).max(ARRIVALS_SPAN_MIN);
    newest_first.len() as f64 * 3_600.0 / span.as_secs_f64()
}

fn check_time(builds: &[Build]) -> CheckTime {
    let mut seconds: Vec<f64> = builds
        .iter()
        .filter(|b| b.order.reuses.is_none() && b.order.purpose != Purpose::Control)
        .filter(|b| b.state == BuildState::Ended(Ending::Passed))
        .filter_map(|b| Some(b.ended_at?.since(b.started_at?).as_secs_f64().max(0.001)))
        .collect();
    if seconds.is_empty() {
        return CheckTime {
            median: FIRST_GUESS,
            sigma: 0.5,
        };
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let logs: Vec<f64> = seconds.iter().map(|s| (s / median).ln()).collect();
    let variance = logs.iter().map(|l| l * l).sum::<f64>() / logs.len() as f64;
    CheckTime {
        median: Duration::from_secs_f64(median),
        sigma: variance.sqrt().clamp(0.05, 1.5),
    }
}

fn passes(builds: &[Build]) -> HashMap<String, Vec<Duration>> {
    let mut passes: HashMap<String, Vec<Duration>> = HashMap::new();
    for check in builds.iter().flat_map(|build| &build.checks) {
        if check.ending == Ending::Passed {
            passes.entry(check.name.clone()).or_default().push(check.duration);
        }
    }
    passes
}
