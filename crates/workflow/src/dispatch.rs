//! The inputs of a workflow that somebody starts by hand or another workflow calls. Owns defaults, types and GitHub's
//! messages; must never ask anybody.

use serde_json::Value;

use crate::model::{InputDefinition, InputType, OrExpression};

/// Why inputs are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputFault {
    /// An input that must be given is not.
    #[error("Required input '{0}' not provided")]
    Missing(String),
    /// Inputs are given that nobody defined.
    #[error("Unexpected inputs provided: {0:?}")]
    Unexpected(Vec<String>),
    /// A value is none of the options.
    #[error("Provided value '{value}' for input '{name}' not in the list of allowed values")]
    NotAnOption {
        /// The input.
        name: String,
        /// The value.
        value: String,
    },
    /// A value is not of the input's type.
    #[error("Provided value '{value}' for input '{name}' is not a {kind}")]
    WrongType {
        /// The input.
        name: String,
        /// The value.
        value: String,
        /// The type.
        kind: &'static str,
    },
}

/// Where an input's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum InputValue {
    /// The value itself, in the type of the input.
    Ready(Value),
    /// A default that an expression makes; the caller evaluates it in the called workflow's contexts.
    Default(String),
}

/// Fits the values given as text, as people and the API give them, to the inputs of `workflow_dispatch`.
///
/// Shape: every defined input once, in the order of the file. Numbers become numbers and booleans booleans in `inputs`;
/// in `github.event.inputs` all are texts, which the caller has.
/// Errors: everything that does not fit.
pub fn resolve_dispatch_inputs(
    definitions: &[InputDefinition],
    given: &[(String, String)],
) -> Result<Vec<(String, InputValue)>, Vec<InputFault>> {
    let typed: Vec<(String, Value)> = given
        .iter()
        .map(|(name, text)| (name.clone(), Value::String(text.clone())))
        .collect();
    resolve(definitions, &typed, true)
}

/// Fits evaluated values to the inputs of `workflow_call`.
///
/// Shape: as [`resolve_dispatch_inputs`]; a text is not taken for a boolean or number here.
/// Errors: everything that does not fit.
pub fn resolve_call_inputs(
    definitions: &[InputDefinition],
    given: &[(String, Value)],
) -> Result<Vec<(String, InputValue)>, Vec<InputFault>> {
    resolve(definitions, given, false)
}

fn resolve(
    definitions: &[InputDefinition],
    given: &[(String, Value)],
    from_text: bool,
) -> Result<Vec<(String, InputValue)>, Vec<InputFault>> {
    let mut faults = Vec::new();
    let unexpected: Vec<String> = given
        .iter()
        .filter(|(name, _)| {
            !definitions
                .iter()
                .any(|input| input.name.value.eq_ignore_ascii_case(name))
        })
        .map(|(name, _)| name.clone())
        .collect();
    if !unexpected.is_empty() {
        faults.push(InputFault::Unexpected(unexpected));
    }
    let mut values = Vec::with_capacity(definitions.len());
    for input in definitions {
        let name = input.name.value.clone();
        let found = given
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(&name))
            .map(|(_, value)| value);
        match resolve_one(input, found, from_text) {
            Ok(value) => values.push((name, value)),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        Ok(values)
    } else {
        Err(faults)
    }
}

fn resolve_one(
    input: &InputDefinition,
    given: Option<&Value>,
    from_text: bool,
) -> Result<InputValue, InputFault> {
    // An empty field of the form is a field that was left out.
    let given = given.filter(|value| !(from_text && value.as_str() == Some("")));
    if let Some(value) = given {
        return coerce(input, value, from_text).map(InputValue::Ready);
    }
    match &input.default {
        Some(default) => match &default.value {
            OrExpression::Expression(text) => Ok(InputValue::Default(text.clone())),
            OrExpression::Literal(literal) => coerce(input, &literal.to_json(), true).map(InputValue::Ready),
        },
        None if input.required => Err(InputFault::Missing(input.name.value.clone())),
        None => Ok(InputValue::Ready(nothing_of(input))),
    }
}

/// What an input is that nobody gave and that has no default.
fn nothing_of(input: &InputDefinition) -> Value {
    match input.kind {
        InputType::Boolean => Value::Bool(false),
        InputType::Number => Value::from(0),
        // The form preselects the first option.
        InputType::Choice => Value::String(input.options.first().cloned().unwrap_or_default()),
        InputType::String | InputType::Environment => Value::String(String::new()),
    }
}

