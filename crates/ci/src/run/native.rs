//! Built-in actions in steps. Owns what a built-in action is handed and what its outcome does; the actions themselves
//! are in `crate::action`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use gantry_adapters::clock;
use gantry_adapters::engine::SandboxControl;
use gantry_core::mask::Masker;
use gantry_core::queue::build::Trouble;
use gantry_workflow::command::{AnnotationLevel, parse_matchers};

use super::cancel::Cancel;
use super::github::StepFields;
use super::leg::{Leg, LiveSecrets, remark};
use super::output::Effects;
use super::post::{Post, PostKind};
use super::report::StepFault;
use super::stage::{Ran, box_trouble, process_env};
use super::step::StepCall;
use crate::action::{
    ActionCall, ActionError, ActionOutcome, Inputs, LogLevel, NativeAction, PostStep, PostWhen, RunStores,
    run_action,
};
use crate::files::ShellError;
use crate::mask::MaskStream;

/// Runs a built-in action.
pub(super) fn run_native(
    call: &StepCall<'_, '_>,
    action: &'static NativeAction,
    version: &str,
    given: &[(String, String)],
) -> Ran {
    let given: BTreeMap<String, String> = given.iter().cloned().collect();
    let (inputs, warning) = action.inputs_of(&given);
    if let Some(message) = warning {
        super::uses::warn(call, message);
    }
    let env = process_env(call.leg, &call.env, &call.fields(), Vec::new());
    let use_ = NativeUse {
        leg: call.leg,
        number: call.number,
        version,
        inputs: inputs.clone(),
        env,
        cancel: call.cancel,
    };
    match use_.act(|given| run_action(action, given)) {
        Ok(outcome) => take_outcome(call, (action, version, inputs), outcome),
        Err(fault) => told(call.leg, call.number, fault),
    }
}

/// Runs what a built-in action does at the end of its job.
pub(super) fn run_native_post(
    leg: &Leg<'_>,
    post: &Post,
    native: &NativePost,
    (number, cancel): (usize, &Cancel),
    fields: &StepFields<'_>,
) -> Ran {
    let env = process_env(leg, &post.env, fields, Vec::new());
    let (version, inputs) = (native.version.as_str(), native.inputs.clone());
    let use_ = NativeUse {
        leg,
        number,
        version,
        inputs,
        env,
        cancel,
    };
    match use_.act(|given| (native.step)(given, &native.state)) {
        Ok(()) => Ran::default(),
        Err(fault) => told(leg, number, fault),
    }
}

/// What a built-in action does at the end of its job.
#[derive(Debug, Clone)]
pub(super) struct NativePost {
    step: PostStep,
    state: Vec<(String, String)>,
    version: String,
    inputs: Inputs,
}

/// One use of a built-in action, main or post.
struct NativeUse<'a, 'l> {
    leg: &'a Leg<'l>,
    number: usize,
    version: &'a str,
    inputs: Inputs,
    env: Vec<(String, String)>,
    cancel: &'a Cancel,
}

