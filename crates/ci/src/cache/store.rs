//! Where caches are kept: a directory for each entry below its scope. Owns publication (whole or not at all, never
//! changed afterwards), the search by keys and the last use.
//!
//! ```text
//! new/<n>/data.tar.zst ─ describe ─► new/<n>/entry.json ─ publish (rename) ─► entries/<scope>/<key and version>/
//! ```

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gantry_core::limits::CACHE_SCOPE_ENTRIES_MAX;
use gantry_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::evict::{Kept, plan_eviction};
use super::key::{CacheKey, CacheVersion};
use super::scope::{CacheAccess, Scope};
use crate::digest;

pub(super) const DATA: &str = "data.tar.zst";
const FACTS: &str = "entry.json";
const USED: &str = "used_at_ms";

/// What is known of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheEntry {
    /// Whose it is.
    pub scope: Scope,
    /// Its key.
    pub key: CacheKey,
    /// Its paths' version.
    pub version: CacheVersion,
    /// SHA-256 of its data, in hexadecimal.
    pub digest: String,
    /// Bytes of its data.
    pub size_bytes: u64,
    /// When it was written.
    pub created_at_ms: i64,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
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
    /// What is on the disk was not written by this store.
    #[error("{} does not hold what this store wrote: {why}; remove it", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A scope has too many entries to look through.
    #[error(
        "a scope of the cache holds {CACHE_SCOPE_ENTRIES_MAX} entries; evict some before more are written"
    )]
    TooMany,
}

pub(crate) fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::Disk { doing, path, source }
}

/// An entry that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// It.
    pub entry: CacheEntry,
    /// Whether its key is the one asked for, and not only one that begins like it.
    pub exact: bool,
}

/// What became of an entry that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is there now.
    New,
    /// Somebody else's of the same key was there first; this one is gone, and both are fine.
    Already,
}

/// The caches of one repository.
#[derive(Debug, Clone)]
pub struct CacheStore {
    root: PathBuf,
}

/// Makes names of directories that are being filled differ, between processes as well.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Makes a directory that nobody else has.
pub(crate) fn make_unique(below: &Path) -> Result<PathBuf, CacheError> {
    loop {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(NUMBER.fetch_add(1, Ordering::Relaxed));
        let at = below.join(format!("{:016x}", hasher.finish()));
        match fs::create_dir(&at) {
            Ok(()) => return Ok(at),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(disk("make", &at)(error)),
        }
    }
}

/// Writes a file and sees it on the disk.
pub(crate) fn write_out(path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    File::create(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(disk("write", path))
}

/// Sees a file or directory on the disk.
pub(crate) fn sync(path: &Path) -> Result<(), CacheError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(disk("write out", path))
}

