//! The states of a run's jobs and legs, and what changes them. Owns every transition; deciding what to do next is in
//! `plan`. Must never start or end anything itself.
//!
//! ```text
//! Waiting ──► Ready ──► Expanding ──► Running ──► Ended
//!    │          │           │                       ▲
//!    └──────────┴───────────┴── skipped, cancelled, ┘
//!                               could not expand
//!
//! leg: Pending ──► Running ──► Cancelling ──► Ended
//!         └───────────┴───────────────────────►┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{WorkflowFile, calls_status_function};

/// How a job or leg ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Conclusion {
    /// Every step passed, or what failed was allowed to.
    Success,
    /// It failed.
    Failure,
    /// It was cancelled.
    Cancelled,
    /// It was not run.
    Skipped,
}

impl Conclusion {
    /// Returns the word in `needs.*.result`.
    pub fn as_str(self) -> &'static str {
        match self {
            Conclusion::Success => "success",
            Conclusion::Failure => "failure",
            Conclusion::Cancelled => "cancelled",
            Conclusion::Skipped => "skipped",
        }
    }
}

/// What never changes about a job while a run lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobNode {
    /// Its id.
    pub id: String,
    /// The ids it needs.
    pub needs: Vec<String>,
    /// Whether it has an `if`.
    pub has_condition: bool,
    /// Whether its `if` calls `success`, `failure`, `cancelled` or `always`, so that no `success()` is implied.
    pub calls_status_function: bool,
}

/// The state of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Its needs have not ended.
    Waiting,
    /// Its condition holds; its matrix is not made yet.
    Ready,
    /// Its legs run, ran or will run.
    Running {
        /// How it is to be run.
        expansion: Expansion,
        /// One state for each leg, by index.
        legs: Vec<LegState>,
        /// What its condition said when it was asked again because the run was cancelled.
        goes_on: Option<bool>,
    },
    /// It has ended.
    Ended(Conclusion),
}

impl JobState {
    /// Tells whether nothing can change any more.
    pub fn is_terminal(&self) -> bool {
        match self {
            JobState::Ended(_) => true,
            JobState::Waiting | JobState::Ready | JobState::Running { .. } => false,
        }
    }
}

/// How the legs of a job are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expansion {
    /// How many legs, at least 1.
    pub legs: usize,
    /// Whether the first failure cancels the others.
    pub fail_fast: bool,
    /// How many may run at once; `None` for no bound of its own.
    pub max_parallel: Option<usize>,
}

/// The state of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegState {
    /// It has not started.
    Pending,
    /// It runs.
    Running,
    /// It has been asked to end.
    Cancelling,
    /// It has ended.
    Ended {
        /// How.
        conclusion: Conclusion,
        /// Whether `continue-on-error` makes a failure count as success for the run.
        tolerated: bool,
    },
}

impl LegState {
    /// Tells whether nothing can change any more.
    pub fn is_terminal(&self) -> bool {
        match self {
            LegState::Ended { .. } => true,
            LegState::Pending | LegState::Running | LegState::Cancelling => false,
        }
    }

    /// How the leg counts for its job: a failure that is tolerated is a success.
    fn counts_as(&self) -> Option<Conclusion> {
        match self {
            LegState::Ended {
                conclusion: Conclusion::Failure,
                tolerated: true,
            } => Some(Conclusion::Success),
            LegState::Ended { conclusion, .. } => Some(*conclusion),
            LegState::Pending | LegState::Running | LegState::Cancelling => None,
        }
    }
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// A job's condition was evaluated, or the implied `success()` decided.
    ConditionDecided {
        /// The job.
        job: String,
        /// Whether it runs.
        holds: bool,
    },
    /// A job's condition or matrix could not be evaluated; the job has failed.
    CouldNotStart {
        /// The job.
        job: String,
    },
    /// A job's matrix was made.
    Expanded {
        /// The job.
        job: String,
        /// How it is to be run.
        expansion: Expansion,
    },
    /// A leg has started.
    LegStarted {
        /// The job.
        job: String,
        /// The leg.
        leg: usize,
    },
    /// A leg has been asked to end.
    LegCancelRequested {
        /// The job.
        job: String,
        /// The leg.
        leg: usize,
    },
    /// A leg has ended, or was dropped before it started.
    LegEnded {
        /// The job.
        job: String,
        /// The leg.
        leg: usize,
        /// How.
        conclusion: Conclusion,
        /// Whether `continue-on-error` was true for it.
        tolerated: bool,
    },
    /// Somebody, or a concurrency group, cancels the run.
    CancelRequested {
        /// Whether jobs that ask for `always()` end too.
        force: bool,
    },
}

