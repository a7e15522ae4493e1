//! Our merges beside Git's on a repository of anyone's. Owns the choice of pairs and the comparison; must never
//! move a ref, and works on a copy so that nothing is written into the repository it is pointed at.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use gantry_adapters::git::{GitError, GitProgram, GitRepository, TreeMerge};
use gantry_core::id::CommitId;
use rand::{RngExt as _, SeedableRng as _};

/// What `cargo xtask differential` is given.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The repository: bare, or a work tree.
    path: PathBuf,
    /// How many pairs of commits are merged.
    #[arg(long, default_value_t = 500)]
    pairs: usize,
    /// Chooses the pairs; the same seed chooses the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How far apart in the list of commits, newest first, the two of a pair may be.
    #[arg(long, default_value_t = 400)]
    span: usize,
}

/// Compares and prints; an error if any verdict, tree or list of paths differs.
///
/// Errors: if the repository cannot be read, or on the first report of a difference.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let copy = tempfile::TempDir::new().context("cannot make a scratch directory")?;
    let bare = copy.path().join("copy.git");
    let path = arguments
        .path
        .canonicalize()
        .with_context(|| format!("cannot find {}", arguments.path.display()))?;
    GitProgram::clone_bare(&path, &bare)?;
    let commits = commits(&bare)?;
    let pairs = pairs(&commits, arguments);
    println!(
        "{} commits; {} pairs, seed {}; git {}",
        commits.len(),
        pairs.len(),
        arguments.seed,
        GitProgram::at(&bare).version()?
    );
    let repository = GitRepository::open(&bare)?;
    let git = GitProgram::at(&bare);
    let (mut clean, mut conflicts, mut unrelated, mut different) = (0, 0, 0, 0);
    for (newer, older) in pairs {
        // Of two commits on one line the older is taken back on the newer: a real merge with a base between.
        let (ours, theirs) = if repository.is_ancestor(older, newer)? {
            match taken_back(&bare, newer, older)? {
                Some(pair) => pair,
                None => continue,
            }
        } else {
            (newer, older)
        };
        let mine = match repository.merge_commits(ours, theirs) {
            Err(GitError::Unrelated { .. }) => {
                unrelated += 1;
                continue;
            }
            mine => mine?,
        };
        let gits = git.merge_tree(ours, theirs)?;
        match &gits {
            TreeMerge::Clean(_) => clean += 1,
            TreeMerge::Conflict(_) => conflicts += 1,
        }
        if mine != gits {
            different += 1;
            println!(
                "{ours} {theirs}\n  ours {}\n  git  {}",
                shown(&mine),
                shown(&gits)
            );
        }
    }
    println!("{clean} clean, {conflicts} in conflict, {unrelated} unrelated, {different} different");
    if different > 0 {
        bail!("{different} merges differ from Git's");
    }
    Ok(())
}

/// Writes two commits whose merge takes `older` back on `newer`; `None` for a first commit.
fn taken_back(bare: &Path, newer: CommitId, older: CommitId) -> anyhow::Result<Option<(CommitId, CommitId)>> {
    let shown = GitProgram::at(bare)
        .command(["rev-parse", "--verify", "--quiet", &format!("{older}^")])
        .output()?;
    if !shown.status.success() {
        return Ok(None);
    }
    let base = commit(bare, &older.to_string(), None)?;
    let ours = commit(bare, &newer.to_string(), Some(base))?;
    let theirs = commit(bare, &format!("{older}^"), Some(base))?;
    Ok(Some((ours, theirs)))
}

fn commit(bare: &Path, of: &str, parent: Option<CommitId>) -> anyhow::Result<CommitId> {
    let mut arguments = vec!["commit-tree".to_owned(), "-m".to_owned(), "x".to_owned()];
    if let Some(parent) = parent {
        arguments.extend(["-p".to_owned(), parent.to_string()]);
    }
    arguments.push(format!("{of}^{{tree}}"));
    let output = GitProgram::at(bare)
        .command(arguments)
        .env("GIT_AUTHOR_NAME", "differential")
        .env("GIT_AUTHOR_EMAIL", "differential@localhost")
        .env("GIT_COMMITTER_NAME", "differential")
        .env("GIT_COMMITTER_EMAIL", "differential@localhost")
        .output()
        .context("cannot write a commit")?;
    let text = String::from_utf8(output.stdout).context("git wrote something odd")?;
    Ok(text.trim().parse()?)
}

/// Lists every commit, newest first.
fn commits(bare: &Path) -> anyhow::Result<Vec<CommitId>> {
    let output = GitProgram::at(bare)
        .command(["rev-list", "--all", "--date-order"])
        .output()
        .context("cannot list commits")?;
    let text = String::from_utf8(output.stdout).context("git listed something odd")?;
    text.lines()
        .map(|line| line.parse::<CommitId>().map_err(Into::into))
        .collect()
}

fn pairs(commits: &[CommitId], arguments: &Arguments) -> Vec<(CommitId, CommitId)> {
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(arguments.seed);
    let mut pairs = HashSet::new();
    let mut chosen = Vec::new();
    // Small repositories run out of pairs; ten throws for each one wanted is enough for the others.
    for _ in 0..arguments.pairs.saturating_mul(10) {
        if commits.len() < 2 || chosen.len() == arguments.pairs {
            break;
        }
        let one = dice.random_range(0..commits.len());
        let end = commits
            .len()
            .min(one.saturating_add(arguments.span.max(1)).saturating_add(1));
        let other = dice.random_range(one..end);
        if one != other && pairs.insert((one, other)) {
            chosen.push((commits[one], commits[other]));
        }
    }
    chosen
}

fn shown(merge: &TreeMerge) -> String {
    match merge {
        TreeMerge::Clean(tree) => format!("clean {tree}"),
        TreeMerge::Conflict(paths) => {
            let paths: Vec<_> = paths.iter().map(|path| String::from_utf8_lossy(path)).collect();
            format!("conflict {paths:?}")
        }
    }
}
