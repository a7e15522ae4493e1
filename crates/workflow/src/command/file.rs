//! The files a step writes: variables, outputs and state as `NAME=value` or `NAME<<DELIMITER`, folders for `PATH`, a
//! summary. Owns their syntax and bounds; must never open one.
//!
//! Source: actions/runner, `FileCommandManager.cs`, as it runs on Linux: lines end at `\n`, and a `\r` before it
//! belongs to the value.

use super::reader::BLOCKED_VARIABLES;

/// The largest summary that is kept; of a larger one nothing is, and the step says so.
///
/// Units: bytes. Source: GitHub's limit for each step.
pub const SUMMARY_BYTES_MAX: u64 = 1024 * 1024;

/// A line that could not be read. The step fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct FileCommandError {
    /// What is wrong, in GitHub's words.
    pub problem: FileCommandProblem,
    /// Where the entry starts, from 1.
    pub line: usize,
    /// The entries before it, which count.
    pub before: Vec<(String, String)>,
}

/// What can be wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileCommandProblem {
    /// Neither `=` nor `<<`.
    #[error("Invalid format '{0}'")]
    NoSeparator(String),
    /// Nothing before the `=`.
    #[error("Invalid format '{0}'. Name must not be empty")]
    NoName(String),
    /// Nothing before or behind the `<<`.
    #[error("Invalid format '{0}'. Name must not be empty and delimiter must not be empty")]
    NoNameOrDelimiter(String),
    /// The file ends within the value.
    #[error("Invalid value. Matching delimiter not found '{0}'")]
    NoDelimiter(String),
    /// The file ends within the value, on a line without an end.
    #[error("Invalid value. EOF marker missing new line.")]
    NoNewLine,
}

/// Turns a file's bytes into text as the runner does: by its byte order mark, UTF-8 without one.
///
/// Shape: what is no character becomes U+FFFD. PowerShell's `>>` writes UTF-16 on some hosts.
#[must_use]
pub fn decode_command_file(bytes: &[u8]) -> String {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest
            .chunks(2)
            .map(|pair| pair.try_into().map_or(0xfffd, unit))
            .collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Reads `GITHUB_ENV`, `GITHUB_OUTPUT` or `GITHUB_STATE`.
///
/// Shape: in the file's order, names may repeat: the last one counts. A byte order mark is passed over.
/// Errors: the first entry that cannot be read; what stands before it is in the error.
pub fn parse_env_file(text: &str) -> Result<Vec<(String, String)>, FileCommandError> {
    let mut lines = Lines {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        number: 0,
    };
    let mut pairs = Vec::new();
    while let Some((line, _)) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let number = lines.number;
        match entry(line, &mut lines) {
            Ok(pair) => pairs.push(pair),
            Err(problem) => {
                return Err(FileCommandError {
                    problem,
                    line: number,
                    before: pairs,
                });
            }
        }
    }
    Ok(pairs)
}

fn entry(line: &str, lines: &mut Lines<'_>) -> Result<(String, String), FileCommandProblem> {
    match (line.find('='), line.find("<<")) {
        (Some(equals), heredoc) if heredoc.is_none_or(|heredoc| equals < heredoc) => {
            if equals == 0 {
                return Err(FileCommandProblem::NoName(line.to_owned()));
            }
            Ok((line[..equals].to_owned(), line[equals + 1..].to_owned()))
        }
        (_, Some(heredoc)) => {
            let (name, delimiter) = (&line[..heredoc], &line[heredoc + 2..]);
            if name.is_empty() || delimiter.is_empty() {
                return Err(FileCommandProblem::NoNameOrDelimiter(line.to_owned()));
            }
            Ok((name.to_owned(), heredoc_value(delimiter, lines)?))
        }
        (_, None) => Err(FileCommandProblem::NoSeparator(line.to_owned())),
    }
}

/// The value is the text up to the line that is the delimiter, without the last line end.
fn heredoc_value(delimiter: &str, lines: &mut Lines<'_>) -> Result<String, FileCommandProblem> {
    let value = lines.rest;
    let mut length = 0;
    loop {
        let Some((line, ended)) = lines.next() else {
            return Err(FileCommandProblem::NoDelimiter(delimiter.to_owned()));
        };
        if line == delimiter {
            return Ok(value[..length].to_owned());
        }
        if !ended {
            return Err(FileCommandProblem::NoNewLine);
        }
        length = value.len() - lines.rest.len() - 1;
    }
}

struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    /// The next line, and whether it has an end.
    fn next(&mut self) -> Option<(&'a str, bool)> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let (line, rest, ended) = match self.rest.split_once('\n') {
            Some((line, rest)) => (line, rest, true),
            None => (self.rest, "", false),
        };
        self.rest = rest;
        Some((line, ended))
    }
}

/// Reads `GITHUB_PATH`.
///
/// Shape: in the file's order, without empty lines; put each in front of the others with [`put_path_first`].
#[must_use]
pub fn parse_path_file(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.split(['\r', '\n'])
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Puts a folder in front of those that steps have added, from where it may have been before.
///
/// Shape: `paths` is in the order of `PATH`.
pub fn put_path_first(paths: &mut Vec<String>, folder: String) {
    paths.retain(|path| *path != folder);
    paths.insert(0, folder);
}

/// Whether a name from `GITHUB_ENV` may be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameUse {
    /// It may.
    Free,
    /// It may, but where the runner has a variable of that name its own value counts for every step.
    RunnerWins,
    /// It is passed over with this error; the step does not fail by it.
    Blocked(String),
}

/// Returns whether a name from `GITHUB_ENV` may be set.
#[must_use]
pub fn env_name_use(name: &str) -> NameUse {
    if let Some(blocked) = BLOCKED_VARIABLES
        .iter()
        .find(|word| name.eq_ignore_ascii_case(word))
    {
        return NameUse::Blocked(format!(
            "Can't store {blocked} output parameter using '$GITHUB_ENV' command."
        ));
    }
    if name.starts_with("GITHUB_") || name.starts_with("RUNNER_") {
        NameUse::RunnerWins
    } else {
        NameUse::Free
    }
}

/// What becomes of a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SummaryUse {
    /// Nothing was written.
    Nothing,
    /// It is kept.
    Kept,
    /// Nothing of it is kept; the step shows this error but does not fail by it.
    TooLarge(String),
}

