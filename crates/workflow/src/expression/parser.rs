//! Tokens into a syntax tree. Owns precedence, names and numbers of arguments; must never evaluate.
//!
//! Two stacks and no recursion, as in the runner: parentheses may nest as deep as the text is long, and only the
//! tree's depth is bounded.

use std::sync::Arc;

use super::availability::Availability;
use super::error::{ParseError, ParseErrorKind};
use super::function::Function;
use super::lexer::{Lexer, unquote};
use super::limits::{EXPRESSION_DEPTH_MAX, EXPRESSION_UNITS_MAX};
use super::token::{Token, TokenKind};
use super::tree::{Expression, Node, NodeId, NodeKind};
use super::value::Value;

/// Reads an expression.
pub(super) fn parse(text: &str, available: &Availability<'_>) -> Result<Expression, ParseError> {
    if text.encode_utf16().count() > EXPRESSION_UNITS_MAX {
        return Err(ParseError::whole(ParseErrorKind::ExceededMaxLength, text));
    }
    let mut parser = Parser {
        text,
        available,
        lexer: Lexer::new(text),
        nodes: Vec::new(),
        operands: Vec::new(),
        operators: Vec::new(),
        calls: Vec::new(),
        last: None,
    };
    let root = parser.run()?;
    let expression = Expression {
        text: Arc::from(text),
        nodes: parser.nodes,
        root,
    };
    match root {
        Some(root) if is_deeper_than(&expression.nodes, root, EXPRESSION_DEPTH_MAX) => {
            Err(ParseError::whole(ParseErrorKind::ExceededMaxDepth, text))
        }
        _ => Ok(expression),
    }
}

struct Parser<'a> {
    text: &'a str,
    available: &'a Availability<'a>,
    lexer: Lexer<'a>,
    nodes: Vec<Node>,
    operands: Vec<NodeId>,
    operators: Vec<Token>,
    /// The names of the functions whose parentheses are open, innermost last.
    calls: Vec<(Function, Token)>,
    last: Option<Token>,
}

/// Why an operand is always there: the lexer lets an operator pass only after one.
const OPERAND_IS_THERE: &str = "the lexer lets no operator pass without its operands";

