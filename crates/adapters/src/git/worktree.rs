//! Work trees that have the target checked out when it moves. Owns the decision to bring one along; must never
//! touch a file or an index that is not exactly what the target was, and must never start a filter or a hook.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_core::id::{BranchName, CommitId};

use super::{GitProgram, ProgramError};

/// How long looking at or updating one work tree may take: large ones are checked out file by file.
const WORK_TREE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// What became of one work tree that has the target checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkTreeNotice {
    /// Its root.
    pub path: PathBuf,
    /// What was done.
    pub outcome: WorkTreeOutcome,
}

/// What was done with a work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkTreeOutcome {
    /// Its files and its index are the target's new ones.
    BroughtAlong,
    /// It is as it was.
    LeftAlone(LeftAlone),
}

/// Why a work tree was left alone. `Display` says what its owner can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeftAlone {
    /// Files or the index differ from what the target was.
    #[error("it has changes of its own; commit or stash them, then run `git reset --keep HEAD`")]
    Dirty,
    /// Another program works on the index, or one died at it.
    #[error("another git holds {}; if none is running, delete that file, then run `git reset --keep HEAD`", .0.display())]
    Locked(PathBuf),
    /// Something the owner began is not finished.
    #[error("a {0} is under way in it; finish or abort it")]
    UnderWay(&'static str),
    /// Checking files out would start programs that the repository's configuration names.
    #[error(
        "its configuration names filter programs ({0}), which gantry does not start; run `git reset --keep HEAD`"
    )]
    Filters(String),
    /// A file that Git does not know stands where one has to be written.
    #[error("it could not be brought along: {0}")]
    InTheWay(String),
    /// It could not be looked at.
    #[error("it cannot be looked at: {0}")]
    Trouble(String),
}

/// Brings every work tree of the repository at `path` that has `target` checked out from `from` to `to`, after the
/// branch itself has moved.
///
/// Shape: one notice for each such work tree; none for a bare repository. Running it twice does no harm.
/// Errors: [`ProgramError`] if the work trees cannot be listed; trouble with one is its notice.
pub fn bring_along(
    path: &Path,
    target: &BranchName,
    from: CommitId,
    to: CommitId,
) -> Result<Vec<WorkTreeNotice>, ProgramError> {
    let arguments = ["worktree", "list", "--porcelain", "-z"];
    let listing = GitProgram::at(path).succeed(&arguments, &[], WORK_TREE_TIMEOUT)?;
    let mut notices = Vec::new();
    for tree in parse_listing(&listing) {
        // A folder that is gone has nothing to bring along.
        if tree.is_bare || !tree.path.is_dir() {
            continue;
        }
        let here = Here {
            program: GitProgram::at(&tree.path),
            branch: tree.branch,
        };
        let outcome = match here.bring(&target.full_ref(), from, to) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => continue,
            Err(error) => WorkTreeOutcome::LeftAlone(LeftAlone::Trouble(error.to_string())),
        };
        notices.push(WorkTreeNotice {
            path: tree.path,
            outcome,
        });
    }
    Ok(notices)
}

struct Listed {
    path: PathBuf,
    branch: Option<String>,
    is_bare: bool,
}

/// Reads `git worktree list --porcelain -z`: lines end with a zero byte, work trees with an empty line.
fn parse_listing(listing: &[u8]) -> Vec<Listed> {
    let mut trees: Vec<Listed> = Vec::new();
    for line in listing.split(|byte| *byte == 0) {
        if let Some(path) = line.strip_prefix(b"worktree ") {
            trees.push(Listed {
                path: OsString::from_vec(path.to_vec()).into(),
                branch: None,
                is_bare: false,
            });
        } else if let Some(tree) = trees.last_mut() {
            if let Some(branch) = line.strip_prefix(b"branch ") {
                tree.branch = Some(String::from_utf8_lossy(branch).into_owned());
            }
            tree.is_bare |= line == b"bare";
        }
    }
    trees
}

struct Here {
    program: GitProgram,
    branch: Option<String>,
}

