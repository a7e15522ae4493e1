//! The folder of the host that goes with a box: the workspace and what its mounts need. Owns writing it before the box
//! starts and removing it, whatever the box left in it, when it has ended.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use gantry_core::queue::build::Trouble;

use super::body::Ids;
use crate::engine::{OpenError, SandboxControl, Workspace};
use crate::git::{CheckoutError, GitRepository};

/// Where the box sees the repository's objects; the number of the directory follows.
pub(super) const OBJECTS: &str = "/box/objects";
/// The most files of a workspace that are remembered to tell new ones from changed ones; beyond it they are counted
/// as changed.
const REMEMBERED_FILES_MAX: usize = 1_000_000;
/// The most levels of directories that a look at a workspace goes down.
const LEVELS_MAX: usize = 256;

/// One box's folder.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it.
    ///
    /// Errors: what the system said.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        // Other users of the host have no business in a box's files.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        let folder = Self(path);
        fs::create_dir(folder.workspace())?;
        Ok(folder)
    }

    /// Takes one that an earlier process made.
    pub(super) const fn left(path: PathBuf) -> Self {
        Self(path)
    }

    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the workspace's place.
    pub(super) fn workspace(&self) -> PathBuf {
        self.0.join("workspace")
    }

    /// Makes a pair of directories for a private layer, and returns them.
    ///
    /// Errors: what the system said.
    pub(super) fn layer(&self, number: usize, below: &fs::Metadata) -> io::Result<(PathBuf, PathBuf)> {
        let make = |name: &str| {
            let path = self.0.join(format!("{name}-{number}"));
            fs::create_dir(&path)?;
            // The layer's root is what the box sees of the directory itself.
            fs::set_permissions(&path, fs::Permissions::from_mode(below.mode() & 0o7777))?;
            lchown(&path, Some(below.uid()), Some(below.gid()))?;
            Ok::<_, io::Error>(path)
        };
        Ok((make("upper")?, make("work")?))
    }

    /// Removes it and everything in it, whatever the modes, names and depth; nothing may run in it any more. Links are
    /// removed, never followed.
    ///
    /// Errors: what the system said.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::symlink_metadata(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let mut number = 0_u64;
        loop {
            let mut left = false;
            for entry in fs::read_dir(&self.0)? {
                let path = entry?.path();
                if fs::symlink_metadata(&path)?.is_dir() {
                    self.flatten(&path, &mut number)?;
                    left = true;
                } else {
                    fs::remove_file(&path)?;
                }
            }
            if !left {
                return fs::remove_dir(&self.0);
            }
        }
    }

    /// Removes one directory; what is in it and a directory itself is moved to the top, so that no path is ever too
    /// long.
    fn flatten(&self, path: &Path, number: &mut u64) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(path)? {
            let inner = entry?.path();
            if !fs::symlink_metadata(&inner)?.is_dir() {
                fs::remove_file(&inner)?;
                continue;
            }
            fs::set_permissions(&inner, fs::Permissions::from_mode(0o700))?;
            loop {
                *number += 1;
                let to = self.0.join(format!("gone-{number}"));
                if fs::symlink_metadata(&to).is_err() {
                    fs::rename(&inner, to)?;
                    break;
                }
            }
        }
        fs::remove_dir(path)
    }
}

/// A workspace as it was when the box started.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    /// Hashes of the names that were there.
    names: HashSet<u64>,
    /// Seconds and nanoseconds of the host's file clock after the last of them was written.
    written: (i64, i64),
}

/// What was found different in a workspace.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// Names made or changed.
    pub(super) changed: Vec<PathBuf>,
    /// How many names were taken away.
    pub(super) removed_count: u64,
    /// Bytes of the regular files among the changed.
    pub(super) bytes: u64,
}

/// Writes a box's workspace and returns the directories whose objects it borrows, and what it looks like.
///
/// Errors: [`OpenError`].
pub(super) fn write_workspace(
    folder: &Folder,
    workspace: &Workspace,
    ids: Ids,
    control: &SandboxControl,
) -> Result<(Vec<PathBuf>, Baseline), OpenError> {
    let at = folder.workspace();
    let failed = |source: io::Error| host_trouble(&at, &source);
    fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    let mut objects = Vec::new();
    if let Workspace::Commit { repository, commit } = workspace {
        let stop = || control.is_cancelled();
        let git = |error: crate::git::GitError| checkout_error(CheckoutError::Git(error));
        let repository = GitRepository::open(repository).map_err(git)?;
        objects = repository.object_directories().map_err(git)?;
        let seen: Vec<PathBuf> = (0..objects.len())
            .map(|n| Path::new(OBJECTS).join(n.to_string()))
            .collect();
        repository
            .check_out(*commit, &at, &stop)
            .map_err(checkout_error)?;
        // The owner is given before the index is written, which remembers it.
        give_all(&at, ids).map_err(failed)?;
        repository
            .write_git_directory(*commit, &at, &seen)
            .map_err(checkout_error)?;
        give_all(&at.join(".git"), ids).map_err(failed)?;
    }
    give(&at, ids).map_err(failed)?;
    let baseline = Baseline::take(folder).map_err(failed)?;
    Ok((objects, baseline))
}

fn checkout_error(error: CheckoutError) -> OpenError {
    match error {
        CheckoutError::Stopped => OpenError::Cancelled,
        CheckoutError::Refused { .. } => OpenError::Refused(error.to_string()),
        CheckoutError::Write { ref path, ref source } => host_trouble(path, source),
        CheckoutError::Git(error) => OpenError::Trouble(Trouble::CouldNotStart, error.to_string()),
    }
}