/// An event that cannot happen in the state it met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to job '{job}' in state {state}")]
pub struct IllegalTransition {
    /// The job; empty if it is not part of the run.
    pub job: String,
    /// Its state.
    pub state: String,
    /// The event.
    pub event: JobEvent,
}

/// What `success()`, `failure()` and `cancelled()` say for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsStatus {
    /// Every job it needs, directly or not, succeeded.
    pub success: bool,
    /// One of them failed.
    pub failure: bool,
    /// The run was cancelled.
    pub cancelled: bool,
}

/// The states of a run's jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunState {
    nodes: Vec<JobNode>,
    states: BTreeMap<String, JobState>,
    cancelled: bool,
    forced: bool,
}

impl RunState {
    /// Starts a run of a workflow; its needs are known to be free of circles.
    pub fn new(file: &WorkflowFile) -> RunState {
        let nodes = file
            .jobs
            .iter()
            .map(|job| JobNode {
                id: job.id.value.clone(),
                needs: job.needs.iter().map(|need| need.value.clone()).collect(),
                has_condition: job.condition.is_some(),
                calls_status_function: job
                    .condition
                    .as_ref()
                    .is_some_and(|condition| calls_status_function(&condition.value)),
            })
            .collect();
        RunState::from_nodes(nodes)
    }

    /// Starts a run of these jobs; their needs name each other and make no circle.
    pub fn from_nodes(nodes: Vec<JobNode>) -> RunState {
        let states = nodes
            .iter()
            .map(|node| (node.id.clone(), JobState::Waiting))
            .collect();
        RunState {
            nodes,
            states,
            cancelled: false,
            forced: false,
        }
    }

    /// The jobs, in the order of the file.
    pub fn nodes(&self) -> &[JobNode] {
        &self.nodes
    }

    /// The state of a job.
    pub fn state(&self, job: &str) -> Option<&JobState> {
        self.states.get(job)
    }

    /// Tells whether the run has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Tells whether even jobs that ask for `always()` have to end.
    pub fn is_forced(&self) -> bool {
        self.forced
    }

    /// How a job ended, if it has.
    pub fn conclusion(&self, job: &str) -> Option<Conclusion> {
        match self.states.get(job) {
            Some(JobState::Ended(conclusion)) => Some(*conclusion),
            _ => None,
        }
    }

    /// How the run ended, once every job has: failure before cancelled before success; skipped if nothing ran.
    pub fn result(&self) -> Option<Conclusion> {
        let all: Option<Vec<Conclusion>> = self.nodes.iter().map(|node| self.conclusion(&node.id)).collect();
        let all = all?;
        Some(if self.cancelled && !all.contains(&Conclusion::Failure) {
            Conclusion::Cancelled
        } else {
            aggregate(&all)
        })
    }

    /// What the status functions say for a job; they look at all it needs, directly or not.
    pub fn needs_status(&self, job: &str) -> NeedsStatus {
        let ended: Vec<Option<Conclusion>> = self
            .ancestors(job)
            .into_iter()
            .map(|ancestor| self.conclusion(ancestor))
            .collect();
        NeedsStatus {
            success: !self.cancelled && ended.iter().all(|ended| *ended == Some(Conclusion::Success)),
            failure: ended.contains(&Some(Conclusion::Failure)),
            cancelled: self.cancelled,
        }
    }

