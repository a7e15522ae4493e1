//! A repository whose target the factory protects. Owns what is known about it; never its content.

use crate::id::{BranchName, CommitId, RepositoryId};
use crate::queue::change::Priority;
use crate::time::Timestamp;

/// A stop of landing for changes below a priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Changes less urgent than this wait; `None` stops all of them.
    pub below: Option<Priority>,
    /// Who froze it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

impl Freeze {
    /// Says whether a change of this priority has to wait for the thaw.
    #[must_use]
    pub fn stops(&self, priority: Priority) -> bool {
        self.below.is_none_or(|below| priority < below)
    }
}

/// A repository and the branch of it that changes land on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its number.
    pub id: RepositoryId,
    /// Its name in this factory.
    pub name: String,
    /// The directory of its Git storage: the repository itself if bare, else its `.git`.
    pub path: String,
    /// The protected branch.
    pub target: BranchName,
    /// gantry owns it and takes offers by push.
    pub served: bool,
    /// Where the target was when it was last looked at.
    pub known_tip: Option<CommitId>,
    /// Set while nothing (or only the urgent) may land.
    pub frozen: Option<Freeze>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_stops_what_is_less_urgent_than_its_bound() {
        let freeze = |below| Freeze {
            below,
            author: "ada".into(),
            reason: "release".into(),
            since: Timestamp::from_millis(0),
        };
        assert!(Priority::ALL.iter().all(|priority| freeze(None).stops(*priority)));
        assert!(freeze(Some(Priority::High)).stops(Priority::Normal));
        assert!(!freeze(Some(Priority::High)).stops(Priority::High));
    }
}
