//! Where the artifacts of one run are kept: a directory for each, its name's digest, with the zip file and what is
//! known of it. Owns publication: an artifact is there whole or not at all, and its name is taken once.
//!
//! ```text
//! new/<n>/ ─ rename ─► named/<digest of the name>/{artifact.zip, artifact.json}
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gantry_core::limits::RUN_ARTIFACTS_MAX;
use gantry_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::ArtifactName;
use crate::digest;

const ZIP: &str = "artifact.zip";
const FACTS: &str = "artifact.json";

/// What is known of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its number in the run.
    pub id: u64,
    /// Its name.
    pub name: ArtifactName,
    /// SHA-256 of the zip file, in hexadecimal.
    pub digest: String,
    /// Bytes of the zip file.
    pub size_bytes: u64,
    /// Files in it.
    pub file_count: u64,
    /// When it was made.
    pub created_at_ms: i64,
    /// How many days it is to be kept; nothing is removed here, retention belongs to who keeps runs.
    pub retention_days: Option<u32>,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error("cannot {doing} {}", path.display())]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The name is taken.
    #[error(
        "an artifact with the name {0} exists already in this run; choose another name, or set `overwrite: true`"
    )]
    Taken(ArtifactName),
    /// There are too many.
    #[error("this run has {RUN_ARTIFACTS_MAX} artifacts already; no further one is kept")]
    TooMany,
    /// What is on the disk was not written by this store.
    #[error("{} does not hold what this store wrote: {why}; remove it", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Disk { doing, path, source }
}

/// The artifacts of one run.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    root: PathBuf,
}

/// An artifact that is being made; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Staged {
    store: ArtifactStore,
    id: u64,
    at: PathBuf,
}

impl ArtifactStore {
    /// Opens the store of a run in a directory of its own, which is made if it is not there.
    ///
    /// Errors: [`StoreError::Disk`].
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for folder in ["named", "new", "ids"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(disk("make", &path))?;
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Returns what is there, in the order of their numbers.
    ///
    /// Errors: [`StoreError::Disk`], [`StoreError::Foreign`].
    pub fn list(&self) -> Result<Vec<Artifact>, StoreError> {
        let named = self.root.join("named");
        let mut all = Vec::new();
        for entry in fs::read_dir(&named).map_err(disk("list", &named))? {
            let at = entry.map_err(disk("list", &named))?.path();
            all.extend(read(&at)?);
        }
        all.sort_by_key(|artifact| artifact.id);
        Ok(all)
    }

    /// Returns the artifact of a name, if there is one.
    ///
    /// Errors: [`StoreError::Disk`], [`StoreError::Foreign`].
    pub fn find(&self, name: &ArtifactName) -> Result<Option<Artifact>, StoreError> {
        read(&self.place(name))
    }

    /// Returns the path of an artifact's zip file, for whoever wants to take it away.
    #[must_use]
    pub fn zip_path(&self, name: &ArtifactName) -> PathBuf {
        self.place(name).join(ZIP)
    }

    /// Removes an artifact and says whether there was one.
    ///
    /// Errors: [`StoreError::Disk`].
    pub fn remove(&self, name: &ArtifactName) -> Result<bool, StoreError> {
        let id = self.next_id()?;
        let trash = self.root.join("new").join(format!("removed-{id}"));
        match fs::rename(self.place(name), &trash) {
            Ok(()) => {
                fs::remove_dir_all(&trash).map_err(disk("remove", &trash))?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(disk("remove", &trash)(error)),
        }
    }

    fn place(&self, name: &ArtifactName) -> PathBuf {
        self.root
            .join("named")
            .join(digest::of_bytes(name.as_str().as_bytes()))
    }

    /// Takes the next number; a number is taken once, whoever else asks.
    fn next_id(&self) -> Result<u64, StoreError> {
        let ids = self.root.join("ids");
        let taken = fs::read_dir(&ids).map_err(disk("list", &ids))?;
        let last = taken
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok())
            .max()
            .unwrap_or(0);
        let mut id = last + 1;
        loop {
            let at = ids.join(id.to_string());
            match fs::create_dir(&at) {
                Ok(()) => {
                    // Only the highest number is needed; a lower one that stays is no harm.
                    let _ = fs::remove_dir(ids.join((id - 1).to_string()));
                    return Ok(id);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => id += 1,
                Err(error) => return Err(disk("make", &at)(error)),
            }
        }
    }

    /// Begins a new artifact: checks that its name is free, or may be taken over, and that there is room.
    pub(super) fn begin(&self, name: &ArtifactName, overwrite: bool) -> Result<Staged, StoreError> {
        if !overwrite && self.place(name).exists() {
            return Err(StoreError::Taken(name.clone()));
        }
        if self.list()?.len() >= RUN_ARTIFACTS_MAX {
            return Err(StoreError::TooMany);
        }
        let id = self.next_id()?;
        let at = self.root.join("new").join(id.to_string());
        fs::create_dir(&at).map_err(disk("make", &at))?;
        Ok(Staged {
            store: self.clone(),
            id,
            at,
        })
    }
}

fn read(at: &Path) -> Result<Option<Artifact>, StoreError> {
    let facts = at.join(FACTS);
    let bytes = match fs::read(&facts) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk("read", &facts)(error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| StoreError::Foreign {
            path: facts,
            why: error.to_string(),
        })
}

fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(disk("write out", path))
}

impl Staged {
    /// Returns where the zip file is to be written.
    pub(super) fn zip(&self) -> PathBuf {
        self.at.join(ZIP)
    }