    /// Everything a job needs, directly or not, each once.
    fn ancestors<'s>(&'s self, job: &'s str) -> BTreeSet<&'s str> {
        let needs: BTreeMap<&str, &[String]> = self
            .nodes
            .iter()
            .map(|node| (node.id.as_str(), node.needs.as_slice()))
            .collect();
        let mut found = BTreeSet::new();
        let mut open = vec![job];
        while let Some(id) = open.pop() {
            for need in needs.get(id).into_iter().flat_map(|needs| needs.iter()) {
                if found.insert(need.as_str()) {
                    open.push(need);
                }
            }
        }
        found
    }

    /// Tells whether everything a job needs directly has ended.
    pub(super) fn needs_ended(&self, node: &JobNode) -> bool {
        node.needs
            .iter()
            .all(|need| self.states.get(need).is_some_and(JobState::is_terminal))
    }

    /// Moves the run on.
    ///
    /// Errors: the event does not fit the state of its job.
    pub fn apply(mut self, event: JobEvent) -> Result<RunState, IllegalTransition> {
        let job = match &event {
            JobEvent::CancelRequested { force } => {
                self.cancelled = true;
                self.forced |= *force;
                return Ok(self);
            }
            JobEvent::ConditionDecided { job, .. }
            | JobEvent::CouldNotStart { job }
            | JobEvent::Expanded { job, .. }
            | JobEvent::LegStarted { job, .. }
            | JobEvent::LegCancelRequested { job, .. }
            | JobEvent::LegEnded { job, .. } => job.clone(),
        };
        let illegal = |state: String, job: String, event: &JobEvent| IllegalTransition {
            job,
            state,
            event: event.clone(),
        };
        let Some(state) = self.states.get(&job).cloned() else {
            return Err(illegal("not part of the run".into(), String::new(), &event));
        };
        let needs_ended = self
            .nodes
            .iter()
            .any(|node| node.id == job && self.needs_ended(node));
        let before = format!("{state:?}");
        match next_state(state, &event, needs_ended, self.cancelled) {
            Some(next) => {
                self.states.insert(job, next);
                Ok(self)
            }
            None => Err(illegal(before, job, &event)),
        }
    }
}

/// The whole table of a job's transitions; `None` for those that cannot be.
fn next_state(state: JobState, event: &JobEvent, needs_ended: bool, cancelled: bool) -> Option<JobState> {
    match (state, event) {
        (JobState::Waiting, JobEvent::ConditionDecided { holds: true, .. }) if needs_ended => {
            Some(JobState::Ready)
        }
        (JobState::Waiting, JobEvent::ConditionDecided { holds: false, .. }) if needs_ended => {
            Some(JobState::Ended(Conclusion::Skipped))
        }
        (JobState::Waiting, JobEvent::CouldNotStart { .. }) if needs_ended => {
            Some(JobState::Ended(Conclusion::Failure))
        }
        (JobState::Ready, JobEvent::CouldNotStart { .. }) => Some(JobState::Ended(Conclusion::Failure)),
        (JobState::Ready, JobEvent::Expanded { expansion, .. }) if expansion.legs > 0 => {
            Some(JobState::Running {
                expansion: *expansion,
                legs: vec![LegState::Pending; expansion.legs],
                goes_on: None,
            })
        }
        // A cancelled run asks the conditions of running jobs once more.
        (
            JobState::Running {
                expansion,
                legs,
                goes_on: None,
            },
            event,
        ) if cancelled && answers_condition(event) => {
            let goes_on = Some(matches!(event, JobEvent::ConditionDecided { holds: true, .. }));
            Some(JobState::Running {
                expansion,
                legs,
                goes_on,
            })
        }
        (
            JobState::Running {
                expansion,
                mut legs,
                goes_on,
            },
            event,
        ) => {
            let (at, next) = next_leg(&legs, event)?;
            legs[at] = next;
            let counted: Option<Vec<Conclusion>> = legs.iter().map(LegState::counts_as).collect();
            Some(match counted {
                Some(all) => JobState::Ended(aggregate(&all)),
                None => JobState::Running {
                    expansion,
                    legs,
                    goes_on,
                },
            })
        }
        _ => None,
    }
}

