//! The classes of failure.

use std::fmt;
use std::time::Duration;

use gantry_core::time::Timestamp;

use crate::event::clip;

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The provider does not know the account, or no longer.
    Authentication,
    /// The account has no money or no plan for this.
    Billing,
    /// A limit of the account is used up.
    RateLimited {
        /// When it begins anew, where the provider says so.
        until: Option<Timestamp>,
    },
    /// The provider has no room, or fails itself.
    Overloaded,
    /// The provider cannot be reached.
    Network,
    /// The session is longer than the model can read.
    ContextTooLong,
    /// The provider has no such model, or not for this account.
    ModelNotFound,
    /// The provider refuses the request as it is.
    InvalidRequest,
    /// The run's number of turns is used up.
    MaxTurns,
    /// The run's money is used up.
    Budget,
    /// The program was not allowed to do what it had to.
    PermissionDenied,
    /// The box has no such program.
    ToolMissing,
    /// The program broke.
    Crashed,
    /// Something ended the program that did not say why.
    Killed,
    /// The program used more memory than its box has.
    OutOfMemory,
    /// The program said nothing for too long.
    Silent,
    /// The run took too long.
    TimedOut,
    /// The program ended without a word on how.
    NoResult,
    /// The model will not do it.
    Refused,
    /// None of these.
    Unknown,
}

impl FailureClass {
    /// One of each.
    pub const ALL: [Self; 20] = [
        Self::Authentication,
        Self::Billing,
        Self::RateLimited { until: None },
        Self::Overloaded,
        Self::Network,
        Self::ContextTooLong,
        Self::ModelNotFound,
        Self::InvalidRequest,
        Self::MaxTurns,
        Self::Budget,
        Self::PermissionDenied,
        Self::ToolMissing,
        Self::Crashed,
        Self::Killed,
        Self::OutOfMemory,
        Self::Silent,
        Self::TimedOut,
        Self::NoResult,
        Self::Refused,
        Self::Unknown,
    ];

    /// Returns the name it is recorded under.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Billing => "billing",
            Self::RateLimited { .. } => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Network => "network",
            Self::ContextTooLong => "context_too_long",
            Self::ModelNotFound => "model_not_found",
            Self::InvalidRequest => "invalid_request",
            Self::MaxTurns => "max_turns",
            Self::Budget => "budget",
            Self::PermissionDenied => "permission_denied",
            Self::ToolMissing => "tool_missing",
            Self::Crashed => "crashed",
            Self::Killed => "killed",
            Self::OutOfMemory => "out_of_memory",
            Self::Silent => "silent",
            Self::TimedOut => "timed_out",
            Self::NoResult => "no_result",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the class recorded under that name; of `rate_limited` without its instant. `None` for any other text.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failure with what was said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub class: FailureClass,
    /// What the program or gantry says, for a person.
    pub message: String,
    /// How long the provider asks to wait, counted from when it said so.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Makes a failure of a known class.
    #[must_use]
    pub fn new(class: FailureClass, message: &str) -> Self {
        Self {
            class,
            message: clip(message),
            retry_after: None,
        }
    }

    /// Returns the same failure with the instant at which a limit begins anew, if it is one without.
    #[must_use]
    pub(crate) fn with_reset(mut self, resets_at: Option<Timestamp>) -> Self {
        if self.class == (FailureClass::RateLimited { until: None }) {
            self.class = FailureClass::RateLimited { until: resets_at };
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_name_of_its_own() {
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::from_name(class.name()), Some(class));
        }
        assert_eq!(FailureClass::from_name("fine"), None);
    }
}
