//! JavaScript actions: main, and what runs before and after. Owns their variables and the order of their stages; runs
//! them with the box's own Node.js.

use gantry_workflow::model::{JavascriptAction, Text};

use super::leg::set_pair;
use super::post::{Post, PostHome, PostKind};
use super::stage::{Ran, StageCommand, process_env};
use super::step::StepCall;
use super::uses::Action;

/// Runs an action's main stage and notes its post stage.
pub(super) fn run_javascript(
    call: &StepCall<'_, '_>,
    action: &Action,
    runs: &JavascriptAction,
    inputs: &[(String, String)],
) -> Ran {
    if let Some(post) = &runs.post {
        call.leg.state().posts.push(Post {
            key: call.key(),
            name: format!("Post {}", call.name),
            condition: runs.post_condition.clone(),
            kind: PostKind::Command {
                words: node_words(action, post),
                inputs: inputs.to_vec(),
            },
            env: call.env.clone(),
            action: call.action.to_owned(),
            home: PostHome {
                file: action.file.path.clone(),
                path: action.path.display().to_string(),
                repository: action.repository.clone(),
                reference: action.reference.clone(),
            },
        });
    }
    run_node(call, action, &runs.main, inputs)
}

/// Runs one stage of an action.
pub(super) fn run_node(
    call: &StepCall<'_, '_>,
    action: &Action,
    script: &Text,
    inputs: &[(String, String)],
) -> Ran {
    let mut fields = call.fields();
    let path = action.path.display().to_string();
    fields.path = &path;
    fields.repository = &action.repository;
    fields.reference = &action.reference;
    let extra = stage_variables(call, inputs);
    let env = process_env(call.leg, &call.env, &fields, extra);
    let mut ran = call.stage().run(StageCommand {
        words: node_words(action, script),
        env,
        directory: &call.leg.plan.workspace,
        heading: Vec::new(),
    });
    let saved = std::mem::take(&mut ran.effects.saved);
    if !saved.is_empty() {
        let mut state = call.leg.state();
        let kept = state.saved.entry(call.key()).or_default();
        saved
            .into_iter()
            .for_each(|(name, value)| set_pair(kept, name, value));
    }
    ran
}

fn node_words(action: &Action, script: &Text) -> Vec<String> {
    vec![
        "node".to_owned(),
        action.path.join(&script.value).display().to_string(),
    ]
}

fn stage_variables(call: &StepCall<'_, '_>, inputs: &[(String, String)]) -> Vec<(String, String)> {
    let mut pairs = input_variables(inputs);
    let saved = call
        .leg
        .state()
        .saved
        .get(&call.key())
        .cloned()
        .unwrap_or_default();
    pairs.extend(state_variables(saved));
    pairs
}

/// Returns the variables that hand inputs to an action.
pub(super) fn input_variables(inputs: &[(String, String)]) -> Vec<(String, String)> {
    let name_of = |name: &str| format!("INPUT_{}", name.replace(' ', "_").to_uppercase());
    inputs
        .iter()
        .map(|(name, value)| (name_of(name), value.clone()))
        .collect()
}

/// Returns the variables that hand an action what an earlier stage of it saved.
pub(super) fn state_variables(saved: Vec<(String, String)>) -> impl Iterator<Item = (String, String)> {
    saved
        .into_iter()
        .map(|(name, value)| (format!("STATE_{name}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_variables_in_capitals_without_spaces() {
        let inputs = [
            ("fetch depth".to_owned(), "0".to_owned()),
            ("my-key".to_owned(), "x".to_owned()),
        ];
        let names: Vec<String> = input_variables(&inputs)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["INPUT_FETCH_DEPTH", "INPUT_MY-KEY"]);
    }
}
