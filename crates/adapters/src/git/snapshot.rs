//! A work tree as it stands, as a commit: what is committed, what is not, and files Git does not know yet. Owns the
//! temporary index; must never change the work tree, its index or a ref.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_core::id::CommitId;

use super::{GitProgram, ProgramError};

/// How long taking a snapshot may take: new files are read and stored.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// A work tree as a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkTreeSnapshot {
    /// Where the repository keeps its objects and refs.
    pub storage: PathBuf,
    /// The root of the work tree.
    pub root: PathBuf,
    /// A commit of exactly what is there, ignored files apart: `HEAD` itself if nothing differs from it.
    pub commit: CommitId,
    /// Whether something differs from `HEAD`.
    pub dirty: bool,
}

/// Takes a snapshot of the work tree that holds `path`; `None` if there is none.
///
/// What is new is stored as objects that no ref names: Git clears them away in time. Errors: [`ProgramError`], also
/// for a repository without a commit.
pub fn snapshot_work_tree(path: &Path) -> Result<Option<WorkTreeSnapshot>, ProgramError> {
    let program = GitProgram::at(path);
    let asked = [
        "rev-parse",
        "--path-format=absolute",
        "--show-toplevel",
        "--git-common-dir",
        "--git-path",
        "index",
    ];
    let ran = program.run(&asked, &[], SNAPSHOT_TIMEOUT)?;
    if ran.code != Some(0) {
        return Ok(None);
    }
    let mut lines = ran.output.split(|byte| *byte == b'\n');
    let mut next = || PathBuf::from(OsString::from_vec(lines.next().unwrap_or_default().to_vec()));
    let (root, storage, index) = (next(), next(), next());
    let program = GitProgram::at(&root);
    let head = line(program.succeed(&["rev-parse", "--verify", "HEAD^{commit}"], &[], SNAPSHOT_TIMEOUT)?);
    let head_tree =
        line(program.succeed(&["rev-parse", "--verify", "HEAD^{tree}"], &[], SNAPSHOT_TIMEOUT)?);
    let scratch = scratch_index(&index).map_err(|source| ProgramError::Start { source })?;
    let tree = write_tree(&program, &scratch)?;
    let dirty = tree != head_tree;
    let commit = if dirty {
        let arguments = [
            "-c",
            "user.name=gantry",
            "-c",
            "user.email=gantry@localhost",
            "commit-tree",
            &tree,
            "-p",
            &head,
            "-m",
            "The work tree as it stood",
        ];
        line(program.succeed(&arguments, &[], SNAPSHOT_TIMEOUT)?)
    } else {
        head
    };
    let commit = commit.parse().map_err(|_| ProgramError::Answer {
        arguments: "commit-tree".to_owned(),
        answer: commit.clone(),
    })?;
    Ok(Some(WorkTreeSnapshot {
        storage,
        root,
        commit,
        dirty,
    }))
}

/// Copies the index, so that unchanged files need not be read again.
fn scratch_index(index: &Path) -> std::io::Result<tempfile::TempPath> {
    let file = tempfile::Builder::new().prefix("gantry-index").tempfile()?;
    match std::fs::copy(index, file.path()) {
        Ok(_) => {}
        // A work tree without an index: everything is new.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::fs::remove_file(file.path())?,
        Err(error) => return Err(error),
    }
    Ok(file.into_temp_path())
}

fn write_tree(program: &GitProgram, index: &Path) -> Result<String, ProgramError> {
    let index = Some(index.as_os_str());
    run_with_index(program, &["add", "--all", "--", ":/"], index)?;
    run_with_index(program, &["write-tree"], index).map(line)
}

fn run_with_index(
    program: &GitProgram,
    arguments: &[&str],
    index: Option<&OsStr>,
) -> Result<Vec<u8>, ProgramError> {
    program
        .clone()
        .with_index(index)
        .succeed(arguments, &[], SNAPSHOT_TIMEOUT)
}

fn line(output: Vec<u8>) -> String {
    String::from_utf8_lossy(&output).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn git(at: &Path, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
        let all: Vec<&str> = identity.iter().chain(arguments).copied().collect();
        line(
            GitProgram::at(at)
                .succeed(&all, &[], SNAPSHOT_TIMEOUT)
                .expect("git works"),
        )
    }

    #[test]
    fn a_snapshot_is_what_is_there_and_changes_nothing() {
        let scratch = tempfile::tempdir().expect("a folder");
        let at = scratch.path();
        git(at, &["init", "-q", "-b", "main"]);
        fs::write(at.join("kept"), "1").expect("room");
        fs::write(at.join("gone"), "1").expect("room");
        fs::write(at.join(".gitignore"), "ignored\n").expect("room");
        git(at, &["add", "."]);
        git(at, &["commit", "-qm", "one"]);
        let clean = snapshot_work_tree(at).expect("git works").expect("a work tree");
        assert_eq!(clean.commit.to_string(), git(at, &["rev-parse", "HEAD"]));
        assert!(!clean.dirty);
        fs::write(at.join("kept"), "2").expect("room");
        fs::write(at.join("new\nname"), "3").expect("room");
        fs::write(at.join("ignored"), "4").expect("room");
        fs::remove_file(at.join("gone")).expect("it is there");
        fs::create_dir(at.join("below")).expect("room");
        let before = git(at, &["status", "--porcelain"]);
        let taken = snapshot_work_tree(&at.join("below"))
            .expect("git works")
            .expect("a work tree");
        assert!(taken.dirty);
        let commit = taken.commit.to_string();
        assert_eq!(
            git(at, &["ls-tree", "--name-only", &commit]),
            ".gitignore\nkept\n\"new\\nname\""
        );
        assert_eq!(git(at, &["show", &format!("{commit}:kept")]), "2");
        assert_eq!(git(at, &["status", "--porcelain"]), before);
        assert_eq!(taken.root, at.canonicalize().expect("it is there"));
    }

    #[test]
    fn a_folder_without_a_repository_has_no_snapshot() {
        let scratch = tempfile::tempdir().expect("a folder");
        assert_eq!(snapshot_work_tree(scratch.path()).expect("git works"), None);
    }
}