impl Parser<'_> {
    fn run(&mut self) -> Result<Option<NodeId>, ParseError> {
        while let Some(token) = self.lexer.next_token() {
            match token.kind {
                TokenKind::Unexpected => return Err(self.error(ParseErrorKind::UnexpectedSymbol, token)),
                kind if kind.is_operator() => self.push_operator(token)?,
                _ => self.push_operand(token)?,
            }
            self.last = Some(token);
        }
        let Some(last) = self.last else {
            return Ok(None);
        };
        let wants_more = last.kind.wants_operand() || last.kind == TokenKind::Dereference;
        if wants_more || last.kind == TokenKind::Function || self.lexer.is_unclosed() {
            return Err(self.error(ParseErrorKind::UnexpectedEndOfExpression, last));
        }
        while !self.operators.is_empty() {
            self.flush_top();
        }
        Ok(self.operands.pop())
    }

    fn error(&self, kind: ParseErrorKind, token: Token) -> ParseError {
        ParseError::at(kind, self.text, token.start..token.end)
    }

    fn push_node(&mut self, kind: NodeKind, offset: usize) {
        self.operands.push(self.nodes.len());
        self.nodes.push(Node { kind, offset });
    }

    fn pop_operand(&mut self) -> NodeId {
        self.operands.pop().expect(OPERAND_IS_THERE)
    }

    fn push_operand(&mut self, token: Token) -> Result<(), ParseError> {
        let raw = &self.text[token.start..token.end];
        let kind = match token.kind {
            TokenKind::Function => {
                let found =
                    Function::of_name(raw).filter(|function| self.available.arity(*function).is_some());
                let function =
                    found.ok_or_else(|| self.error(ParseErrorKind::UnrecognizedFunction, token))?;
                self.calls.push((function, token));
                return Ok(());
            }
            TokenKind::NamedValue => {
                let name = self.available.context_name(raw);
                NodeKind::Context(
                    name.ok_or_else(|| self.error(ParseErrorKind::UnrecognizedNamedValue, token))?
                        .into(),
                )
            }
            TokenKind::Wildcard => NodeKind::Wildcard,
            TokenKind::Bool(flag) => NodeKind::Literal(Value::Bool(flag)),
            TokenKind::Number(number) => NodeKind::Literal(Value::Number(number)),
            TokenKind::String => NodeKind::Literal(Value::text(unquote(raw))),
            TokenKind::PropertyName => NodeKind::Literal(Value::text(raw)),
            // What is left is `null`: operators and unexpected tokens do not come here.
            _ => NodeKind::Literal(Value::Null),
        };
        self.push_node(kind, token.start);
        Ok(())
    }

    fn push_operator(&mut self, token: Token) -> Result<(), ParseError> {
        let right_to_left = matches!(token.kind, TokenKind::StartGroup | TokenKind::Not);
        if !right_to_left {
            let binds =
                |top: &Token| token.kind.precedence() <= top.kind.precedence() && !top.kind.holds_back();
            while self.operators.last().is_some_and(binds) {
                self.flush_top();
            }
        }
        match token.kind {
            TokenKind::EndGroup => {
                self.operators.pop();
            }
            TokenKind::EndIndex => self.end_index(),
            TokenKind::EndParameters => self.end_parameters()?,
            _ => self.operators.push(token),
        }
        Ok(())
    }

    /// Makes a node of the operator on top of the stack, which is none that opens or closes.
    fn flush_top(&mut self) {
        let operator = self.operators.pop().expect("the caller saw an operator on top");
        let right = self.pop_operand();
        let kind = match operator.kind {
            TokenKind::Not => NodeKind::Not(right),
            TokenKind::And => {
                let left = self.pop_operand();
                let mut operands = self.take_operands(left, |kind| matches!(kind, NodeKind::And(_)));
                operands.append(&mut self.take_operands(right, |kind| matches!(kind, NodeKind::And(_))));
                NodeKind::And(operands)
            }
            TokenKind::Or => {
                let left = self.pop_operand();
                let mut operands = self.take_operands(left, |kind| matches!(kind, NodeKind::Or(_)));
                operands.append(&mut self.take_operands(right, |kind| matches!(kind, NodeKind::Or(_))));
                NodeKind::Or(operands)
            }
            TokenKind::Compare(comparison) => NodeKind::Compare(comparison, self.pop_operand(), right),
            _ => NodeKind::Index(self.pop_operand(), right),
        };
        self.push_node(kind, operator.start);
    }

    /// Returns the operands of a node of the same kind, so that a chain is one node; else the node itself.
    fn take_operands(&mut self, id: NodeId, is_same: fn(&NodeKind) -> bool) -> Vec<NodeId> {
        let kind = &mut self.nodes[id].kind;
        if is_same(kind)
            && let NodeKind::And(operands) | NodeKind::Or(operands) = kind
        {
            return std::mem::take(operands);
        }
        vec![id]
    }

    fn end_index(&mut self) {
        let start = self
            .operators
            .pop()
            .expect("the lexer lets no bracket close that is not open");
        let by = self.pop_operand();
        let of = self.pop_operand();
        self.push_node(NodeKind::Index(of, by), start.start);
    }

    fn end_parameters(&mut self) -> Result<(), ParseError> {
        let is_empty = self
            .last
            .is_some_and(|last| last.kind == TokenKind::StartParameters);
        let mut count = usize::from(!is_empty);
        while self
            .operators
            .pop()
            .is_some_and(|top| top.kind == TokenKind::Separator)
        {
            count += 1;
        }
        let arguments = self.operands.split_off(self.operands.len() - count);
        let (function, name) = self
            .calls
            .pop()
            .expect("the lexer lets no call end that has not begun");
        let arity = self.available.arity(function);
        let (least, most) = arity.expect("the call has begun because the function is available");
        if count < least {
            return Err(self.error(ParseErrorKind::TooFewParameters, name));
        }
        if count > most {
            return Err(self.error(ParseErrorKind::TooManyParameters, name));
        }
        if function == Function::Case && count.is_multiple_of(2) {
            return Err(self.error(ParseErrorKind::EvenParameters, name));
        }
        self.push_node(NodeKind::Call(function, arguments), name.start);
        Ok(())
    }
}

