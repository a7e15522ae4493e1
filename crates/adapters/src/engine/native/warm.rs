//! Read-only checkouts that boxes of one repository share. Owns making, lending and removing them; nothing but the
//! maker ever writes to one, and none is removed while a box of any process stands on it.
//!
//! ```text
//! SCRATCH/.warm/REPOSITORY/COMMIT.PID.N/boot     names the start of this host it was made after
//! SCRATCH/.warm/REPOSITORY/COMMIT.PID.N/tree     locked shared by every process with a box on it
//! SCRATCH/.warm/REPOSITORY/new.PID.N/tree        being made, locked exclusively by its maker
//! ```

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use gantry_core::id::CommitId;
use gantry_core::limits::BOX_LAYER_FILES_MAX;
use nix::fcntl::{Flock, FlockArg};

use super::folder::{give_to, lock_folder, remove_tree};
use crate::git::{CheckoutError, GitRepository, Layer};

/// The directory of all warm checkouts; no box has this name.
pub(super) const WARM: &str = ".warm";

/// Lends warm checkouts.
#[derive(Debug, Default)]
pub(super) struct WarmCheckouts {
    /// One at a time makes a checkout; the others find it made.
    lent: Mutex<HashMap<PathBuf, Weak<Warm>>>,
}

/// A checkout on loan.
#[derive(Debug)]
pub(super) struct Warm {
    pub(super) tree: PathBuf,
    commit: CommitId,
    _lease: Flock<File>,
}

/// A box's workspace: the checkout and the layer that moves it to the commit, if any.
#[derive(Debug)]
pub(super) struct Loan {
    pub(super) warm: Arc<Warm>,
    pub(super) layer: Option<PathBuf>,
}

/// What a loan is asked for.
pub(super) struct Wanted<'a> {
    pub(super) scratch: &'a Path,
    pub(super) repository: &'a GitRepository,
    pub(super) at: &'a Path,
    pub(super) commit: CommitId,
    /// Where the layer goes; not made yet.
    pub(super) layer: PathBuf,
    /// Whom the files belong to, if not to this process's user.
    pub(super) owner: Option<u32>,
    /// Where the box sees the repository's object directories.
    pub(super) objects: &'a [PathBuf],
}

impl WarmCheckouts {
    /// Lends a checkout near the commit, with the layer that is missing.
    ///
    /// Errors: [`CheckoutError`].
    pub(super) fn lend(&self, wanted: &Wanted<'_>, stop: &dyn Fn() -> bool) -> Result<Loan, CheckoutError> {
        let shelf = shelf(wanted);
        fs::create_dir_all(&shelf).map_err(|source| write_error(&shelf, source))?;
        if let Some(loan) = self.near(wanted, &shelf)? {
            return Ok(loan);
        }
        // A map that is only ever added to is whole whatever panicked.
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loan) = self.near_known(wanted, &shelf, &mut lent)? {
            return Ok(loan);
        }
        let warm = Arc::new(make(wanted, &shelf, stop)?);
        lent.insert(warm.tree.clone(), Arc::downgrade(&warm));
        collect(&shelf, Some(&warm.tree));
        Ok(Loan { warm, layer: None })
    }

    fn near(&self, wanted: &Wanted<'_>, shelf: &Path) -> Result<Option<Loan>, CheckoutError> {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(warm) = find(wanted.commit, shelf, &mut lent) else {
            return Ok(None);
        };
        drop(lent);
        borrow(wanted, warm)
    }

    fn near_known(
        &self,
        wanted: &Wanted<'_>,
        shelf: &Path,
        lent: &mut HashMap<PathBuf, Weak<Warm>>,
    ) -> Result<Option<Loan>, CheckoutError> {
        find(wanted.commit, shelf, lent).map_or(Ok(None), |warm| borrow(wanted, warm))
    }
}

fn borrow(wanted: &Wanted<'_>, warm: Arc<Warm>) -> Result<Option<Loan>, CheckoutError> {
    let commits = [warm.commit, wanted.commit];
    let layer = wanted
        .repository
        .write_layer(commits, &warm.tree, &wanted.layer, BOX_LAYER_FILES_MAX)?;
    let layer = match layer {
        Layer::TooMany => return Ok(None),
        Layer::Same => None,
        Layer::Written => {
            give(wanted, &wanted.layer)?;
            Some(wanted.layer.clone())
        }
    };
    Ok(Some(Loan { warm, layer }))
}