impl Here {
    /// Returns `None` if this work tree has nothing to do with the target.
    fn bring(
        &self,
        target: &str,
        from: CommitId,
        to: CommitId,
    ) -> Result<Option<WorkTreeOutcome>, ProgramError> {
        let left = |why| Ok(Some(WorkTreeOutcome::LeftAlone(why)));
        let directory = self.git_directory()?;
        if self.branch.as_deref() != Some(target) {
            // While it rebases the target, a work tree has no branch checked out.
            let rebases = ["rebase-merge/head-name", "rebase-apply/head-name"]
                .iter()
                .any(|name| {
                    std::fs::read_to_string(directory.join(name)).is_ok_and(|name| name.trim() == target)
                });
            return if rebases {
                left(LeftAlone::UnderWay("rebase"))
            } else {
                Ok(None)
            };
        }
        if let Some(what) = under_way(&directory) {
            return left(LeftAlone::UnderWay(what));
        }
        let lock = directory.join("index.lock");
        if lock.exists() {
            return left(LeftAlone::Locked(lock));
        }
        // Even asking whether files are as they were may start a clean filter, so this comes first.
        if let Some(filters) = self.filters()? {
            return left(LeftAlone::Filters(filters));
        }
        if self.answers_yes(&["diff-index", "--cached", "--quiet", &to.to_string(), "--"])? {
            return Ok(None);
        }
        // Its status only says whether all is up to date, which the next two questions ask properly.
        self.program
            .run(&["update-index", "-q", "--refresh"], &[], WORK_TREE_TIMEOUT)?;
        let is_clean = self.answers_yes(&["diff-index", "--cached", "--quiet", &from.to_string(), "--"])?
            && self.answers_yes(&["diff-files", "--quiet"])?;
        if !is_clean {
            return left(LeftAlone::Dirty);
        }
        let (from, to) = (from.to_string(), to.to_string());
        match self
            .program
            .succeed(&["read-tree", "-m", "-u", &from, &to], &[], WORK_TREE_TIMEOUT)
        {
            Ok(_) => Ok(Some(WorkTreeOutcome::BroughtAlong)),
            Err(ProgramError::Failed { complaint, .. }) => left(LeftAlone::InTheWay(complaint)),
            Err(error) => Err(error),
        }
    }

    fn git_directory(&self) -> Result<PathBuf, ProgramError> {
        let arguments = ["rev-parse", "--absolute-git-dir"];
        let mut output = self.program.succeed(&arguments, &[], WORK_TREE_TIMEOUT)?;
        if output.last() == Some(&b'\n') {
            output.pop();
        }
        Ok(OsString::from_vec(output).into())
    }

    fn filters(&self) -> Result<Option<String>, ProgramError> {
        let arguments = [
            "config",
            "--includes",
            "--name-only",
            "--get-regexp",
            r"^filter\..*\.(clean|smudge|process)$",
        ];
        let ran = self.program.run(&arguments, &[], WORK_TREE_TIMEOUT)?;
        let names = String::from_utf8_lossy(&ran.output);
        let names: Vec<&str> = names.lines().collect();
        Ok((!names.is_empty()).then(|| names.join(", ")))
    }

    /// Asks a question that `git` answers with its status, 0 for yes and 1 for no.
    fn answers_yes(&self, arguments: &[&str]) -> Result<bool, ProgramError> {
        let ran = self.program.run(arguments, &[], WORK_TREE_TIMEOUT)?;
        match ran.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(self.program.failed(arguments, &ran)),
        }
    }
}

/// Names what the owner began in a work tree and did not finish.
fn under_way(directory: &Path) -> Option<&'static str> {
    let signs = [
        ("rebase-merge", "rebase"),
        ("rebase-apply", "rebase"),
        ("MERGE_HEAD", "merge"),
        ("CHERRY_PICK_HEAD", "cherry-pick"),
        ("REVERT_HEAD", "revert"),
        ("BISECT_LOG", "bisect"),
    ];
    let found = signs.iter().find(|(name, _)| directory.join(name).exists())?;
    Some(found.1)
}

