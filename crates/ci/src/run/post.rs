//! What runs before the first and after the last step: the `pre` and `post` stages of actions. Owns their order; posts
//! run in reverse, also after a failure or a cancel, if their condition says so.

use gantry_adapters::clock::Stopwatch;
use gantry_workflow::expression::workflow;
use gantry_workflow::model::{ActionRuns, Place, Spanned, Step, StepKind, Text, UsesRef, UsesStep};

use super::cancel::Cancel;
use super::evaluate::Evaluator;
use super::event::RunEvent;
use super::frame::Frame;
use super::github::StepFields;
use super::javascript::{input_variables, run_node, state_variables};
use super::layout::StepFolder;
use super::leg::Leg;
use super::native::{NativePost, run_native_post};
use super::report::StepFault;
use super::scope::StepScope;
use super::stage::{Ran, Stage, StageCommand, context_env, process_env};
use super::step::{StepCall, StepDone, conclude};
use super::uses::{Action, inputs_of, name_of, remote_action};
use crate::action::find_action;

/// A stage that is still to be run.
#[derive(Debug, Clone)]
pub(super) struct Post {
    /// The step that used the action.
    pub(super) key: String,
    pub(super) name: String,
    /// `post-if`.
    pub(super) condition: Option<Text>,
    pub(super) kind: PostKind,
    pub(super) env: Vec<(String, String)>,
    /// `github.action`.
    pub(super) action: String,
    pub(super) home: PostHome,
}

/// What a stage does.
#[derive(Debug, Clone)]
pub(super) enum PostKind {
    /// It runs a command, with these inputs of the action.
    Command {
        words: Vec<String>,
        inputs: Vec<(String, String)>,
    },
    /// It is part of a built-in action.
    Native(NativePost),
}

/// The action of a stage.
#[derive(Debug, Clone, Default)]
pub(super) struct PostHome {
    /// The action file, for what is wrong.
    pub(super) file: String,
    /// `github.action_path`.
    pub(super) path: String,
    /// `github.action_repository`.
    pub(super) repository: String,
    /// `github.action_ref`.
    pub(super) reference: String,
}

/// Runs what is to be run after the last step, the latest first.
pub(super) fn run_posts(leg: &Leg<'_>, frame: &Frame<'_>, folder: &StepFolder) {
    loop {
        let Some(post) = leg.state().posts.pop() else {
            return;
        };
        if leg.state().broken {
            return;
        }
        leg.note_cancel();
        let watch = Stopwatch::start();
        let number = leg.start_step();
        let step_fields = || StepFields {
            action: &post.action,
            path: &post.home.path,
            repository: &post.home.repository,
            reference: &post.home.reference,
            status: None,
            folder: Some(folder),
        };
        let scope = StepScope {
            leg,
            frame,
            env: &post.env,
            fields: step_fields(),
        };
        let evaluator = Evaluator {
            file: &post.home.file,
            scope: &scope,
        };
        let ran = match stage_holds(&evaluator, post.condition.as_ref()) {
            Err(why) => {
                leg.say_error(number, &why);
                Some(Ran::fault(StepFault::Failed(why)))
            }
            Ok(holds) if !holds || leg.grace_is_over() => None,
            Ok(_) => {
                leg.tell(RunEvent::StepStarted {
                    job: &leg.plan.name,
                    number,
                    name: &leg.masked(&post.name),
                });
                Some(run_post(leg, &post, (number, folder), &step_fields()))
            }
        };
        conclude(
            leg,
            frame,
            StepDone::of_stage(number, post.name, ran, watch.elapsed()),
        );
    }
}

fn run_post(
    leg: &Leg<'_>,
    post: &Post,
    (number, folder): (usize, &StepFolder),
    fields: &StepFields<'_>,
) -> Ran {
    let fresh = Cancel::default();
    let cancel = if leg.state().grace_ends.is_some() {
        &fresh
    } else {
        leg.cancel
    };
    let heading = format!("##[group]{}\n##[endgroup]", post.name);
    if let Err(fault) = leg.say(number, &heading) {
        return Ran::fault(fault);
    }
    let (words, inputs) = match &post.kind {
        PostKind::Native(native) => return run_native_post(leg, post, native, (number, cancel), fields),
        PostKind::Command { words, inputs } => (words, inputs),
    };
    let saved = leg.state().saved.get(&post.key).cloned().unwrap_or_default();
    let mut extra = input_variables(inputs);
    extra.extend(state_variables(saved));
    let stage = Stage {
        leg,
        number,
        folder,
        cancel,
        timeout: None,
    };
    stage.run(StageCommand {
        words: words.clone(),
        env: process_env(leg, &post.env, fields, extra),
        directory: &leg.plan.workspace,
        heading: Vec::new(),
    })
}

/// `pre-if` and `post-if` are `always()` unless written.
fn stage_holds(evaluator: &Evaluator<'_>, condition: Option<&Text>) -> Result<bool, String> {
    let always = Spanned::new("always()".to_owned(), Place::START);
    evaluator
        .holds(Some(condition.unwrap_or(&always)), &workflow::STEP_IF)
        .map_err(|diagnostic| format!("The template is not valid. {diagnostic}"))
}

/// Runs the `pre` stages of the actions of other repositories that steps use, in the order of the steps.
pub(super) fn run_pres(leg: &Leg<'_>, frame: &Frame<'_>, steps: &[Step], folder: &StepFolder) {
    for (index, step) in steps.iter().enumerate() {
        if let StepKind::Uses(uses) = &step.kind
            && let UsesRef::Remote(remote) = &uses.uses.value
        {
            if find_action(&name_of(remote), &remote.reference).is_ok_and(|found| found.is_some()) {
                continue;
            }
            // An action that cannot be found fails the step that uses it, with its place in the order of steps.
            let Ok(action) = remote_action(leg, remote) else {
                continue;
            };
            run_pre(leg, frame, uses, (index, &action, folder));
        }
    }
}

fn run_pre(
    leg: &Leg<'_>,
    frame: &Frame<'_>,
    uses: &UsesStep,
    (index, action, folder): (usize, &Action, &StepFolder),
) {
    let ActionRuns::Javascript(runs) = &action.file.runs else {
        return;
    };
    let Some(pre) = &runs.pre else { return };
    let watch = Stopwatch::start();
    let number = leg.start_step();
    let name = format!("Pre Run {}", uses.uses.value);
    let call = StepCall {
        leg,
        frame,
        number,
        index,
        action: "",
        name: name.clone(),
        env: context_env(leg, frame, &[]),
        folder,
        cancel: leg.cancel,
        timeout: None,
    };
    let scope = call.scope();
    let evaluator = Evaluator {
        file: &action.file.path,
        scope: &scope,
    };
    let ran = match stage_holds(&evaluator, runs.pre_condition.as_ref()) {
        Ok(false) => None,
        Err(why) => Some(Ran::fault(StepFault::Failed(why))),
        Ok(true) => {
            leg.tell(RunEvent::StepStarted {
                job: &leg.plan.name,
                number,
                name: &name,
            });
            // What cannot be evaluated yet, such as outputs of steps, is empty at this point on GitHub, too.
            let given = call
                .evaluator(&scope)
                .map(&uses.with, frame.places().other)
                .unwrap_or_default();
            Some(match inputs_of(&call, &action.file, &given) {
                Ok(inputs) => run_node(&call, action, pre, &inputs),
                Err(why) => Ran::fault(StepFault::Failed(why)),
            })
        }
    };
    conclude(leg, frame, StepDone::of_stage(number, name, ran, watch.elapsed()));
}
