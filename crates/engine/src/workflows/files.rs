//! Workflow files as a commit has them.

use gantry_adapters::git::{FileAt, GitError, GitRepository};
use gantry_core::id::CommitId;
use gantry_core::limits::{WORKFLOW_FILE_BYTES_MAX, WORKFLOW_FILES_MAX};

/// The folder of a repository's workflows.
pub const WORKFLOWS: &str = ".github/workflows";

/// A workflow file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundWorkflow {
    /// `.github/workflows/ci.yml`.
    pub path: String,
    /// The name of its content.
    pub id: String,
    /// Its text; what is not UTF-8 in it is replaced, which no valid workflow has.
    pub text: String,
}

impl FoundWorkflow {
    /// Returns its name without the folder.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// Reads every workflow file of a commit, by name.
///
/// Shape: at most `WORKFLOW_FILES_MAX` files; one larger than `WORKFLOW_FILE_BYTES_MAX` has the text that says so,
/// which is no workflow. Errors: [`GitError`].
pub fn find_workflows(repository: &GitRepository, commit: CommitId) -> Result<Vec<FoundWorkflow>, GitError> {
    let mut names = repository.file_names_in(commit, WORKFLOWS)?;
    names.retain(|name| name.ends_with(".yml") || name.ends_with(".yaml"));
    names.sort();
    names.truncate(WORKFLOW_FILES_MAX);
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let path = format!("{WORKFLOWS}/{name}");
        let (id, text) = match repository.file_at(commit, &path, WORKFLOW_FILE_BYTES_MAX)? {
            FileAt::File { id, bytes } => (id, String::from_utf8_lossy(&bytes).into_owned()),
            FileAt::TooLarge { bytes } => (
                String::new(),
                format!("# {bytes} bytes are too many for a workflow"),
            ),
            FileAt::Missing | FileAt::NotAFile => continue,
        };
        found.push(FoundWorkflow { path, id, text });
    }
    Ok(found)
}