#[cfg(test)]
mod tests {
    use super::super::invented::git;
    use super::*;

    struct Scratch {
        directory: tempfile::TempDir,
        from: CommitId,
        to: CommitId,
    }

    /// Makes a work tree at `from`, whose branch has moved on to `to` already.
    fn scratch() -> Scratch {
        let directory = tempfile::TempDir::new().expect("a scratch directory");
        let path = directory.path();
        git(path, &["init", "--quiet", "--initial-branch=main"], b"");
        let commit = |message: &str| -> CommitId {
            git(path, &["add", "--all"], b"");
            git(path, &["commit", "--quiet", "-m", message], b"");
            let id = String::from_utf8(git(path, &["rev-parse", "HEAD"], b"")).expect("text");
            id.trim().parse().expect("a commit")
        };
        std::fs::write(path.join("a.txt"), "old\n").expect("written");
        std::fs::write(path.join("gone.txt"), "gone\n").expect("written");
        let from = commit("from");
        std::fs::write(path.join("a.txt"), "new\n").expect("written");
        std::fs::write(path.join("b.txt"), "b\n").expect("written");
        std::fs::remove_file(path.join("gone.txt")).expect("removed");
        let to = commit("to");
        git(path, &["reset", "--quiet", "--hard", &from.to_string()], b"");
        git(path, &["update-ref", "refs/heads/main", &to.to_string()], b"");
        Scratch { directory, from, to }
    }

    fn check(scratch: &Scratch, wanted: &[WorkTreeOutcome]) {
        let main = BranchName::parse("main").expect("a name");
        let notices = bring_along(scratch.directory.path(), &main, scratch.from, scratch.to).expect("listed");
        let outcomes: Vec<_> = notices.into_iter().map(|notice| notice.outcome).collect();
        assert_eq!(outcomes, wanted);
    }

    fn read(scratch: &Scratch, name: &str) -> Option<String> {
        std::fs::read_to_string(scratch.directory.path().join(name)).ok()
    }

    #[test]
    fn a_clean_work_tree_comes_along_and_a_second_time_does_nothing() {
        let scratch = scratch();
        let mine = scratch.directory.path().join("untracked.txt");
        std::fs::write(&mine, "mine\n").expect("written");
        check(&scratch, &[WorkTreeOutcome::BroughtAlong]);
        assert_eq!(read(&scratch, "a.txt").as_deref(), Some("new\n"));
        assert_eq!(read(&scratch, "b.txt").as_deref(), Some("b\n"));
        assert_eq!(read(&scratch, "gone.txt"), None);
        let status = git(scratch.directory.path(), &["status", "--porcelain"], b"");
        assert_eq!(String::from_utf8_lossy(&status), "?? untracked.txt\n");
        check(&scratch, &[]);
    }

    #[test]
    fn a_work_tree_with_edits_is_left_alone() {
        let scratch = scratch();
        std::fs::write(scratch.directory.path().join("a.txt"), "mine\n").expect("written");
        check(&scratch, &[WorkTreeOutcome::LeftAlone(LeftAlone::Dirty)]);
        git(scratch.directory.path(), &["add", "a.txt"], b"");
        check(&scratch, &[WorkTreeOutcome::LeftAlone(LeftAlone::Dirty)]);
        assert_eq!(read(&scratch, "a.txt").as_deref(), Some("mine\n"));
        assert_eq!(read(&scratch, "b.txt"), None);
    }

    #[test]
    fn an_unknown_file_in_the_way_is_not_overwritten() {
        let scratch = scratch();
        std::fs::write(scratch.directory.path().join("b.txt"), "mine\n").expect("written");
        let main = BranchName::parse("main").expect("a name");
        let notices = bring_along(scratch.directory.path(), &main, scratch.from, scratch.to).expect("listed");
        let outcome = &notices[0].outcome;
        assert!(
            matches!(outcome, WorkTreeOutcome::LeftAlone(LeftAlone::InTheWay(text)) if text.contains("b.txt")),
            "{outcome:?}"
        );
        assert_eq!(read(&scratch, "b.txt").as_deref(), Some("mine\n"));
        assert_eq!(read(&scratch, "a.txt").as_deref(), Some("old\n"));
    }

