//! Where snapshots are kept: for each scope and name some generations, of which the newest counts. Owns publication
//! (whole or not at all) and removal; a generation that a box may still hold is not removed.
//!
//! ```text
//! new/<n>/ ─ rename ─► kept/<scope>/<name>/<generation>/{tree/, snapshot.json}
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_adapters::engine::{Mount, MountKind, Sandbox, SandboxError};
use gantry_core::limits::CHECK_TIMEOUT_MAX;
use gantry_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::taken::Copying;
use crate::cache::{
    CacheAccess, CacheError, Kept, Scope, disk, list, make_unique, plan_eviction, sync, write_out,
};
use crate::digest::of_bytes;

const FACTS: &str = "snapshot.json";
const TREE: &str = "tree";
const USED: &str = "used_at_ms";

/// What is known of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Whose it is.
    pub scope: Scope,
    /// What it is called.
    pub name: String,
    /// SHA-256 over every path, mode and content.
    pub digest: String,
    /// Files, directories and links.
    pub entry_count: usize,
    /// Bytes of the files.
    pub size_bytes: u64,
    /// When it was taken.
    pub created_at_ms: i64,
}

/// What became of a directory.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the newest generation now.
    New(Snapshot),
    /// It is what the newest generation of its scope holds already.
    Unchanged,
    /// There is no such directory in the box.
    Nothing,
}

/// Why a snapshot was not taken or found.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] CacheError),
    /// The box.
    #[error("cannot take {path} out of the box")]
    Box {
        /// The directory.
        path: String,
        /// What was said.
        #[source]
        source: SandboxError,
    },
}

/// Snapshots of one repository.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    root: PathBuf,
}