/// Finds the checkout of a commit, or else the newest one, and holds it.
fn find(commit: CommitId, shelf: &Path, lent: &mut HashMap<PathBuf, Weak<Warm>>) -> Option<Arc<Warm>> {
    let mut found: Vec<(bool, std::time::SystemTime, CommitId, PathBuf)> = Vec::new();
    // A shelf that cannot be read has nothing to lend; the maker says why.
    for entry in fs::read_dir(shelf).ok()?.flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let parsed: Option<CommitId> = name.split('.').next().and_then(|name| name.parse().ok());
        if let (Some(known), Ok(made)) = (parsed, entry.metadata().and_then(|found| found.modified())) {
            found.push((known == commit, made, known, entry.path()));
        }
    }
    found.sort_by_key(|(same, made, ..)| std::cmp::Reverse((*same, *made)));
    for (_, _, commit, path) in found {
        let tree = path.join("tree");
        if let Some(warm) = lent.get(&tree).and_then(Weak::upgrade) {
            return Some(warm);
        }
        let Ok(directory) = File::open(&path) else {
            continue;
        };
        let Ok(lease) = Flock::lock(directory, FlockArg::LockSharedNonblock) else {
            continue;
        };
        // Removed between the look and the lock, or of an earlier start.
        if fs::metadata(&tree).is_err() || !is_of_this_start(&path) {
            continue;
        }
        let warm = Arc::new(Warm {
            tree: tree.clone(),
            commit,
            _lease: lease,
        });
        lent.insert(tree, Arc::downgrade(&warm));
        return Some(warm);
    }
    None
}

fn make(wanted: &Wanted<'_>, shelf: &Path, stop: &dyn Fn() -> bool) -> Result<Warm, CheckoutError> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let (new, done, lock) = loop {
        let suffix = format!("{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let new = shelf.join(format!("new.{suffix}"));
        let done = shelf.join(format!("{}.{suffix}", wanted.commit));
        let system = |source| write_error(&new, source);
        fs::DirBuilder::new().mode(0o700).create(&new).map_err(system)?;
        if let Some(lock) = lock_folder(&new).map_err(system)? {
            break (new, done, lock);
        }
        // Another process that collects was faster than the lock, and removes it.
    };
    let system = |source| write_error(&new, source);
    let fill = || {
        let tree = new.join("tree");
        fs::DirBuilder::new().mode(0o755).create(&tree).map_err(system)?;
        wanted.repository.check_out(wanted.commit, &tree, stop)?;
        wanted
            .repository
            .write_git_directory(wanted.commit, &tree, wanted.objects)?;
        give(wanted, &tree)?;
        fs::write(new.join(START), this_start()).map_err(system)?;
        fs::rename(&new, &done).map_err(system)
    };
    if let Err(failed) = fill() {
        // What stays is taken by the next collection.
        let _ = remove_tree(&new);
        return Err(failed);
    }
    let lease = lock
        .relock(FlockArg::LockShared)
        .map_err(|errno| system(errno.into()));
    let lease = match lease {
        Ok(()) => lock,
        Err(failed) => return Err(failed),
    };
    Ok(Warm {
        tree: done.join("tree"),
        commit: wanted.commit,
        _lease: lease,
    })
}

fn give(wanted: &Wanted<'_>, tree: &Path) -> Result<(), CheckoutError> {
    match wanted.owner {
        Some(owner) => give_to(tree, owner).map_err(|source| write_error(tree, source)),
        None => Ok(()),
    }
}

/// Removes what nobody stands on and nobody will: everything but the newest checkout and `kept`.
pub(super) fn collect(shelf: &Path, kept: Option<&Path>) {
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    // A shelf that cannot be read is left for the next collection.
    for entry in fs::read_dir(shelf).into_iter().flatten().flatten() {
        if let Ok(made) = entry.metadata().and_then(|found| found.modified()) {
            found.push((made, entry.path()));
        }
    }
    found.sort();
    let newest = found
        .iter()
        .rev()
        .map(|(_, path)| path)
        .find(|path| !is_new(path) && is_of_this_start(path))
        .cloned();
    for (_, path) in found {
        if Some(&path) == newest.as_ref() || kept.is_some_and(|kept| kept.starts_with(&path)) {
            continue;
        }
        let Ok(directory) = File::open(&path) else {
            continue;
        };
        if let Ok(_alone) = Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            // What stays is tried again by the next collection.
            let _ = remove_tree(&path);
        }
    }
}

/// Names the start of the host a checkout was made after.
const START: &str = "boot";

/// Returns what names this start of the host. What a host that crashed had not brought to its disk is missing from
/// files that seem whole, so that no checkout outlives the start it was made after: waiting for the disk costs more.
fn this_start() -> &'static str {
    static THIS: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        // Without it no other process's checkout is believed.
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_else(|_| format!("unknown to {}", std::process::id()))
    });
    &THIS
}

fn is_of_this_start(checkout: &Path) -> bool {
    fs::read_to_string(checkout.join(START)).is_ok_and(|start| start == this_start())
}

/// Collects the shelves of all repositories.
pub(super) fn collect_all(scratch: &Path) {
    for entry in fs::read_dir(scratch.join(WARM)).into_iter().flatten().flatten() {
        collect(&entry.path(), None);
    }
}

fn is_new(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("new."))
}

/// Returns where a repository's checkouts stand. Another owner of the files has another shelf.
fn shelf(wanted: &Wanted<'_>) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    // FNV-1a: the same in every version of this program.
    let mut key = 0xcbf2_9ce4_8422_2325_u64;
    for byte in wanted.at.as_os_str().as_bytes() {
        key = (key ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let owner = wanted.owner.map_or(String::new(), |owner| format!("-{owner}"));
    wanted.scratch.join(WARM).join(format!("{key:016x}{owner}"))
}

fn write_error(path: &Path, source: io::Error) -> CheckoutError {
    CheckoutError::Write {
        path: path.to_owned(),
        source,
    }
}
