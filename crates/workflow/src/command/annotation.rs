//! Annotations: what a step says about a place in a file. Owns which lines and columns make sense together.

use super::syntax::RawCommand;

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnotationLevel {
    /// To be known.
    Notice,
    /// To be looked at.
    Warning,
    /// To be mended.
    Error,
}

impl AnnotationLevel {
    /// Returns the level of that name, compared without regard to case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            ("notice", Self::Notice),
            ("warning", Self::Warning),
            ("error", Self::Error),
        ]
        .into_iter()
        .find_map(|(word, level)| name.eq_ignore_ascii_case(word).then_some(level))
    }
}

/// One annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// How grave.
    pub level: AnnotationLevel,
    /// What is said; may have several lines.
    pub message: String,
    /// A heading.
    pub title: Option<String>,
    /// The file as the step wrote it: relative to the workspace, or absolute inside the box.
    pub file: Option<String>,
    /// The first line, from 1.
    pub line: Option<u64>,
    /// The last line, never before the first.
    pub end_line: Option<u64>,
    /// The first column, from 1; only with a line.
    pub column: Option<u64>,
    /// The last column, never before the first; only where the lines are the same.
    pub end_column: Option<u64>,
    /// The program's own name for what is wrong.
    pub code: Option<String>,
}

impl Annotation {
    /// Reads a `notice`, `warning` or `error` command.
    ///
    /// Shape: values that are no numbers or contradict one another are dropped, as GitHub drops them.
    /// Source: actions/runner, `IssueCommandExtension.ValidateLinesAndColumns`.
    pub(super) fn from_command(level: AnnotationLevel, command: &RawCommand) -> Self {
        let text = |key| command.property(key).map(str::to_owned);
        let number = |key| command.property(key).and_then(|value| value.trim().parse().ok());
        let end_line: Option<u64> = number("endLine");
        let line = number("line").or(end_line);
        let end_column: Option<u64> = number("endColumn");
        let column = number("col").or(end_column);
        let columns_fit = line.is_some()
            && end_line.is_none_or(|end| Some(end) == line)
            && end_column.is_none_or(|end| column <= Some(end));
        let lines_fit = end_line.is_none_or(|end| line <= Some(end));
        Self {
            level,
            message: command.data.clone(),
            title: text("title"),
            file: text("file"),
            line: line.filter(|_| lines_fit),
            end_line: end_line.filter(|_| lines_fit),
            column: column.filter(|_| columns_fit),
            end_column: end_column.filter(|_| columns_fit),
            code: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::syntax::parse;
    use super::*;

    type Places = [Option<u64>; 4];

    fn check(properties: &str, expected: Places) {
        let command = parse(&format!("::error {properties}::m"), |_| true).expect("this is a command");
        let annotation = Annotation::from_command(AnnotationLevel::Error, &command);
        let Annotation {
            line,
            end_line,
            column,
            end_column,
            ..
        } = annotation;
        assert_eq!([line, end_line, column, end_column], expected, "{properties}");
    }

    #[test]
    fn lines_and_columns_are_kept_where_they_make_sense_together() {
        check("line=3", [Some(3), None, None, None]);
        check("line=3,endLine=5", [Some(3), Some(5), None, None]);
        check(
            "line=3,endLine=3,col=2,endColumn=9",
            [Some(3), Some(3), Some(2), Some(9)],
        );
        check("endLine=5", [Some(5), Some(5), None, None]);
        check("line=3,endColumn=5", [Some(3), None, Some(5), Some(5)]);
        check("col=2,endColumn=9", [None; 4]);
        check(
            "line=3,endLine=4,col=2,endColumn=9",
            [Some(3), Some(4), None, None],
        );
        check("line=5,endLine=3,file=a", [None; 4]);
        check("line=5,col=9,endColumn=2", [Some(5), None, None, None]);
        check("line=x,col=-1,endLine=99999999999999999999", [None; 4]);
    }

    #[test]
    fn words_are_kept_as_written() {
        let line = "::Notice TITLE=Tea %2C time,file=src/a.rs::first%0Asecond";
        let command = parse(line, |_| true).expect("this is a command");
        let annotation = Annotation::from_command(AnnotationLevel::Notice, &command);
        assert_eq!(annotation.title.as_deref(), Some("Tea , time"));
        assert_eq!(annotation.file.as_deref(), Some("src/a.rs"));
        assert_eq!(annotation.message, "first\nsecond");
    }
}
