//! Problem matchers: patterns, given as JSON, that turn lines of output into annotations. Owns their rules and the
//! state of those that span lines; must never look for the file an annotation names.
//!
//! Source: actions/runner, `IssueMatcher.cs` and `OutputManager.cs`. Patterns are GitHub's dialect of JavaScript's
//! without what cannot be matched in linear time (look-around, back-references); `\d`, `\w` and `\s` know Unicode.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde::Deserialize;

use super::annotation::{Annotation, AnnotationLevel};

/// The most matchers one job may have; with a further one the oldest goes.
pub const MATCHERS_MAX: usize = 256;
/// The most patterns of one matcher.
const PATTERNS_MAX: usize = 64;
/// The largest program one pattern may become.
///
/// Units: bytes.
const PATTERN_PROGRAM_BYTES_MAX: usize = 1024 * 1024;
/// The longest line that is matched; a longer one is text.
///
/// Units: bytes.
const MATCHED_LINE_BYTES_MAX: usize = 64 * 1024;

static COLOUR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("\x1b\\[[0-9;]*m?").expect("the pattern is a constant"));

/// What is wrong with a file of problem matchers.
#[derive(Debug, thiserror::Error)]
pub enum MatcherError {
    /// It is no JSON of that shape.
    #[error("the problem matchers cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A matcher has no owner.
    #[error("Owner must not be empty")]
    NoOwner,
    /// Two have the same.
    #[error("Duplicate owner name '{0}'")]
    DuplicateOwner(String),
    /// A severity that is none.
    #[error("Matcher '{owner}' contains unexpected default severity '{severity}'")]
    Severity {
        /// Whose.
        owner: String,
        /// As written.
        severity: String,
    },
    /// No pattern, or too many.
    #[error("Matcher '{0}' does not contain any patterns")]
    NoPatterns(String),
    /// More patterns than are kept.
    #[error("Matcher '{0}' contains more than {PATTERNS_MAX} patterns")]
    TooManyPatterns(String),
    /// A pattern that is none, or that cannot be matched in linear time.
    #[error("Matcher '{owner}' contains a pattern that cannot be used: {problem}")]
    Pattern {
        /// Whose.
        owner: String,
        /// Why.
        #[source]
        problem: Box<regex::Error>,
    },
    /// `loop` where it has no meaning.
    #[error("Only the last pattern in a multiline matcher may set 'loop'")]
    MisplacedLoop,
    /// A looping pattern that says nothing.
    #[error("The loop pattern must set 'message'")]
    LoopWithoutMessage,
    /// Two patterns set the same.
    #[error("The property '{0}' is set twice")]
    SetTwice(&'static str),
    /// A group that the pattern does not have.
    #[error("The property '{property}' is set to {group} which is out of range")]
    OutOfRange {
        /// Which.
        property: &'static str,
        /// As written.
        group: i64,
    },
    /// Nothing would be said.
    #[error("At least one pattern must set 'message'")]
    NoMessage,
}

#[derive(Deserialize)]
struct File {
    #[serde(default, rename = "problemMatcher")]
    matchers: Vec<MatcherFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MatcherFields {
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    severity: Option<String>,
    #[serde(default)]
    from_path: Option<String>,
    #[serde(default)]
    pattern: Vec<PatternFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PatternFields {
    #[serde(default)]
    regexp: Option<String>,
    #[serde(default)]
    r#loop: bool,
    file: Option<i64>,
    line: Option<i64>,
    column: Option<i64>,
    severity: Option<i64>,
    code: Option<i64>,
    message: Option<i64>,
    from_path: Option<i64>,
}

/// What a pattern may take from a line.
const PROPERTIES: [&str; 7] = [
    "file", "line", "column", "severity", "code", "message", "fromPath",
];
const FILE: usize = 0;
const LINE: usize = 1;
const COLUMN: usize = 2;
const SEVERITY: usize = 3;
const CODE: usize = 4;
const MESSAGE: usize = 5;
const FROM_PATH: usize = 6;

/// What has been taken, in the order of [`PROPERTIES`].
type Taken = [Option<String>; 7];

#[derive(Debug, Clone)]
struct Pattern {
    regex: Regex,
    groups: [Option<usize>; 7],
    repeats: bool,
}

impl Pattern {
    /// What earlier lines gave stays; this line gives the rest.
    fn take(&self, captures: &Captures<'_>, before: Option<&Taken>) -> Taken {
        std::array::from_fn(|property| {
            let earlier = before.and_then(|taken| taken[property].clone());
            let group = || {
                Some(
                    captures
                        .get(self.groups[property]?)
                        .map_or("", |group| group.as_str())
                        .to_owned(),
                )
            };
            earlier.or_else(group)
        })
    }
}

/// One problem matcher, and how far it is in a problem of several lines.
#[derive(Debug, Clone)]
pub struct Matcher {
    owner: String,
    severity: String,
    from_path: String,
    patterns: Vec<Pattern>,
    /// What each pattern but the last has taken, if it has matched.
    running: Vec<Option<Taken>>,
}

/// Reads a file of problem matchers.
///
/// Shape: unknown keys are passed over, as GitHub does. Errors: [`MatcherError`], in GitHub's words where it has them.
pub fn parse_matchers(json: &str) -> Result<Vec<Matcher>, MatcherError> {
    let file: File = serde_json::from_str(json.strip_prefix('\u{feff}').unwrap_or(json))?;
    let mut matchers: Vec<Matcher> = Vec::new();
    for fields in file.matchers {
        let matcher = Matcher::new(fields)?;
        if matchers
            .iter()
            .any(|other| other.owner.eq_ignore_ascii_case(&matcher.owner))
        {
            return Err(MatcherError::DuplicateOwner(matcher.owner));
        }
        matchers.push(matcher);
    }
    Ok(matchers)
}

impl Matcher {
    fn new(fields: MatcherFields) -> Result<Self, MatcherError> {
        let owner = fields
            .owner
            .filter(|owner| !owner.is_empty())
            .ok_or(MatcherError::NoOwner)?;
        let severity = fields.severity.unwrap_or_default();
        if !severity.is_empty() && AnnotationLevel::from_name(&severity).is_none() {
            return Err(MatcherError::Severity { owner, severity });
        }
        let count = fields.pattern.len();
        match count {
            0 => return Err(MatcherError::NoPatterns(owner)),
            1..=PATTERNS_MAX => {}
            _ => return Err(MatcherError::TooManyPatterns(owner)),
        }
        let mut set = [false; 7];
        let mut patterns = Vec::new();
        for (index, fields) in fields.pattern.into_iter().enumerate() {
            if fields.r#loop && (index == 0 || index + 1 < count) {
                return Err(MatcherError::MisplacedLoop);
            }
            patterns.push(Pattern::new(&owner, fields, &mut set)?);
        }
        if !set[MESSAGE] {
            return Err(MatcherError::NoMessage);
        }
        let from_path = fields.from_path.unwrap_or_default();
        Ok(Self {
            owner,
            severity,
            from_path,
            patterns,
            running: vec![None; count - 1],
        })
    }

    /// Returns whose it is.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    fn reset(&mut self) {
        self.running.fill(None);
    }