impl CacheStore {
    /// Opens the caches of a repository in a directory of their own, which is made if it is not there.
    ///
    /// Errors: [`CacheError::Disk`].
    pub fn open(root: &Path) -> Result<Self, CacheError> {
        for folder in ["entries", "new"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(disk("make", &path))?;
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    fn scope_at(&self, scope: &Scope) -> PathBuf {
        self.root
            .join("entries")
            .join(digest::of_bytes(scope.tag().as_bytes()))
    }

    fn place(&self, scope: &Scope, key: &CacheKey, version: &CacheVersion) -> PathBuf {
        let name = digest::of_bytes(format!("{}\0{key}", version.as_str()).as_bytes());
        self.scope_at(scope).join(name)
    }

    /// Returns where an entry's data is.
    pub(super) fn data_at(&self, entry: &CacheEntry) -> PathBuf {
        self.place(&entry.scope, &entry.key, &entry.version).join(DATA)
    }

    /// Returns where unfinished things are made.
    pub(super) fn scratch(&self) -> PathBuf {
        self.root.join("new")
    }

    /// Says whether a scope has an entry of exactly this key and version.
    #[must_use]
    pub fn holds(&self, scope: &Scope, key: &CacheKey, version: &CacheVersion) -> bool {
        self.place(scope, key, version).join(FACTS).exists()
    }

    /// Looks for an entry as GitHub does: in the nearest scope first; there for the key itself, for the newest key that
    /// begins with it, then for the newest that begins with each of the others in their order. The entry found counts
    /// as used now.
    ///
    /// Errors: [`CacheError`].
    pub fn find(
        &self,
        access: &CacheAccess,
        key: &CacheKey,
        restore_keys: &[CacheKey],
        version: &CacheVersion,
        now: Timestamp,
    ) -> Result<Option<Hit>, CacheError> {
        for scope in access.reads() {
            if let Some(entry) = read(&self.place(scope, key, version))? {
                self.mark_used(&entry, now)?;
                return Ok(Some(Hit { entry, exact: true }));
            }
            let mut same: Vec<CacheEntry> = self
                .entries_of(scope)?
                .into_iter()
                .filter(|entry| entry.version == *version)
                .collect();
            same.sort_by(|a, b| (b.created_at_ms, b.key.as_str()).cmp(&(a.created_at_ms, a.key.as_str())));
            for prefix in std::iter::once(key).chain(restore_keys) {
                if let Some(entry) = same
                    .iter()
                    .find(|entry| entry.key.as_str().starts_with(prefix.as_str()))
                {
                    self.mark_used(entry, now)?;
                    return Ok(Some(Hit {
                        entry: entry.clone(),
                        exact: false,
                    }));
                }
            }
        }
        Ok(None)
    }

    fn entries_of(&self, scope: &Scope) -> Result<Vec<CacheEntry>, CacheError> {
        let at = self.scope_at(scope);
        let mut entries = Vec::new();
        for path in list(&at)? {
            entries.extend(read(&path)?);
        }
        Ok(entries)
    }

    /// Returns every entry of every scope, in no order.
    ///
    /// Errors: [`CacheError`].
    pub fn list(&self) -> Result<Vec<CacheEntry>, CacheError> {
        let mut all = Vec::new();
        for scope in list(&self.root.join("entries"))? {
            for path in list(&scope)? {
                all.extend(read(&path)?);
            }
        }
        Ok(all)
    }

    /// The last use is a hint for eviction: it is written beside the entry and replaced whole.
    fn mark_used(&self, entry: &CacheEntry, now: Timestamp) -> Result<(), CacheError> {
        let at = make_unique(&self.root.join("new"))?;
        let text = at.join(USED);
        fs::write(&text, now.as_millis().to_string()).map_err(disk("write", &text))?;
        let place = self.place(&entry.scope, &entry.key, &entry.version).join(USED);
        let moved = match fs::rename(&text, &place) {
            // Evicted between the look and the mark: whoever reads it next is told.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(disk("write", &place)),
        };
        fs::remove_dir_all(&at).map_err(disk("remove", &at))?;
        moved
    }

    /// Begins an entry of the scope a run writes to.
    pub(super) fn begin(
        &self,
        access: &CacheAccess,
        key: &CacheKey,
        version: &CacheVersion,
    ) -> Result<Begun, CacheError> {
        if list(&self.scope_at(access.writes()))?.len() >= CACHE_SCOPE_ENTRIES_MAX {
            return Err(CacheError::TooMany);
        }
        Ok(Begun {
            at: make_unique(&self.root.join("new"))?,
            store: self.clone(),
            scope: access.writes().clone(),
            key: key.clone(),
            version: version.clone(),
        })
    }

    /// Removes what does not fit, the longest unused first, and says what it was.
    ///
    /// Errors: [`CacheError`].
    pub fn evict(
        &self,
        bytes_max: u64,
        unused_max: Duration,
        now: Timestamp,
    ) -> Result<Vec<CacheEntry>, CacheError> {
        let entries = self.list()?;
        let mut kept = Vec::new();
        for (id, entry) in entries.iter().enumerate() {
            let used = self.place(&entry.scope, &entry.key, &entry.version).join(USED);
            let used_at_ms = match fs::read_to_string(&used) {
                // A mark that cannot be read is one that was never made.
                Ok(text) => text.trim().parse().unwrap_or(entry.created_at_ms),
                Err(error) if error.kind() == io::ErrorKind::NotFound => entry.created_at_ms,
                Err(error) => return Err(disk("read", &used)(error)),
            };
            kept.push(Kept {
                id,
                bytes: entry.size_bytes,
                used_at: Timestamp::from_millis(used_at_ms),
            });
        }
        let plan = plan_eviction(&kept, bytes_max, unused_max, now);
        let gone: Vec<CacheEntry> = plan.into_iter().map(|index| entries[index].clone()).collect();
        for entry in &gone {
            self.remove(entry)?;
        }
        Ok(gone)
    }

    fn remove(&self, entry: &CacheEntry) -> Result<(), CacheError> {
        let trash = make_unique(&self.root.join("new"))?;
        let place = self.place(&entry.scope, &entry.key, &entry.version);
        match fs::rename(&place, trash.join("gone")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(disk("remove", &place)(error));
            }
            _ => {}
        }
        fs::remove_dir_all(&trash).map_err(disk("remove", &trash))
    }

    /// Removes what saves that never came to their end left; for a start, when nothing is being saved.
    ///
    /// Errors: [`CacheError::Disk`].
    pub fn clear_unfinished(&self) -> Result<usize, CacheError> {
        let left = list(&self.root.join("new"))?;
        for path in &left {
            fs::remove_dir_all(path).map_err(disk("remove", path))?;
        }
        Ok(left.len())
    }
}

pub(crate) fn list(at: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let entries = match fs::read_dir(at) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(disk("list", at)(error)),
    };
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(disk("list", at)))
        .collect()
}

