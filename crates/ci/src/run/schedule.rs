//! One workflow's jobs from the first to the last. Owns carrying out what `plan_jobs` decides and telling it what
//! happened; must never decide by itself which job runs.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Scope};

use gantry_core::queue::build::{Ending, Trouble};
use gantry_workflow::expression::{Value, workflow};
use gantry_workflow::graph::{Conclusion, JobAction, JobEvent, JobState, RunState, merge_outputs, plan_jobs};
use gantry_workflow::model::{Job, JobKind};

use super::cancel::{Attached, Cancel};
use super::evaluate::{Contexts, Evaluator, object_of};
use super::event::RunEvent;
use super::job::{JobLegs, Surroundings, expand, hurry, leg_contexts, leg_name, order};
use super::report::JobReport;
use super::run_leg::run_leg;
use super::workflow_run::{WorkflowRun, take_turn};

/// What comes back from a leg.
pub(super) struct LegEnd {
    pub(super) conclusion: Conclusion,
    pub(super) tolerated: bool,
    pub(super) outputs: Vec<(String, String)>,
}

enum Message {
    Cancelled,
    Ended { job: String, leg: usize, end: LegEnd },
}

/// The jobs of a workflow while they run.
struct Jobs<'s, 'a> {
    run: &'s WorkflowRun<'a>,
    state: RunState,
    /// The contexts of jobs, but for `needs`, `matrix` and `strategy`.
    contexts: Contexts,
    legs: BTreeMap<String, JobLegs>,
    cancels: BTreeMap<(String, usize), (Cancel, Option<Attached>)>,
    /// Outputs of each job's legs in the order the legs ended.
    outputs: BTreeMap<String, Vec<Vec<(String, String)>>>,
    sender: Sender<Message>,
}

/// How a workflow's jobs ended.
pub(super) struct JobsEnd {
    pub(super) conclusion: Conclusion,
    /// `jobs`: the result and the outputs of each job.
    pub(super) jobs: Value,
}

/// Runs the jobs of a workflow.
pub(super) fn run_jobs(run: &WorkflowRun<'_>, contexts: Contexts, env: &[(String, String)]) -> JobsEnd {
    let (sender, receiver) = channel();
    let told = sender.clone();
    let _attached = run.cancel.attach(move || {
        // The receiver is gone only when all jobs have ended.
        let _ = told.send(Message::Cancelled);
    });
    thread::scope(|scope| {
        let mut jobs = Jobs {
            run,
            state: RunState::new(run.file),
            contexts,
            legs: BTreeMap::new(),
            cancels: BTreeMap::new(),
            outputs: BTreeMap::new(),
            sender,
        };
        jobs.drive(scope, &receiver, env)
    })
}

