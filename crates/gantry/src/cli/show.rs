//! Printing: JSON documents, lines and tables. Text from outside is never sent to a terminal as it is.

use std::io::Write;

use serde_json::Value;

use crate::exit_code::Coded;

/// Prints one JSON document.
///
/// Errors: the output cannot be written.
pub fn json(value: &Value) -> Result<(), Coded> {
    let mut text = escaped(&serde_json::to_string_pretty(value)?);
    text.push('\n');
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Prints one JSON document on one line.
///
/// Errors: the output cannot be written.
pub fn json_line(value: &Value) -> Result<(), Coded> {
    let mut text = escaped(&serde_json::to_string(value)?);
    text.push('\n');
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// JSON escapes what is below a space only; some terminals obey what is above DEL, too.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() && c != '\n' {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Prints bytes as they are.
///
/// Errors: the output cannot be written.
pub fn raw(bytes: &[u8]) -> Result<(), Coded> {
    Ok(std::io::stdout().write_all(bytes)?)
}

/// Prints one line, its control characters made visible.
///
/// Errors: the output cannot be written.
pub fn line(text: &str) -> Result<(), Coded> {
    let mut text = harmless(text);
    text.push('\n');
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Makes control characters visible, line ends and tabs apart: a log or a title must not steer the terminal.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Prints rows under a head, columns as wide as they have to be; the last one takes what is left.
///
/// Errors: the output cannot be written.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Coded> {
    let clean = |text: &str| harmless(text).replace(['\n', '\t'], " ");
    let mut widths: Vec<usize> = head.iter().map(|word| word.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(clean(cell).chars().count()).min(60);
        }
    }
    let print = |cells: &[String]| {
        let mut text = String::new();
        for (index, cell) in cells.iter().enumerate() {
            let last = index + 1 == cells.len();
            let width = widths.get(index).copied().unwrap_or(0);
            let mut cell = clean(cell);
            if !last && cell.chars().count() > width {
                cell = cell.chars().take(width.saturating_sub(1)).chain(['…']).collect();
            }
            let pad = if last { 0 } else { width - cell.chars().count() + 2 };
            text.push_str(&cell);
            text.push_str(&" ".repeat(pad));
        }
        line(text.trim_end())
    };
    print(&head.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())?;
    rows.iter().try_for_each(|row| print(row))
}

/// Returns a field as text; nothing for null or a missing one.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

/// Returns a list field; empty for null or a missing one.
pub fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_in_json() {
        let value = Value::from("a\u{9b}2J\u{7f}\u{1b}");
        let text = escaped(&value.to_string());
        assert_eq!(text, r#""a\u009b2J\u007f\u001b""#);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("it reads"), value);
    }

    #[test]
    fn what_would_steer_a_terminal_is_made_visible() {
        assert_eq!(harmless("a\u{1b}[2Jb\nc\u{7}"), "a\u{fffd}[2Jb\nc\u{fffd}");
    }
}
