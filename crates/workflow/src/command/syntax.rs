//! The two ways to write a command on a line of output: `::name key=value,key=value::message` and the older
//! `##[name key=value;key=value]message`. Owns splitting and escapes; must never know what a command means.
//!
//! Source: actions/runner, `ActionCommand.cs`.

/// A command as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawCommand {
    /// As written; names are compared without regard to case.
    pub(super) name: String,
    properties: Vec<(String, String)>,
    /// What stands behind the command, unescaped.
    pub(super) data: String,
}

impl RawCommand {
    /// Returns a property, its key compared without regard to case, if it is there and not empty. The last one counts.
    pub(super) fn property(&self, key: &str) -> Option<&str> {
        let mut found = self
            .properties
            .iter()
            .rev()
            .filter(|(name, _)| name.eq_ignore_ascii_case(key));
        found
            .next()
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

const DATA: &[(&str, &str)] = &[("%0D", "\r"), ("%0A", "\n"), ("%25", "%")];
const PROPERTY: &[(&str, &str)] = &[
    ("%0D", "\r"),
    ("%0A", "\n"),
    ("%3A", ":"),
    ("%2C", ","),
    ("%25", "%"),
];
const BRACKETS: &[(&str, &str)] = &[
    ("%3B", ";"),
    ("%0D", "\r"),
    ("%0A", "\n"),
    ("%5D", "]"),
    ("%25", "%"),
];

/// One after the other, `%25` last: that is the order in which they are undone, and it makes `%250A` a `%0A`.
fn unescape(text: &str, escapes: &[(&str, &str)]) -> String {
    escapes.iter().fold(text.to_owned(), |text, (escape, character)| {
        if text.contains(escape) {
            text.replace(escape, character)
        } else {
            text
        }
    })
}

/// Escapes a text as the message of a `::command::`.
#[must_use]
pub fn escape_data(text: &str) -> String {
    DATA.iter()
        .rev()
        .fold(text.to_owned(), |text, (escape, character)| {
            text.replace(character, escape)
        })
}

/// Returns the command on a line, if `known` knows its name.
///
/// Shape: `::` may have white space before it; `##[` may stand anywhere.
pub(super) fn parse(line: &str, known: impl Fn(&str) -> bool) -> Option<RawCommand> {
    parse_colons(line, &known).or_else(|| parse_brackets(line, &known))
}

fn parse_colons(line: &str, known: &impl Fn(&str) -> bool) -> Option<RawCommand> {
    let (info, data) = line.trim_start().strip_prefix("::")?.split_once("::")?;
    let (name, properties) = name_and_properties(info, known)?;
    let properties = split_properties(properties.trim(), ',', PROPERTY);
    Some(RawCommand {
        name,
        properties,
        data: unescape(data, DATA),
    })
}

fn parse_brackets(line: &str, known: &impl Fn(&str) -> bool) -> Option<RawCommand> {
    let (info, data) = line.split_once("##[")?.1.split_once(']')?;
    let (name, properties) = name_and_properties(info, known)?;
    let properties = split_properties(properties, ';', BRACKETS);
    Some(RawCommand {
        name,
        properties,
        data: unescape(data, BRACKETS),
    })
}

fn name_and_properties<'a>(info: &'a str, known: &impl Fn(&str) -> bool) -> Option<(String, &'a str)> {
    let (name, properties) = info.split_once(' ').unwrap_or((info, ""));
    (!name.is_empty() && known(name)).then(|| (name.to_owned(), properties))
}

/// A part without `=`, or with nothing before or behind it, is passed over; of several `=` in a row one counts.
fn split_properties(text: &str, separator: char, escapes: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = text
        .split(separator)
        .filter_map(|part| part.trim_start_matches('=').split_once('='));
    pairs
        .map(|(key, value)| (key, value.trim_start_matches('=')))
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), unescape(value, escapes)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

    fn check(line: &str, expected: Option<Parts<'_>>) {
        let known = |name: &str| {
            ["warning", "add-mask"]
                .iter()
                .any(|word| name.eq_ignore_ascii_case(word))
        };
        let expected = expected.map(|(name, properties, data)| RawCommand {
            name: name.to_owned(),
            properties: properties
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            data: data.to_owned(),
        });
        assert_eq!(parse(line, known), expected, "{line:?}");
    }

    #[test]
    fn a_command_between_colons_is_read() {
        check("::warning::it is late", Some(("warning", &[], "it is late")));
        check("  \t::Warning::", Some(("Warning", &[], "")));
        check(
            "::warning file=a.rs,line=3::a::b",
            Some(("warning", &[("file", "a.rs"), ("line", "3")], "a::b")),
        );
        check(
            "::warning  file=a, line=3 ,,x::",
            Some(("warning", &[("file", "a"), (" line", "3 ")], "")),
        );
        check(
            "::warning title=a=b,file=,=c::",
            Some(("warning", &[("title", "a=b")], "")),
        );
        check(
            "::warning title==a==b::",
            Some(("warning", &[("title", "a==b")], "")),
        );
    }

    #[test]
    fn escapes_are_undone_and_only_those_of_their_place() {
        check(
            "::warning::a%0Ab%0D%25%3A%2C",
            Some(("warning", &[], "a\nb\r%%3A%2C")),
        );
        check(
            "::warning file=a%3Ab%2Cc%25::",
            Some(("warning", &[("file", "a:b,c%")], "")),
        );
        check("::warning::%250A", Some(("warning", &[], "%0A")));
        check(
            "##[warning file=a%3Bb%5D]%3B%5D%0A",
            Some(("warning", &[("file", "a;b]")], ";]\n")),
        );
    }

    #[test]
    fn a_command_in_brackets_may_stand_anywhere_on_the_line() {
        check(
            "12:00 ##[warning file=a;line=3]text] more",
            Some(("warning", &[("file", "a"), ("line", "3")], "text] more")),
        );
        check("::unknown:: ##[add-mask]x", Some(("add-mask", &[], "x")));
    }

    #[test]
    fn everything_else_is_text() {
        for line in [
            "",
            "::",
            "::::",
            ":::::",
            "::warning",
            "x ::warning::y",
            "::unknown::x",
            "##[",
            "##[]",
            "##[warning",
            ": :warning::",
        ] {
            check(line, None);
        }
        check("::warning file=a", None);
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_its_escape(text in "\\PC*[\r\n%]*\\PC*") {
            let line = format!("::add-mask::{}", escape_data(&text));
            prop_assert!(!line.contains(['\r', '\n']));
            prop_assert_eq!(parse(&line, |_| true).map(|command| command.data), Some(text));
        }
    }
}
