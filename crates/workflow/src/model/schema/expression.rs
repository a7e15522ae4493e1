//! Whether the expressions of a file are well formed and use only what their place allows. Owns the scan for `${{ }}`
//! and GitHub's messages about expressions; must never evaluate one.

use github_actions_expressions::call::{Error as CallError, Function};
use github_actions_expressions::{Error, Expr, SpannedExpr};

/// The longest an expression may be, in characters.
const EXPRESSION_CHARS_MAX: usize = 21_000;
const OPEN: &str = "${{";

/// What a text is, once its `${{ }}` have been looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// No expression, or one that is only a quoted text.
    Plain(String),
    /// At least one expression.
    Expression,
    /// `${{ insert }}`.
    Insert,
    /// Not valid, for each of these reasons.
    Faulty(Vec<String>),
}

/// Finds and checks the expressions in a text.
pub(crate) fn scan_text(text: &str, contexts: &[&str]) -> Scan {
    let Some(mut start) = text.find(OPEN) else {
        return Scan::Plain(text.to_string());
    };
    let mut faults = Vec::new();
    let mut format = FormatLength::default();
    let mut literal_start = 0;
    loop {
        format.add_literal(&text[literal_start..start]);
        let body_start = start + OPEN.len();
        let Some(length) = find_close(&text[body_start..]) else {
            faults.push(
                "The expression is not closed. An unescaped ${{ sequence was found, but the closing }} sequence was \
                 not found."
                    .to_string(),
            );
            return Scan::Faulty(faults);
        };
        let body = text[body_start..body_start + length].trim();
        let end = body_start + length + 2;
        let whole = start == 0 && end == text.len();
        if body == "insert" {
            if whole {
                return Scan::Insert;
            }
            faults.push(
                "The directive 'insert' is not allowed in this context. Directives are not supported for expressions \
                 that are embedded within a string. Directives are only supported when the entire value is an \
                 expression."
                    .to_string(),
            );
            return Scan::Faulty(faults);
        }
        faults.extend(check_expression(body, contexts));
        format.add_expression(body);
        literal_start = end;
        if whole
            && faults.is_empty()
            && let Some(literal) = quoted_text(body)
        {
            return Scan::Plain(literal);
        }
        match text[end..].find(OPEN) {
            Some(next) => start = end + next,
            None => break,
        }
    }
    // Text around expressions becomes one `format` call, which has the same bound.
    format.add_literal(&text[literal_start..]);
    if faults.is_empty() && format.chars > EXPRESSION_CHARS_MAX {
        faults.push(format!("Exceeded max expression length {EXPRESSION_CHARS_MAX}"));
    }
    if faults.is_empty() {
        Scan::Expression
    } else {
        Scan::Faulty(faults)
    }
}

/// How long the `format` call is that GitHub makes of a text with expressions in it.
#[derive(Default)]
struct FormatLength {
    chars: usize,
    arguments: usize,
}

impl FormatLength {
    /// Quotes and braces are doubled.
    fn add_literal(&mut self, text: &str) {
        self.chars += text
            .chars()
            .map(|c| if matches!(c, '\'' | '{' | '}') { 2 } else { 1 })
            .sum::<usize>();
    }

    /// A place holder in braces, and the argument behind a comma.
    fn add_expression(&mut self, body: &str) {
        self.chars += format!("{{{}}}, ", self.arguments).len() + body.chars().count();
        self.arguments += 1;
    }
}

