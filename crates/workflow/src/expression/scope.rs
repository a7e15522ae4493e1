//! What an expression asks of its surroundings. Owns the questions; the answers are the caller's.

use super::value::Value;

/// The surroundings of an expression.
pub trait Scope {
    /// Returns a context's value by the name it is declared with; `None` for one that has none here, which is null,
    /// such as `matrix` in a job without one.
    fn context(&self, name: &str) -> Option<Value>;

    /// Tells whether the job, or each of these jobs if some are named, stands so.
    ///
    /// Errors: what keeps the scope from knowing.
    fn status(&self, status: Status, jobs: &[&str]) -> Result<bool, ScopeError>;

    /// Returns the hash of the files that `hashFiles()` names, empty if there are none.
    ///
    /// Errors: a pattern that is none, a file that cannot be read. See [`hash_files`](super::hash_files).
    fn hash_files(&self, request: &FileHashRequest) -> Result<String, ScopeError>;
}

/// What a status function asks. `always()` asks nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing has failed and nothing was cancelled.
    Success,
    /// Something has failed.
    Failure,
    /// The run was cancelled.
    Cancelled,
}

/// What `hashFiles()` was called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHashRequest {
    /// The patterns; each may hold several, one a line.
    pub patterns: Vec<String>,
    /// Whether symbolic links to folders are followed.
    pub follow_symbolic_links: bool,
}

/// Why a scope has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScopeError {
    /// What it could not find out, the place, and why.
    pub message: String,
}