impl SnapshotStore {
    /// Opens a store in a directory of its own, which is made if it is not there.
    ///
    /// Errors: [`SnapshotError::Disk`].
    pub fn open(root: &Path) -> Result<Self, SnapshotError> {
        for folder in ["kept", "new"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(disk("make", &path))?;
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    fn place(&self, scope: &Scope, name: &str) -> PathBuf {
        self.root
            .join("kept")
            .join(of_bytes(scope.tag().as_bytes()))
            .join(of_bytes(name.as_bytes()))
    }

    fn newest(&self, scope: &Scope, name: &str) -> Result<Option<(PathBuf, Snapshot)>, SnapshotError> {
        let mut found = generations(&self.place(scope, name))?;
        found.sort_by(|a, b| (a.1.created_at_ms, &a.0).cmp(&(b.1.created_at_ms, &b.0)));
        Ok(found.pop())
    }

    /// Returns the mount that gives a box the newest snapshot a run may read, and what it is; it counts as used now.
    ///
    /// Errors: [`SnapshotError`].
    pub fn mount(
        &self,
        access: &CacheAccess,
        name: &str,
        at: &Path,
        now: Timestamp,
    ) -> Result<Option<(Mount, Snapshot)>, SnapshotError> {
        for scope in access.reads() {
            let Some((place, snapshot)) = self.newest(scope, name)? else {
                continue;
            };
            let used = place.join(USED);
            fs::write(&used, now.as_millis().to_string()).map_err(disk("write", &used))?;
            let mount = Mount {
                host: place.join(TREE),
                at: at.to_owned(),
                kind: MountKind::CopyOnWrite,
            };
            return Ok(Some((mount, snapshot)));
        }
        Ok(None)
    }

    /// Takes a directory of a box as the newest generation of the scope the run writes to. To be called only if the
    /// job went well.
    ///
    /// Errors: [`SnapshotError`]; then nothing is kept.
    pub fn take(
        &self,
        access: &CacheAccess,
        name: &str,
        sandbox: &dyn Sandbox,
        at: &Path,
        now: Timestamp,
    ) -> Result<Taken, SnapshotError> {
        let new = Unfinished(make_unique(&self.root.join("new"))?);
        let tree = new.0.join(TREE);
        fs::create_dir(&tree).map_err(disk("make", &tree))?;
        let mut copying = Copying::below(&tree);
        match sandbox.visit_files(at, &mut copying) {
            Ok(()) => {}
            Err(SandboxError::Path { .. }) => return Ok(Taken::Nothing),
            Err(source) => {
                return Err(SnapshotError::Box {
                    path: at.display().to_string(),
                    source,
                });
            }
        }
        copying.finish().map_err(disk("finish", &tree))?;
        let snapshot = Snapshot {
            scope: access.writes().clone(),
            name: name.to_owned(),
            digest: std::mem::take(&mut copying.digest).finish(),
            entry_count: copying.entries,
            size_bytes: copying.bytes,
            created_at_ms: now.as_millis(),
        };
        if self
            .newest(access.writes(), name)?
            .is_some_and(|(_, newest)| newest.digest == snapshot.digest)
        {
            return Ok(Taken::Unchanged);
        }
        let facts = serde_json::to_vec_pretty(&snapshot).expect("plain values are written as JSON");
        write_out(&new.0.join(FACTS), &facts)?;
        sync(&new.0)?;
        let parent = self.place(access.writes(), name);
        fs::create_dir_all(&parent).map_err(disk("make", &parent))?;
        let place = parent.join(new.0.file_name().unwrap_or_default());
        fs::rename(&new.0, &place).map_err(disk("publish", &place))?;
        sync(&parent)?;
        Ok(Taken::New(snapshot))
    }

    /// Removes generations that a newer one took the place of, and what does not fit, the longest unused first; nothing
    /// that was made or handed out within the longest time a job may take. Returns how many are gone.
    ///
    /// Errors: [`SnapshotError`].
    pub fn evict(
        &self,
        bytes_max: u64,
        unused_max: Duration,
        now: Timestamp,
    ) -> Result<usize, SnapshotError> {
        let mut gone = 0;
        let mut kept = Vec::new();
        for scope in list(&self.root.join("kept"))? {
            for place in list(&scope)? {
                let mut found = generations(&place)?;
                found.sort_by(|a, b| (a.1.created_at_ms, &a.0).cmp(&(b.1.created_at_ms, &b.0)));
                let newest = found.len().saturating_sub(1);
                for (index, (path, snapshot)) in found.into_iter().enumerate() {
                    let used_at = used_at(&path, &snapshot)?;
                    let may_be_held = now.since(used_at) <= CHECK_TIMEOUT_MAX;
                    if index < newest && !may_be_held {
                        self.remove(&path)?;
                        gone += 1;
                    } else {
                        kept.push((
                            Kept {
                                id: path,
                                bytes: snapshot.size_bytes,
                                used_at,
                            },
                            may_be_held,
                        ));
                    }
                }
            }
        }
        let all: Vec<_> = kept.iter().map(|(one, _)| one.clone()).collect();
        for path in plan_eviction(&all, bytes_max, unused_max, now) {
            if kept.iter().any(|(one, held)| one.id == path && !held) {
                self.remove(&path)?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    fn remove(&self, path: &Path) -> Result<(), SnapshotError> {
        let trash = make_unique(&self.root.join("new"))?;
        fs::rename(path, trash.join("gone")).map_err(disk("remove", path))?;
        fs::remove_dir_all(&trash).map_err(disk("remove", &trash))?;
        Ok(())
    }

    /// Removes what was not finished; for a start, when nothing is being taken. Returns how many there were.
    ///
    /// Errors: [`SnapshotError::Disk`].
    pub fn clear_unfinished(&self) -> Result<usize, SnapshotError> {
        let left = list(&self.root.join("new"))?;
        for path in &left {
            remove_tree(path).map_err(disk("remove", path))?;
        }
        Ok(left.len())
    }
}

fn generations(place: &Path) -> Result<Vec<(PathBuf, Snapshot)>, SnapshotError> {
    let mut found = Vec::new();
    for path in list(place)? {
        let facts = path.join(FACTS);
        let bytes = fs::read(&facts).map_err(disk("read", &facts))?;
        let snapshot = serde_json::from_slice(&bytes).map_err(|error| CacheError::Foreign {
            path: facts,
            why: error.to_string(),
        })?;
        found.push((path, snapshot));
    }
    Ok(found)
}

fn used_at(path: &Path, snapshot: &Snapshot) -> Result<Timestamp, SnapshotError> {
    let used = path.join(USED);
    let at_ms = match fs::read_to_string(&used) {
        // A mark that is half written is from right now, so the snapshot is taken for used at its making at least.
        Ok(text) => text.trim().parse().unwrap_or(snapshot.created_at_ms),
        Err(error) if error.kind() == io::ErrorKind::NotFound => snapshot.created_at_ms,
        Err(error) => return Err(disk("read", &used)(error).into()),
    };
    Ok(Timestamp::from_millis(at_ms.max(snapshot.created_at_ms)))
}

/// Removes a tree of which the copy was not finished, so directories may not be the owner's to change yet.
fn remove_tree(path: &Path) -> io::Result<()> {
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700))?;
            }
        }
    }
    fs::remove_dir_all(path)
}

