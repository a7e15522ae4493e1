//! Steps from checked YAML. Owns ids, references and what may stand in a parallel block.

use super::fields;
use super::identifier::Identifiers;
use crate::model::place::{Faults, Spanned};
use crate::model::scalar::Scalar;
use crate::model::step::{RunStep, Step, StepKind, UsesStep};
use crate::model::uses::UsesRef;
use crate::model::yaml::{Node, NodeKind};

/// Reads the steps of a job or composite action.
pub(super) fn read_steps(node: &Node, faults: &mut Faults) -> Vec<Step> {
    let mut ids = Identifiers::default();
    fields::items(node)
        .iter()
        .filter_map(|item| read_step(item, &mut ids, faults))
        .collect()
}

fn read_step(node: &Node, ids: &mut Identifiers, faults: &mut Faults) -> Option<Step> {
    let id = fields::text(node, "id");
    if let Some(id) = &id
        && let Err(message) = ids.add(&id.value)
    {
        faults.add(id.place, message);
    }
    let kind = read_kind(node, id.as_ref(), ids, faults)?;
    let background = node
        .get("background")
        .filter(|_| fields::flag(node, "background"));
    Some(Step {
        place: node.place,
        id,
        name: fields::filled_text(node, "name"),
        condition: fields::filled_text(node, "if"),
        continue_on_error: fields::boolean(node, "continue-on-error"),
        timeout_minutes: fields::number(node, "timeout-minutes"),
        env: fields::text_map(node, "env"),
        background: background.map(|value| value.place),
        kind,
    })
}

fn read_kind(
    node: &Node,
    own_id: Option<&Spanned<String>>,
    ids: &mut Identifiers,
    faults: &mut Faults,
) -> Option<StepKind> {
    if let Some(script) = fields::text(node, "run") {
        return Some(StepKind::Run(RunStep {
            script,
            shell: fields::filled_text(node, "shell"),
            working_directory: fields::filled_text(node, "working-directory"),
        }));
    }
    if let Some(uses) = fields::text(node, "uses") {
        return match UsesRef::parse(&uses.value) {
            Ok(reference) => Some(StepKind::Uses(UsesStep {
                uses: Spanned::new(reference, uses.place),
                with: fields::text_map(node, "with"),
            })),
            Err(message) => {
                faults.add(uses.place, message);
                None
            }
        };
    }
    if node.get("wait").is_some() {
        let targets = fields::texts(node, "wait");
        for target in &targets {
            check_target(target, own_id, ids, faults);
        }
        return Some(StepKind::Wait(targets));
    }
    if let Some(value) = node.get("wait-all") {
        if matches!(value.kind, NodeKind::Scalar(Scalar::Boolean(false))) {
            faults.add(value.place, "The value of 'wait-all' must be true or omitted");
        }
        return Some(StepKind::WaitAll);
    }
    if let Some(target) = fields::text(node, "cancel") {
        check_target(&target, own_id, ids, faults);
        return Some(StepKind::Cancel(target));
    }
    if let Some(block) = node.get("parallel") {
        return Some(StepKind::Parallel(read_parallel(node, block, faults)));
    }
    faults.add(
        node.place,
        "Expected one of uses, run, wait, wait-all, cancel, or parallel to be defined",
    );
    None
}

fn read_parallel(step: &Node, block: &Node, faults: &mut Faults) -> Vec<Step> {
    for item in fields::items(block) {
        if item.get("background").is_some() {
            faults.add(
                step.place,
                "'background' is not allowed inside a parallel block. Steps in a parallel block are automatically run \
                 as background steps.",
            );
        }
        for key in ["wait", "wait-all", "cancel"] {
            if item.get(key).is_some() {
                faults.add(
                    step.place,
                    format!("'{key}' is not allowed inside a parallel block."),
                );
            }
        }
        if item.get("parallel").is_some() {
            faults.add(step.place, "Nested 'parallel' blocks are not allowed.");
        }
    }
    read_steps(block, faults)
}

fn check_target(
    target: &Spanned<String>,
    own_id: Option<&Spanned<String>>,
    ids: &Identifiers,
    faults: &mut Faults,
) {
    let id = &target.value;
    if id.starts_with("__") {
        let message = format!("The identifier '{id}' is invalid. IDs starting with '__' are reserved.");
        faults.add(target.place, message);
    } else if let Some(own) = own_id.filter(|own| own.value.eq_ignore_ascii_case(id)) {
        faults.add(
            target.place,
            format!("Step '{}' cannot reference itself", own.value),
        );
    } else if !ids.contains(id) {
        faults.add(target.place, format!("Step references unknown step ID '{id}'"));
    }
}