    /// Publishes the artifact whole. With `overwrite` the old one is removed first, as the official action does: a crash
    /// between the two leaves none, and the job that was to make it has failed with the crash.
    ///
    /// Errors: [`StoreError::Taken`] if somebody else was faster.
    pub(super) fn publish(
        self,
        name: &ArtifactName,
        overwrite: bool,
        file_count: u64,
        retention_days: Option<u32>,
        now: Timestamp,
    ) -> Result<Artifact, StoreError> {
        let zip = self.zip();
        let (digest, size_bytes) = digest::of_file(&zip).map_err(disk("read", &zip))?;
        let artifact = Artifact {
            id: self.id,
            name: name.clone(),
            digest,
            size_bytes,
            file_count,
            created_at_ms: now.as_millis(),
            retention_days,
        };
        let facts = self.at.join(FACTS);
        let bytes = serde_json::to_vec_pretty(&artifact).expect("plain values are written as JSON");
        File::create(&facts)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .map_err(disk("write", &facts))?;
        sync(&zip)?;
        sync(&self.at)?;
        let place = self.store.place(name);
        if overwrite {
            self.store.remove(name)?;
        }
        // A rename onto a directory that holds something fails, which is what makes a name taken once.
        match fs::rename(&self.at, &place) {
            Ok(()) => sync(&self.store.root.join("named"))?,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                return Err(StoreError::Taken(name.clone()));
            }
            Err(error) => return Err(disk("publish", &place)(error)),
        }
        Ok(artifact)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Losing the answer is safe: what stays in `new` is never read, and goes with the run.
        let _ = fs::remove_dir_all(&self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ArtifactName {
        ArtifactName::parse(text).expect("a name")
    }

    fn put(store: &ArtifactStore, text: &str, overwrite: bool, bytes: &[u8]) -> Result<Artifact, StoreError> {
        let staged = store.begin(&name(text), overwrite)?;
        fs::write(staged.zip(), bytes).expect("written");
        staged.publish(&name(text), overwrite, 1, None, Timestamp::from_millis(5))
    }

    fn store() -> (tempfile::TempDir, ArtifactStore) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = ArtifactStore::open(folder.path()).expect("it opens");
        (folder, store)
    }

    #[test]
    fn a_name_is_taken_once_unless_it_is_overwritten() {
        let (_folder, store) = store();
        let first = put(&store, "a", false, b"1").expect("it is free");
        assert!(matches!(put(&store, "a", false, b"2"), Err(StoreError::Taken(_))));
        assert_eq!(store.list().expect("listed"), std::slice::from_ref(&first));
        let second = put(&store, "a", true, b"2").expect("it is overwritten");
        assert!(second.id > first.id && second.digest != first.digest);
        assert_eq!(fs::read(store.zip_path(&name("a"))).expect("read"), b"2");
        assert_eq!(store.find(&name("A")).expect("read"), None);
    }

    #[test]
    fn of_two_that_publish_at_once_one_is_told_that_the_name_is_taken() {
        let (_folder, store) = store();
        let staged: Vec<_> = (0..2)
            .map(|_| store.begin(&name("a"), false).expect("begun"))
            .collect();
        let published: Vec<bool> = staged
            .into_iter()
            .map(|staged| {
                fs::write(staged.zip(), staged.id.to_string()).expect("written");
                staged
                    .publish(&name("a"), false, 1, None, Timestamp::from_millis(5))
                    .is_ok()
            })
            .collect();
        assert_eq!(published, [true, false]);
    }

    #[test]
    fn an_artifact_that_is_not_finished_is_never_seen() {
        let (folder, store) = store();
        let staged = store.begin(&name("a"), false).expect("begun");
        fs::write(staged.zip(), "half").expect("written");
        std::mem::forget(staged);
        let again = ArtifactStore::open(folder.path()).expect("it opens");
        assert_eq!(again.list().expect("listed"), []);
        put(&again, "a", false, b"whole").expect("the name is free");
    }

    #[test]
    fn numbers_are_never_given_twice() {
        let (_folder, store) = store();
        put(&store, "a", false, b"").expect("put");
        assert!(store.remove(&name("a")).expect("removed"));
        assert!(!store.remove(&name("a")).expect("removed"));
        assert!(put(&store, "b", false, b"").expect("put").id > 1);
    }

    #[test]
    fn facts_of_somebody_else_are_refused() {
        let (_folder, store) = store();
        put(&store, "a", false, b"").expect("put");
        fs::write(store.place(&name("a")).join(FACTS), "{\"name\":\"../x\"}").expect("written");
        assert!(matches!(store.list(), Err(StoreError::Foreign { .. })));
    }
}
