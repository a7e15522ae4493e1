//! A scope for tests. Owns fixed answers; must never be part of the product.

use std::collections::HashMap;

use super::scope::{FileHashRequest, Scope, ScopeError, Status};
use super::value::Value;

/// A scope with contexts from JSON and a job that has failed or has not.
#[derive(Debug, Default)]
pub(super) struct FixedScope {
    pub(super) contexts: HashMap<String, Value>,
    pub(super) failed: bool,
}

impl FixedScope {
    pub(super) fn of<const N: usize>(contexts: [(&str, &str); N]) -> Self {
        let parsed = contexts.map(|(name, json)| (name.to_owned(), Value::from_json_text(json).unwrap()));
        Self {
            contexts: HashMap::from(parsed),
            failed: false,
        }
    }
}

impl Scope for FixedScope {
    fn context(&self, name: &str) -> Option<Value> {
        self.contexts.get(name).cloned()
    }

    fn status(&self, status: Status, jobs: &[&str]) -> Result<bool, ScopeError> {
        if jobs.contains(&"unknown") {
            let message = "there is no job 'unknown'".to_owned();
            return Err(ScopeError { message });
        }
        Ok(match status {
            Status::Success => !self.failed,
            Status::Failure => self.failed,
            Status::Cancelled => false,
        })
    }

    fn hash_files(&self, request: &FileHashRequest) -> Result<String, ScopeError> {
        let follow = request.follow_symbolic_links;
        Ok(format!("{follow} {}", request.patterns.join(" ")))
    }
}
