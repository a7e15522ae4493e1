//! What people do in the virtual world: offers, requests, pushes, branches that move and go.

use gantry_core::id::{BranchName, ChangeId, CommitId};
use gantry_core::queue::change::{ChangeState, Priority, Source};
use gantry_core::repository::Freeze;
use gantry_core::time::Timestamp;
use gantry_engine::factory::{AskError, OfferRequest};

use crate::git::Git;
use crate::world::{TestWorld, Virtual};

impl TestWorld {
    /// A person makes or moves a branch: the commits stand on `on`, each given as edits.
    pub fn branch_on(&mut self, on: &str, branch: &str, commits: &[&str]) -> CommitId {
        let mut git = self.git.borrow_mut();
        let mut head = git.refs[&format!("refs/heads/{on}")];
        for (number, edits) in commits.iter().enumerate() {
            head = git.edit(head, edits, &format!("{branch}#{number} {edits}"), branch);
        }
        git.set_ref(&format!("refs/heads/{branch}"), Some(head));
        head
    }

    /// A person makes a branch of one commit on the target, and offers it.
    pub fn offer(&mut self, branch: &str, edits: &str) -> ChangeId {
        self.offer_with(branch, edits, |_| {})
    }

    /// As [`TestWorld::offer`], with more said.
    pub fn offer_with(
        &mut self,
        branch: &str,
        edits: &str,
        more: impl FnOnce(&mut OfferRequest),
    ) -> ChangeId {
        self.branch_on("main", branch, &[edits]);
        let mut request = request(branch);
        more(&mut request);
        self.ask_offer(&request).expect("the offer is taken")
    }

    /// A person offers a branch as it is, again if the process dies meanwhile.
    ///
    /// Errors: [`AskError`] of the factory.
    pub fn ask_offer(&mut self, request: &OfferRequest) -> Result<ChangeId, AskError> {
        self.ask(|factory, now| factory.offer(0, request.clone(), now).map(|change| change.id))
    }

    /// A person asks for something, again if the process dies meanwhile.
    ///
    /// Errors: [`AskError`] of the factory.
    pub fn ask<T>(
        &mut self,
        mut what: impl FnMut(&mut Virtual, Timestamp) -> Result<T, AskError>,
    ) -> Result<T, AskError> {
        let now = self.now;
        let answer = loop {
            if let Some(answer) = self.alive(|factory| what(factory, now)) {
                break answer;
            }
            self.look();
        };
        self.check();
        if !self.deaf {
            self.look();
        }
        answer
    }

    /// A person cancels a change. Says whether it is cancelled now.
    pub fn cancel(&mut self, change: ChangeId) -> bool {
        // Its answer is what became of it, as a person who was cut off would look.
        let _answer = self.ask(|factory, now| factory.cancel(change, now));
        matches!(self.state(change), ChangeState::Cancelled(_))
    }

    /// A person gives a change another priority.
    pub fn set_priority(&mut self, change: ChangeId, priority: Priority) {
        self.ask(|factory, now| factory.set_priority(change, priority, now))
            .expect("not ended yet");
    }

    /// A person freezes the queue, whole or below a priority.
    pub fn freeze(&mut self, below: Option<Priority>) {
        let frozen = self.ask(|factory, now| {
            let freeze = Freeze {
                below,
                author: "ada".into(),
                reason: "release".into(),
                since: now,
            };
            factory.freeze(0, freeze)
        });
        frozen.expect("the freeze is stored");
    }

    /// A person thaws the queue.
    pub fn thaw(&mut self) {
        self.ask(|factory, now| factory.thaw(0, "ada", now))
            .expect("it was frozen");
    }

    /// A person pushes to the target past the queue.
    pub fn push(&mut self, edits: &str) {
        self.git.borrow_mut().push(edits, &format!("push {edits}"));
        if !self.deaf {
            self.look();
        }
    }

    /// A person deletes a branch.
    pub fn delete_branch(&mut self, branch: &str) {
        self.git
            .borrow_mut()
            .set_ref(&format!("refs/heads/{branch}"), None);
        if !self.deaf {
            self.look();
        }
    }

    /// At the next move of the target by gantry a person does this first.
    pub fn surprise(&mut self, what: impl FnOnce(&mut Git) + 'static) {
        self.git.borrow_mut().surprises.push(Box::new(what));
    }
}

/// What offers a branch as it is.
#[must_use]
pub fn request(branch: &str) -> OfferRequest {
    OfferRequest {
        branch: BranchName::parse(branch).expect("a branch name"),
        source: Source::Branch,
        head: None,
        title: None,
        author: None,
        priority: None,
        solo: false,
        after: Vec::new(),
    }
}