    /// From the last pattern to the first, so that one line counts once.
    fn take(&mut self, line: &str) -> Option<Taken> {
        let last = self.patterns.len() - 1;
        for index in (0..=last).rev() {
            let before = index.checked_sub(1).map(|before| self.running[before].clone());
            if before == Some(None) {
                continue;
            }
            let before = before.flatten();
            let pattern = &self.patterns[index];
            let taken = pattern
                .regex
                .captures(line)
                .map(|captures| pattern.take(&captures, before.as_ref()));
            if index < last {
                self.running[index] = taken;
            } else if taken.is_some() {
                let repeats = pattern.repeats;
                self.reset();
                if repeats {
                    self.running[last - 1] = before;
                }
                return taken;
            } else if let Some(before) = last.checked_sub(1) {
                self.running[before] = None;
            }
        }
        None
    }

    /// A problem without a message, or of a severity that is none, is no problem.
    fn annotation(&self, taken: Taken) -> Option<Annotation> {
        let text = |property: usize| taken[property].as_deref().filter(|text| !text.trim().is_empty());
        let or_default = |property: usize, default: &str| {
            let own = taken[property].as_deref().filter(|text| !text.is_empty());
            own.unwrap_or(default).to_owned()
        };
        let severity = or_default(SEVERITY, &self.severity);
        let level = if severity.is_empty() {
            AnnotationLevel::Error
        } else {
            AnnotationLevel::from_name(&severity)?
        };
        let from_path = or_default(FROM_PATH, &self.from_path);
        let number = |property: usize| taken[property].as_deref().and_then(digits);
        Some(Annotation {
            level,
            message: text(MESSAGE)?.to_owned(),
            title: None,
            file: text(FILE).map(|file| file_beside(&from_path, file)),
            line: number(LINE),
            end_line: None,
            column: number(COLUMN),
            end_column: None,
            code: text(CODE).map(|code| code.trim().to_owned()),
        })
    }
}

impl Pattern {
    fn new(owner: &str, fields: PatternFields, set: &mut [bool; 7]) -> Result<Self, MatcherError> {
        if fields.r#loop && fields.message.is_none() {
            return Err(MatcherError::LoopWithoutMessage);
        }
        let regex = regex::RegexBuilder::new(fields.regexp.as_deref().unwrap_or(""))
            .size_limit(PATTERN_PROGRAM_BYTES_MAX)
            .dfa_size_limit(PATTERN_PROGRAM_BYTES_MAX)
            .build()
            .map_err(|problem| MatcherError::Pattern {
                owner: owner.to_owned(),
                problem: Box::new(problem),
            })?;
        let written = [
            fields.file,
            fields.line,
            fields.column,
            fields.severity,
            fields.code,
            fields.message,
            fields.from_path,
        ];
        let mut groups = [None; 7];
        for (index, group) in written.into_iter().enumerate() {
            let Some(group) = group else { continue };
            if std::mem::replace(&mut set[index], true) {
                return Err(MatcherError::SetTwice(PROPERTIES[index]));
            }
            let known = usize::try_from(group)
                .ok()
                .filter(|group| *group < regex.captures_len());
            groups[index] = Some(known.ok_or(MatcherError::OutOfRange {
                property: PROPERTIES[index],
                group,
            })?);
        }
        Ok(Self {
            regex,
            groups,
            repeats: fields.r#loop,
        })
    }
}