impl<'s, 'a: 's> Jobs<'s, 'a> {
    fn drive<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, 's>,
        receiver: &Receiver<Message>,
        env: &'s [(String, String)],
    ) -> JobsEnd
    where
        's: 'scope,
    {
        loop {
            loop {
                let actions = plan_jobs(&self.state);
                if actions.is_empty() {
                    break;
                }
                for action in actions {
                    self.follow(scope, action, env);
                }
            }
            if let Some(conclusion) = self.state.result() {
                return JobsEnd {
                    conclusion,
                    jobs: self.results(),
                };
            }
            match receiver.recv() {
                Ok(Message::Cancelled) => self.apply(JobEvent::CancelRequested { force: false }),
                Ok(Message::Ended { job, leg, end }) => {
                    let LegEnd {
                        conclusion,
                        tolerated,
                        outputs,
                    } = end;
                    self.cancels.remove(&(job.clone(), leg));
                    self.outputs.entry(job.clone()).or_default().push(outputs);
                    self.apply(JobEvent::LegEnded {
                        job,
                        leg,
                        conclusion,
                        tolerated,
                    });
                }
                // This keeps a sender itself.
                Err(_) => unreachable!("a sender is kept while jobs run"),
            }
        }
    }

    fn apply(&mut self, event: JobEvent) {
        let state = self.state.clone();
        self.state = state
            .apply(event)
            .expect("every event answers an action of the plan, or ends what runs");
    }

    fn follow<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, 's>,
        action: JobAction,
        env: &'s [(String, String)],
    ) where
        's: 'scope,
    {
        let answer = action.own_answer();
        match action {
            JobAction::EvaluateIf { job } => self.evaluate_if(job),
            JobAction::Skip { job } => {
                self.report_unrun(&job, 0, Conclusion::Skipped, String::new());
                self.answer(answer);
            }
            JobAction::DropLeg { job, leg } => {
                self.report_unrun(
                    &job,
                    leg,
                    Conclusion::Cancelled,
                    "the job was cancelled before it started".into(),
                );
                self.answer(answer);
            }
            JobAction::Admit { .. } => self.answer(answer),
            JobAction::Expand { job } => self.expand(job),
            JobAction::StartLeg { job, leg } => self.start(scope, job, leg, env),
            JobAction::CancelLeg { job, leg } => {
                if let Some((cancel, _)) = self.cancels.get(&(job.clone(), leg)) {
                    cancel.cancel();
                }
                self.apply(JobEvent::LegCancelRequested { job, leg });
            }
        }
    }

    fn answer(&mut self, event: Option<JobEvent>) {
        let event = event.expect("these actions bring their answer along");
        self.apply(event);
    }

    fn job(&self, id: &str) -> &'s Job {
        self.run.file.job(id).expect("the plan names jobs of the file")
    }

    fn contexts_of(&self, id: &str) -> Contexts {
        let mut contexts = self.contexts.with_needs_status(self.state.needs_status(id));
        let needs = self
            .job(id)
            .needs
            .iter()
            .map(|need| (need.value.as_str(), self.result_of(&need.value)));
        contexts.set("needs", Value::Object(needs.collect()));
        contexts
    }

    fn result_of(&self, job: &str) -> Value {
        let legs = self.outputs.get(job).map(Vec::as_slice).unwrap_or_default();
        let result = self.state.conclusion(job).map_or("", Conclusion::as_str);
        let fields = [
            ("result", Value::from(result)),
            ("outputs", object_of(&merge_outputs(legs))),
        ];
        Value::Object(fields.into_iter().collect())
    }

    fn results(&self) -> Value {
        let all = self
            .state
            .nodes()
            .iter()
            .map(|node| (node.id.as_str(), self.result_of(&node.id)));
        Value::Object(all.collect())
    }

    fn evaluate_if(&mut self, job: String) {
        let contexts = self.contexts_of(&job);
        let evaluator = Evaluator {
            file: &self.run.file.path,
            scope: &contexts,
        };
        match evaluator.holds(self.job(&job).condition.as_ref(), &workflow::JOB_IF) {
            Ok(holds) => {
                // A job that runs is asked again once its run is cancelled; its legs tell of themselves.
                if !holds && self.state.state(&job) == Some(&JobState::Waiting) {
                    self.report_unrun(&job, 0, Conclusion::Skipped, String::new());
                }
                self.apply(JobEvent::ConditionDecided { job, holds });
            }
            Err(diagnostic) => self.could_not_start(job, format!("The template is not valid. {diagnostic}")),
        }
    }

    fn could_not_start(&mut self, job: String, why: String) {
        self.report_unrun(&job, 0, Conclusion::Failure, why);
        self.apply(JobEvent::CouldNotStart { job });
    }

    fn expand(&mut self, job: String) {
        let contexts = self.contexts_of(&job);
        let evaluator = Evaluator {
            file: &self.run.file.path,
            scope: &contexts,
        };
        match expand(self.job(&job), &evaluator) {
            Ok(legs) => {
                let expansion = legs.expansion;
                self.legs.insert(job.clone(), legs);
                self.apply(JobEvent::Expanded { job, expansion });
            }
            Err(why) => self.could_not_start(job, why),
        }
    }

    fn start<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, 's>,
        job: String,
        leg: usize,
        env: &'s [(String, String)],
    ) where
        's: 'scope,
    {
        let legs = self
            .legs
            .get(&job)
            .expect("a job's legs start after they were made");
        let contexts = leg_contexts(&self.contexts_of(&job), legs, leg);
        let (run, written) = (self.run, self.job(&job));
        let matrix = legs.legs[leg].clone();
        // A job that runs although its run was cancelled is not ended by that cancel, but has little time.
        let is_late = self.state.is_cancelled();
        let (cancel, attached) = if is_late {
            (Cancel::default(), None)
        } else {
            let (cancel, attached) = run.cancel.child();
            (cancel, Some(attached))
        };
        self.cancels
            .insert((job.clone(), leg), (cancel.clone(), attached));
        self.apply(JobEvent::LegStarted {
            job: job.clone(),
            leg,
        });
        let sender = self.sender.clone();
        scope.spawn(move || {
            let work = || run.run_one(written, &matrix, contexts, (&cancel, is_late, env));
            let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
                let detail = "the job's thread broke off: a fault of gantry".to_owned();
                let ending = Ending::Trouble(Trouble::Interrupted);
                run.push(run.unrun_report(written, leg, (Conclusion::Failure, ending), detail));
                LegEnd {
                    conclusion: Conclusion::Failure,
                    tolerated: false,
                    outputs: Vec::new(),
                }
            });
            // The receiver waits for every leg.
            let _ = sender.send(Message::Ended { job, leg, end });
        });
    }

    fn report_unrun(&self, job: &str, leg: usize, conclusion: Conclusion, detail: String) {
        let ending = match conclusion {
            Conclusion::Success | Conclusion::Skipped => Ending::Passed,
            Conclusion::Failure => Ending::Failed,
            Conclusion::Cancelled => Ending::Cancelled,
        };
        let mut report = self
            .run
            .unrun_report(self.job(job), leg, (conclusion, ending), detail);
        if let Some(made) = self.legs.get(job).and_then(|legs| legs.legs.get(leg)) {
            report.name = made.display_name(&report.name);
        }
        self.run.push(report);
    }
}