impl NativeUse<'_, '_> {
    fn act<T>(self, act: impl FnOnce(&mut ActionCall<'_>) -> Result<T, ActionError>) -> Result<T, StepFault> {
        let leg = self.leg;
        let Some(stores) = leg.request.stores else {
            return Err(StepFault::Failed(
                "the run keeps neither artifacts nor caches".to_owned(),
            ));
        };
        // The box's own stands before what the step sets.
        let home = leg.home().map(|home| ("HOME".to_owned(), home));
        let env = home.into_iter().chain(self.env).collect();
        let control = SandboxControl::default();
        let _attached = self.cancel.attach_control(&control);
        let secrets = leg.state().live_secrets.clone();
        let mask = || mask_stream(&secrets);
        let stores = RunStores {
            artifacts: stores.artifacts,
            caches: stores.caches,
            access: stores.access,
            source: stores.source,
            mask: &mask,
        };
        let mut failed_log = None;
        let mut log = |level: LogLevel, text: &str| {
            let line = match level {
                LogLevel::Info => text.to_owned(),
                LogLevel::Debug if leg.request.identity.debug => format!("##[debug]{text}"),
                LogLevel::Debug => return,
                LogLevel::Warning => {
                    leg.state()
                        .annotate(remark(AnnotationLevel::Warning, text.to_owned()));
                    format!("##[warning]{text}")
                }
            };
            if let Err(fault) = leg.say(self.number, &line) {
                failed_log = Some(fault);
            }
        };
        let mut call = ActionCall {
            version: self.version,
            inputs: self.inputs,
            env,
            workspace: Path::new(&leg.plan.workspace),
            sandbox: leg.sandbox,
            control: &control,
            stores: &stores,
            now: clock::now(),
            log: &mut log,
        };
        let acted = act(&mut call);
        if let Some(fault) = failed_log {
            return Err(fault);
        }
        acted.map_err(|error| {
            if control.is_cancelled() {
                StepFault::Cancelled
            } else {
                fault_of(&error)
            }
        })
    }
}

/// Starts the masking of a stream with all the secrets known by then, and those that are added meanwhile.
fn mask_stream(secrets: &LiveSecrets) -> MaskStream {
    let secrets = secrets.clone();
    let mut known = 0;
    let mut masker: Option<Masker> = None;
    Box::new(move |bytes, shown| {
        let (version, now) = secrets.now();
        let Some(now) = now else {
            return Err(io::Error::other(
                "a secret could not be masked, so nothing is kept",
            ));
        };
        let masker = masker.get_or_insert_with(|| Masker::new(&now));
        if version != known {
            known = version;
            masker.set_secrets(&now);
        }
        match bytes {
            Some(bytes) => masker.push(bytes, shown),
            None => masker.finish(shown),
        }
        Ok(())
    })
}

/// An action's own failure is a verdict; a box that does not answer is not.
fn fault_of(error: &ActionError) -> StepFault {
    match error {
        ActionError::Box(error) => match box_trouble(error) {
            // A path that is not there is what the step asked for.
            StepFault::Trouble(_, why)
                if matches!(error, gantry_adapters::engine::SandboxError::Path { .. }) =>
            {
                StepFault::Failed(why)
            }
            fault => fault,
        },
        ActionError::Shell(ShellError::Ended { .. }) => {
            StepFault::Trouble(Trouble::Interrupted, chain(error))
        }
        other => StepFault::Failed(chain(other)),
    }
}

/// Writes an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let shown = inner.to_string();
        if !text.contains(&shown) {
            text = format!("{text}: {shown}");
        }
        cause = inner.source();
    }
    text
}

fn told(leg: &Leg<'_>, number: usize, fault: StepFault) -> Ran {
    let evidence = match &fault {
        StepFault::Failed(why) => {
            leg.say_error(number, why);
            vec![leg.masked(why)]
        }
        StepFault::TimedOut(_) | StepFault::Cancelled | StepFault::Trouble(..) => Vec::new(),
    };
    Ran {
        evidence,
        ..Ran::fault(fault)
    }
}

fn take_outcome(
    call: &StepCall<'_, '_>,
    (action, version, inputs): (&NativeAction, &str, Inputs),
    outcome: ActionOutcome,
) -> Ran {
    let ActionOutcome {
        outputs,
        env,
        path,
        state,
        matchers,
        post,
    } = outcome;
    let leg = call.leg;
    for matcher in matchers {
        match parse_matchers(matcher.0) {
            Ok(parsed) => {
                let mut state = leg.state();
                parsed
                    .into_iter()
                    .rev()
                    .for_each(|matcher| state.matchers.add(matcher));
                state.has_matchers = true;
            }
            Err(error) => super::uses::warn(call, error.to_string()),
        }
    }
    if let Some((when, step)) = post {
        let condition = match when {
            PostWhen::Always => None,
            PostWhen::Success => Some("success()".to_owned()),
            PostWhen::SuccessOr(variable) => Some(format!("success() || env.{variable} == 'true'")),
        };
        let native = NativePost {
            step,
            state,
            version: version.to_owned(),
            inputs,
        };
        leg.state().posts.push(Post {
            key: call.key(),
            name: format!("Post {}", call.name),
            condition: condition
                .map(|text| gantry_workflow::model::Spanned::new(text, gantry_workflow::model::Place::START)),
            kind: PostKind::Native(native),
            env: call.env.clone(),
            action: call.action.to_owned(),
            home: super::post::PostHome {
                file: action.name.to_owned(),
                ..Default::default()
            },
        });
    }
    Ran {
        effects: Effects {
            outputs,
            env,
            paths: path,
            ..Effects::default()
        },
        ..Ran::default()
    }
}
