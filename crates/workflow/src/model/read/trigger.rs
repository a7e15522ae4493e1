//! What stands under `on`, from checked YAML. Owns events, filters, schedules and inputs.

use super::cron::{INVALID_CRON, is_valid_cron};
use super::fields;
use crate::model::place::{Faults, Place, Spanned};
use crate::model::scalar::Scalar;
use crate::model::schema::EventRule;
use crate::model::text::OrExpression;
use crate::model::workflow::{
    CallInterface, Cron, EventFilter, InputDefinition, InputType, SecretDefinition, Trigger, TriggerKind,
};
use crate::model::yaml::{Node, NodeKind};

/// The most inputs `workflow_dispatch` may have.
///
/// Source: GitHub's documented limit.
const DISPATCH_INPUTS_MAX: usize = 25;

/// Reads `on`.
pub(super) fn read_triggers(on: Option<&Node>, root: Place, faults: &mut Faults) -> Vec<Trigger> {
    let triggers: Vec<Trigger> = match on.map(|on| (&on.kind, on)) {
        Some((NodeKind::Mapping(pairs), _)) => pairs
            .iter()
            .map(|(key, value)| read_trigger(fields::name_of(key), Some(value), faults))
            .collect(),
        Some((_, on)) => fields::texts_of(on)
            .into_iter()
            .filter(|event| !event.value.is_empty())
            .map(|event| read_trigger(event, None, faults))
            .collect(),
        None => Vec::new(),
    };
    if triggers.is_empty() {
        faults.add(
            on.map_or(root, |on| on.place),
            "No event triggers defined in `on`",
        );
    }
    triggers
}

/// Lists the keys under `on` that GitHub reads over.
pub(super) fn ignored_keys(on: &Node) -> Vec<Spanned<String>> {
    let dispatch = on.get("workflow_dispatch").map(fields::pairs).unwrap_or_default();
    dispatch
        .iter()
        .map(|(key, _)| fields::name_of(key))
        .filter(|name| name.value != "inputs")
        .collect()
}

fn read_trigger(event: Spanned<String>, value: Option<&Node>, faults: &mut Faults) -> Trigger {
    if EventRule::find(&event.value).is_none() {
        faults.add(event.place, format!("Unexpected value '{}'", event.value));
    }
    let null = Node {
        kind: NodeKind::Scalar(Scalar::Null),
        place: event.place,
    };
    let node = value.unwrap_or(&null);
    let kind = match event.value.as_str() {
        "schedule" => TriggerKind::Schedule(read_schedule(node, faults)),
        "workflow_dispatch" => {
            let inputs = read_inputs(node, faults);
            if inputs.len() > DISPATCH_INPUTS_MAX {
                let message = format!(
                    "you may only define up to {DISPATCH_INPUTS_MAX} `inputs` for a `workflow_dispatch` event"
                );
                faults.add(node.place, message);
            }
            TriggerKind::Dispatch(inputs)
        }
        "workflow_call" => TriggerKind::Call(CallInterface {
            inputs: read_inputs(node, faults),
            secrets: node.get("secrets").map(read_secrets).unwrap_or_default(),
            outputs: node.get("outputs").map(read_outputs).unwrap_or_default(),
        }),
        _ => TriggerKind::Filtered(read_filter(&event, node, faults)),
    };
    Trigger { event, kind }
}

fn read_filter(event: &Spanned<String>, node: &Node, faults: &mut Faults) -> EventFilter {
    let list = |key: &str| node.get(key).map(fields::texts_of);
    for (key, ignored) in [
        ("branches", "branches-ignore"),
        ("tags", "tags-ignore"),
        ("paths", "paths-ignore"),
    ] {
        if node.get(key).is_some()
            && let Some(second) = node.get(ignored)
        {
            let message = format!(
                "you may only define one of `{key}` and `{ignored}` for a single event, and `{}` has both",
                event.value
            );
            faults.add(second.place, message);
        }
    }
    EventFilter {
        types: list("types"),
        branches: list("branches"),
        branches_ignore: list("branches-ignore"),
        tags: list("tags"),
        tags_ignore: list("tags-ignore"),
        paths: list("paths"),
        paths_ignore: list("paths-ignore"),
        workflows: list("workflows"),
    }
}