/// Returns the length of an expression's body: up to the first `}}` outside quotes.
fn find_close(body: &str) -> Option<usize> {
    let mut quoted = false;
    let bytes = body.as_bytes();
    for at in 0..bytes.len() {
        match bytes[at] {
            b'\'' => quoted = !quoted,
            b'}' if !quoted && bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
    }
    None
}

/// Returns the text that an expression is, if it is nothing but a quoted text.
fn quoted_text(body: &str) -> Option<String> {
    let inner = body.strip_prefix('\'')?.strip_suffix('\'')?;
    let without_escapes = inner.replace("''", "");
    (!without_escapes.contains('\'')).then(|| inner.replace("''", "'"))
}

/// Checks one expression without its `${{ }}`; returns what is wrong with it, first fault only.
pub(crate) fn check_expression(body: &str, contexts: &[&str]) -> Option<String> {
    if body.trim().is_empty() {
        return Some("An expression was expected".into());
    }
    if body.chars().count() > EXPRESSION_CHARS_MAX {
        return Some(format!("Exceeded max expression length {EXPRESSION_CHARS_MAX}"));
    }
    match Expr::parse(body) {
        Ok(tree) => find_disallowed(&tree, contexts, body),
        Err(Error::Syntax(fault)) => Some(syntax_message(body, fault.offset)),
        Err(Error::Call(CallError::UnknownFunction(name))) => Some(located(
            &format!("Unrecognized function: '{name}'"),
            body.find(&name).unwrap_or(0),
            body,
        )),
        // In a job's condition these two may name jobs; the syntax tree's crate knows them without arguments only.
        Err(Error::Call(CallError::Arity(Function::Success | Function::Failure, _)))
            if contexts.contains(&"success()") && !contexts.contains(&"steps") =>
        {
            None
        }
        Err(Error::Call(CallError::Arity(function, expected))) => {
            let name = function_name(function);
            Some(located(
                &format!("Wrong number of parameters supplied: '{name}' ({expected})"),
                0,
                body,
            ))
        }
        Err(Error::Depth) => Some("Exceeded max expression depth 50".into()),
    }
}

/// Tells whether a condition calls `success`, `failure`, `cancelled` or `always`, so that no `success()` is implied.
///
/// Text that is not a valid expression calls nothing.
pub fn calls_status_function(condition: &str) -> bool {
    let text = condition.trim();
    let body = text
        .strip_prefix(OPEN)
        .and_then(|rest| rest.strip_suffix("}}"))
        .unwrap_or(text);
    if body.contains(OPEN) {
        // Text around expressions is a `format` call: look at each expression in it.
        return text
            .split(OPEN)
            .skip(1)
            .any(|rest| find_close(rest).is_some_and(|length| calls_status_function(&rest[..length])));
    }
    Expr::parse(body.trim()).is_ok_and(|tree| {
        any_call(&tree, &|function| {
            matches!(
                function,
                Function::Success | Function::Failure | Function::Cancelled | Function::Always
            )
        })
    })
}

fn any_call(tree: &SpannedExpr<'_>, wanted: &impl Fn(Function) -> bool) -> bool {
    match &tree.inner {
        Expr::Call(call) => wanted(call.func) || call.args.iter().any(|arg| any_call(arg, wanted)),
        Expr::Index(inner) => any_call(inner, wanted),
        Expr::Context(context) => context.parts.iter().any(|part| any_call(part, wanted)),
        Expr::BinExpr(binary) => any_call(&binary.lhs, wanted) || any_call(&binary.rhs, wanted),
        Expr::UnExpr { expr, .. } => any_call(expr, wanted),
        Expr::Literal(_) | Expr::Star | Expr::Identifier(_) => false,
    }
}

fn find_disallowed(tree: &SpannedExpr<'_>, contexts: &[&str], body: &str) -> Option<String> {
    match &tree.inner {
        Expr::Call(call) => {
            let name = function_name(call.func);
            if !is_general(call.func)
                && !contexts
                    .iter()
                    .any(|known| known.strip_suffix("()") == Some(name))
            {
                let written = &body[tree.origin.span.start..];
                let written = written.split('(').next().unwrap_or(name).trim();
                return Some(located(
                    &format!("Unrecognized function: '{written}'"),
                    tree.origin.span.start,
                    body,
                ));
            }
            call.args
                .iter()
                .find_map(|arg| find_disallowed(arg, contexts, body))
        }
        Expr::Index(inner) => find_disallowed(inner, contexts, body),
        Expr::Context(context) => {
            let mut parts = context.parts.iter();
            let head = parts.next()?;
            let fault = match &head.inner {
                Expr::Identifier(name) => {
                    let known = contexts
                        .iter()
                        .any(|known| known.eq_ignore_ascii_case(name.as_str()));
                    (!known).then(|| {
                        let message = format!("Unrecognized named-value: '{}'", name.as_str());
                        located(&message, head.origin.span.start, body)
                    })
                }
                _ => find_disallowed(head, contexts, body),
            };
            fault.or_else(|| parts.find_map(|part| find_disallowed(part, contexts, body)))
        }
        Expr::BinExpr(binary) => find_disallowed(&binary.lhs, contexts, body)
            .or_else(|| find_disallowed(&binary.rhs, contexts, body)),
        Expr::UnExpr { expr, .. } => find_disallowed(expr, contexts, body),
        Expr::Literal(_) | Expr::Star | Expr::Identifier(_) => None,
    }
}

fn function_name(function: Function) -> &'static str {
    match function {
        Function::Contains => "contains",
        Function::StartsWith => "startsWith",
        Function::EndsWith => "endsWith",
        Function::Format => "format",
        Function::Join => "join",
        Function::ToJSON => "toJSON",
        Function::FromJSON => "fromJSON",
        Function::HashFiles => "hashFiles",
        Function::Case => "case",
        Function::Success => "success",
        Function::Always => "always",
        Function::Cancelled => "cancelled",
        Function::Failure => "failure",
    }
}

