//! What to do next in a run. Owns the choice: conditions, fail-fast, max-parallel, cancelling; must never change a state.

use super::machine::{Conclusion, JobEvent, JobNode, JobState, LegState, RunState};

/// Something the caller has to do; each is answered by an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobAction {
    /// Evaluate the job's `if` with [`RunState::needs_status`]; answer with `ConditionDecided` or `CouldNotStart`. A job
    /// that runs while the run is cancelled is asked again and goes on only if its condition still holds.
    EvaluateIf {
        /// The job.
        job: String,
    },
    /// The job is skipped without evaluating anything; answer with `ConditionDecided`, not holding.
    Skip {
        /// The job.
        job: String,
    },
    /// The job runs without a condition; answer with `ConditionDecided`, holding.
    Admit {
        /// The job.
        job: String,
    },
    /// Evaluate the job's strategy and make its legs; answer with `Expanded` or `CouldNotStart`.
    Expand {
        /// The job.
        job: String,
    },
    /// Start a leg, or the called workflow of it; answer with `LegStarted`, later with `LegEnded`.
    StartLeg {
        /// The job.
        job: String,
        /// The leg.
        leg: usize,
    },
    /// Ask a running leg to end; answer with `LegCancelRequested`, later with `LegEnded`.
    CancelLeg {
        /// The job.
        job: String,
        /// The leg.
        leg: usize,
    },
    /// Give up a leg that has not started; answer with `LegEnded`, cancelled.
    DropLeg {
        /// The job.
        job: String,
        /// The leg.
        leg: usize,
    },
}

impl JobAction {
    /// Returns the event that answers an action that needs nobody outside, or nothing for the others.
    pub fn own_answer(&self) -> Option<JobEvent> {
        match self {
            JobAction::Skip { job } => Some(JobEvent::ConditionDecided {
                job: job.clone(),
                holds: false,
            }),
            JobAction::Admit { job } => Some(JobEvent::ConditionDecided {
                job: job.clone(),
                holds: true,
            }),
            JobAction::DropLeg { job, leg } => Some(JobEvent::LegEnded {
                job: job.clone(),
                leg: *leg,
                conclusion: Conclusion::Cancelled,
                tolerated: false,
            }),
            JobAction::EvaluateIf { .. }
            | JobAction::Expand { .. }
            | JobAction::StartLeg { .. }
            | JobAction::CancelLeg { .. } => None,
        }
    }
}

/// Returns everything that can be done now.
///
/// Shape: jobs in the order of the file, legs by index; empty while all that is left runs, and once all has ended.
pub fn plan_jobs(run: &RunState) -> Vec<JobAction> {
    run.nodes().iter().flat_map(|node| plan_job(run, node)).collect()
}

fn plan_job(run: &RunState, node: &JobNode) -> Vec<JobAction> {
    let job = node.id.clone();
    match run.state(&node.id) {
        Some(JobState::Waiting) if run.needs_ended(node) => vec![plan_condition(run, node)],
        Some(JobState::Ready) => vec![JobAction::Expand { job }],
        Some(JobState::Running {
            expansion,
            legs,
            goes_on,
        }) => {
            let failed = legs.iter().any(|leg| {
                matches!(
                    leg,
                    LegState::Ended {
                        conclusion: Conclusion::Failure,
                        tolerated: false
                    }
                )
            });
            let stop = (expansion.fail_fast && failed) || run.is_forced();
            match (run.is_cancelled() && !stop, node.calls_status_function, goes_on) {
                // GitHub lets a job go on whose condition still holds in a cancelled run.
                (true, true, None) => vec![JobAction::EvaluateIf { job }],
                (true, false, _) | (true, true, Some(false)) => stop_legs(&node.id, legs),
                _ if stop => stop_legs(&node.id, legs),
                _ => start_legs(&node.id, legs, expansion.max_parallel),
            }
        }
        Some(JobState::Waiting | JobState::Ended(_)) | None => Vec::new(),
    }
}

