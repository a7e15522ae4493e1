//! What is wrong with a recipe, where, and how to mend it.

/// A text that is no recipe, or one that asks for what is not supported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {problem}", line.map_or(String::new(), |line| format!(" line {line}")))]
pub struct RecipeError {
    /// The file.
    pub file: String,
    /// The line, from 1, where one is to blame.
    pub line: Option<usize>,
    /// The problem and the mend.
    pub problem: String,
}

impl RecipeError {
    pub(crate) fn new(file: &str, line: impl Into<Option<usize>>, problem: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: line.into(),
            problem: problem.into(),
        }
    }
}

/// Returns the word that is most like `key`, if any is like it at all.
pub(crate) fn nearest<'a>(key: &str, words: &[&'a str]) -> Option<&'a str> {
    let scored = words.iter().map(|word| (strsim::jaro_winkler(key, word), *word));
    scored
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// Words for an unknown key.
pub(crate) fn unknown(what: &str, key: &str, words: &[&str]) -> String {
    match nearest(key, words) {
        Some(near) => format!("unknown {what} {key:?}; did you mean {near:?}?"),
        None => format!("unknown {what} {key:?}; there are {}", words.join(", ")),
    }
}