fn coerce(input: &InputDefinition, value: &Value, from_text: bool) -> Result<Value, InputFault> {
    let text = text_of(value);
    let wrong = |kind| InputFault::WrongType {
        name: input.name.value.clone(),
        value: text.clone(),
        kind,
    };
    match (input.kind, value) {
        (InputType::Boolean, Value::Bool(_)) | (InputType::Number, Value::Number(_)) => Ok(value.clone()),
        (InputType::Boolean, Value::String(text)) if from_text => match text.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(wrong("boolean")),
        },
        (InputType::Number, Value::String(text)) if from_text => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(crate::model::Scalar::Number(number).to_json()),
            _ => Err(wrong("number")),
        },
        (InputType::Boolean, _) => Err(wrong("boolean")),
        (InputType::Number, _) => Err(wrong("number")),
        (InputType::Choice, _) if !input.options.contains(&text) => Err(InputFault::NotAnOption {
            name: input.name.value.clone(),
            value: text,
        }),
        (
            InputType::Choice | InputType::String | InputType::Environment,
            Value::Array(_) | Value::Object(_),
        ) => Err(wrong("string")),
        (InputType::Choice | InputType::String | InputType::Environment, _) => Ok(Value::String(text)),
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number
            .as_f64()
            .map_or_else(|| number.to_string(), crate::model::number_text),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::WorkflowFile;

    const INPUTS: &str = "{name: {required: true}, dry: {type: boolean, default: true}, count: {type: number}, \
                          level: {type: choice, options: [info, debug]}, where: {type: environment, default: x}}";

    fn dispatch(given: &[(&str, &str)]) -> Result<Value, Vec<String>> {
        let text = format!("on: {{workflow_dispatch: {{inputs: {INPUTS}}}}}\njobs:\n  b:\n    runs-on: x\n");
        let file = WorkflowFile::parse("x.yml", &text).unwrap();
        let given: Vec<(String, String)> = given
            .iter()
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect();
        resolve_dispatch_inputs(file.dispatch_inputs().unwrap(), &given)
            .map(|values| {
                values
                    .into_iter()
                    .map(|(name, value)| match value {
                        InputValue::Ready(value) => (name, value),
                        InputValue::Default(text) => (name, json!({ "expression": text })),
                    })
                    .collect()
            })
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn inputs_take_their_types_and_defaults() {
        let expected = json!({"name": "n", "dry": true, "count": 0, "level": "info", "where": "x"});
        assert_eq!(dispatch(&[("name", "n")]), Ok(expected));
        let given = [
            ("NAME", "n"),
            ("dry", "false"),
            ("count", "1.5"),
            ("level", "debug"),
            ("where", "prod"),
        ];
        let expected = json!({"name": "n", "dry": false, "count": 1.5, "level": "debug", "where": "prod"});
        assert_eq!(dispatch(&given), Ok(expected));
    }

    #[test]
    fn inputs_that_do_not_fit_are_all_named() {
        let said = dispatch(&[
            ("dry", "maybe"),
            ("count", "many"),
            ("level", "loud"),
            ("other", "x"),
        ]);
        let expected = [
            "Unexpected inputs provided: [\"other\"]",
            "Required input 'name' not provided",
            "Provided value 'maybe' for input 'dry' is not a boolean",
            "Provided value 'many' for input 'count' is not a number",
            "Provided value 'loud' for input 'level' not in the list of allowed values",
        ];
        assert_eq!(said, Err(expected.map(String::from).to_vec()));
    }

    #[test]
    fn a_call_passes_values_of_the_right_type_and_defaults_may_be_expressions() {
        let text = "on: {workflow_call: {inputs: {b: {type: boolean}, s: {type: string, default: '${{ github.ref }}'}}}}\n\
                    jobs:\n  b:\n    runs-on: x\n";
        let file = WorkflowFile::parse("x.yml", text).unwrap();
        let inputs = &file.call().unwrap().inputs;
        let ready = resolve_call_inputs(inputs, &[("b".into(), json!(true))]);
        let expected = vec![
            ("b".to_string(), InputValue::Ready(json!(true))),
            ("s".to_string(), InputValue::Default("${{ github.ref }}".into())),
        ];
        assert_eq!(ready, Ok(expected));
        let wrong = resolve_call_inputs(inputs, &[("b".into(), json!("true"))]).unwrap_err();
        assert_eq!(
            wrong[0].to_string(),
            "Provided value 'true' for input 'b' is not a boolean"
        );
    }
}
