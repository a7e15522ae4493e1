//! Evaluates a syntax tree. Owns the order in which operands are asked for, and the memory they take; what the
//! outside knows it asks of the scope.

use std::cmp::Ordering;
use std::sync::Arc;

use super::compare::{equal, fold, order};
use super::error::{EvaluationError, EvaluationErrorKind};
use super::format::{Piece, pieces};
use super::function::Function;
use super::json;
use super::memory::{Counter, Memory, MemoryExceeded, value_bytes};
use super::scope::{FileHashRequest, Scope, Status};
use super::tree::{Comparison, Expression, NodeId, NodeKind};
use super::value::{Array, Value};

/// Evaluates an expression.
pub(super) fn evaluate<S: Scope + ?Sized>(
    expression: &Expression,
    scope: &S,
    memory_bytes_max: usize,
) -> Result<Value, EvaluationError> {
    let Some(root) = expression.root else {
        return Ok(Value::Null);
    };
    let mut evaluator = Evaluator {
        expression,
        scope,
        memory: Memory::new(memory_bytes_max),
        memory_bytes_max,
    };
    evaluator.node(root, 0)
}

struct Evaluator<'a, S: ?Sized> {
    expression: &'a Expression,
    scope: &'a S,
    memory: Memory,
    memory_bytes_max: usize,
}

/// A node, and how deep it is in the tree.
#[derive(Clone, Copy)]
struct At {
    id: NodeId,
    level: usize,
}

impl<'a, S: Scope + ?Sized> Evaluator<'a, S> {
    /// Evaluates a node and counts the memory of its value.
    fn node(&mut self, id: NodeId, level: usize) -> Result<Value, EvaluationError> {
        let at = At { id, level };
        let expression = self.expression;
        let kind = &expression.nodes[id].kind;
        let mut bytes = None;
        let value = match kind {
            NodeKind::Literal(value) => value.clone(),
            NodeKind::Context(name) => self.scope.context(name).unwrap_or(Value::Null),
            // Only a wildcard that is more than an index comes here, as in `a[* && b]`.
            NodeKind::Wildcard => Value::text("*"),
            NodeKind::Not(operand) => Value::Bool(!self.node(*operand, level + 1)?.truthy()),
            NodeKind::And(operands) => self.first(operands, at, false)?,
            NodeKind::Or(operands) => self.first(operands, at, true)?,
            NodeKind::Compare(comparison, left, right) => {
                let left = self.node(*left, level + 1)?;
                let right = self.node(*right, level + 1)?;
                Value::Bool(compare(*comparison, &left, &right))
            }
            NodeKind::Index(of, by) => {
                let (value, counted) = self.index(*of, *by, at)?;
                bytes = counted;
                value
            }
            NodeKind::Call(function, arguments) => self.call(*function, arguments, at)?,
        };
        // What comes out of a context or of JSON is counted twice by GitHub: as it is kept, and as it is read.
        let is_kept = matches!(
            kind,
            NodeKind::Context(_) | NodeKind::Index(..) | NodeKind::Call(Function::FromJson, _)
        );
        let kept = if is_kept && value.is_primitive() {
            value_bytes(&Value::Null)
        } else {
            0
        };
        let bytes = bytes.unwrap_or_else(|| value_bytes(&value)) + kept;
        let added = self.memory.add(level, bytes, value.is_primitive() && !is_kept);
        added.map_err(|MemoryExceeded| self.memory_error(at, expression.to_string()))?;
        Ok(value)
    }

    fn error(&self, at: At, kind: EvaluationErrorKind) -> EvaluationError {
        EvaluationError {
            kind,
            expression: Arc::clone(&self.expression.text),
            offset: self.expression.nodes[at.id].offset,
        }
    }

    fn memory_error(&self, at: At, expression: String) -> EvaluationError {
        self.error(at, EvaluationErrorKind::Memory(expression))
    }

    fn counter(&self) -> Counter {
        Counter::new(self.memory_bytes_max)
    }

    /// Says that the function at `at` needs too much.
    fn exceeded(&self, at: At) -> impl Fn(MemoryExceeded) -> EvaluationError + use<'_, 'a, S> {
        move |MemoryExceeded| self.memory_error(at, self.expression.canonical(at.id))
    }

    /// Returns the first operand that is as true as `wanted`, or the last; those behind it are not asked for.
    fn first(&mut self, operands: &[NodeId], at: At, wanted: bool) -> Result<Value, EvaluationError> {
        let mut value = Value::Null;
        for operand in operands {
            value = self.node(*operand, at.level + 1)?;
            if value.truthy() == wanted {
                break;
            }
        }
        Ok(value)
    }

