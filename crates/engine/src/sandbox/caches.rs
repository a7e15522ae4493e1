//! Directories that are kept from box to box. Owns which trust a box has, and that what it wrote is published only if it
//! went well; must never hand a run of the target what an unmerged change wrote.

use std::path::{Path, PathBuf};

use gantry_adapters::clock;
use gantry_adapters::engine::{Mount, MountKind, Sandbox};
use gantry_ci::cache::CacheAccess;
use gantry_ci::snapshot::SnapshotStore;

use crate::profile::{HandedKind, Profile};

/// Whose word a box's caches are.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The repository, as a folder's name: no two repositories share caches.
    pub repository: String,
    /// What it may read and writes.
    pub access: CacheAccess,
}

impl Trust {
    /// Makes the trust of a candidate of the merge queue: it reads what the target wrote, and writes for itself.
    #[must_use]
    pub fn of_candidate(repository: &str, target: &str, own: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            access: CacheAccess::unmerged(own, target, target),
        }
    }

    /// Makes the trust of the target itself.
    #[must_use]
    pub fn of_target(repository: &str, target: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            access: CacheAccess::landed(target, target),
        }
    }
}

/// The caches of one box.
#[derive(Debug)]
pub struct Caches {
    store: SnapshotStore,
    access: CacheAccess,
    kept: Vec<(String, PathBuf)>,
    empty: PathBuf,
}

impl Caches {
    /// Opens what a profile's cache mounts need; `None` if it has none.
    ///
    /// Errors: a sentence.
    pub fn of(profile: &Profile, data: &Path, trust: &Trust) -> Result<Option<Self>, String> {
        let kept: Vec<(String, PathBuf)> = profile
            .mounts
            .iter()
            .filter(|mount| mount.kind == HandedKind::Cache)
            .map(|mount| (mount.from.clone(), mount.at.clone()))
            .collect();
        if kept.is_empty() {
            return Ok(None);
        }
        let root = data.join("snapshots").join(folder_name(&trust.repository));
        let empty = root.join("empty");
        std::fs::create_dir_all(&empty)
            .map_err(|error| format!("cannot make {}: {error}", empty.display()))?;
        Ok(Some(Self {
            store: SnapshotStore::open(&root).map_err(|error| crate::line::chain(&error))?,
            access: trust.access.clone(),
            kept,
            empty,
        }))
    }

    /// Returns a mount for each: the newest snapshot that may be read, or nothing, with a private layer on top.
    ///
    /// Errors: a sentence.
    pub fn mounts(&self) -> Result<Vec<Mount>, String> {
        let mut mounts = Vec::with_capacity(self.kept.len());
        for (name, at) in &self.kept {
            let found = self.store.mount(&self.access, name, at, clock::now());
            let found = found.map_err(|error| format!("cache {name}: {}", crate::line::chain(&error)))?;
            mounts.push(found.map_or_else(
                || Mount {
                    host: self.empty.clone(),
                    at: at.clone(),
                    kind: MountKind::CopyOnWrite,
                },
                |(mount, _)| mount,
            ));
        }
        Ok(mounts)
    }

    /// Publishes what a box that went well has in them; a line for each that could not be.
    #[must_use]
    pub fn publish(&self, sandbox: &dyn Sandbox) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, at) in &self.kept {
            if let Err(error) = self.store.take(&self.access, name, sandbox, at, clock::now()) {
                lines.push(format!("cache {name}: not kept: {}", crate::line::chain(&error)));
            }
        }
        lines
    }
}

/// Makes a repository's name or path one folder's name; two that differ stay different.
fn folder_name(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            other => format!("_{other:02x}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_repositories_never_share_a_folder() {
        assert_ne!(folder_name("a/b"), folder_name("a_2fb"));
        assert_ne!(folder_name(".."), "..");
        assert_eq!(folder_name("acme-1"), "acme-1");
    }

    #[test]
    fn a_profile_without_caches_needs_no_store() {
        let scratch = tempfile::tempdir().expect("a folder");
        let trust = Trust::of_target("acme", "main");
        let caches = Caches::of(&Profile::plain(), scratch.path(), &trust).expect("no trouble");
        assert!(caches.is_none());
        assert_eq!(std::fs::read_dir(scratch.path()).expect("the folder").count(), 0);
    }
}
