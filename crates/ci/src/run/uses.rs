//! `uses` steps: which action is meant, where its files are, and what it is given. Owns finding and bringing; how each
//! kind runs is in `composite` and `javascript`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_adapters::engine::SandboxError;
use gantry_core::limits::ACTION_FILE_BYTES_MAX;
use gantry_core::queue::build::Trouble;
use gantry_workflow::command::AnnotationLevel;
use gantry_workflow::expression::actions;
use gantry_workflow::model::{ActionFile, ActionRuns, RemoteRef, UsesRef, UsesStep};

use super::composite::run_composite;
use super::evaluate::Evaluator;
use super::javascript::run_javascript;
use super::layout;
use super::leg::{Leg, remark};
use super::native::run_native;
use super::report::StepFault;
use super::scope::read_box_file;
use super::stage::{Ran, box_trouble};
use super::step::StepCall;
use crate::action::find_action;

/// An action whose files are in the box.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) file: Arc<ActionFile>,
    /// Its folder in the box.
    pub(super) path: PathBuf,
    /// `owner/name`; empty for a local action.
    pub(super) repository: String,
    /// The reference; empty for a local action.
    pub(super) reference: String,
}

/// Runs the action of a step.
pub(super) fn run_action(call: &StepCall<'_, '_>, uses: &UsesStep) -> Ran {
    let scope = call.scope();
    let evaluator = call.evaluator(&scope);
    let given = match evaluator.map(&uses.with, call.frame.places().other) {
        Ok(given) => given,
        Err(diagnostic) => return failed(call, format!("The template is not valid. {diagnostic}")),
    };
    if let UsesRef::Remote(remote) = &uses.uses.value {
        match find_action(&name_of(remote), &remote.reference) {
            Ok(Some(action)) => {
                if let Err(fault) = say_heading(call, uses, &given) {
                    return Ran::fault(fault);
                }
                return run_native(call, action, &remote.reference, &given);
            }
            Ok(None) => {}
            // A version that is not built in may still be mirrored.
            Err(refused) if !is_mirrored(call.leg, remote) => return failed(call, refused.to_string()),
            Err(_) => {}
        }
    }
    let found = match &uses.uses.value {
        UsesRef::Local { path } => local_action(call, path),
        UsesRef::Remote(remote) => remote_action(call.leg, remote),
        UsesRef::Docker { image } => Err(StepFault::Failed(format!(
            "docker://{image} needs a container inside the job's box, which boxes here do not have"
        ))),
    };
    let action = match found {
        Ok(action) => action,
        Err(StepFault::Failed(why)) => return failed(call, why),
        Err(fault) => return Ran::fault(fault),
    };
    let inputs = match inputs_of(call, &action.file, &given) {
        Ok(inputs) => inputs,
        Err(why) => return failed(call, why),
    };
    if let Err(fault) = say_heading(call, uses, &given) {
        return Ran::fault(fault);
    }
    match &action.file.runs {
        ActionRuns::Composite { steps } => run_composite(call, &action, steps, &inputs),
        ActionRuns::Javascript(runs) => run_javascript(call, &action, runs, &inputs),
        ActionRuns::Docker(_) => failed(
            call,
            format!(
                "{} runs in a container inside the job's box, which boxes here do not have",
                uses.uses.value
            ),
        ),
    }
}

/// Lets a step fail before anything of it ran.
pub(super) fn failed(call: &StepCall<'_, '_>, why: String) -> Ran {
    call.leg.say_error(call.number, &why);
    Ran {
        evidence: vec![call.leg.masked(&why)],
        ..Ran::fault(StepFault::Failed(why))
    }
}

fn say_heading(
    call: &StepCall<'_, '_>,
    uses: &UsesStep,
    given: &[(String, String)],
) -> Result<(), StepFault> {
    let mut lines = vec![format!("##[group]Run {}", uses.uses.value)];
    if !given.is_empty() {
        lines.push("with:".to_owned());
        lines.extend(given.iter().map(|(name, value)| format!("  {name}: {value}")));
    }
    lines.extend(super::script::shown_env(&call.env));
    lines.push("##[endgroup]".to_owned());
    call.leg.say(call.number, &lines.join("\n"))
}