    /// Returns what an index finds, and the memory of the list if it made one.
    fn index(&mut self, of: NodeId, by: NodeId, at: At) -> Result<(Value, Option<usize>), EvaluationError> {
        let collection = self.node(of, at.level + 1)?;
        let is_wildcard = matches!(self.expression.nodes[by].kind, NodeKind::Wildcard);
        if collection.is_primitive() {
            let nothing = if is_wildcard {
                Value::Array(Array::filtered(Vec::new()))
            } else {
                Value::Null
            };
            return Ok((nothing, None));
        }
        let index = self.node(by, at.level + 1)?;
        let mut found = Vec::new();
        let is_filtered = matches!(&collection, Value::Array(array) if array.is_filtered());
        match &collection {
            Value::Array(array) if array.is_filtered() => {
                for item in array.items() {
                    select(item, &index, is_wildcard, &mut found);
                }
            }
            _ => select(&collection, &index, is_wildcard, &mut found),
        }
        if !is_wildcard && !is_filtered {
            return Ok((found.pop().unwrap_or(Value::Null), None));
        }
        let mut counter = self.counter();
        for _ in &found {
            counter.add_reference().map_err(self.exceeded(at))?;
        }
        Ok((Value::Array(Array::filtered(found)), Some(counter.bytes())))
    }

    fn call(&mut self, function: Function, arguments: &[NodeId], at: At) -> Result<Value, EvaluationError> {
        match function {
            Function::Case => self.case(arguments, at),
            Function::Contains => self.contains(arguments, at),
            Function::StartsWith => self.affix(arguments, at, |text, start| text.starts_with(start)),
            Function::EndsWith => self.affix(arguments, at, |text, end| text.ends_with(end)),
            Function::Format => self.format(arguments, at),
            Function::Join => self.join(arguments, at),
            Function::ToJson => {
                let value = self.node(arguments[0], at.level + 1)?;
                let text = json::write_within(&value, self.counter());
                Ok(Value::text(text.map_err(self.exceeded(at))?))
            }
            Function::FromJson => {
                let text = self.node(arguments[0], at.level + 1)?.to_text();
                json::parse(&text).map_err(|reason| self.error(at, EvaluationErrorKind::Json(reason)))
            }
            Function::HashFiles => self.hash_files(arguments, at),
            Function::Always => Ok(Value::Bool(true)),
            Function::Success => self.status(Status::Success, arguments, at),
            Function::Failure => self.status(Status::Failure, arguments, at),
            Function::Cancelled => self.status(Status::Cancelled, arguments, at),
        }
    }

    fn case(&mut self, arguments: &[NodeId], at: At) -> Result<Value, EvaluationError> {
        let (pairs, default) = arguments.as_chunks::<2>();
        for [predicate, value] in pairs {
            match self.node(*predicate, at.level + 1)? {
                Value::Bool(true) => return self.node(*value, at.level + 1),
                Value::Bool(false) => {}
                _ => return Err(self.error(at, EvaluationErrorKind::CasePredicate)),
            }
        }
        self.node(default[0], at.level + 1)
    }

    fn contains(&mut self, arguments: &[NodeId], at: At) -> Result<Value, EvaluationError> {
        let within = self.node(arguments[0], at.level + 1)?;
        let found = match &within {
            Value::Object(_) => false,
            Value::Array(array) if array.items().is_empty() => false,
            Value::Array(array) => {
                let item = self.node(arguments[1], at.level + 1)?;
                array.items().iter().any(|each| equal(&item, each))
            }
            _ => {
                let item = self.node(arguments[1], at.level + 1)?;
                item.is_primitive() && fold(&within.to_text()).contains(&fold(&item.to_text()))
            }
        };
        Ok(Value::Bool(found))
    }

    fn affix(
        &mut self,
        arguments: &[NodeId],
        at: At,
        holds: fn(&str, &str) -> bool,
    ) -> Result<Value, EvaluationError> {
        let text = self.node(arguments[0], at.level + 1)?;
        if !text.is_primitive() {
            return Ok(Value::Bool(false));
        }
        let affix = self.node(arguments[1], at.level + 1)?;
        let found = affix.is_primitive() && holds(&fold(&text.to_text()), &fold(&affix.to_text()));
        Ok(Value::Bool(found))
    }