/// Whether a function may be called wherever an expression may stand.
fn is_general(function: Function) -> bool {
    match function {
        Function::Contains
        | Function::StartsWith
        | Function::EndsWith
        | Function::Format
        | Function::Join
        | Function::ToJSON
        | Function::FromJSON
        | Function::Case => true,
        Function::HashFiles
        | Function::Success
        | Function::Always
        | Function::Cancelled
        | Function::Failure => false,
    }
}

fn located(message: &str, offset: usize, body: &str) -> String {
    let position = body.get(..offset).unwrap_or(body).chars().count() + 1;
    format!("{message}. Located at position {position} within expression: {body}")
}

/// Says which symbol stands where none may, or that the expression ends too early.
fn syntax_message(body: &str, offset: usize) -> String {
    let rest = body.get(offset..).unwrap_or("");
    if rest.trim().is_empty() {
        let (start, symbol) = last_symbol(body);
        return located(&format!("Unexpected end of expression: '{symbol}'"), start, body);
    }
    let start = offset + (rest.len() - rest.trim_start().len());
    located(
        &format!("Unexpected symbol: '{}'", symbol_at(&body[start..])),
        start,
        body,
    )
}

/// Returns the symbol a text starts with: an unclosed quote runs to the end, anything else to the next border.
fn symbol_at(text: &str) -> &str {
    if let Some(rest) = text.strip_prefix('\'') {
        return rest.find('\'').map_or(text, |end| &text[..end + 2]);
    }
    let border = |c: char| c.is_whitespace() || "()[],.!=<>&|".contains(c);
    match text.find(border) {
        Some(0) => text.get(..1).unwrap_or(text),
        Some(end) => &text[..end],
        None => text,
    }
}

fn last_symbol(body: &str) -> (usize, &str) {
    let mut at = 0;
    let mut last = (0, body);
    while at < body.len() {
        let rest = &body[at..];
        let skipped = rest.len() - rest.trim_start().len();
        if skipped == rest.len() {
            break;
        }
        let symbol = symbol_at(&rest[skipped..]);
        last = (at + skipped, symbol);
        at += skipped + symbol.len().max(1);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_expressions_are_told_as_github_tells_them() {
        let cases = [
            (
                "secrets.foo",
                "Unrecognized named-value: 'secrets'. Located at position 1 within expression: secrets.foo",
            ),
            (
                "github.ref == env.X",
                "Unrecognized named-value: 'env'. Located at position 15 within expression: github.ref == env.X",
            ),
            (
                "withJson()",
                "Unrecognized function: 'withJson'. Located at position 1 within expression: withJson()",
            ),
            (
                "Always()",
                "Unrecognized function: 'Always'. Located at position 1 within expression: Always()",
            ),
            (
                "\"0xFZ\"",
                "Unexpected symbol: '\"0xFZ\"'. Located at position 1 within expression: \"0xFZ\"",
            ),
            ("", "An expression was expected"),
        ];
        for (body, message) in cases {
            assert_eq!(
                check_expression(body, &["github"]).as_deref(),
                Some(message),
                "{body}"
            );
        }
        for body in [
            "github.ref",
            "contains(GitHub.event.x, 'y') && !github['a']",
            "fromJSON('[1]')[0]",
        ] {
            assert_eq!(check_expression(body, &["github"]), None, "{body}");
        }
    }

    #[test]
    fn a_long_text_around_an_expression_is_refused() {
        let long = format!("{} ${{{{ github.sha }}}}", "x".repeat(EXPRESSION_CHARS_MAX));
        let message = "Exceeded max expression length 21000".to_string();
        assert_eq!(scan_text(&long, &["github"]), Scan::Faulty(vec![message]));
        assert_eq!(
            scan_text(&"x".repeat(30_000), &[]),
            Scan::Plain("x".repeat(30_000))
        );
    }

    #[test]
    fn a_text_is_plain_an_expression_or_faulty() {
        assert_eq!(scan_text("echo", &[]), Scan::Plain("echo".into()));
        assert_eq!(scan_text("${{ 'it''s {{' }}", &[]), Scan::Plain("it's {{".into()));
        assert_eq!(scan_text("a ${{ github.ref }} b", &["github"]), Scan::Expression);
        assert_eq!(scan_text("${{ insert }}", &["github"]), Scan::Insert);
        assert!(matches!(scan_text("${{ '}}' ", &[]), Scan::Faulty(_)));
        assert!(matches!(scan_text("x ${{ insert }}", &[]), Scan::Faulty(_)));
    }

    #[test]
    fn only_calls_count_as_status_functions() {
        for condition in [
            "always()",
            "${{ failure() && github.x }}",
            "!Cancelled()",
            "x ${{ success() }}",
        ] {
            assert!(calls_status_function(condition), "{condition}");
        }
        for condition in ["github.ref == 'always()'", "steps.failure.outcome", "", "a ("] {
            assert!(!calls_status_function(condition), "{condition}");
        }
    }
}
