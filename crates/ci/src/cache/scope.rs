//! Who may read which cache. Owns the order of scopes; must never let a run of landed code read what an unmerged change
//! wrote.
//!
//! ```text
//! pull request or queue ref ─reads─► its own, its base, the default branch      writes its own
//! branch                    ─reads─► its own, the default branch                writes its own
//! default branch            ─reads─► its own                                    writes its own
//! ```

use serde::{Deserialize, Serialize};

/// Whose word an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Code that is on a branch.
    Branch(String),
    /// A change that has not landed, by its ref, such as `refs/pull/7/merge`.
    Unmerged(String),
}

impl Scope {
    /// Returns a text that no other scope has, whatever its branch or ref is called.
    pub(crate) fn tag(&self) -> String {
        match self {
            Self::Branch(name) => format!("branch\0{name}"),
            Self::Unmerged(name) => format!("unmerged\0{name}"),
        }
    }
}

/// What one run may read and write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheAccess {
    writes: Scope,
    reads: Vec<Scope>,
}

impl CacheAccess {
    /// Makes the access of a run of what is on a branch: `push`, `schedule`, `workflow_dispatch`.
    #[must_use]
    pub fn landed(branch: &str, default_branch: &str) -> Self {
        Self::new(Scope::Branch(branch.to_owned()), &[branch, default_branch])
    }

    /// Makes the access of a run of a change that has not landed: `pull_request`, `merge_group`.
    #[must_use]
    pub fn unmerged(own_ref: &str, base: &str, default_branch: &str) -> Self {
        Self::new(Scope::Unmerged(own_ref.to_owned()), &[base, default_branch])
    }

    fn new(writes: Scope, branches: &[&str]) -> Self {
        let mut reads = vec![writes.clone()];
        for branch in branches {
            let scope = Scope::Branch((*branch).to_owned());
            if !reads.contains(&scope) {
                reads.push(scope);
            }
        }
        Self { writes, reads }
    }

    /// Returns where the run's entries go.
    #[must_use]
    pub const fn writes(&self) -> &Scope {
        &self.writes
    }

    /// Returns what the run may read, the nearest first.
    #[must_use]
    pub fn reads(&self) -> &[Scope] {
        &self.reads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_landed_code_reads_no_unmerged_change() {
        let names = [
            "main",
            "topic",
            "refs/pull/1/merge",
            "refs/heads/gh-readonly-queue/main/pr-1",
        ];
        for own in names {
            for other in names {
                for default in ["main", "topic"] {
                    let landed = CacheAccess::landed(own, default);
                    let written = CacheAccess::unmerged(other, own, default);
                    assert!(
                        !landed.reads().contains(written.writes()),
                        "{own} {other} {default}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_change_reads_its_own_then_its_base_then_the_default_branch() {
        let access = CacheAccess::unmerged("refs/pull/1/merge", "release", "main");
        let branch = |name: &str| Scope::Branch(name.to_owned());
        assert_eq!(
            access.reads(),
            [
                Scope::Unmerged("refs/pull/1/merge".to_owned()),
                branch("release"),
                branch("main")
            ]
        );
        assert_eq!(CacheAccess::landed("main", "main").reads(), [branch("main")]);
        let other = CacheAccess::unmerged("refs/pull/2/merge", "main", "main");
        assert!(!other.reads().contains(access.writes()));
    }

    #[test]
    fn no_name_makes_one_scope_of_two() {
        let tags = ["a", "branch\0a", "unmerged\0a"].map(|name| {
            [
                Scope::Branch(name.to_owned()).tag(),
                Scope::Unmerged(name.to_owned()).tag(),
            ]
        });
        let mut all: Vec<_> = tags.iter().flatten().collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
    }
}