fn answers_condition(event: &JobEvent) -> bool {
    matches!(
        event,
        JobEvent::ConditionDecided { .. } | JobEvent::CouldNotStart { .. }
    )
}

/// The whole table of a leg's transitions; `None` for those that cannot be.
fn next_leg(legs: &[LegState], event: &JobEvent) -> Option<(usize, LegState)> {
    let (at, next) = match event {
        JobEvent::LegStarted { leg, .. } => match legs.get(*leg)? {
            LegState::Pending => (*leg, LegState::Running),
            LegState::Running | LegState::Cancelling | LegState::Ended { .. } => return None,
        },
        JobEvent::LegCancelRequested { leg, .. } => match legs.get(*leg)? {
            LegState::Running => (*leg, LegState::Cancelling),
            LegState::Pending | LegState::Cancelling | LegState::Ended { .. } => return None,
        },
        JobEvent::LegEnded {
            leg,
            conclusion,
            tolerated,
            ..
        } => {
            let next = LegState::Ended {
                conclusion: *conclusion,
                tolerated: *tolerated,
            };
            match (legs.get(*leg)?, conclusion) {
                (LegState::Running | LegState::Cancelling, _) => (*leg, next),
                // A leg that never started can only be dropped.
                (LegState::Pending, Conclusion::Cancelled | Conclusion::Skipped) => (*leg, next),
                (LegState::Pending | LegState::Ended { .. }, _) => return None,
            }
        }
        JobEvent::ConditionDecided { .. }
        | JobEvent::CouldNotStart { .. }
        | JobEvent::Expanded { .. }
        | JobEvent::CancelRequested { .. } => return None,
    };
    Some((at, next))
}