/// The implied `success()` is decided here; a condition is evaluated only if it could make a difference.
fn plan_condition(run: &RunState, node: &JobNode) -> JobAction {
    let job = node.id.clone();
    let implied = run.needs_status(&node.id).success;
    match (node.has_condition, node.calls_status_function) {
        _ if run.is_forced() => JobAction::Skip { job },
        (true, true) => JobAction::EvaluateIf { job },
        (true, false) if implied => JobAction::EvaluateIf { job },
        (false, _) if implied => JobAction::Admit { job },
        _ => JobAction::Skip { job },
    }
}

fn stop_legs(job: &str, legs: &[LegState]) -> Vec<JobAction> {
    legs.iter()
        .enumerate()
        .filter_map(|(leg, state)| match state {
            LegState::Pending => Some(JobAction::DropLeg {
                job: job.to_string(),
                leg,
            }),
            LegState::Running => Some(JobAction::CancelLeg {
                job: job.to_string(),
                leg,
            }),
            LegState::Cancelling | LegState::Ended { .. } => None,
        })
        .collect()
}

fn start_legs(job: &str, legs: &[LegState], max_parallel: Option<usize>) -> Vec<JobAction> {
    let busy = legs
        .iter()
        .filter(|leg| matches!(leg, LegState::Running | LegState::Cancelling))
        .count();
    // A bound of nothing would wait for ever; GitHub reads it as no bound.
    let free = match max_parallel {
        None | Some(0) => usize::MAX,
        Some(bound) => bound.saturating_sub(busy),
    };
    legs.iter()
        .enumerate()
        .filter(|(_, state)| **state == LegState::Pending)
        .take(free)
        .map(|(leg, _)| JobAction::StartLeg {
            job: job.to_string(),
            leg,
        })
        .collect()
}

