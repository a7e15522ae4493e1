//! What holds for every expression, on random ones. Owns the generators and the reference rules.

use proptest::prelude::*;

use super::fixed_scope::FixedScope;
use super::place::workflow::STEP_RUN;
use super::{Condition, Expression, FilePatterns, Template, Value};

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|number| Value::Number(number.into())),
        // What 15 digits hold comes back from them.
        (any::<i32>(), -20_i32..20).prop_map(|(digits, exponent)| {
            Value::Number(format!("{digits}e{exponent}").parse().unwrap())
        }),
        any::<String>().prop_map(Value::from),
        "[a-cA-C]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| Value::Array(items.into_iter().collect())),
            prop::collection::vec(("[a-cA-C ]{0,2}", inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Texts of the words of expressions, of which many can be read.
fn any_expression_text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "github",
        "env",
        ".a",
        ".b",
        "[0]",
        "['a']",
        "[",
        "]",
        ".*",
        "[*]",
        "*",
        "(",
        ")",
        ",",
        "!",
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        "'a'",
        "'{0}'",
        "''",
        "1",
        "-0x1",
        ".5",
        "NaN",
        "true",
        "null",
        "contains(",
        "format(",
        "join(",
        "toJSON(",
        "fromJSON(",
        "case(",
        "hashFiles(",
        " ",
        "é",
        "'",
        "=",
        "nope",
        "}}",
        "${{",
    ]);
    prop::collection::vec(word, 0..14).prop_map(|words| words.concat())
}

/// Texts that can be read.
fn any_expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "github",
        "env",
        "env.b",
        "github.a",
        "github.a.*",
        "github.*.b",
        "github.a[1]",
        "'a'",
        "'[1]'",
        "'{0}-{1}'",
        "'{'",
        "''",
        "'it''s'",
        "1",
        "-.5",
        "0x1f",
        "NaN",
        "Infinity",
        "true",
        "false",
        "null",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 4, |inner| {
        let operator = prop::sample::select(vec!["&&", "||", "==", "!=", "<", "<=", ">", ">="]);
        let one = prop::sample::select(vec!["toJSON", "fromJSON", "join", "format", "hashFiles"]);
        let two = prop::sample::select(vec!["contains", "startsWith", "endsWith", "join", "format"]);
        let three = prop::sample::select(vec!["case", "format"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(left, operator, right)| { format!("{left} {operator} {right}") }),
            inner.clone().prop_map(|operand| format!("!{operand}")),
            inner.clone().prop_map(|operand| format!("( {operand} )")),
            inner.clone().prop_map(|index| format!("github.a[{index}]")),
            inner.clone().prop_map(|json| format!("fromJSON({json}).*.a")),
            (one, inner.clone()).prop_map(|(name, first)| format!("{name}({first})")),
            (two, inner.clone(), inner.clone())
                .prop_map(|(name, first, second)| { format!("{name}( {first},{second})") }),
            (three, inner.clone(), inner.clone(), inner)
                .prop_map(|(name, first, second, third)| { format!("{name}({first}, {second}, {third})") }),
        ]
    })
}

fn scope() -> FixedScope {
    FixedScope::of([
        (
            "github",
            r#"{"a": [1, {"a": "x", "b": [2]}, [3]], "b": {"a": true, "b": null}}"#,
        ),
        ("env", r#"{"A": "a", "b": "[1]"}"#),
    ])
}

/// Compares primitives by the words of GitHub's documentation: the same kind as such, else as numbers.
fn documented_order(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    let number = |value: &Value| match value {
        Value::Null => 0.0,
        Value::Bool(flag) => f64::from(*flag),
        Value::Number(number) => *number,
        Value::String(text) if text.trim().is_empty() => 0.0,
        Value::String(text) => text.trim().parse().unwrap_or(f64::NAN),
        Value::Array(_) | Value::Object(_) => f64::NAN,
    };
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.to_uppercase().cmp(&right.to_uppercase())),
        _ => number(left).partial_cmp(&number(right)),
    }
}

