//! Moving refs. Owns the one compare-and-swap; must never move a ref whose old value it did not check.

use std::path::PathBuf;

use gantry_core::id::CommitId;
use gix::refs::transaction::{PreviousValue, RefEdit};
use gix::refs::{FullName, Target};

use super::repository::object_id;
use super::{GitError, GitRepository};

/// What became of a compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The ref has the new value.
    Moved,
    /// The ref had another value than expected and is as it was.
    Lost {
        /// The value it has.
        actual: Option<CommitId>,
    },
}

impl GitRepository {
    /// Returns when every object and ref written so far outlives a power loss.
    ///
    /// Git's storage leaves that to the system; a landing cannot. Errors: [`GitError::Storage`].
    pub fn make_durable(&self) -> Result<(), GitError> {
        let trouble = |source| {
            self.storage(
                "write everything to the disk".to_owned(),
                gix::Error::from_error(source),
            )
        };
        let folder = std::fs::File::open(self.inner.common_dir()).map_err(trouble)?;
        nix::unistd::syncfs(&folder).map_err(|errno| trouble(std::io::Error::from(errno)))
    }

    /// Moves `ref_name` from `expected` to `new` in one step; `None` stands for a ref that does not exist.
    ///
    /// Errors: [`GitError::RefName`], [`GitError::Object`] if `new` is no commit here, [`GitError::Locked`],
    /// [`GitError::Ref`], [`GitError::Symbolic`].
    pub fn compare_and_swap(
        &self,
        ref_name: &str,
        expected: Option<CommitId>,
        new: Option<CommitId>,
        message: &str,
    ) -> Result<Swap, GitError> {
        let name = FullName::try_from(ref_name).map_err(|source| GitError::RefName {
            name: ref_name.to_owned(),
            source: Box::new(gix::Error::from_error(source)),
        })?;
        if let Some(new) = new {
            self.commit(object_id(new))?;
        }
        let target = |id| Target::Object(object_id(id));
        let previous = match expected {
            Some(id) => PreviousValue::MustExistAndMatch(target(id)),
            None => PreviousValue::MustNotExist,
        };
        // Git refuses to create over an equal value; gix does not, so what is there is looked at first.
        let actual = self.ref_target(ref_name)?;
        if actual != expected {
            return Ok(Swap::Lost { actual });
        }
        let edit = match (expected, new) {
            (_, Some(new)) => RefEdit::update(name, target(new), previous, message),
            (Some(_), None) => RefEdit::delete(name, previous),
            (None, None) => return Ok(Swap::Moved),
        };
        let mut time = gix::date::parse::TimeBuf::default();
        // A log entry decides nothing; its date is read where Git reads it.
        let who = super::replay::committer(gix::date::Time::now_utc().seconds);
        match self.inner.edit_references_as([edit], Some(who.to_ref(&mut time))) {
            Ok(_) => Ok(Swap::Moved),
            Err(source) => self.explain(ref_name, expected, source),
        }
    }

    /// Tells a lost race from a held lock from trouble, after a transaction did not go through.
    fn explain(&self, name: &str, expected: Option<CommitId>, source: gix::Error) -> Result<Swap, GitError> {
        let actual = self.ref_target(name)?;
        if actual != expected {
            return Ok(Swap::Lost { actual });
        }
        let common = self.inner.common_dir();
        let locks: [PathBuf; 2] = [
            common.join(format!("{name}.lock")),
            common.join("packed-refs.lock"),
        ];
        match locks.into_iter().find(|lock| lock.exists()) {
            Some(lock) => Err(GitError::Locked { lock }),
            None => Err(self.ref_trouble(name, source)),
        }
    }
}