    #[test]
    fn a_stale_lock_is_named_and_stays() {
        let scratch = scratch();
        let lock = scratch
            .directory
            .path()
            .canonicalize()
            .expect("there")
            .join(".git/index.lock");
        std::fs::write(&lock, "").expect("written");
        check(
            &scratch,
            &[WorkTreeOutcome::LeftAlone(LeftAlone::Locked(lock.clone()))],
        );
        assert!(lock.exists());
    }

    #[test]
    fn no_filter_and_no_hook_is_started() {
        let scratch = scratch();
        let path = scratch.directory.path();
        let started = path.join(".git/started");
        let touch = format!("touch {}", started.display());
        let hook = path.join(".git/hooks/post-index-change");
        std::fs::create_dir_all(path.join(".git/hooks")).expect("made");
        std::fs::write(&hook, format!("#!/bin/sh\n{touch}\n")).expect("written");
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
        git(path, &["config", "filter.x.smudge", &touch], b"");
        let filters = LeftAlone::Filters("filter.x.smudge".to_owned());
        check(&scratch, &[WorkTreeOutcome::LeftAlone(filters)]);
        git(path, &["config", "--unset", "filter.x.smudge"], b"");
        check(&scratch, &[WorkTreeOutcome::BroughtAlong]);
        assert!(!started.exists());
    }

    #[test]
    fn a_linked_work_tree_comes_along_and_other_branches_stay() {
        let scratch = scratch();
        let path = scratch.directory.path();
        git(
            path,
            &[
                "checkout",
                "--quiet",
                "--force",
                "-b",
                "other",
                &scratch.from.to_string(),
            ],
            b"",
        );
        let linked = path.join("linked\n tree");
        git(
            path,
            &["update-ref", "refs/heads/main", &scratch.from.to_string()],
            b"",
        );
        git(
            path,
            &[
                "worktree",
                "add",
                "--quiet",
                linked.to_str().expect("text"),
                "main",
            ],
            b"",
        );
        git(
            path,
            &["update-ref", "refs/heads/main", &scratch.to.to_string()],
            b"",
        );
        check(&scratch, &[WorkTreeOutcome::BroughtAlong]);
        assert_eq!(
            std::fs::read_to_string(linked.join("a.txt")).expect("there"),
            "new\n"
        );
        assert_eq!(read(&scratch, "a.txt").as_deref(), Some("old\n"));
    }

    #[test]
    fn what_its_owner_began_is_not_disturbed() {
        let scratch = scratch();
        let directory = scratch.directory.path().join(".git");
        std::fs::write(directory.join("MERGE_HEAD"), format!("{}\n", scratch.to)).expect("written");
        check(
            &scratch,
            &[WorkTreeOutcome::LeftAlone(LeftAlone::UnderWay("merge"))],
        );
        std::fs::remove_file(directory.join("MERGE_HEAD")).expect("removed");
        git(
            scratch.directory.path(),
            &[
                "checkout",
                "--quiet",
                "--detach",
                "--force",
                &scratch.from.to_string(),
            ],
            b"",
        );
        check(&scratch, &[]);
        std::fs::create_dir(directory.join("rebase-merge")).expect("made");
        std::fs::write(directory.join("rebase-merge/head-name"), "refs/heads/main\n").expect("written");
        check(
            &scratch,
            &[WorkTreeOutcome::LeftAlone(LeftAlone::UnderWay("rebase"))],
        );
    }

    #[test]
    fn a_bare_repository_has_nothing_to_bring_along() {
        let scratch = scratch();
        let bare = scratch.directory.path().join("bare.git");
        GitProgram::clone_bare(scratch.directory.path(), &bare).expect("cloned");
        let main = BranchName::parse("main").expect("a name");
        assert_eq!(
            bring_along(&bare, &main, scratch.from, scratch.to).expect("listed"),
            []
        );
    }
}
