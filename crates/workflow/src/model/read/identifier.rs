//! Identifiers of jobs and steps. Owns their grammar and GitHub's messages about them.

use std::collections::BTreeSet;

/// Identifiers must be shorter than this.
const IDENTIFIER_CHARS_MAX: usize = 100;

/// The identifiers of one scope.
#[derive(Debug, Default)]
pub(super) struct Identifiers {
    /// In lower case.
    known: BTreeSet<String>,
}

impl Identifiers {
    /// Adds an identifier.
    ///
    /// Errors: GitHub's message if it is malformed, reserved or taken.
    pub(super) fn add(&mut self, id: &str) -> Result<(), String> {
        let starts_well = id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let all_known = id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !starts_well || !all_known || id.len() >= IDENTIFIER_CHARS_MAX {
            return Err(format!(
                "The identifier '{id}' is invalid. IDs may only contain alphanumeric characters, '_', and '-'. IDs must \
                 start with a letter or '_' and and must be less than {IDENTIFIER_CHARS_MAX} characters."
            ));
        }
        if id.starts_with("__") {
            return Err(format!(
                "The identifier '{id}' is invalid. IDs starting with '__' are reserved."
            ));
        }
        if !self.known.insert(id.to_ascii_lowercase()) {
            return Err(format!(
                "The identifier '{id}' may not be used more than once within the same scope."
            ));
        }
        Ok(())
    }

    /// Tells whether an identifier has been added, whatever its case.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.known.contains(&id.to_ascii_lowercase())
    }
}