/// A directory that is being filled; dropped before it is published, it is gone.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Losing the answer is safe: what stays in `new` is never read and is cleared at the next start.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::fake_box::FakeBox;

    fn main() -> CacheAccess {
        CacheAccess::landed("main", "main")
    }

    fn change() -> CacheAccess {
        CacheAccess::unmerged("refs/pull/1/merge", "main", "main")
    }

    fn world(files: &[(&str, &str)]) -> (tempfile::TempDir, SnapshotStore, FakeBox) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SnapshotStore::open(folder.path()).expect("it opens");
        let sandbox = FakeBox::new();
        for (path, text) in files {
            sandbox
                .put_file(&sandbox.home().join(path), text.as_bytes(), 0o555)
                .expect("written");
        }
        (folder, store, sandbox)
    }

    fn take(
        store: &SnapshotStore,
        access: &CacheAccess,
        sandbox: &FakeBox,
        at_ms: i64,
    ) -> Result<Taken, SnapshotError> {
        store.take(
            access,
            "registry",
            sandbox,
            &sandbox.home().join("r"),
            Timestamp::from_millis(at_ms),
        )
    }

    fn text(store: &SnapshotStore, access: &CacheAccess) -> Option<String> {
        let at = Path::new("/home/box/r");
        let mounted = store
            .mount(access, "registry", at, Timestamp::from_millis(9))
            .expect("it can be read");
        mounted.map(|(mount, _)| {
            assert_eq!((mount.kind, mount.at.as_path()), (MountKind::CopyOnWrite, at));
            fs::read_to_string(mount.host.join("a/file")).expect("it is there")
        })
    }

    #[test]
    fn the_newest_snapshot_of_what_may_be_read_is_mounted() {
        let (_folder, store, sandbox) = world(&[("r/a/file", "1")]);
        assert_eq!(text(&store, &main()), None);
        assert!(matches!(
            take(&store, &main(), &sandbox, 1).expect("taken"),
            Taken::New(_)
        ));
        assert_eq!(
            take(&store, &main(), &sandbox, 2).expect("taken"),
            Taken::Unchanged
        );
        sandbox
            .put_file(&sandbox.home().join("r/a/file"), b"2", 0o644)
            .expect("written");
        take(&store, &main(), &sandbox, 3).expect("taken");
        assert_eq!(text(&store, &main()).as_deref(), Some("2"));
        assert_eq!(text(&store, &change()).as_deref(), Some("2"));
        sandbox
            .put_file(&sandbox.home().join("r/a/file"), b"poison", 0o644)
            .expect("written");
        take(&store, &change(), &sandbox, 4).expect("taken");
        assert_eq!(text(&store, &change()).as_deref(), Some("poison"));
        assert_eq!(text(&store, &main()).as_deref(), Some("2"));
    }

    #[test]
    fn links_stay_links_and_what_is_no_directory_is_not_taken() {
        let (_folder, store, sandbox) = world(&[("r/a/file", "1")]);
        symlink("/etc/passwd", sandbox.home().join("r/a/link")).expect("linked");
        take(&store, &main(), &sandbox, 1).expect("taken");
        let (mount, _) = store
            .mount(&main(), "registry", Path::new("/x"), Timestamp::from_millis(1))
            .expect("read")
            .expect("there");
        assert_eq!(
            fs::read_link(mount.host.join("a/link")).expect("a link"),
            Path::new("/etc/passwd")
        );
        let nowhere = store.take(
            &main(),
            "n",
            &sandbox,
            &sandbox.home().join("none"),
            Timestamp::from_millis(1),
        );
        assert_eq!(nowhere.expect("no error"), Taken::Nothing);
        let file = store.take(
            &main(),
            "n",
            &sandbox,
            &sandbox.home().join("r/a/file"),
            Timestamp::from_millis(1),
        );
        assert!(file.is_err());
        assert_eq!(store.clear_unfinished().expect("cleared"), 0);
    }

    #[test]
    fn a_snapshot_that_is_not_finished_is_never_seen() {
        let (folder, store, _sandbox) = world(&[]);
        let new = make_unique(&store.root.join("new")).expect("made");
        fs::create_dir_all(new.join(TREE)).expect("made");
        fs::write(new.join(FACTS), "{").expect("written");
        let again = SnapshotStore::open(folder.path()).expect("it opens");
        assert_eq!(text(&again, &main()), None);
        assert_eq!(again.clear_unfinished().expect("cleared"), 1);
    }

    #[test]
    fn what_a_box_may_still_hold_is_not_removed() {
        let (_folder, store, sandbox) = world(&[("r/a/file", "1")]);
        take(&store, &main(), &sandbox, 1).expect("taken");
        sandbox
            .put_file(&sandbox.home().join("r/a/file"), b"2", 0o644)
            .expect("written");
        take(&store, &main(), &sandbox, 2).expect("taken");
        let day = i64::try_from(CHECK_TIMEOUT_MAX.as_millis()).expect("it is small");
        let evict = |bytes_max, at_ms| {
            store
                .evict(
                    bytes_max,
                    Duration::from_secs(u64::MAX / 2),
                    Timestamp::from_millis(at_ms),
                )
                .expect("evicted")
        };
        assert_eq!(evict(0, day), 0);
        assert_eq!(evict(100, day + 10), 1);
        assert_eq!(text(&store, &main()).as_deref(), Some("2"));
        assert_eq!(evict(0, day), 0);
        assert_eq!(evict(0, 2 * day), 1);
        assert_eq!(text(&store, &main()), None);
    }
}