fn primitive() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-2_i32..3).prop_map(|number| Value::Number(number.into())),
        Just(Value::Number(f64::NAN)),
        prop::sample::select(vec![
            "", " ", "a", "A", "b", "_", "0", "1", " 1 ", "-1", "1e0", "true", "nil", "2.0"
        ])
        .prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_a_place_inside_it(text in prop_oneof![any::<String>(), any_expression_text()]) {
        if let Err(error) = Expression::parse(&text, &STEP_RUN) {
            let bytes = error.bytes.clone().unwrap_or(0..text.len());
            prop_assert!(text.get(bytes).is_some());
            prop_assert!(!error.to_string().is_empty());
        }
        if let Err(error) = Template::parse(&text, &STEP_RUN) {
            prop_assert!(text.is_char_boundary(error.offset()));
        }
        if let Err(error) = Condition::parse(&text, &STEP_RUN) {
            prop_assert!(text.is_char_boundary(error.offset()));
        }
    }

    #[test]
    fn what_can_be_read_has_a_value_or_an_error_with_a_place(text in any_expression()) {
        let expression = Expression::parse(&text, &STEP_RUN);
        let expression = expression.map_err(|error| TestCaseError::fail(error.to_string()))?;
        if let Err(error) = expression.evaluate(&scope()) {
            prop_assert!(text.get(error.offset..).is_some());
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn the_text_that_an_expression_is_shown_with_means_the_same(text in any_expression()) {
        let expression = Expression::parse(&text, &STEP_RUN).unwrap();
        let shown = expression.to_string();
        let again = Expression::parse(&shown, &STEP_RUN);
        let again = again.map_err(|error| TestCaseError::fail(format!("{shown}: {error}")))?;
        prop_assert_eq!(again.to_string(), shown);
        let answer = |expression: &Expression| {
            let value = expression.evaluate(&scope());
            value.map(|value| value.to_json_text()).map_err(|error| error.kind)
        };
        prop_assert_eq!(answer(&again), answer(&expression));
    }

    #[test]
    fn a_value_written_as_json_reads_back(value in any_value()) {
        let text = value.to_json_text();
        prop_assert_eq!(Value::from_json_text(&text), Ok(value.clone()));
        let through_serde: Value = serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap();
        prop_assert_eq!(&through_serde, &value);
        let scope = FixedScope {
            contexts: [("env".to_owned(), value.clone())].into(),
            failed: false,
        };
        let expression = Expression::parse("fromJSON(toJSON(env))", &STEP_RUN).unwrap();
        prop_assert_eq!(expression.evaluate(&scope), Ok(value));
    }

    #[test]
    fn any_json_like_text_is_read_or_refused(text in "[\\[\\]{}:,'\"\\\\u0-9a /*.-]{0,12}") {
        if let Ok(value) = Value::from_json_text(&text) {
            prop_assert_eq!(Value::from_json_text(&value.to_json_text()).map(|value| value.to_json_text()), Ok(value.to_json_text()));
        }
    }

    #[test]
    fn primitives_compare_as_documented(left in primitive(), right in primitive()) {
        let order = documented_order(&left, &right);
        let scope = FixedScope {
            contexts: [("env".to_owned(), left.clone()), ("github".to_owned(), right.clone())].into(),
            failed: false,
        };
        for (text, expected) in [
            ("env == github", order.is_some_and(std::cmp::Ordering::is_eq)),
            ("env != github", !order.is_some_and(std::cmp::Ordering::is_eq)),
            ("env < github", order.is_some_and(std::cmp::Ordering::is_lt)),
            ("env <= github", order.is_some_and(std::cmp::Ordering::is_le)),
            ("env > github", order.is_some_and(std::cmp::Ordering::is_gt)),
            ("env >= github", order.is_some_and(std::cmp::Ordering::is_ge)),
        ] {
            let value = Expression::parse(text, &STEP_RUN).unwrap().evaluate(&scope);
            prop_assert_eq!(value, Ok(Value::Bool(expected)), "{} of {:?} and {:?}", text, left, right);
        }
    }

    #[test]
    fn any_file_pattern_is_read_or_refused(pattern in "[a-b*?!/.~#\\[\\]\\\\^-]{0,10}", path in "[a-b/.]{1,8}") {
        if let Ok(patterns) = FilePatterns::parse(&[pattern], "/w") {
            let meant = patterns.select(vec![path.clone()]);
            prop_assert_eq!(!meant.is_empty(), patterns.matches(&path));
        }
    }
}
