//! The functions that expressions call. Owns their names and how many arguments they take.

use super::limits::ARGUMENTS_MAX;

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `case(predicate, value, …, default)`.
    Case,
    /// `contains(search, item)`.
    Contains,
    /// `endsWith(text, end)`.
    EndsWith,
    /// `format(text, value, …)`.
    Format,
    /// `fromJSON(text)`.
    FromJson,
    /// `join(array, separator)`.
    Join,
    /// `startsWith(text, start)`.
    StartsWith,
    /// `toJSON(value)`.
    ToJson,
    /// `hashFiles(pattern, …)`.
    HashFiles,
    /// `success()`.
    Success,
    /// `failure()`.
    Failure,
    /// `cancelled()`.
    Cancelled,
    /// `always()`.
    Always,
}

impl Function {
    /// All functions.
    const ALL: [Self; 13] = [
        Self::Case,
        Self::Contains,
        Self::EndsWith,
        Self::Format,
        Self::FromJson,
        Self::Join,
        Self::StartsWith,
        Self::ToJson,
        Self::HashFiles,
        Self::Success,
        Self::Failure,
        Self::Cancelled,
        Self::Always,
    ];

    /// Finds a function by its name in any case.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|function| function.name().eq_ignore_ascii_case(name))
    }

    /// Returns its name as GitHub's documentation writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Contains => "contains",
            Self::EndsWith => "endsWith",
            Self::Format => "format",
            Self::FromJson => "fromJSON",
            Self::Join => "join",
            Self::StartsWith => "startsWith",
            Self::ToJson => "toJSON",
            Self::HashFiles => "hashFiles",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Always => "always",
        }
    }

    /// Tells whether it asks how the job stands.
    pub fn is_status(self) -> bool {
        match self {
            Self::Success | Self::Failure | Self::Cancelled | Self::Always => true,
            Self::Case | Self::Contains | Self::EndsWith | Self::Format | Self::FromJson => false,
            Self::Join | Self::StartsWith | Self::ToJson | Self::HashFiles => false,
        }
    }

    /// Returns the least and the most arguments of a function that is available everywhere, `None` for others.
    pub(super) fn common_arity(self) -> Option<(usize, usize)> {
        match self {
            Self::Case => Some((3, ARGUMENTS_MAX)),
            Self::Contains | Self::EndsWith | Self::StartsWith => Some((2, 2)),
            Self::Format => Some((1, ARGUMENTS_MAX)),
            Self::Join => Some((1, 2)),
            Self::FromJson | Self::ToJson => Some((1, 1)),
            Self::HashFiles | Self::Success | Self::Failure | Self::Cancelled | Self::Always => None,
        }
    }
}
