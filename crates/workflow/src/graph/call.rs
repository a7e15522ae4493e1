//! Calls of reusable workflows: how deep, how many, and whether what is passed is what is taken. Owns GitHub's limits and
//! messages; the called workflow's own run is a [`super::RunState`] like any other.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::{CallInterface, CallJob, Diagnostic, InputType, PassedSecrets, WorkflowRef};

/// How deep calls may nest, the first caller counted.
///
/// Source: GitHub's "Reusing workflow configurations", limitations.
pub const CALL_DEPTH_MAX: usize = 10;
/// How many different workflows one run may call.
///
/// Source: as above.
pub const CALLED_WORKFLOWS_MAX: usize = 50;

/// Where a run stands in its calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallStack {
    path: Vec<String>,
}

/// Why a workflow may not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFault {
    /// It is nested too deeply.
    #[error("Nested reusable workflow depth exceeded {CALL_DEPTH_MAX}.")]
    TooDeep,
    /// It calls itself, directly or not.
    #[error("The workflow '{0}' calls itself")]
    Loop(String),
    /// The run calls too many different ones.
    #[error("The run calls more than {CALLED_WORKFLOWS_MAX} different workflows")]
    TooMany,
}

impl CallStack {
    /// Starts with the workflow that an event started.
    pub fn new(caller: &str) -> CallStack {
        CallStack {
            path: vec![caller.to_string()],
        }
    }

    /// Goes into a called workflow; `called` holds all that the run calls, and gets this one too.
    ///
    /// Errors: a limit of GitHub's is passed, or the call goes in a circle.
    pub fn enter(&self, callee: &WorkflowRef, called: &mut BTreeSet<String>) -> Result<CallStack, CallFault> {
        let name = match callee {
            WorkflowRef::Local { path } => path.clone(),
            WorkflowRef::Remote(remote) => remote.to_string(),
        };
        if self.path.contains(&name) {
            return Err(CallFault::Loop(name));
        }
        if self.path.len() >= CALL_DEPTH_MAX {
            return Err(CallFault::TooDeep);
        }
        called.insert(name.clone());
        if called.len() > CALLED_WORKFLOWS_MAX {
            return Err(CallFault::TooMany);
        }
        let mut path = self.path.clone();
        path.push(name);
        Ok(CallStack { path })
    }
}

/// Holds what a job passes against what the called workflow takes; literal values against their types too.
pub fn check_call(file: &str, job: &CallJob, callee: &CallInterface) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut note = |place, message: String| {
        found.push(Diagnostic {
            file: file.to_string(),
            place,
            message,
        })
    };
    for input in callee.inputs.iter().filter(|input| input.required) {
        let name = &input.name.value;
        if !job
            .with
            .iter()
            .any(|(given, _)| given.value.eq_ignore_ascii_case(name))
        {
            note(
                job.uses.place,
                format!("Input {name} is required, but not provided while calling."),
            );
        }
    }
    for (name, value) in &job.with {
        match callee
            .inputs
            .iter()
            .find(|input| input.name.value.eq_ignore_ascii_case(&name.value))
        {
            None => {
                let name = &name.value;
                note(
                    value.place,
                    format!("Invalid input, {name} is not defined in the referenced workflow."),
                );
            }
            Some(input) if !fits(input.kind, &value.to_json()) => {
                note(
                    value.place,
                    format!("Unexpected value '{}'", value.scalar_text().unwrap_or_default()),
                );
            }
            Some(_) => {}
        }
    }
    if let PassedSecrets::Inherit = job.secrets {
        return found;
    }
    let given = match &job.secrets {
        PassedSecrets::Named(map) => map.pairs(),
        PassedSecrets::None | PassedSecrets::Inherit => &[],
    };
    for secret in callee.secrets.iter().filter(|secret| secret.required) {
        let name = &secret.name.value;
        if !given
            .iter()
            .any(|(given, _)| given.value.eq_ignore_ascii_case(name))
        {
            note(
                job.uses.place,
                format!("Secret {name} is required, but not provided while calling."),
            );
        }
    }
    for (name, value) in given {
        if !callee
            .secrets
            .iter()
            .any(|secret| secret.name.value.eq_ignore_ascii_case(&name.value))
        {
            let name = &name.value;
            note(
                value.place,
                format!("Invalid secret, {name} is not defined in the referenced workflow."),
            );
        }
    }
    found
}

/// Whether a written value may be of a type; expressions may be of any.
fn fits(kind: InputType, value: &Value) -> bool {
    match (kind, value) {
        (_, Value::String(text)) if text.contains("${{") => true,
        (InputType::Boolean, value) => value.is_boolean(),
        (InputType::Number, value) => value.is_number(),
        (InputType::String | InputType::Choice | InputType::Environment, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobKind, WorkflowFile};

    fn check(callee: &str, job: &str, expected: &[&str]) {
        let callee = format!("on:\n  workflow_call: {callee}\njobs:\n  x:\n    runs-on: x\n");
        let callee = WorkflowFile::parse("callee.yml", &callee).unwrap();
        let caller = format!("on: push\njobs:\n  c:\n    uses: ./callee.yml\n    {job}\n");
        let caller = WorkflowFile::parse("x.yml", &caller).unwrap();
        let JobKind::Call(job) = &caller.jobs[0].kind else {
            panic!("the job calls")
        };
        let found: Vec<String> = check_call("x.yml", job, callee.call().unwrap())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_passed_is_held_against_what_is_taken() {
        check("{inputs: {a: {type: string}}}", "with: {A: 1}", &[]);
        check(
            "{inputs: {a: {type: string, required: true}}}",
            "if: true",
            &["x.yml (Line: 4, Col: 11): Input a is required, but not provided while calling."],
        );
        check(
            "",
            "with: {b: x}",
            &["x.yml (Line: 5, Col: 15): Invalid input, b is not defined in the referenced workflow."],
        );
        check(
            "{inputs: {a: {type: boolean}, n: {type: number}}}",
            "with: {a: no-boolean, n: '${{ github.run_number }}'}",
            &["x.yml (Line: 5, Col: 15): Unexpected value 'no-boolean'"],
        );
        check("{secrets: {s: {required: true}}}", "secrets: inherit", &[]);
        check(
            "{secrets: {s: {required: true}}}",
            "secrets: {t: x}",
            &[
                "x.yml (Line: 4, Col: 11): Secret s is required, but not provided while calling.",
                "x.yml (Line: 5, Col: 18): Invalid secret, t is not defined in the referenced workflow.",
            ],
        );
    }

    #[test]
    fn calls_nest_ten_deep_and_never_in_circles() {
        let local = |n: usize| WorkflowRef::Local {
            path: format!("{n}.yml"),
        };
        let mut called = BTreeSet::new();
        let mut stack = CallStack::new("0.yml");
        for n in 1..CALL_DEPTH_MAX {
            stack = stack.enter(&local(n), &mut called).unwrap();
        }
        assert_eq!(stack.enter(&local(99), &mut called), Err(CallFault::TooDeep));
        assert_eq!(
            stack.enter(&local(3), &mut called),
            Err(CallFault::Loop("3.yml".into()))
        );
        let mut called = BTreeSet::new();
        let top = CallStack::new("top.yml");
        for n in 0..CALLED_WORKFLOWS_MAX {
            top.enter(&local(n), &mut called).unwrap();
        }
        assert_eq!(top.enter(&local(0), &mut called).map(|_| ()), Ok(()));
        assert_eq!(top.enter(&local(100), &mut called), Err(CallFault::TooMany));
    }
}
