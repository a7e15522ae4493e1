//! The syntax tree of an expression. Owns its nodes and their canonical text; must never evaluate them.

use std::fmt;
use std::sync::Arc;

use super::availability::Availability;
use super::error::{EvaluationError, ParseError};
use super::evaluate::evaluate;
use super::function::Function;
use super::lexer::is_name;
use super::limits::MEMORY_BYTES_MAX;
use super::parser::parse;
use super::scope::Scope;
use super::value::Value;

/// An expression that has been read: all names in it are allowed where it stands.
#[derive(Debug, Clone)]
pub struct Expression {
    pub(super) text: Arc<str>,
    pub(super) nodes: Vec<Node>,
    /// `None` for a text without a token, which is null.
    pub(super) root: Option<NodeId>,
}

/// The place of a node in its expression's list.
pub(super) type NodeId = usize;

/// A part of an expression.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// What it is.
    pub(super) kind: NodeKind,
    /// The byte of the text at which its operator, name or literal starts.
    pub(super) offset: usize,
}

/// What a part of an expression is.
#[derive(Debug, Clone)]
pub(super) enum NodeKind {
    /// A value that is written there.
    Literal(Value),
    /// A context, by the name it is declared with.
    Context(Arc<str>),
    /// `*` in place of an index.
    Wildcard,
    /// A property or an index, of the first, by the second.
    Index(NodeId, NodeId),
    /// `!`.
    Not(NodeId),
    /// A comparison.
    Compare(Comparison, NodeId, NodeId),
    /// All of these, or the first that is false.
    And(Vec<NodeId>),
    /// The first of these that is true, or the last.
    Or(Vec<NodeId>),
    /// A function and its arguments.
    Call(Function, Vec<NodeId>),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// `==`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
}

impl Comparison {
    fn text(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        }
    }
}

impl Expression {
    /// Reads an expression, without the `${{ }}` around it.
    ///
    /// Errors: what GitHub refuses, in GitHub's words: a symbol where it may not stand, a context or a function
    /// that is not available there, a wrong number of arguments, an expression too long or too deep.
    pub fn parse(text: &str, available: &Availability<'_>) -> Result<Self, ParseError> {
        parse(text, available)
    }

    /// Evaluates it, with as much memory as GitHub gives.
    ///
    /// Errors: what cannot be known before: a wrong format string, text that is not JSON, memory, the scope's own.
    pub fn evaluate(&self, scope: &(impl Scope + ?Sized)) -> Result<Value, EvaluationError> {
        self.evaluate_within(scope, MEMORY_BYTES_MAX)
    }

    /// Evaluates it with a bound of its own on memory.
    ///
    /// Units: bytes, by GitHub's reckoning. Errors: as [`Self::evaluate`].
    pub fn evaluate_within(
        &self,
        scope: &(impl Scope + ?Sized),
        memory_bytes_max: usize,
    ) -> Result<Value, EvaluationError> {
        evaluate(self, scope, memory_bytes_max)
    }

    /// Returns the text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tells whether it asks anywhere for `success()`, `failure()`, `cancelled()` or `always()`.
    pub fn uses_status_function(&self) -> bool {
        self.functions().any(Function::is_status)
    }

    /// Returns the functions it calls, in the order in which their calls end.
    pub fn functions(&self) -> impl Iterator<Item = Function> {
        self.nodes.iter().filter_map(|node| match node.kind {
            NodeKind::Call(function, _) => Some(function),
            _ => None,
        })
    }

    /// Returns the contexts it reads, in the order of the text, as often as they are there.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Context(name) => Some(&**name),
            _ => None,
        })
    }

    /// Returns the text of a part as GitHub writes it in its messages.
    pub(super) fn canonical(&self, id: NodeId) -> String {
        let mut out = String::new();
        self.write_canonical(&mut out, id);
        out
    }

    fn write_canonical(&self, out: &mut String, id: NodeId) {
        match &self.nodes[id].kind {
            NodeKind::Literal(value) => out.push_str(&literal_text(value)),
            NodeKind::Context(name) => out.push_str(name),
            NodeKind::Wildcard => out.push('*'),
            NodeKind::Not(operand) => {
                out.push('!');
                self.write_canonical(out, *operand);
            }
            NodeKind::Compare(comparison, left, right) => {
                out.push('(');
                self.write_list(out, &[*left, *right], &format!(" {} ", comparison.text()));
                out.push(')');
            }
            NodeKind::And(operands) => {
                out.push('(');
                self.write_list(out, operands, " && ");
                out.push(')');
            }
            NodeKind::Or(operands) => {
                out.push('(');
                self.write_list(out, operands, " || ");
                out.push(')');
            }
            NodeKind::Call(function, arguments) => {
                out.push_str(function.name());
                out.push('(');
                self.write_list(out, arguments, ", ");
                out.push(')');
            }
            NodeKind::Index(of, by) => {
                self.write_canonical(out, *of);
                match &self.nodes[*by].kind {
                    NodeKind::Literal(Value::String(name)) if is_name(name) => {
                        out.push('.');
                        out.push_str(name);
                    }
                    _ => {
                        out.push('[');
                        self.write_canonical(out, *by);
                        out.push(']');
                    }
                }
            }
        }
    }

    fn write_list(&self, out: &mut String, parts: &[NodeId], separator: &str) {
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                out.push_str(separator);
            }
            self.write_canonical(out, *part);
        }
    }
}

impl fmt::Display for Expression {
    /// Writes it as GitHub writes it in its messages: all parentheses there, names as declared.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.root {
            Some(root) => formatter.write_str(&self.canonical(root)),
            None => Ok(()),
        }
    }
}

fn literal_text(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Null => "null".to_owned(),
        other => other.to_text().to_string(),
    }
}