    fn format(&mut self, arguments: &[NodeId], at: At) -> Result<Value, EvaluationError> {
        let format = self.node(arguments[0], at.level + 1)?.to_text();
        let values = &arguments[1..];
        let pieces = pieces(&format, values.len()).map_err(|kind| self.error(at, kind))?;
        let mut counter = self.counter();
        // An argument is evaluated when it is first shown, so one that is not shown cannot fail.
        let mut shown: Vec<Option<Value>> = vec![None; values.len()];
        let mut out = String::new();
        for piece in pieces {
            let (place, specifiers) = match piece {
                Piece::Text("") => continue,
                Piece::Text(text) => {
                    counter.add_text(text).map_err(self.exceeded(at))?;
                    out.push_str(text);
                    continue;
                }
                Piece::Argument(place, specifiers) => (usize::from(place), specifiers),
            };
            let value = match &shown[place] {
                Some(value) => value.clone(),
                None => self.node(values[place], at.level + 1)?,
            };
            if !specifiers.is_empty() {
                let kind = kind_name(&value);
                return Err(self.error(at, EvaluationErrorKind::FormatSpecifiers { specifiers, kind }));
            }
            let text = value.to_text();
            if !text.is_empty() {
                counter.add_text(&text).map_err(self.exceeded(at))?;
                out.push_str(&text);
            }
            shown[place] = Some(value);
        }
        Ok(Value::text(out))
    }

    fn join(&mut self, arguments: &[NodeId], at: At) -> Result<Value, EvaluationError> {
        let array = match self.node(arguments[0], at.level + 1)? {
            Value::Array(array) => array,
            Value::Object(_) => return Ok(Value::text("")),
            primitive => return Ok(Value::String(primitive.to_text())),
        };
        let mut separator: Arc<str> = ",".into();
        // A separator that separates nothing is not asked for.
        if let (Some(given), true) = (arguments.get(1), array.items().len() > 1) {
            let given = self.node(*given, at.level + 1)?;
            if given.is_primitive() {
                separator = given.to_text();
            }
        }
        let mut counter = self.counter();
        let mut out = String::new();
        for (place, item) in array.items().iter().enumerate() {
            if place > 0 {
                counter.add_text(&separator).map_err(self.exceeded(at))?;
                out.push_str(&separator);
            }
            let text = item.to_text();
            counter.add_text(&text).map_err(self.exceeded(at))?;
            out.push_str(&text);
        }
        Ok(Value::text(out))
    }

    fn texts(&mut self, arguments: &[NodeId], at: At) -> Result<Vec<Arc<str>>, EvaluationError> {
        let mut texts = Vec::with_capacity(arguments.len());
        for argument in arguments {
            texts.push(self.node(*argument, at.level + 1)?.to_text());
        }
        Ok(texts)
    }

    fn status(&mut self, status: Status, arguments: &[NodeId], at: At) -> Result<Value, EvaluationError> {
        let jobs = self.texts(arguments, at)?;
        let jobs: Vec<&str> = jobs.iter().map(|job| &**job).collect();
        let holds = self.scope.status(status, &jobs);
        holds
            .map(Value::Bool)
            .map_err(|error| self.error(at, error.into()))
    }

    fn hash_files(&mut self, arguments: &[NodeId], at: At) -> Result<Value, EvaluationError> {
        let texts = self.texts(arguments, at)?;
        let mut patterns: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
        let has_option = patterns.first().is_some_and(|first| first.starts_with("--"));
        if has_option {
            let option = patterns.remove(0);
            if !option.eq_ignore_ascii_case("--follow-symbolic-links") {
                return Err(self.error(at, EvaluationErrorKind::GlobOption(option)));
            }
        }
        let request = FileHashRequest {
            patterns,
            follow_symbolic_links: has_option,
        };
        let hash = self.scope.hash_files(&request);
        hash.map(Value::from)
            .map_err(|error| self.error(at, error.into()))
    }
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> bool {
    match comparison {
        Comparison::Equal => equal(left, right),
        Comparison::NotEqual => !equal(left, right),
        Comparison::Greater => order(left, right) == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => order(left, right).is_some_and(Ordering::is_ge),
        Comparison::Less => order(left, right) == Some(Ordering::Less),
        Comparison::LessOrEqual => order(left, right).is_some_and(Ordering::is_le),
    }
}

/// Adds what an index finds in a collection: all of it for a wildcard, else one value or none.
fn select(collection: &Value, index: &Value, is_wildcard: bool, found: &mut Vec<Value>) {
    match collection {
        Value::Array(array) if is_wildcard => found.extend(array.items().iter().cloned()),
        Value::Array(array) => {
            found.extend(place(index).and_then(|place| array.items().get(place)).cloned());
        }
        Value::Object(object) if is_wildcard => {
            found.extend(object.entries().map(|(_, value)| value.clone()));
        }
        Value::Object(object) if index.is_primitive() => found.extend(object.get(&index.to_text()).cloned()),
        _ => {}
    }
}

/// Reads a value as a place in an array: its whole part, if that is one.
fn place(index: &Value) -> Option<usize> {
    let number = index.to_number();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is checked to be a place that an array of the runner can have"
    )]
    (number >= 0.0 && number.floor() <= f64::from(i32::MAX)).then_some(number as usize)
}

