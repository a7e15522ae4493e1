//! An action file from text. Owns what the tables cannot express: which keys go with which `using`.

use super::fields;
use super::step::read_steps;
use crate::model::action::{
    ActionFile, ActionInput, ActionOutput, ActionRuns, DockerAction, DockerImage, JavascriptAction,
};
use crate::model::place::{Diagnostic, Faults, Spanned};
use crate::model::schema::{ACTION, check_node};
use crate::model::text::Text;
use crate::model::yaml::{Node, read_yaml};

/// Reads an action file.
pub(in crate::model) fn read_action(path: &str, text: &str) -> Result<ActionFile, Vec<Diagnostic>> {
    let mut faults = Faults::new(path);
    let Some(root) = read_yaml(text, &mut faults) else {
        return Err(faults.into_diagnostics());
    };
    check_node(&root, &ACTION, &mut faults);
    if !faults.is_empty() {
        return Err(faults.into_diagnostics());
    }
    let runs = root.get("runs").and_then(|runs| read_runs(runs, &mut faults));
    match runs {
        Some(runs) if faults.is_empty() => Ok(ActionFile {
            path: path.to_string(),
            name: fields::filled_text(&root, "name"),
            description: fields::filled_text(&root, "description"),
            inputs: root.get("inputs").map(read_inputs).unwrap_or_default(),
            outputs: root.get("outputs").map(read_outputs).unwrap_or_default(),
            runs,
            expression_keys: root.expression_keys(),
        }),
        _ => Err(faults.into_diagnostics()),
    }
}

fn read_inputs(node: &Node) -> Vec<ActionInput> {
    fields::pairs(node)
        .iter()
        .map(|(key, value)| ActionInput {
            name: fields::name_of(key),
            // Written in quotes, `required` still means what it says.
            required: fields::text(value, "required")
                .is_some_and(|text| text.value.eq_ignore_ascii_case("true")),
            default: fields::text(value, "default"),
            deprecation: fields::filled_text(value, "deprecationMessage"),
        })
        .collect()
}

fn read_outputs(node: &Node) -> Vec<ActionOutput> {
    fields::pairs(node)
        .iter()
        .map(|(key, value)| ActionOutput {
            name: fields::name_of(key),
            value: fields::text(value, "value"),
        })
        .collect()
}

fn read_runs(node: &Node, faults: &mut Faults) -> Option<ActionRuns> {
    let using = fields::text(node, "using")?;
    let found = match using.value.as_str() {
        "composite" => node.get("steps").map(|steps| ActionRuns::Composite {
            steps: read_steps(steps, faults),
        }),
        "docker" => fields::text(node, "image").map(|image| ActionRuns::Docker(read_docker(node, image))),
        _ => {
            fields::text(node, "main").map(|main| ActionRuns::Javascript(read_javascript(node, &using, main)))
        }
    };
    if found.is_none() {
        let missing = match using.value.as_str() {
            "composite" => "steps",
            "docker" => "image",
            _ => "main",
        };
        faults.add(node.place, format!("Required property is missing: {missing}"));
    }
    found
}

fn read_javascript(node: &Node, using: &Text, main: Text) -> JavascriptAction {
    JavascriptAction {
        node: Spanned::new(using.value.trim_start_matches("node").to_string(), using.place),
        main,
        pre: fields::text(node, "pre"),
        pre_condition: fields::filled_text(node, "pre-if"),
        post: fields::text(node, "post"),
        post_condition: fields::filled_text(node, "post-if"),
    }
}

fn read_docker(node: &Node, image: Text) -> DockerAction {
    let image = image.map(|text| match text.strip_prefix("docker://") {
        Some(name) => DockerImage::Registry(name.to_string()),
        None => DockerImage::Dockerfile(text),
    });
    DockerAction {
        image,
        entrypoint: fields::text(node, "entrypoint"),
        pre_entrypoint: fields::text(node, "pre-entrypoint"),
        pre_condition: fields::filled_text(node, "pre-if"),
        post_entrypoint: fields::text(node, "post-entrypoint"),
        post_condition: fields::filled_text(node, "post-if"),
        args: fields::texts(node, "args"),
        env: fields::text_map(node, "env"),
    }
}