fn read(at: &Path) -> Result<Option<CacheEntry>, CacheError> {
    let facts = at.join(FACTS);
    let bytes = match fs::read(&facts) {
        Ok(bytes) => bytes,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(disk("read", &facts)(error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| CacheError::Foreign {
            path: facts,
            why: error.to_string(),
        })
}

/// An entry whose data is being written.
#[derive(Debug)]
pub(super) struct Begun {
    store: CacheStore,
    at: PathBuf,
    scope: Scope,
    key: CacheKey,
    version: CacheVersion,
}

impl Begun {
    /// Returns the directory the data is written in, [`DATA`] at last.
    pub(super) fn folder(&self) -> &Path {
        &self.at
    }

    /// Writes down what the data is.
    pub(super) fn describe(self, now: Timestamp) -> Result<Described, CacheError> {
        let data = self.at.join(DATA);
        let (digest, size_bytes) = digest::of_file(&data).map_err(disk("read", &data))?;
        sync(&data)?;
        let entry = CacheEntry {
            scope: self.scope.clone(),
            key: self.key.clone(),
            version: self.version.clone(),
            digest,
            size_bytes,
            created_at_ms: now.as_millis(),
        };
        let bytes = serde_json::to_vec_pretty(&entry).expect("plain values are written as JSON");
        write_out(&self.at.join(FACTS), &bytes)?;
        sync(&self.at)?;
        Ok(Described { begun: self, entry })
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Losing the answer is safe: what stays in `new` is never read and is cleared at the next start.
        let _ = fs::remove_dir_all(&self.at);
    }
}

/// An entry that only has to be published.
#[derive(Debug)]
pub(super) struct Described {
    begun: Begun,
    entry: CacheEntry,
}

impl Described {
    /// Makes the entry visible, whole.
    pub(super) fn publish(self) -> Result<(CacheEntry, Published), CacheError> {
        let store = &self.begun.store;
        let scope_at = store.scope_at(&self.entry.scope);
        fs::create_dir_all(&scope_at).map_err(disk("make", &scope_at))?;
        let place = store.place(&self.entry.scope, &self.entry.key, &self.entry.version);
        // A rename onto a directory that holds something fails: of two, one is kept.
        match fs::rename(&self.begun.at, &place) {
            Ok(()) => {
                sync(&scope_at)?;
                Ok((self.entry, Published::New))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok((self.entry, Published::Already))
            }
            Err(error) => Err(disk("publish", &place)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> CacheKey {
        CacheKey::parse(text).expect("a key")
    }

    fn store() -> (tempfile::TempDir, CacheStore) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = CacheStore::open(folder.path()).expect("it opens");
        (folder, store)
    }

    fn main() -> CacheAccess {
        CacheAccess::landed("main", "main")
    }

    fn change(number: u32) -> CacheAccess {
        CacheAccess::unmerged(&format!("refs/pull/{number}/merge"), "main", "main")
    }

    fn put(store: &CacheStore, access: &CacheAccess, text: &str, at_ms: i64) -> Published {
        let begun = store
            .begin(access, &key(text), &CacheVersion::of_paths("p"))
            .expect("begun");
        fs::write(begun.folder().join(DATA), text).expect("written");
        begun
            .describe(Timestamp::from_millis(at_ms))
            .expect("described")
            .publish()
            .expect("published")
            .1
    }

    fn find(store: &CacheStore, access: &CacheAccess, keys: &[&str]) -> Option<(String, bool)> {
        let others: Vec<CacheKey> = keys[1..].iter().map(|text| key(text)).collect();
        let version = CacheVersion::of_paths("p");
        store
            .find(
                access,
                &key(keys[0]),
                &others,
                &version,
                Timestamp::from_millis(1_000),
            )
            .expect("it can be read")
            .map(|hit| (hit.entry.key.to_string(), hit.exact))
    }

    #[test]
    fn keys_are_found_in_the_documented_order() {
        let (_folder, store) = store();
        for (text, at_ms) in [("npm-a-1", 1), ("npm-a-2", 3), ("npm-b-1", 2), ("other", 9)] {
            assert_eq!(put(&store, &main(), text, at_ms), Published::New);
        }
        let found = |keys: &[&str]| find(&store, &main(), keys);
        assert_eq!(found(&["npm-a-1", "npm-"]), Some(("npm-a-1".to_owned(), true)));
        assert_eq!(found(&["npm-a-", "x"]), Some(("npm-a-2".to_owned(), false)));
        assert_eq!(
            found(&["npm-c-9", "npm-b-", "npm-"]),
            Some(("npm-b-1".to_owned(), false))
        );
        assert_eq!(found(&["npm-c-9", "npm-"]), Some(("npm-a-2".to_owned(), false)));
        assert_eq!(found(&["none"]), None);
        let other = CacheVersion::of_paths("q");
        let now = Timestamp::from_millis(0);
        assert_eq!(
            store
                .find(&main(), &key("other"), &[], &other, now)
                .expect("read"),
            None
        );
    }

    #[test]
    fn what_an_unmerged_change_wrote_is_read_by_it_alone() {
        let (_folder, store) = store();
        put(&store, &change(1), "k", 5);
        assert_eq!(find(&store, &main(), &["k", "k"]), None);
        assert_eq!(find(&store, &change(2), &["k"]), None);
        assert_eq!(find(&store, &change(1), &["k"]), Some(("k".to_owned(), true)));
        put(&store, &main(), "k", 6);
        assert_eq!(find(&store, &change(2), &["k"]), Some(("k".to_owned(), true)));
        let named_like = CacheAccess::unmerged("main", "main", "main");
        put(&store, &named_like, "poison", 7);
        assert_eq!(find(&store, &main(), &["poison"]), None);
    }

    #[test]
    fn an_entry_is_never_changed_and_both_writers_are_fine() {
        let (_folder, store) = store();
        let version = CacheVersion::of_paths("p");
        let both: Vec<_> = ["one", "two"]
            .map(|text| {
                let begun = store.begin(&main(), &key("k"), &version).expect("begun");
                fs::write(begun.folder().join(DATA), text).expect("written");
                begun.describe(Timestamp::from_millis(0)).expect("described")
            })
            .into_iter()
            .map(|described| described.publish().expect("published").1)
            .collect();
        assert_eq!(both, [Published::New, Published::Already]);
        let entry = store.list().expect("listed").remove(0);
        assert_eq!(fs::read(store.data_at(&entry)).expect("read"), b"one");
        assert_eq!(store.clear_unfinished().expect("cleared"), 0);
    }

    #[test]
    fn a_save_that_dies_at_any_step_is_never_seen() {
        type Step = fn(&CacheStore);
        let steps: [(&str, Step); 4] = [
            ("begun", |store| std::mem::forget(begun(store))),
            ("half written", |store| {
                let begun = begun(store);
                fs::write(begun.folder().join(DATA), "ha").expect("written");
                std::mem::forget(begun);
            }),
            ("facts half written", |store| {
                let begun = begun(store);
                fs::write(begun.folder().join(DATA), "half").expect("written");
                fs::write(begun.folder().join(FACTS), "{\"scope\"").expect("written");
                std::mem::forget(begun);
            }),
            ("described", |store| {
                let begun = begun(store);
                fs::write(begun.folder().join(DATA), "half").expect("written");
                std::mem::forget(begun.describe(Timestamp::from_millis(0)).expect("described"));
            }),
        ];
        for (step, die) in steps {
            let (folder, store) = store();
            die(&store);
            let again = CacheStore::open(folder.path()).expect("it opens");
            assert_eq!(again.list().expect("listed"), [], "{step}");
            assert_eq!(find(&again, &main(), &["k"]), None, "{step}");
            assert_eq!(again.clear_unfinished().expect("cleared"), 1, "{step}");
            assert_eq!(put(&again, &main(), "k", 0), Published::New, "{step}");
        }
    }

    fn begun(store: &CacheStore) -> Begun {
        store
            .begin(&main(), &key("k"), &CacheVersion::of_paths("p"))
            .expect("begun")
    }

    #[test]
    fn a_scope_that_was_made_and_not_filled_is_empty() {
        let (_folder, store) = store();
        fs::create_dir_all(store.scope_at(main().writes()).join("x")).expect("made");
        assert_eq!(find(&store, &main(), &["k"]), None);
    }

    #[test]
    fn the_longest_unused_entry_is_evicted() {
        let (_folder, store) = store();
        for (text, at_ms) in [("a", 1), ("b", 2), ("c", 3)] {
            put(&store, &main(), text, at_ms);
        }
        assert!(find(&store, &main(), &["a"]).is_some());
        let gone = store
            .evict(2, Duration::from_secs(60), Timestamp::from_millis(2_000))
            .expect("evicted");
        assert_eq!(
            gone.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(),
            ["b"]
        );
        assert_eq!(store.list().expect("listed").len(), 2);
    }
}