/// Returns the name of a value's kind as GitHub's messages have it.
fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(_) => "Number",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Object",
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixed_scope::FixedScope;
    use super::super::place::workflow::{JOB_IF, STEP_IF};
    use super::*;

    fn answer(text: &str) -> Result<String, String> {
        let scope = FixedScope::of([("env", r#"{"list": ["a", "b"], "object": {"x": {"y": 1}}}"#)]);
        let expression = Expression::parse(text, &STEP_IF).unwrap();
        let value = expression.evaluate(&scope);
        value
            .map(|value| value.to_json_text())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_needed_is_not_evaluated() {
        let check = |text: &str, expected: &str| assert_eq!(answer(text).as_deref(), Ok(expected), "{text}");
        check("false && fromJSON('')", "false");
        check("1 || fromJSON('')", "1");
        check("case(true, 1, fromJSON(''))", "1");
        check("format('x', fromJSON(''))", "\"x\"");
        check("startsWith(env, fromJSON(''))", "false");
        check("join(env.none, fromJSON(''))", "\"\"");
        check("contains(env.list.*.none, fromJSON(''))", "false");
        check("env.none[fromJSON('')]", "null");
    }

    #[test]
    fn a_context_without_a_value_is_null() {
        let check = |text: &str, expected: &str| assert_eq!(answer(text).as_deref(), Ok(expected), "{text}");
        check("matrix", "null");
        check("matrix.os == ''", "true");
        check("matrix.*.os", "[]");
        check("env.object == env.object", "true");
        check("env.object == fromJSON(toJSON(env.object))", "false");
        check("env.object[* && 'x']", "{\n  \"y\": 1\n}");
    }

    #[test]
    fn files_are_hashed_by_the_scope() {
        let check = |text: &str, expected: &str| assert_eq!(answer(text).as_deref(), Ok(expected), "{text}");
        check("hashFiles('a', env.list[1])", "\"false a b\"");
        check("hashFiles('--Follow-Symbolic-Links', 'a')", "\"true a\"");
        let error = answer("1 == hashFiles('--all', 'a')").unwrap_err();
        assert!(error.starts_with("Invalid glob option --all"), "{error}");
    }

    #[test]
    fn an_error_says_what_and_where() {
        let check = |text: &str, expected: &str| assert_eq!(answer(text), Err(expected.to_owned()), "{text}");
        check(
            "'é' && fromJSON('')",
            "Error parsing fromJson: the text is empty. Located at position 8 within expression: 'é' && fromJSON('')",
        );
        check(
            "format('{0:x}', true)",
            "The format specifiers 'x' are not valid for objects of type 'Boolean'. Located at position 1 within \
             expression: format('{0:x}', true)",
        );
        let scope = FixedScope::default();
        let expression = Expression::parse("success() && failure('unknown')", &JOB_IF).unwrap();
        let error = expression.evaluate(&scope).unwrap_err();
        assert_eq!(error.offset, 13);
        assert!(
            error
                .to_string()
                .starts_with("there is no job 'unknown'. Located at position 14"),
            "{error}"
        );
    }

    #[test]
    fn text_that_grows_out_of_bounds_is_refused() {
        let tenfold = |inner: &str| format!("format('{}', {inner})", "{0}".repeat(10));
        let grown = (0..6).fold("'0123456789'".to_owned(), |inner, _| tenfold(&inner));
        let error = answer(&grown).unwrap_err();
        assert!(
            error.starts_with("The maximum allowed memory size was exceeded"),
            "{error}"
        );
        let bounded = (0..4).fold("'0123456789'".to_owned(), |inner, _| tenfold(&inner));
        assert_eq!(answer(&bounded).map(|text| text.len()), Ok(100_002));
    }
}
