//! The demo's repository: writes the program's files, main's history and every offered branch with real commits.
//! Owns its Git commands; must never write outside the scratch directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use gantry_adapters::git::GitProgram;
use gantry_adapters::process::{self, Bounds};

use super::offers::OFFERS;
use super::story::{Commit, Cut, Edit, FIX, MOVES, Offer};

/// Every file of the first commit.
const FILES: &[(&str, &str)] = &[
    (".gantry.toml", include_str!("program/gantry.toml")),
    ("README.md", include_str!("program/README.md")),
    ("ci.sh", include_str!("program/ci.sh")),
    ("src/digits.c", include_str!("program/src/digits.c")),
    ("src/gcd.c", include_str!("program/src/gcd.c")),
    ("src/input.c", include_str!("program/src/input.c")),
    ("src/main.c", include_str!("program/src/main.c")),
    ("src/mean.c", include_str!("program/src/mean.c")),
    ("src/primes.c", include_str!("program/src/primes.c")),
    ("src/range.c", include_str!("program/src/range.c")),
    ("src/report.c", include_str!("program/src/report.c")),
    ("src/scale.c", include_str!("program/src/scale.c")),
    ("src/sort.c", include_str!("program/src/sort.c")),
    ("src/spread.c", include_str!("program/src/spread.c")),
    ("src/sum.c", include_str!("program/src/sum.c")),
    ("src/tally.h", include_str!("program/src/tally.h")),
    ("src/words.c", include_str!("program/src/words.c")),
    ("tests/digits.sh", include_str!("program/tests/digits.sh")),
    ("tests/gcd.sh", include_str!("program/tests/gcd.sh")),
    ("tests/legacy.sh", include_str!("program/tests/legacy.sh")),
    ("tests/mean.sh", include_str!("program/tests/mean.sh")),
    ("tests/primes.sh", include_str!("program/tests/primes.sh")),
    ("tests/range.sh", include_str!("program/tests/range.sh")),
    ("tests/report.sh", include_str!("program/tests/report.sh")),
    ("tests/sort.sh", include_str!("program/tests/sort.sh")),
    ("tests/spread.sh", include_str!("program/tests/spread.sh")),
    ("tests/sum.sh", include_str!("program/tests/sum.sh")),
    ("tests/words.sh", include_str!("program/tests/words.sh")),
];

/// What one Git command may use.
const GIT: Bounds = Bounds {
    timeout: Duration::from_secs(60),
    output_bytes_max: 1024 * 1024,
};

/// A work tree with the repository in it.
#[derive(Debug)]
pub struct Repository {
    root: PathBuf,
}

impl Repository {
    /// Makes the repository: main with its history, and a branch for each offer.
    ///
    /// Errors: Git or the disk is in the way, or an edit of the story does not fit.
    pub fn make(root: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(root)?;
        let repository = Self {
            root: root.to_owned(),
        };
        repository.git("Ada", &["init", "--quiet", "--initial-branch=main", "."])?;
        for (path, text) in FILES {
            repository.write(path, text)?;
        }
        repository.git("Ada", &["add", "--all"])?;
        repository.git("Ada", &["update-index", "--chmod=+x", "ci.sh"])?;
        repository.git("Ada", &["commit", "--quiet", "--message", "Count and add up"])?;
        repository.git("Ada", &["checkout-index", "--force", "ci.sh"])?;
        repository.commit(&FIX)?;
        repository.branches(Cut::Early)?;
        for step in MOVES {
            repository.commit(step)?;
        }
        repository.branches(Cut::Late)?;
        Ok(repository)
    }

    /// Where the work tree is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Runs a Git command here and returns what it printed.
    ///
    /// Errors: it could not be started, or failed.
    pub fn git(&self, author: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = GitProgram::at(&self.root).command(arguments);
        let mail = format!("{}@example.org", author.to_lowercase());
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), author);
            command.env(format!("GIT_{role}_EMAIL"), &mail);
        }
        let finished = process::run(&mut command, GIT)?;
        if !finished.status.success() {
            let complaint = String::from_utf8_lossy(&finished.stderr);
            bail!("git {} failed: {}", arguments.join(" "), complaint.trim());
        }
        Ok(String::from_utf8_lossy(&finished.stdout).trim().to_owned())
    }

    fn branches(&self, cut: Cut) -> anyhow::Result<()> {
        for offer in OFFERS.iter().filter(|offer| offer.cut == cut) {
            self.branch(offer)
                .with_context(|| format!("cannot make {}", offer.branch))?;
        }
        Ok(())
    }

    fn branch(&self, offer: &Offer) -> anyhow::Result<()> {
        let author = offer.commit.author;
        self.git(author, &["checkout", "--quiet", "-b", offer.branch, "main"])?;
        self.commit(&offer.commit)?;
        self.git(author, &["checkout", "--quiet", "main"])?;
        Ok(())
    }

    fn commit(&self, commit: &Commit) -> anyhow::Result<()> {
        for edit in commit.edits {
            self.edit(edit)?;
        }
        self.git(commit.author, &["add", "--all"])?;
        self.git(commit.author, &["commit", "--quiet", "--message", commit.subject])?;
        Ok(())
    }

    fn edit(&self, edit: &Edit) -> anyhow::Result<()> {
        match edit {
            Edit::Write(path, text) => self.write(path, text),
            Edit::Replace(path, old, new) => {
                let text = std::fs::read_to_string(self.root.join(path))?;
                let found = text.matches(old).count();
                ensure!(found == 1, "{path} holds {old:?} {found} times");
                self.write(path, &text.replace(old, new))
            }
            Edit::Remove(path) => Ok(std::fs::remove_file(self.root.join(path))?),
        }
    }

    fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let path = self.root.join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edit_of_the_story_fits_and_most_changes_collide() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let repository = Repository::make(&folder.path().join("tally")).expect("it is made");
        assert_eq!(OFFERS.len(), 30);
        let heads = repository
            .git(
                "Ada",
                &["for-each-ref", "--format=%(refname:short)", "refs/heads/agent"],
            )
            .expect("branches");
        assert_eq!(heads.lines().count(), 30);
        let rotted: Vec<&str> = OFFERS
            .iter()
            .map(|offer| offer.branch)
            .filter(|branch| repository.git("Ada", &["merge-tree", "main", branch]).is_err())
            .collect();
        let written: Vec<&str> = OFFERS
            .iter()
            .filter(|offer| offer.nature == "rotted")
            .map(|offer| offer.branch)
            .collect();
        assert_eq!(rotted, written);
    }
}
