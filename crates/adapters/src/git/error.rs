//! What can go wrong with a repository. Owns the words for it; a merge conflict must never appear here, as
//! it is an answer and not trouble.

use std::path::PathBuf;

/// Trouble with a repository: nobody's change is to blame.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The directory cannot be opened as a repository.
    #[error("cannot open {} as a Git repository", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What Git's storage said.
        source: Box<gix::Error>,
    },
    /// An object is missing, corrupt, or of another kind than its name was used for.
    #[error("{what} {id} is missing or corrupt in {}", repository.display())]
    Object {
        /// The kind of object that was wanted.
        what: &'static str,
        /// Its name in hexadecimal digits, or where it was met.
        id: String,
        /// The repository's directory.
        repository: PathBuf,
        /// What Git's storage said, if it said anything.
        source: Option<Box<gix::Error>>,
    },
    /// A text cannot name a ref.
    #[error("{name:?} cannot name a ref")]
    RefName {
        /// The text.
        name: String,
        /// The rule it breaks.
        source: Box<gix::Error>,
    },
    /// A ref cannot be read or written.
    #[error("cannot read or write ref {name} in {}", repository.display())]
    Ref {
        /// The whole name of the ref.
        name: String,
        /// The repository's directory.
        repository: PathBuf,
        /// What Git's storage said.
        source: Box<gix::Error>,
    },
    /// A ref points to another ref where a commit is needed.
    #[error("ref {name} in {} points to {target}, not to a commit", repository.display())]
    Symbolic {
        /// The whole name of the ref.
        name: String,
        /// The ref it points to.
        target: String,
        /// The repository's directory.
        repository: PathBuf,
    },
    /// Another program holds the lock of a ref.
    #[error("another program holds {}", lock.display())]
    Locked {
        /// The lock file.
        lock: PathBuf,
    },
    /// Two histories share no commit, so there is nothing to merge against.
    #[error("{head} and {onto} share no history in {}", repository.display())]
    Unrelated {
        /// The head of the change.
        head: String,
        /// The commit it was to be merged into.
        onto: String,
        /// The repository's directory.
        repository: PathBuf,
    },
    /// The git program gave no answer.
    #[error("cannot {doing} with the git program")]
    Program {
        /// What was being done.
        doing: String,
        /// What went wrong.
        source: Box<super::ProgramError>,
    },
    /// Anything else, with what was being done.
    #[error("cannot {doing} in {}", repository.display())]
    Storage {
        /// What was being done.
        doing: String,
        /// The repository's directory.
        repository: PathBuf,
        /// What Git's storage said.
        source: Box<gix::Error>,
    },
}