fn read_schedule(node: &Node, faults: &mut Faults) -> Vec<Cron> {
    let mut schedule = Vec::new();
    for item in fields::items(node) {
        let Some(cron) = fields::text(item, "cron") else {
            continue;
        };
        if !is_valid_cron(&cron.value) {
            faults.add(cron.place, INVALID_CRON);
        }
        schedule.push(Cron {
            cron,
            timezone: fields::text(item, "timezone"),
        });
    }
    schedule
}

fn read_inputs(node: &Node, faults: &mut Faults) -> Vec<InputDefinition> {
    let Some(inputs) = node.get("inputs") else {
        return Vec::new();
    };
    fields::pairs(inputs)
        .iter()
        .map(|(key, value)| read_input(fields::name_of(key), value, faults))
        .collect()
}

fn read_input(name: Spanned<String>, node: &Node, faults: &mut Faults) -> InputDefinition {
    let kind = match fields::text(node, "type")
        .as_ref()
        .map(|kind| kind.value.as_str())
    {
        Some("boolean") => InputType::Boolean,
        Some("number") => InputType::Number,
        Some("choice") => InputType::Choice,
        Some("environment") => InputType::Environment,
        _ => InputType::String,
    };
    let options: Vec<String> = fields::texts(node, "options")
        .into_iter()
        .map(|option| option.value)
        .collect();
    match kind {
        InputType::Choice if options.is_empty() => {
            faults.add(node.place, "Missing 'options' for choice input");
        }
        InputType::String | InputType::Boolean | InputType::Number | InputType::Environment
            if node.get("options").is_some() =>
        {
            faults.add(node.place, "Input type is not 'choice', but 'options' is defined");
        }
        _ => {}
    }
    let default = node.get("default").and_then(|node| {
        let NodeKind::Scalar(scalar) = &node.kind else {
            return None;
        };
        let value = match scalar {
            Scalar::Text(text) if text.contains("${{") => OrExpression::Expression(text.clone()),
            literal => OrExpression::Literal(literal.clone()),
        };
        Some(Spanned::new(value, node.place))
    });
    if let Some(Spanned {
        value: OrExpression::Literal(literal),
        place,
    }) = &default
    {
        check_default(kind, literal, &options, *place, faults);
    }
    InputDefinition {
        name,
        kind,
        required: fields::flag(node, "required"),
        default,
        options,
        description: fields::text(node, "description").map(|text| text.value),
    }
}

fn check_default(kind: InputType, literal: &Scalar, options: &[String], place: Place, faults: &mut Faults) {
    let fits = match (kind, literal) {
        (InputType::Boolean, Scalar::Boolean(_)) | (InputType::Number, Scalar::Number(_)) => true,
        // Quoted numbers and booleans are read as what they say.
        (InputType::Boolean, Scalar::Text(text)) => matches!(text.as_str(), "true" | "false" | ""),
        (InputType::Number, Scalar::Text(text)) => text.is_empty() || text.trim().parse::<f64>().is_ok(),
        (InputType::Boolean | InputType::Number, _) => matches!(literal, Scalar::Null),
        (InputType::Choice, _) => options.is_empty() || options.contains(&literal.to_text()),
        (InputType::String | InputType::Environment, _) => true,
    };
    if !fits {
        faults.add(place, format!("Unexpected value '{}'", literal.to_text()));
    }
}

fn read_secrets(node: &Node) -> Vec<SecretDefinition> {
    fields::pairs(node)
        .iter()
        .map(|(key, value)| SecretDefinition {
            name: fields::name_of(key),
            required: fields::flag(value, "required"),
        })
        .collect()
}

fn read_outputs(node: &Node) -> Vec<(Spanned<String>, Spanned<String>)> {
    fields::pairs(node)
        .iter()
        .filter_map(|(key, value)| Some((fields::name_of(key), fields::text(value, "value")?)))
        .collect()
}