/// One conclusion for many: failure before cancelled before success; skipped if all are.
fn aggregate(all: &[Conclusion]) -> Conclusion {
    [Conclusion::Failure, Conclusion::Cancelled, Conclusion::Success]
        .into_iter()
        .find(|conclusion| all.contains(conclusion))
        .unwrap_or(Conclusion::Skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(conclusion: Conclusion) -> LegState {
        LegState::Ended {
            conclusion,
            tolerated: false,
        }
    }

    #[test]
    fn the_whole_table_of_leg_transitions_holds() {
        let states = [
            LegState::Pending,
            LegState::Running,
            LegState::Cancelling,
            ended(Conclusion::Success),
        ];
        let end = |conclusion| JobEvent::LegEnded {
            job: "a".into(),
            leg: 0,
            conclusion,
            tolerated: false,
        };
        let rows: [(JobEvent, [Option<LegState>; 4]); 4] = [
            (
                JobEvent::LegStarted {
                    job: "a".into(),
                    leg: 0,
                },
                [Some(LegState::Running), None, None, None],
            ),
            (
                JobEvent::LegCancelRequested {
                    job: "a".into(),
                    leg: 0,
                },
                [None, Some(LegState::Cancelling), None, None],
            ),
            (
                end(Conclusion::Failure),
                [
                    None,
                    Some(ended(Conclusion::Failure)),
                    Some(ended(Conclusion::Failure)),
                    None,
                ],
            ),
            (
                end(Conclusion::Cancelled),
                [
                    Some(ended(Conclusion::Cancelled)),
                    Some(ended(Conclusion::Cancelled)),
                    Some(ended(Conclusion::Cancelled)),
                    None,
                ],
            ),
        ];
        for (event, expected) in rows {
            for (state, expected) in states.iter().zip(expected) {
                assert_eq!(
                    next_leg(&[*state], &event).map(|(_, next)| next),
                    expected,
                    "{state:?} {event:?}"
                );
            }
        }
        assert_eq!(
            next_leg(
                &[LegState::Pending],
                &JobEvent::LegStarted {
                    job: "a".into(),
                    leg: 1
                }
            ),
            None
        );
    }

    #[test]
    fn the_whole_table_of_job_transitions_holds() {
        let expansion = Expansion {
            legs: 1,
            fail_fast: true,
            max_parallel: None,
        };
        let running = |leg| JobState::Running {
            expansion,
            legs: vec![leg],
            goes_on: None,
        };
        let states = [
            JobState::Waiting,
            JobState::Ready,
            running(LegState::Pending),
            JobState::Ended(Conclusion::Success),
        ];
        let job = || "a".to_string();
        let skipped = Some(JobState::Ended(Conclusion::Skipped));
        let failed = Some(JobState::Ended(Conclusion::Failure));
        let rows: [(JobEvent, [Option<JobState>; 4]); 6] = [
            (
                JobEvent::ConditionDecided {
                    job: job(),
                    holds: true,
                },
                [Some(JobState::Ready), None, None, None],
            ),
            (
                JobEvent::ConditionDecided {
                    job: job(),
                    holds: false,
                },
                [skipped, None, None, None],
            ),
            (
                JobEvent::CouldNotStart { job: job() },
                [failed.clone(), failed, None, None],
            ),
            (
                JobEvent::Expanded {
                    job: job(),
                    expansion,
                },
                [None, Some(running(LegState::Pending)), None, None],
            ),
            (
                JobEvent::LegStarted { job: job(), leg: 0 },
                [None, None, Some(running(LegState::Running)), None],
            ),
            (
                JobEvent::LegEnded {
                    job: job(),
                    leg: 0,
                    conclusion: Conclusion::Cancelled,
                    tolerated: false,
                },
                [None, None, Some(JobState::Ended(Conclusion::Cancelled)), None],
            ),
        ];
        for (event, expected) in rows {
            for (state, expected) in states.iter().zip(expected) {
                assert_eq!(
                    next_state(state.clone(), &event, true, false),
                    expected,
                    "{state:?} {event:?}"
                );
            }
            assert_eq!(
                next_state(JobState::Waiting, &event, false, false),
                None,
                "needs come first: {event:?}"
            );
        }
        let none = Expansion { legs: 0, ..expansion };
        assert_eq!(
            next_state(
                JobState::Ready,
                &JobEvent::Expanded {
                    job: job(),
                    expansion: none
                },
                true,
                false
            ),
            None
        );
    }

    #[test]
    fn a_running_job_is_asked_again_only_once_and_only_in_a_cancelled_run() {
        let expansion = Expansion {
            legs: 1,
            fail_fast: true,
            max_parallel: None,
        };
        let running = |goes_on| JobState::Running {
            expansion,
            legs: vec![LegState::Running],
            goes_on,
        };
        let yes = JobEvent::ConditionDecided {
            job: "a".into(),
            holds: true,
        };
        let broken = JobEvent::CouldNotStart { job: "a".into() };
        assert_eq!(
            next_state(running(None), &yes, true, true),
            Some(running(Some(true)))
        );
        assert_eq!(
            next_state(running(None), &broken, true, true),
            Some(running(Some(false)))
        );
        assert_eq!(next_state(running(Some(true)), &yes, true, true), None);
        assert_eq!(next_state(running(None), &yes, true, false), None);
    }

    #[test]
    fn a_tolerated_failure_counts_as_success() {
        let event = JobEvent::LegEnded {
            job: "a".into(),
            leg: 0,
            conclusion: Conclusion::Failure,
            tolerated: true,
        };
        let expansion = Expansion {
            legs: 1,
            fail_fast: true,
            max_parallel: None,
        };
        let running = JobState::Running {
            expansion,
            legs: vec![LegState::Running],
            goes_on: None,
        };
        assert_eq!(
            next_state(running, &event, true, false),
            Some(JobState::Ended(Conclusion::Success))
        );
    }
}
