//! JSON as the runner's reader takes it where it is not JSON by the book: texts in single quotes, commas before a
//! closing bracket, names without quotes, comments, `NaN` and `Infinity`. Owns that grammar; strict JSON is read by
//! serde, and what neither reads is refused in serde's words.
//!
//! Source: Newtonsoft.Json 13, `JsonTextReader`, which actions/runner reads `fromJSON` with. Its octal and
//! hexadecimal numbers and its silence about what follows the value are left out.

use super::limits::JSON_DEPTH_MAX;
use super::value::{Array, Object, Value};

/// Reads loosely written JSON, `None` if it is not even that.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.skip_blank()?;
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Skips spaces and comments; `None` if a comment does not end.
    fn skip_blank(&mut self) -> Option<()> {
        loop {
            self.rest = self.rest.trim_start();
            if let Some(comment) = self.rest.strip_prefix("/*") {
                self.rest = comment.split_once("*/")?.1;
            } else if let Some(comment) = self.rest.strip_prefix("//") {
                self.rest = comment.split_once('\n').map_or("", |(_, behind)| behind);
            } else {
                return Some(());
            }
        }
    }

    /// Skips what may come before the next token, and then that token if it is there.
    fn takes(&mut self, token: char) -> Option<bool> {
        self.skip_blank()?;
        let behind = self.rest.strip_prefix(token);
        self.rest = behind.unwrap_or(self.rest);
        Some(behind.is_some())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > JSON_DEPTH_MAX {
            return None;
        }
        self.skip_blank()?;
        match self.rest.chars().next()? {
            '[' => self.array(depth),
            '{' => self.object(depth),
            '"' | '\'' => self.string().map(Value::from),
            _ => self.word(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.takes('[')?;
        let mut items = Vec::new();
        while !self.takes(']')? {
            items.push(self.value(depth + 1)?);
            if !self.takes(',')? && !self.rest.starts_with(']') {
                return None;
            }
        }
        Some(Value::Array(items.into_iter().collect::<Array>()))
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.takes('{')?;
        let mut entries = Vec::new();
        while !self.takes('}')? {
            let name = self.name()?;
            if !self.takes(':')? {
                return None;
            }
            entries.push((name, self.value(depth + 1)?));
            if !self.takes(',')? && !self.rest.starts_with('}') {
                return None;
            }
        }
        Some(Value::Object(entries.into_iter().collect::<Object>()))
    }

    fn name(&mut self) -> Option<String> {
        if self.rest.starts_with(['"', '\'']) {
            return self.string();
        }
        let name = self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$'));
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let (taken, behind) = self
            .rest
            .split_at(self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len()));
        self.rest = behind;
        taken
    }

    fn word(&mut self) -> Option<Value> {
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'));
        match word {
            "null" => Some(Value::Null),
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "NaN" => Some(Value::Number(f64::NAN)),
            "Infinity" => Some(Value::Number(f64::INFINITY)),
            "-Infinity" => Some(Value::Number(f64::NEG_INFINITY)),
            // Any other number is strict JSON's.
            _ => serde_json::from_str::<f64>(word).ok().map(Value::Number),
        }
    }

    fn string(&mut self) -> Option<String> {
        let mut chars = self.rest.chars();
        let quote = chars.next()?;
        let mut units: Vec<u16> = Vec::new();
        loop {
            let c = match chars.next()? {
                c if c == quote => break,
                '\\' => match chars.next()? {
                    'b' => '\u{8}',
                    't' => '\t',
                    'n' => '\n',
                    'f' => '\u{c}',
                    'r' => '\r',
                    'u' => {
                        let hex = chars.as_str().get(..4)?;
                        units.push(u16::from_str_radix(hex, 16).ok()?);
                        chars = chars.as_str()[4..].chars();
                        continue;
                    }
                    c @ ('\\' | '"' | '\'' | '/') => c,
                    _ => return None,
                },
                c => c,
            };
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
        self.rest = chars.as_str();
        // Half a pair of surrogates stands for no character; it is shown as the runner's log shows it.
        Some(String::from_utf16_lossy(&units))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loose_json_reads_as_strict_json_does() {
        let check = |loose: &str, strict: &str| {
            let expected: Value = serde_json::from_str(strict).unwrap();
            assert_eq!(Value::from_json_text(loose), Ok(expected), "{loose}");
        };
        check("['a', 'b']", r#"["a", "b"]"#);
        check("[1, 2,\n]", "[1, 2]");
        check(r#"{"a": [{'b': "it's",},],}"#, r#"{"a": [{"b": "it's"}]}"#);
        check("{os: 'linux', $x_1: null}", r#"{"os": "linux", "$x_1": null}"#);
        check("/* x */ [ // y ]\n 1 /**/]//", "[1]");
        check(r"'\ud83d\ude0a\'\/\n'", "\"😊'/\\n\"");
        check("{'A': 1, 'a': 2}", r#"{"A": 2}"#);
        check("[-1.5e3, true,]", "[-1500, true]");
    }

    #[test]
    fn what_is_not_even_loose_json_is_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            "[1 2]",
            "[,]",
            "{a}",
            "{a: }",
            "[1",
            "'a",
            "a",
            "1 2",
            "True",
            "0x10",
            "/*",
            "{'a': 1 'b': 2}",
            r"'\q'",
            r"'\u12é'",
            "é",
            &deep,
        ] {
            let shown: String = text.chars().take(20).collect();
            assert!(Value::from_json_text(text).is_err(), "{shown}");
        }
    }
}
