//! Composite actions: steps inside a step. Owns what is handed in and out; must never run a command itself.

use gantry_core::limits::ACTION_DEPTH_MAX;
use gantry_workflow::expression::actions;
use gantry_workflow::model::Step;

use super::evaluate::{Evaluator, object_of};
use super::frame::FrameAction;
use super::output::Effects;
use super::report::StepFault;
use super::scope::StepScope;
use super::stage::Ran;
use super::step::StepCall;
use super::steps::run_list;
use super::uses::{Action, failed};

/// Runs the steps of a composite action.
pub(super) fn run_composite(
    call: &StepCall<'_, '_>,
    action: &Action,
    steps: &[Step],
    inputs: &[(String, String)],
) -> Ran {
    if call.frame.depth >= ACTION_DEPTH_MAX {
        return failed(
            call,
            format!("Composite action depth exceeded max depth {ACTION_DEPTH_MAX}"),
        );
    }
    let inside = FrameAction {
        path: action.path.clone(),
        repository: action.repository.clone(),
        reference: action.reference.clone(),
        file: action.file.path.clone(),
    };
    let own_env = own_env(call);
    let frame = call
        .frame
        .inside(&inside, object_of(inputs), own_env, (call.number, call.key()));
    run_list(call.leg, &frame, steps, call.folder, call.cancel);
    let mut ran = Ran {
        fault: frame.take_fault(),
        ..Ran::default()
    };
    let env = super::stage::context_env(call.leg, &frame, &[]);
    let fields = call.fields();
    let scope = StepScope {
        leg: call.leg,
        frame: &frame,
        env: &env,
        fields,
    };
    let evaluator = Evaluator {
        file: &inside.file,
        scope: &scope,
    };
    let mut effects = Effects::default();
    for output in &action.file.outputs {
        let Some(value) = &output.value else { continue };
        match evaluator.text(value, &actions::OUTPUT_VALUE) {
            Ok(value) => effects.outputs.push((output.name.value.clone(), value)),
            Err(diagnostic) => {
                let why = format!("The template is not valid. {diagnostic}");
                call.leg.say_error(call.number, &why);
                ran.fault.get_or_insert(StepFault::Failed(why));
            }
        }
    }
    ran.effects = effects;
    ran
}

/// What the step itself, or the actions around it, set on top of the job's variables.
fn own_env(call: &StepCall<'_, '_>) -> Vec<(String, String)> {
    let of_job = super::stage::job_env(call.leg);
    call.env
        .iter()
        .filter(|pair| !of_job.contains(pair))
        .cloned()
        .collect()
}