/// Returns what becomes of a `GITHUB_STEP_SUMMARY` file of that many bytes.
#[must_use]
pub fn summary_use(bytes: u64) -> SummaryUse {
    match bytes {
        0 => SummaryUse::Nothing,
        1..=SUMMARY_BYTES_MAX => SummaryUse::Kept,
        _ => SummaryUse::TooLarge(format!(
            "$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of {}k, got {}k. For more information \
             see: https://docs.github.com/actions/using-workflows/workflow-commands-for-github-actions#adding-a-markdown-summary",
            SUMMARY_BYTES_MAX / 1024,
            bytes / 1024
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        assert_eq!(parse_env_file(text), Ok(owned(expected)), "{text:?}");
    }

    fn check_error(text: &str, message: &str, line: usize, before: &[(&str, &str)]) {
        let error = parse_env_file(text).expect_err("the text cannot be read");
        assert_eq!(
            (error.to_string().as_str(), error.line),
            (message, line),
            "{text:?}"
        );
        assert_eq!(error.before, owned(before), "{text:?}");
    }

    #[test]
    fn a_name_and_a_value_stand_on_one_line() {
        check("", &[]);
        check("A=1", &[("A", "1")]);
        check("\n\nA=1\n\nB=\nA=2\n", &[("A", "1"), ("B", ""), ("A", "2")]);
        check(
            "A==1\nB= x = y \n C=z\nD=a<<b",
            &[("A", "=1"), ("B", " x = y "), (" C", "z"), ("D", "a<<b")],
        );
        check("\u{feff}A=1\n", &[("A", "1")]);
        check("A=1\r\nB=2\r\n", &[("A", "1\r"), ("B", "2\r")]);
    }

    #[test]
    fn a_value_may_have_many_lines() {
        check("A<<EOF\none\ntwo\nEOF\nB=1", &[("A", "one\ntwo"), ("B", "1")]);
        check("A<<EOF\nEOF", &[("A", "")]);
        check("A<<EOF\n\nEOF\n", &[("A", "")]);
        check("A<<EOF\n\none\n\n\nEOF\n", &[("A", "\none\n\n")]);
        check("A<<=EOF\nx\n=EOF\nB<<<EOF\ny\n<EOF\n", &[("A", "x"), ("B", "y")]);
        check("A<<EOF\nB=1\n EOF\nEOF \nEOF\n", &[("A", "B=1\n EOF\nEOF ")]);
        check("A<<EOF\r\none\r\ntwo\r\nEOF\r\n", &[("A", "one\r\ntwo\r")]);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named_as_github_names_it() {
        check_error(
            "A=1\nno separator\nB=2",
            "Invalid format 'no separator'",
            2,
            &[("A", "1")],
        );
        check_error("=1", "Invalid format '=1'. Name must not be empty", 1, &[]);
        let both = "Name must not be empty and delimiter must not be empty";
        check_error("<<EOF\nEOF", &format!("Invalid format '<<EOF'. {both}"), 1, &[]);
        check_error("A<<\n", &format!("Invalid format 'A<<'. {both}"), 1, &[]);
        check_error(
            "\nA<<EOF\nx\n",
            "Invalid value. Matching delimiter not found 'EOF'",
            2,
            &[],
        );
        check_error(
            "A<<EOF",
            "Invalid value. Matching delimiter not found 'EOF'",
            1,
            &[],
        );
        check_error(
            "A<<EOF\nx\ny",
            "Invalid value. EOF marker missing new line.",
            1,
            &[],
        );
        check_error(
            "A<<EOF\r\nx\r\nEOF",
            "Invalid value. EOF marker missing new line.",
            1,
            &[],
        );
    }

    #[test]
    fn names_that_start_processes_otherwise_are_blocked() {
        let message = "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.";
        assert_eq!(env_name_use("Node_Options"), NameUse::Blocked(message.to_owned()));
        assert_eq!(env_name_use("GITHUB_SHA"), NameUse::RunnerWins);
        assert_eq!(env_name_use("RUNNER_OS"), NameUse::RunnerWins);
        assert_eq!(env_name_use("NODE_ENV"), NameUse::Free);
    }

    #[test]
    fn a_file_is_read_by_its_byte_order_mark() {
        assert_eq!(decode_command_file(b"\xef\xbb\xbfA=1"), "A=1");
        assert_eq!(decode_command_file(b"\xff\xfeA\0=\0\xe9\0"), "A=é");
        assert_eq!(decode_command_file(b"\xfe\xff\0A\0="), "A=");
        assert_eq!(decode_command_file(b"A=\xff"), "A=\u{fffd}");
        assert_eq!(decode_command_file(b"\xff\xfeA\0="), "A\u{fffd}");
    }

    #[test]
    fn the_last_folder_stands_first_in_path() {
        let mut paths = Vec::new();
        for folder in parse_path_file("\u{feff}/a\n\n/b\r\n/a") {
            put_path_first(&mut paths, folder);
        }
        assert_eq!(paths, ["/a", "/b"]);
    }

    #[test]
    fn a_summary_beyond_the_limit_is_dropped_whole_and_said_so() {
        assert_eq!(summary_use(0), SummaryUse::Nothing);
        assert_eq!(summary_use(SUMMARY_BYTES_MAX), SummaryUse::Kept);
        let SummaryUse::TooLarge(message) = summary_use(SUMMARY_BYTES_MAX + 2048) else {
            panic!("too large")
        };
        assert!(message.starts_with(
            "$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got 1026k."
        ));
    }

    proptest! {
        #[test]
        fn any_values_written_with_delimiters_are_read_back(
            pairs in prop::collection::vec(("[A-Z]{1,4}", "[a-z=<\n\r ]{0,20}"), 0..6),
        ) {
            let text: String =
                pairs.iter().map(|(name, value)| format!("{name}<<DELIMITER\n{value}\nDELIMITER\n")).collect();
            prop_assert_eq!(parse_env_file(&text), Ok(pairs));
        }

        #[test]
        fn junk_is_read_or_refused(text in "[A=<\n\r \u{feff}é]{0,40}") {
            let pairs = parse_env_file(&text).unwrap_or_else(|error| error.before);
            prop_assert!(pairs.iter().all(|(name, _)| !name.is_empty() && text.contains(name.as_str())));
        }
    }
}
