//! Where something stands in a file, and what is wrong there. Owns places and diagnostics; must never decide whether a
//! file is valid.

use std::fmt;

/// A line and a column, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

impl Place {
    /// The first character of a file.
    pub const START: Place = Place { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line: {}, Col: {}", self.line, self.column)
    }
}

/// A value and the place its text starts at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<T> Spanned<T> {
    /// Joins a value with its place.
    pub fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }

    /// Replaces the value and keeps the place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned {
            value: change(self.value),
            place: self.place,
        }
    }
}

/// One reason why a file is not valid, in GitHub's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the caller named it, e.g. `.github/workflows/ci.yml`.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// GitHub's message, without file and place.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.file, self.place, self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// Puts all diagnostics of a workflow into the one text that GitHub shows.
pub fn render_invalid_workflow(diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    format!("The workflow is not valid. {}", lines.join(", "))
}

/// Collects the diagnostics of one file.
#[derive(Debug)]
pub(crate) struct Faults {
    file: String,
    found: Vec<Diagnostic>,
}

impl Faults {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_string(),
            found: Vec::new(),
        }
    }

    /// Notes a fault; from [`FAULTS_MAX`] on further ones are not kept, since the file is invalid anyway.
    pub(crate) fn add(&mut self, place: Place, message: impl Into<String>) {
        if self.found.len() < FAULTS_MAX {
            self.found.push(Diagnostic {
                file: self.file.clone(),
                place,
                message: message.into(),
            });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.found
    }
}

/// How many diagnostics of one file are kept.
const FAULTS_MAX: usize = 200;
