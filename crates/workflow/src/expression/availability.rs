//! Which contexts and functions an expression may name. Owns the lookup; which key has which is in `place`.

use super::function::Function;
use super::limits::ARGUMENTS_MAX;

/// What is available at a place.
#[derive(Debug, Clone, Copy)]
pub struct Availability<'a> {
    /// The names of the contexts.
    pub contexts: &'a [&'a str],
    /// Whether `success()` and its kin may be called, and with what.
    pub status: StatusArguments,
    /// Whether `hashFiles()` may be called.
    pub hash_files: bool,
}

/// What the status functions may be called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusArguments {
    /// They may not be called.
    Unavailable,
    /// With nothing.
    Nothing,
    /// `success` and `failure` with any number of names of jobs, the others with nothing.
    Jobs,
}

impl<'a> Availability<'a> {
    /// Makes a place where these contexts and the functions that are available everywhere may be named.
    pub const fn of(contexts: &'a [&'a str]) -> Self {
        Self {
            contexts,
            status: StatusArguments::Unavailable,
            hash_files: false,
        }
    }

    /// Returns the least and the most arguments of a function, `None` if it is not available.
    pub fn arity(&self, function: Function) -> Option<(usize, usize)> {
        let takes_jobs = matches!(function, Function::Success | Function::Failure);
        match (function, self.status) {
            (Function::HashFiles, _) => self.hash_files.then_some((1, ARGUMENTS_MAX)),
            (function, _) if !function.is_status() => function.common_arity(),
            (_, StatusArguments::Unavailable) => None,
            (_, StatusArguments::Jobs) if takes_jobs => Some((0, usize::MAX)),
            (_, StatusArguments::Jobs | StatusArguments::Nothing) => Some((0, 0)),
        }
    }

    /// Returns the name that a context is declared with, found in any case.
    pub fn context_name(&self, name: &str) -> Option<&'a str> {
        let mut contexts = self.contexts.iter();
        contexts
            .find(|context| context.eq_ignore_ascii_case(name))
            .copied()
    }
}