/// Digits only, without signs and white space.
fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// A relative file lies beside the file that names it, such as a project file.
fn file_beside(from_path: &str, file: &str) -> String {
    match from_path.rsplit_once('/') {
        Some((folder, _)) if !file.starts_with('/') => format!("{folder}/{file}"),
        _ => file.to_owned(),
    }
}

/// The problem matchers of a job, the newest first.
#[derive(Debug, Clone, Default)]
pub struct Matchers {
    matchers: Vec<Matcher>,
}

impl Matchers {
    /// Starts with none.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a matcher in front of the others and in place of one with the same owner.
    pub fn add(&mut self, matcher: Matcher) {
        self.remove(&matcher.owner);
        self.matchers.insert(0, matcher);
        self.matchers.truncate(MATCHERS_MAX);
    }

    /// Removes the matcher of an owner, compared without regard to case.
    pub fn remove(&mut self, owner: &str) {
        self.matchers
            .retain(|matcher| !matcher.owner.eq_ignore_ascii_case(owner));
    }

    /// Starts a step: problems do not span steps.
    pub fn reset(&mut self) {
        self.matchers.iter_mut().for_each(Matcher::reset);
    }

    /// Reads a line that is no command and returns the problem it completes. Colours are passed over.
    ///
    /// Shape: the first matcher that matches counts, and ends what the others have begun.
    pub fn match_line(&mut self, line: &[u8]) -> Option<Annotation> {
        if self.matchers.is_empty() || line.len() > MATCHED_LINE_BYTES_MAX {
            return None;
        }
        let line = String::from_utf8_lossy(line);
        let line = COLOUR.replace_all(&line, "");
        for index in 0..self.matchers.len() {
            let Some(taken) = self.matchers[index].take(&line) else {
                continue;
            };
            let annotation = self.matchers[index].annotation(taken);
            let others = self
                .matchers
                .iter_mut()
                .enumerate()
                .filter(|(other, _)| *other != index);
            others.for_each(|(_, matcher)| matcher.reset());
            if annotation.is_some() {
                return annotation;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GCC: &str = r#"{"problemMatcher":[{"owner":"gcc","pattern":[{
        "regexp":"^(.+):(\\d+):(\\d+): (warning|error|odd): (.*?)(?: \\[(.*)\\])?$",
        "file":1,"line":2,"column":3,"severity":4,"message":5,"code":6}]}]}"#;
    const LINT: &str = r#"{"problemMatcher":[{"owner":"lint","severity":"warning","pattern":[
        {"regexp":"^([^\\s].*)$","file":1},
        {"regexp":"^\\s+(\\d+):(\\d+)\\s+(.*)$","line":1,"column":2,"message":3,"loop":true}]}]}"#;
    const THREE: &str = r#"{"problemMatcher":[{"owner":"three","fromPath":"sub/app.csproj","pattern":[
        {"regexp":"^file (.*)$","file":1},{"regexp":"^code (.*)$","code":1},{"regexp":"^says (.*)$","message":1}]}]}"#;

    fn matchers(files: &[&str]) -> Matchers {
        let mut matchers = Matchers::new();
        for file in files {
            parse_matchers(file)
                .expect("the file is right")
                .into_iter()
                .for_each(|matcher| matchers.add(matcher));
        }
        matchers
    }

    /// Each problem as `level file:line:column code message`.
    fn check(files: &[&str], lines: &[&str], expected: &[&str]) {
        let mut matchers = matchers(files);
        let found: Vec<String> = lines
            .iter()
            .filter_map(|line| matchers.match_line(line.as_bytes()))
            .map(|problem| {
                let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
                let (file, code) = (
                    problem.file.as_deref().unwrap_or("-"),
                    problem.code.as_deref().unwrap_or("-"),
                );
                let place = format!("{file}:{}:{}", number(problem.line), number(problem.column));
                format!("{:?} {place} {code} {}", problem.level, problem.message)
            })
            .collect();
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn a_line_that_matches_becomes_an_annotation() {
        check(
            &[GCC],
            &[
                "make",
                "a.c:3:7: error: no such thing [-Wx]",
                "\x1b[1ma.c:4:1:\x1b[0m warning: hm",
            ],
            &["Error a.c:3:7 -Wx no such thing", "Warning a.c:4:1 - hm"],
        );
    }

    #[test]
    fn a_problem_without_message_or_of_odd_severity_is_none() {
        check(&[GCC], &["a.c:3:7: odd: hm", "a.c:3:7: error: "], &[]);
    }

    #[test]
    fn a_loop_takes_line_after_line_under_one_heading() {
        check(
            &[LINT],
            &[
                "  1:1  orphan",
                "src/a.js",
                "  1:2  first",
                "  3:4  second",
                "src/b.js",
                "  5:6  third",
                "  no",
                "  7:8  orphan",
            ],
            &[
                "Warning src/a.js:1:2 - first",
                "Warning src/a.js:3:4 - second",
                "Warning src/b.js:5:6 - third",
            ],
        );
    }

    #[test]
    fn a_problem_of_several_lines_must_have_them_all_in_a_row() {
        check(
            &[THREE],
            &["file a.cs", "code 7", "says hm"],
            &["Error sub/a.cs:-:- 7 hm"],
        );
        check(&[THREE], &["file a.cs", "code 7", "and", "says hm"], &[]);
        check(
            &[THREE],
            &["file /a.cs", "file /b.cs", "code 7", "says hm", "says more"],
            &["Error /b.cs:-:- 7 hm"],
        );
    }

    #[test]
    fn one_match_ends_what_the_other_matchers_have_begun() {
        check(
            &[THREE, GCC],
            &["file a.cs", "code 7", "a.c:3:7: error: x", "says hm"],
            &["Error a.c:3:7 - x"],
        );
    }

    #[test]
    fn a_matcher_replaces_one_of_its_owner_and_goes_by_it() {
        let mut matchers = matchers(&[GCC, &GCC.replace("gcc", "GCC").replace("(.*?)", "only (.*?)")]);
        assert_eq!(matchers.match_line(b"a.c:3:7: error: x"), None);
        assert!(matchers.match_line(b"a.c:3:7: error: only x").is_some());
        matchers.remove("gcc");
        assert_eq!(matchers.match_line(b"a.c:3:7: error: only x"), None);
    }

    #[test]
    fn numbers_that_are_none_are_left_out() {
        let file = r#"{"problemMatcher":[{"owner":"a","pattern":[{"regexp":"(.*),(.*):(.*)","line":1,"column":2,"message":3}]}]}"#;
        check(
            &[file],
            &["x,+3:m", "99999999999999999999,7:m"],
            &["Error -:-:- - m", "Error -:-:7 - m".trim()],
        );
    }

    fn check_error(file: &str, expected: &str) {
        let error = parse_matchers(file).expect_err("the file is wrong").to_string();
        assert!(error.starts_with(expected), "{file}: {error}");
    }

    #[test]
    fn a_wrong_file_is_refused_in_githubs_words() {
        let one = |fields: &str| format!("{{\"problemMatcher\":[{{{fields}}}]}}");
        let message = r#""pattern":[{"regexp":"(.)","message":1}]"#;
        check_error("[", "the problem matchers cannot be read: ");
        check_error(&one(message), "Owner must not be empty");
        check_error(
            &one(&format!(
                "\"owner\":\"a\",{message}}},{{\"owner\":\"A\",{message}"
            )),
            "Duplicate owner name 'A'",
        );
        check_error(
            &one(&format!("\"owner\":\"a\",\"severity\":\"x\",{message}")),
            "Matcher 'a' contains unexpected default severity 'x'",
        );
        check_error(
            &one(r#""owner":"a""#),
            "Matcher 'a' does not contain any patterns",
        );
        let patterns = |patterns: &str| one(&format!("\"owner\":\"a\",\"pattern\":[{patterns}]"));
        check_error(
            &patterns(r#"{"regexp":"(","message":0}"#),
            "Matcher 'a' contains a pattern that cannot be used: ",
        );
        check_error(
            &patterns(r#"{"regexp":"(?=a)","message":0}"#),
            "Matcher 'a' contains a pattern that cannot be used: ",
        );
        check_error(
            &patterns(r#"{"regexp":".","message":1}"#),
            "The property 'message' is set to 1 which is out of range",
        );
        check_error(
            &patterns(r#"{"regexp":".","message":-1}"#),
            "The property 'message' is set to -1 which is out of range",
        );
        check_error(
            &patterns(r#"{"regexp":".","file":0}"#),
            "At least one pattern must set 'message'",
        );
        check_error(
            &patterns(r#"{"regexp":".","message":0,"loop":true}"#),
            "Only the last pattern in a multiline",
        );
        check_error(
            &patterns(r#"{"regexp":".","message":0},{"regexp":".","loop":true}"#),
            "The loop pattern must set 'message'",
        );
        check_error(
            &patterns(r#"{"regexp":".","message":0},{"regexp":".","message":0}"#),
            "The property 'message' is set twice",
        );
    }

    #[test]
    fn too_many_of_anything_is_bounded() {
        let many = vec![r#"{"regexp":"."}"#; PATTERNS_MAX + 1].join(",");
        check_error(
            &format!("{{\"problemMatcher\":[{{\"owner\":\"a\",\"pattern\":[{many}]}}]}}"),
            "Matcher 'a' contains more than 64 patterns",
        );
        let mut matchers = Matchers::new();
        for owner in 0..=MATCHERS_MAX {
            let file = GCC.replace("gcc", &owner.to_string());
            parse_matchers(&file)
                .expect("the file is right")
                .into_iter()
                .for_each(|matcher| matchers.add(matcher));
        }
        assert_eq!(
            (matchers.matchers.len(), matchers.matchers[0].owner()),
            (MATCHERS_MAX, "256")
        );
        let long = format!("a.c:3:7: error: {}", "x".repeat(MATCHED_LINE_BYTES_MAX));
        assert_eq!(matchers.match_line(long.as_bytes()), None);
    }
}