/// Tells whether a tree has more levels than `most`; it looks no further than that, however deep the tree is.
fn is_deeper_than(nodes: &[Node], id: NodeId, most: usize) -> bool {
    let Some(most) = most.checked_sub(1) else {
        return true;
    };
    let is_deeper = |id: &NodeId| is_deeper_than(nodes, *id, most);
    match &nodes[id].kind {
        NodeKind::Literal(_) | NodeKind::Context(_) | NodeKind::Wildcard => false,
        NodeKind::Not(operand) => is_deeper(operand),
        NodeKind::Index(left, right) | NodeKind::Compare(_, left, right) => {
            is_deeper(left) || is_deeper(right)
        }
        NodeKind::And(parts) | NodeKind::Or(parts) | NodeKind::Call(_, parts) => parts.iter().any(is_deeper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVAILABLE: Availability<'static> = Availability::of(&["env"]);

    fn kind(text: &str) -> Result<(), ParseErrorKind> {
        parse(text, &AVAILABLE).map(drop).map_err(|error| error.kind)
    }

    #[test]
    fn parentheses_and_chains_are_as_long_as_the_text_may_be() {
        let count = EXPRESSION_UNITS_MAX / 2 - 1;
        assert_eq!(
            kind(&format!("{}1{}", "(".repeat(count), ")".repeat(count))),
            Ok(())
        );
        assert_eq!(
            kind(&format!("1{}", "&&1".repeat(EXPRESSION_UNITS_MAX / 3 - 1))),
            Ok(())
        );
        assert_eq!(
            kind(&"!".repeat(EXPRESSION_UNITS_MAX)),
            Err(ParseErrorKind::UnexpectedEndOfExpression)
        );
        let too_deep = format!("{}1", "!".repeat(EXPRESSION_UNITS_MAX - 1));
        assert_eq!(kind(&too_deep), Err(ParseErrorKind::ExceededMaxDepth));
    }

    #[test]
    fn length_is_counted_in_utf_16() {
        let quoted = |count: usize| format!("'{}'", "😊".repeat(count));
        assert_eq!(kind(&quoted(EXPRESSION_UNITS_MAX / 2 - 1)), Ok(()));
        assert_eq!(
            kind(&quoted(EXPRESSION_UNITS_MAX / 2)),
            Err(ParseErrorKind::ExceededMaxLength)
        );
    }

    #[test]
    fn an_error_has_its_bytes_and_githubs_position() {
        let error = parse("'😊' == nope", &AVAILABLE).unwrap_err();
        assert_eq!(error.bytes, Some(10..14));
        let expected =
            "Unrecognized named-value: 'nope'. Located at position 9 within expression: '😊' == nope";
        assert_eq!(error.to_string(), expected);
        let error = parse("1 == Contains('a')", &AVAILABLE).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("Too few parameters supplied: 'Contains'. Located at position 6")
        );
    }

    #[test]
    fn names_and_functions_used_are_known() {
        let expression = parse("ENV.a && format('{0}', env.b, toJSON(env))", &AVAILABLE).unwrap();
        assert_eq!(expression.contexts().collect::<Vec<_>>(), ["env"; 3]);
        assert_eq!(
            expression.functions().collect::<Vec<_>>(),
            [Function::ToJson, Function::Format]
        );
        assert!(!expression.uses_status_function());
        assert_eq!(
            expression.to_string(),
            "(env.a && format('{0}', env.b, toJSON(env)))"
        );
    }
}