/// Joins what is given with the defaults of what is not.
///
/// Errors: a default that cannot be evaluated.
pub(super) fn inputs_of(
    call: &StepCall<'_, '_>,
    file: &ActionFile,
    given: &[(String, String)],
) -> Result<Vec<(String, String)>, String> {
    let mut inputs = given.to_vec();
    let scope = call.scope();
    let evaluator = Evaluator {
        file: &file.path,
        scope: &scope,
    };
    for input in &file.inputs {
        let name = &input.name.value;
        let is_given = given.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if is_given {
            if let Some(message) = &input.deprecation {
                let message = format!(
                    "Input '{name}' has been deprecated with message: {}",
                    message.value
                );
                warn(call, message);
            }
            continue;
        }
        let value = match &input.default {
            Some(default) => evaluator
                .text(default, &actions::INPUT_DEFAULT)
                .map_err(|diagnostic| format!("The template is not valid. {diagnostic}"))?,
            None => String::new(),
        };
        inputs.push((name.clone(), value));
    }
    let is_known = |name: &str| {
        file.inputs
            .iter()
            .any(|input| input.name.value.eq_ignore_ascii_case(name))
    };
    let unknown: Vec<String> = given
        .iter()
        .filter(|(name, _)| !is_known(name))
        .map(|(name, _)| format!("'{name}'"))
        .collect();
    if !unknown.is_empty() {
        let valid: Vec<String> = file
            .inputs
            .iter()
            .map(|input| format!("'{}'", input.name.value))
            .collect();
        let (unknown, valid) = (unknown.join(", "), valid.join(", "));
        warn(
            call,
            format!("Unexpected input(s) {unknown}, valid inputs are [{valid}]"),
        );
    }
    Ok(inputs)
}

pub(super) fn warn(call: &StepCall<'_, '_>, message: String) {
    // A log that cannot be written ends the step by its own output.
    let _ = call.leg.say(call.number, &format!("##[warning]{message}"));
    call.leg
        .state()
        .annotate(remark(AnnotationLevel::Warning, message));
}

/// Returns the name of an action, without its reference.
pub(super) fn name_of(remote: &RemoteRef) -> String {
    match remote.path.as_str() {
        "" => format!("{}/{}", remote.owner, remote.repository),
        path => format!("{}/{}/{path}", remote.owner, remote.repository),
    }
}

fn is_mirrored(leg: &Leg<'_>, remote: &RemoteRef) -> bool {
    let found = leg
        .request
        .library
        .repository(&remote.owner, &remote.repository, &remote.reference);
    // A mirror that cannot be read is told by whoever brings the action.
    matches!(found, Ok(Some(_)) | Err(_))
}

/// The names an action file may have.
const FILE_NAMES: [&str; 2] = ["action.yml", "action.yaml"];

/// Finds an action in the workspace.
fn local_action(call: &StepCall<'_, '_>, path: &str) -> Result<Action, StepFault> {
    let leg = call.leg;
    let folder = Path::new(&leg.plan.workspace).join(path);
    for name in FILE_NAMES {
        let at = folder.join(name);
        match read_box_file(leg.sandbox, &at, ACTION_FILE_BYTES_MAX) {
            Ok(bytes) => {
                let shown = Path::new(path).join(name).display().to_string();
                let file = parse(&shown, &bytes)?;
                return Ok(Action {
                    file: Arc::new(file),
                    path: folder,
                    repository: String::new(),
                    reference: String::new(),
                });
            }
            Err(SandboxError::Path { .. }) => {}
            Err(error) => return Err(box_trouble(&error)),
        }
    }
    Err(StepFault::Failed(format!(
        "Can't find 'action.yml' or 'action.yaml' under '{}'. Did you forget to run actions/checkout before running \
         your local action?",
        folder.display()
    )))
}

fn parse(shown: &str, bytes: &[u8]) -> Result<ActionFile, StepFault> {
    ActionFile::parse(shown, &String::from_utf8_lossy(bytes)).map_err(|diagnostics| {
        let all: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        StepFault::Failed(format!("The action file is not valid. {}", all.join(", ")))
    })
}

/// Finds an action of another repository and brings the repository's files into the box, once a leg.
pub(super) fn remote_action(leg: &Leg<'_>, remote: &RemoteRef) -> Result<Action, StepFault> {
    let key = remote.to_string();
    // Held until the files are there, so that two steps do not bring them at once.
    let mut actions = leg
        .actions
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(action) = actions.get(&key) {
        return Ok(action.clone());
    }
    let parts = leg
        .request
        .library
        .repository(&remote.owner, &remote.repository, &remote.reference)
        .map_err(|why| StepFault::Trouble(Trouble::CouldNotStart, why))?;
    let Some(parts) = parts else {
        return Err(StepFault::Failed(format!(
            "Unable to resolve action `{remote}`: it is neither built in nor mirrored; run `gantry ci mirror {remote} PATH`"
        )));
    };
    let root = layout::action_root(remote);
    let folder = root.join(&remote.path);
    let mut file = None;
    for part in &parts {
        leg.sandbox
            .put_file(&root.join(&part.path), &part.bytes, part.mode)
            .map_err(|error| box_trouble(&error))?;
        let is_action = FILE_NAMES
            .iter()
            .any(|name| part.path == Path::new(&remote.path).join(name));
        if is_action && file.is_none() {
            file = Some(parse(&format!("{remote}/{}", part.path.display()), &part.bytes)?);
        }
    }
    let Some(file) = file else {
        return Err(StepFault::Failed(format!(
            "Can't find 'action.yml' or 'action.yaml' for action '{remote}'."
        )));
    };
    let action = Action {
        file: Arc::new(file),
        path: folder,
        repository: format!("{}/{}", remote.owner, remote.repository),
        reference: remote.reference.clone(),
    };
    actions.insert(key, action.clone());
    Ok(action)
}