/// Says what the host refused.
pub(super) fn host_trouble(path: &Path, source: &io::Error) -> OpenError {
    let kind = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::OutOfDisk,
        _ => Trouble::CouldNotStart,
    };
    OpenError::Trouble(kind, format!("{}: {source}", path.display()))
}

/// Gives one thing to the box's user; whoever is not root writes as that user already.
fn give(path: &Path, ids: Ids) -> io::Result<()> {
    if nix::unistd::geteuid().is_root() {
        lchown(path, Some(ids.uid), Some(ids.gid))?;
    }
    Ok(())
}

fn give_all(directory: &Path, ids: Ids) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    give(directory, ids)?;
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            give(&entry.path(), ids)?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}

impl Baseline {
    fn take(folder: &Folder) -> io::Result<Self> {
        let mut names = HashSet::new();
        walk(&folder.workspace(), &mut |path, _| {
            if names.len() < REMEMBERED_FILES_MAX {
                names.insert(hash(path));
            }
        })?;
        // A file written now tells the time that the files' change times are compared with.
        let mark = folder.path().join("mark");
        fs::write(&mark, "")?;
        let written = fs::metadata(&mark)?;
        Ok(Self {
            names,
            written: (written.ctime(), written.ctime_nsec()),
        })
    }

    /// Compares a workspace with what it was.
    ///
    /// Errors: what the system said.
    pub(super) fn compare(&self, folder: &Folder) -> io::Result<Differences> {
        let mut differences = Differences::default();
        let mut there = 0_u64;
        walk(&folder.workspace(), &mut |path, metadata| {
            let known = self.names.contains(&hash(path));
            there += u64::from(known);
            let changed = (metadata.ctime(), metadata.ctime_nsec()) > self.written;
            // A directory that was there changes with its entries, which speak for themselves.
            if changed && !(known && metadata.is_dir()) {
                differences.bytes += if metadata.is_file() { metadata.len() } else { 0 };
                differences.changed.push(path.to_owned());
            }
        })?;
        differences.removed_count = (self.names.len() as u64).saturating_sub(there);
        differences.changed.sort();
        Ok(differences)
    }
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// Shows everything below a directory by its path relative to it; links are not followed, and what this user may not
/// enter is not entered.
fn walk(top: &Path, show: &mut dyn FnMut(&Path, &fs::Metadata)) -> io::Result<()> {
    let mut pending = vec![(top.to_owned(), PathBuf::new(), 0)];
    while let Some((directory, prefix, level)) = pending.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && level > 0 => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let path = prefix.join(entry.file_name());
            let metadata = entry.metadata()?;
            show(&path, &metadata);
            if metadata.is_dir() && level < LEVELS_MAX {
                pending.push((entry.path(), path, level + 1));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_whatever_is_in_it() {
        let scratch = tempfile::tempdir().expect("a folder");
        let outside = scratch.path().join("outside");
        fs::create_dir(&outside).expect("a folder");
        fs::write(outside.join("kept"), "x").expect("a file");
        let folder = Folder::create(scratch.path().join("box")).expect("made");
        let mut at = folder.workspace();
        for level in 0..40 {
            at = at.join(format!("{level}-{}", "n".repeat(20)));
            fs::create_dir(&at).expect("a folder");
            fs::write(at.join("file"), "x").expect("a file");
            std::os::unix::fs::symlink(&outside, at.join("link")).expect("a link");
        }
        fs::create_dir_all(folder.path().join("gone-1/a/b")).expect("a name of its own");
        fs::set_permissions(folder.workspace(), fs::Permissions::from_mode(0o000)).expect("its mode");
        folder.remove().expect("removed");
        assert!(!folder.path().exists());
        assert!(outside.join("kept").exists());
        folder.remove().expect("again");
    }

    #[test]
    fn what_changed_in_a_workspace_is_told_from_what_was_there() {
        let scratch = tempfile::tempdir().expect("a folder");
        let folder = Folder::create(scratch.path().join("box")).expect("made");
        let file = |name: &str| folder.workspace().join(name);
        fs::create_dir(file("old")).expect("a folder");
        for name in ["old/kept", "old/changed", "old/removed"] {
            fs::write(file(name), "text").expect("a file");
        }
        let mut baseline = Baseline::take(&folder).expect("taken");
        // The file clock may stand still for a while: let the mark be as old as can be.
        let oldest = ["old/kept", "old/changed"].map(|name| fs::metadata(file(name)).expect("there"));
        baseline.written = oldest
            .iter()
            .map(|m| (m.ctime(), m.ctime_nsec()))
            .max()
            .expect("two");
        while fs::metadata(folder.path().join("mark"))
            .map(|m| (m.ctime(), m.ctime_nsec()))
            .expect("there")
            <= baseline.written
        {
            fs::write(folder.path().join("mark"), "x").expect("a file");
        }
        fs::write(file("old/changed"), "longer text").expect("a file");
        fs::remove_file(file("old/removed")).expect("removed");
        fs::create_dir(file("new")).expect("a folder");
        fs::write(file("new/file"), "12").expect("a file");
        let found = baseline.compare(&folder).expect("compared");
        let names: Vec<_> = found
            .changed
            .iter()
            .map(|path| path.to_str().expect("text"))
            .collect();
        assert_eq!(names, ["new", "new/file", "old/changed"]);
        assert_eq!((found.removed_count, found.bytes), (1, 13));
    }
}
