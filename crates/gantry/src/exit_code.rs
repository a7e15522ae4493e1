//! Every exit code, once.

/// What the program tells its caller by its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Done.
    Done,
    /// The answer is no: a wait ended with a change that did not land, or a check of the configuration failed.
    No,
    /// The command line is wrong.
    Usage,
    /// No daemon answers for the data directory.
    NoDaemon,
    /// What was named does not exist.
    NotFound,
    /// Its state does not allow it, or somebody else was faster.
    Conflict,
    /// The time given ran out.
    TimedOut,
    /// The audit found a landing that was not tested.
    Untested,
    /// Something is in the way: the disk, the repository, a lock.
    Trouble,
    /// What a command in a box ended with.
    Command(u8),
}

/// Every code with its number and meaning.
pub const TABLE: [(ExitCode, u8, &str); 9] = [
    (ExitCode::Done, 0, "done"),
    (
        ExitCode::No,
        1,
        "the answer is no: a waited-for change did not land, or the configuration is not usable",
    ),
    (ExitCode::Usage, 2, "the command line is wrong"),
    (ExitCode::NoDaemon, 3, "no daemon answers for the data directory"),
    (ExitCode::NotFound, 4, "what was named does not exist"),
    (
        ExitCode::Conflict,
        5,
        "its state does not allow it, or somebody else was faster",
    ),
    (ExitCode::TimedOut, 6, "the time given ran out"),
    (
        ExitCode::Untested,
        7,
        "the audit found a landing that was not tested",
    ),
    (
        ExitCode::Trouble,
        8,
        "something is in the way: the disk, the repository, a lock",
    ),
];

impl ExitCode {
    /// Returns its number.
    #[must_use]
    pub fn number(self) -> u8 {
        if let Self::Command(code) = self {
            return code;
        }
        TABLE.iter().find(|row| row.0 == self).map_or(8, |row| row.1)
    }
}

impl ExitCode {
    /// Returns the code of a number, if it is one of ours.
    #[must_use]
    pub fn of_number(number: i32) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| i32::from(row.1) == number)
            .map(|row| row.0)
    }
}

/// An error with the code it ends the program with.
#[derive(Debug)]
pub struct Coded {
    /// The code.
    pub code: ExitCode,
    /// What to say.
    pub error: anyhow::Error,
}

impl Coded {
    /// Makes one from a text.
    pub fn new(code: ExitCode, text: impl Into<String>) -> Self {
        Self {
            code,
            error: anyhow::Error::msg(text.into()),
        }
    }

    /// What goes to standard error: a line for people, or one JSON document.
    #[must_use]
    pub fn said(&self, json: bool) -> String {
        let text = format!("{:#}", self.error);
        if json {
            return serde_json::json!({"error": text, "exit_code": self.code.number()}).to_string();
        }
        format!("gantry: {}", crate::cli::harmless(&text))
    }
}

impl<E: Into<anyhow::Error>> From<E> for Coded {
    fn from(error: E) -> Self {
        Self {
            code: ExitCode::Trouble,
            error: error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_given_once() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0.number(), row.1);
            assert!(
                TABLE[..index]
                    .iter()
                    .all(|other| other.1 != row.1 && other.0 != row.0)
            );
        }
    }
}