/// Joins the outputs of a job's legs, given in the order the legs ended: the last that set a name to something wins.
pub fn merge_outputs(legs: &[Vec<(String, String)>]) -> Vec<(String, String)> {
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, value) in legs.iter().flatten() {
        match merged.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) if !value.is_empty() => old.clone_from(value),
            Some(_) => {}
            None => merged.push((name.clone(), value.clone())),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::machine::Expansion;
    use super::*;

    fn node(id: &str, needs: &[&str], condition: Option<bool>) -> JobNode {
        JobNode {
            id: id.into(),
            needs: needs.iter().map(ToString::to_string).collect(),
            has_condition: condition.is_some(),
            calls_status_function: condition == Some(true),
        }
    }

    fn apply(run: RunState, event: JobEvent) -> RunState {
        run.apply(event).unwrap()
    }

    /// Does what needs nobody outside, and expands every ready job into `legs` legs, until only legs are left to act on.
    fn settle(mut run: RunState, expansion: Expansion) -> RunState {
        loop {
            let next = plan_jobs(&run).into_iter().find_map(|action| match &action {
                JobAction::Expand { job } => Some(JobEvent::Expanded {
                    job: job.clone(),
                    expansion,
                }),
                _ => action.own_answer(),
            });
            match next {
                Some(event) => run = apply(run, event),
                None => return run,
            }
        }
    }

    const ONE: Expansion = Expansion {
        legs: 1,
        fail_fast: true,
        max_parallel: None,
    };

    fn run_leg(run: RunState, job: &str, leg: usize, conclusion: Conclusion, tolerated: bool) -> RunState {
        let run = apply(run, JobEvent::LegStarted { job: job.into(), leg });
        apply(
            run,
            JobEvent::LegEnded {
                job: job.into(),
                leg,
                conclusion,
                tolerated,
            },
        )
    }

    #[test]
    fn a_job_starts_after_all_it_needs_and_is_skipped_after_a_failure() {
        let run = RunState::from_nodes(vec![
            node("a", &[], None),
            node("b", &["a"], None),
            node("c", &["b"], None),
        ]);
        let run = settle(run, ONE);
        assert_eq!(
            plan_jobs(&run),
            [JobAction::StartLeg {
                job: "a".into(),
                leg: 0
            }]
        );
        let passed = settle(run_leg(run.clone(), "a", 0, Conclusion::Success, false), ONE);
        assert_eq!(
            plan_jobs(&passed),
            [JobAction::StartLeg {
                job: "b".into(),
                leg: 0
            }]
        );
        let failed = settle(run_leg(run.clone(), "a", 0, Conclusion::Failure, false), ONE);
        assert_eq!(plan_jobs(&failed), []);
        assert_eq!(failed.conclusion("c"), Some(Conclusion::Skipped));
        assert_eq!(failed.result(), Some(Conclusion::Failure));
        let tolerated = settle(run_leg(run, "a", 0, Conclusion::Failure, true), ONE);
        assert_eq!(
            plan_jobs(&tolerated),
            [JobAction::StartLeg {
                job: "b".into(),
                leg: 0
            }]
        );
    }

    #[test]
    fn a_status_function_is_asked_for_and_a_plain_condition_only_after_success() {
        for (calls, expected) in [
            (true, vec![JobAction::EvaluateIf { job: "b".into() }]),
            (false, vec![JobAction::Skip { job: "b".into() }]),
        ] {
            let run = RunState::from_nodes(vec![node("a", &[], None), node("b", &["a"], Some(calls))]);
            let run = run_leg(settle(run, ONE), "a", 0, Conclusion::Failure, false);
            assert_eq!(plan_jobs(&run), expected);
            assert!(run.needs_status("b").failure);
        }
    }

    #[test]
    fn a_failure_further_up_still_stops_a_job_without_a_condition() {
        let run = RunState::from_nodes(vec![
            node("a", &[], None),
            node("b", &["a"], Some(true)),
            node("c", &["b"], None),
        ]);
        let run = run_leg(settle(run, ONE), "a", 0, Conclusion::Failure, false);
        let run = apply(
            run,
            JobEvent::ConditionDecided {
                job: "b".into(),
                holds: true,
            },
        );
        let run = run_leg(settle(run, ONE), "b", 0, Conclusion::Success, false);
        assert_eq!(plan_jobs(&run), [JobAction::Skip { job: "c".into() }]);
    }

    #[test]
    fn fail_fast_cancels_what_runs_and_drops_what_waits() {
        let expansion = Expansion {
            legs: 3,
            fail_fast: true,
            max_parallel: Some(2),
        };
        let run = settle(RunState::from_nodes(vec![node("a", &[], None)]), expansion);
        let start = |leg| JobAction::StartLeg { job: "a".into(), leg };
        assert_eq!(plan_jobs(&run), [start(0), start(1)]);
        let run = apply(
            run,
            JobEvent::LegStarted {
                job: "a".into(),
                leg: 1,
            },
        );
        assert_eq!(plan_jobs(&run), [start(0)]);
        let run = run_leg(run, "a", 0, Conclusion::Failure, false);
        let stop = [
            JobAction::CancelLeg {
                job: "a".into(),
                leg: 1,
            },
            JobAction::DropLeg {
                job: "a".into(),
                leg: 2,
            },
        ];
        assert_eq!(plan_jobs(&run), stop);
    }

    #[test]
    fn without_fail_fast_and_with_tolerated_failures_the_others_go_on() {
        for (fail_fast, tolerated) in [(false, false), (true, true)] {
            let expansion = Expansion {
                legs: 2,
                fail_fast,
                max_parallel: Some(1),
            };
            let run = settle(RunState::from_nodes(vec![node("a", &[], None)]), expansion);
            let run = run_leg(run, "a", 0, Conclusion::Failure, tolerated);
            assert_eq!(
                plan_jobs(&run),
                [JobAction::StartLeg {
                    job: "a".into(),
                    leg: 1
                }]
            );
        }
    }

    #[test]
    fn cancelling_a_run_ends_its_legs_but_not_jobs_that_ask_for_always() {
        let run = RunState::from_nodes(vec![node("a", &[], None), node("b", &["a"], Some(true))]);
        let run = apply(
            settle(run, ONE),
            JobEvent::LegStarted {
                job: "a".into(),
                leg: 0,
            },
        );
        let run = apply(run, JobEvent::CancelRequested { force: false });
        assert_eq!(
            plan_jobs(&run),
            [JobAction::CancelLeg {
                job: "a".into(),
                leg: 0
            }]
        );
        let run = apply(
            run,
            JobEvent::LegCancelRequested {
                job: "a".into(),
                leg: 0,
            },
        );
        assert_eq!(plan_jobs(&run), []);
        let ended = JobEvent::LegEnded {
            job: "a".into(),
            leg: 0,
            conclusion: Conclusion::Cancelled,
            tolerated: false,
        };
        let run = apply(run, ended);
        assert_eq!(plan_jobs(&run), [JobAction::EvaluateIf { job: "b".into() }]);
        let holds = JobEvent::ConditionDecided {
            job: "b".into(),
            holds: true,
        };
        let run = settle(apply(run, holds.clone()), ONE);
        // It was made ready in a cancelled run, so it is asked like every job that runs in one.
        assert_eq!(plan_jobs(&run), [JobAction::EvaluateIf { job: "b".into() }]);
        let run = apply(run, holds);
        assert_eq!(
            plan_jobs(&run),
            [JobAction::StartLeg {
                job: "b".into(),
                leg: 0
            }]
        );
    }

    #[test]
    fn a_running_job_that_asked_for_a_status_goes_on_only_if_it_still_holds() {
        let start = || {
            let run = RunState::from_nodes(vec![node("a", &[], Some(true))]);
            let run = settle(
                apply(
                    run,
                    JobEvent::ConditionDecided {
                        job: "a".into(),
                        holds: true,
                    },
                ),
                ONE,
            );
            let run = apply(
                run,
                JobEvent::LegStarted {
                    job: "a".into(),
                    leg: 0,
                },
            );
            apply(run, JobEvent::CancelRequested { force: false })
        };
        assert_eq!(plan_jobs(&start()), [JobAction::EvaluateIf { job: "a".into() }]);
        let cancel = JobAction::CancelLeg {
            job: "a".into(),
            leg: 0,
        };
        for (holds, expected) in [(true, vec![]), (false, vec![cancel.clone()])] {
            let run = apply(
                start(),
                JobEvent::ConditionDecided {
                    job: "a".into(),
                    holds,
                },
            );
            assert_eq!(plan_jobs(&run), expected);
            let run = apply(run, JobEvent::CancelRequested { force: true });
            assert_eq!(plan_jobs(&run), std::slice::from_ref(&cancel));
        }
    }

    #[test]
    fn the_last_leg_that_sets_an_output_wins() {
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        let legs = [
            vec![pair("a", "1"), pair("b", "x")],
            vec![pair("a", "2"), pair("b", "")],
        ];
        assert_eq!(merge_outputs(&legs), [pair("a", "2"), pair("b", "x")]);
    }

    /// A random graph: each job needs some of those before it.
    fn graphs() -> impl Strategy<Value = Vec<JobNode>> {
        prop::collection::vec((any::<u8>(), 0..3_u8), 1..8).prop_map(|rows| {
            let mut nodes = Vec::new();
            for (at, (mask, condition)) in rows.into_iter().enumerate() {
                let needs: Vec<String> = (0..at)
                    .filter(|need| mask >> need & 1 == 1)
                    .map(|need| format!("j{need}"))
                    .collect();
                nodes.push(JobNode {
                    id: format!("j{at}"),
                    needs,
                    has_condition: condition > 0,
                    calls_status_function: condition == 2,
                });
            }
            nodes
        })
    }

    /// Answers an action by one of the ways it can go.
    fn answer(action: &JobAction, choice: u8) -> Option<JobEvent> {
        Some(match action {
            JobAction::EvaluateIf { job } if choice.is_multiple_of(5) => {
                JobEvent::CouldNotStart { job: job.clone() }
            }
            JobAction::EvaluateIf { job } => JobEvent::ConditionDecided {
                job: job.clone(),
                holds: choice.is_multiple_of(2),
            },
            JobAction::Expand { job } if choice.is_multiple_of(7) => {
                JobEvent::CouldNotStart { job: job.clone() }
            }
            JobAction::Expand { job } => JobEvent::Expanded {
                job: job.clone(),
                expansion: Expansion {
                    legs: usize::from(choice % 4) + 1,
                    fail_fast: choice.is_multiple_of(2),
                    max_parallel: (!choice.is_multiple_of(3)).then_some(usize::from(choice % 3)),
                },
            },
            JobAction::StartLeg { job, leg } => JobEvent::LegStarted {
                job: job.clone(),
                leg: *leg,
            },
            JobAction::CancelLeg { job, leg } => JobEvent::LegCancelRequested {
                job: job.clone(),
                leg: *leg,
            },
            JobAction::Skip { .. } | JobAction::Admit { .. } | JobAction::DropLeg { .. } => {
                return action.own_answer();
            }
        })
    }

    /// Ends some running leg, as the world outside does.
    fn end_some_leg(run: &RunState, choice: u8) -> Option<JobEvent> {
        let running: Vec<(String, usize)> = run
            .nodes()
            .iter()
            .filter_map(|node| match run.state(&node.id) {
                Some(JobState::Running { legs, .. }) => Some((node.id.clone(), legs.clone())),
                _ => None,
            })
            .flat_map(|(job, legs)| {
                legs.into_iter()
                    .enumerate()
                    .filter(|(_, leg)| matches!(leg, LegState::Running | LegState::Cancelling))
                    .map(move |(at, _)| (job.clone(), at))
            })
            .collect();
        let (job, leg) = running.get(usize::from(choice) % running.len().max(1))?.clone();
        let conclusion =
            [Conclusion::Success, Conclusion::Failure, Conclusion::Cancelled][usize::from(choice % 3)];
        Some(JobEvent::LegEnded {
            job,
            leg,
            conclusion,
            tolerated: choice.is_multiple_of(4),
        })
    }

    proptest! {
        #[test]
        fn every_run_ends_and_no_job_starts_before_its_needs(
            nodes in graphs(),
            choices in prop::collection::vec(any::<u8>(), 64),
        ) {
            let mut run = RunState::from_nodes(nodes);
            // Each job takes at most: two conditions, expansion, and three events for each of four legs; the run is cancelled at most twice.
            let bound = run.nodes().len() * 15 + 2;
            let mut steps = 0;
            while run.result().is_none() {
                prop_assert!(steps < bound, "the run does not end: {run:?}");
                let choice = choices[steps % choices.len()];
                let actions = plan_jobs(&run);
                let event = match actions.get(usize::from(choice) % actions.len().max(1)) {
                    _ if choice >= 250 && !run.is_forced() && run.is_cancelled() == (choice > 252) => Some(JobEvent::CancelRequested { force: choice > 252 }),
                    Some(action) if !choice.is_multiple_of(3) => answer(action, choice),
                    first => end_some_leg(&run, choice).or_else(|| first.and_then(|action| answer(action, choice))),
                };
                let Some(event) = event else { panic!("nothing to do and not ended: {run:?}") };
                if let JobEvent::LegStarted { job, .. } | JobEvent::Expanded { job, .. } = &event {
                    let needs = run.nodes().iter().find(|node| node.id == *job).map(|node| node.needs.clone());
                    prop_assert!(needs.unwrap_or_default().iter().all(|need| run.conclusion(need).is_some()));
                }
                run = apply(run, event);
                if let Some(over) = run.nodes().iter().find(|node| over_limit(&run, &node.id)) {
                    panic!("more legs of {} run than max-parallel allows", over.id);
                }
                steps += 1;
            }
            prop_assert_eq!(plan_jobs(&run), Vec::new());
        }
    }

    fn over_limit(run: &RunState, job: &str) -> bool {
        match run.state(job) {
            Some(JobState::Running { expansion, legs, .. }) => {
                let busy = legs
                    .iter()
                    .filter(|leg| matches!(leg, LegState::Running | LegState::Cancelling))
                    .count();
                expansion
                    .max_parallel
                    .is_some_and(|bound| bound > 0 && busy > bound)
            }
            _ => false,
        }
    }
}