impl<'a> WorkflowRun<'a> {
    /// Runs one leg of a job, or the workflow it calls.
    fn run_one(
        &self,
        job: &'a Job,
        leg: &gantry_workflow::matrix::Leg,
        contexts: Contexts,
        (cancel, is_late, env): (&Cancel, bool, &[(String, String)]),
    ) -> LegEnd {
        let failed = |ending: Ending, why: String| {
            let conclusion = match ending {
                Ending::Cancelled => Conclusion::Cancelled,
                _ => Conclusion::Failure,
            };
            self.push(self.unrun_report(job, leg.index, (conclusion, ending), why));
            LegEnd {
                conclusion,
                tolerated: false,
                outputs: Vec::new(),
            }
        };
        let turn = take_turn(
            self,
            job.concurrency.as_ref(),
            &contexts,
            (&workflow::JOB_CONCURRENCY, cancel),
        );
        let (_turn, held) = match turn {
            Ok(Some(turn)) => turn,
            Ok(None) => {
                return failed(
                    Ending::Cancelled,
                    "the job's concurrency group cancelled it".to_owned(),
                );
            }
            Err(why) => return failed(Ending::Failed, why),
        };
        let steps_job = match &job.kind {
            JobKind::Steps(steps_job) => steps_job,
            JobKind::Call(call) => {
                let evaluator = Evaluator {
                    file: &self.file.path,
                    scope: &contexts,
                };
                let name = match leg_name(job, leg, &evaluator) {
                    Ok(name) => name,
                    Err(why) => return failed(Ending::Failed, why),
                };
                return match self.call((job, leg), call, (&name, &contexts), (cancel, held)) {
                    Ok(end) => end,
                    Err(why) => failed(Ending::Failed, why),
                };
            }
        };
        let around = Surroundings {
            file: &self.file.path,
            workflow: self.top,
            env,
            defaults: &self.file.defaults,
            github: &self.github,
            secrets: &self.masks,
            prefix: (&self.prefix.0, &self.prefix.1),
        };
        let mut order = match order(self.request, &around, (job, steps_job), (leg, contexts)) {
            Ok(order) => order,
            Err(why) => return failed(Ending::Failed, why),
        };
        if is_late {
            hurry(&mut order, self.request.cancel_grace);
        }
        let tolerated = order.tolerated;
        let report = match self.slots.take(cancel) {
            Some(_slot) => run_leg(self.request, &order, cancel),
            None => order.report(
                Conclusion::Cancelled,
                Ending::Cancelled,
                "the job was cancelled before it started".into(),
            ),
        };
        let end = LegEnd {
            conclusion: report.conclusion,
            tolerated,
            outputs: report.outputs.clone(),
        };
        self.push(report);
        end
    }

    /// Keeps a report and tells of it.
    pub(super) fn push(&self, report: JobReport) {
        (self.request.tell)(RunEvent::JobEnded(&report));
        self.reports
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(report);
    }
}
