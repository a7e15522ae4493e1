//! What one commit has that a checkout of another has not, as a layer of an overlay file system: files that differ,
//! marks for names that are gone, and the parts of the Git directory that are the commit's own. Owns the layer;
//! must never read or change the checkout below it but for its index.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use gantry_core::id::CommitId;
use gix::bstr::ByteSlice;
use rustix::fs::{CWD, Dev, FileType, Mode, mknodat};

use super::checkout::{age_index, check_name, make_directory, write_error};
use super::delta::{Edit, directories};
use super::repository::object_id;
use super::split_index::{SPLIT_BYTES_MIN, shared_name, split_index, stat_bytes};
use super::{CheckoutError, GitRepository};

const KIND: u16 = 0o170_000;
const DIRECTORY: u16 = 0o040_000;
const SUBMODULE: u16 = 0o160_000;
const LINK: u16 = 0o120_000;
const EXECUTABLE: u16 = 0o100_755;

/// What a layer turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Nothing differs: there is no layer.
    Same,
    /// It is written.
    Written,
    /// More files differ than were allowed; nothing is written.
    TooMany,
}

impl GitRepository {
    /// Writes the layer that makes a checkout of `from` at `base` a checkout of `to`; `layer` is made if needed.
    ///
    /// Errors: [`CheckoutError`], as for a whole checkout.
    pub(crate) fn write_layer(
        &self,
        [from, to]: [CommitId; 2],
        base: &Path,
        layer: &Path,
        edits_max: usize,
    ) -> Result<Layer, CheckoutError> {
        let [old, new] = [from, to].map(|commit| self.commit(object_id(commit)));
        let (old, new) = (old?.tree, new?.tree);
        let edits = self.delta(old, new)?;
        if edits.len() > edits_max {
            return Ok(Layer::TooMany);
        }
        let tags = self.packed_tags()?;
        let known = fs::read(base.join(".git/packed-refs"));
        let tags_differ =
            known.map_err(|source| write_error(&base.join(".git/packed-refs"), source))? != tags;
        if from == to && !tags_differ {
            return Ok(Layer::Same);
        }
        make_directory(layer, b"")?;
        let mut writer = LayerWriter {
            repository: self,
            tree: new,
            layer,
            made: HashSet::new(),
        };
        for edit in &edits {
            writer.write(edit)?;
        }
        writer.made.clear();
        let git = layer.join(".git");
        make_directory(&git, b".git")?;
        let write = |name: &str, bytes: &[u8]| {
            let path = git.join(name);
            fs::write(&path, bytes).map_err(|source| write_error(&path, source))
        };
        write("HEAD", format!("{to}\n").as_bytes())?;
        if tags_differ {
            write("packed-refs", &tags)?;
        }
        if !edits.is_empty() {
            self.write_layer_index(to, &edits, base, layer)?;
        }
        Ok(Layer::Written)
    }

    /// Writes the index of the commit: what did not change is known from the checkout's own index.
    fn write_layer_index(
        &self,
        commit: CommitId,
        edits: &[Edit],
        base: &Path,
        layer: &Path,
    ) -> Result<(), CheckoutError> {
        if write_split_index(edits, base, layer)? {
            return Ok(());
        }
        let tree = self.commit(object_id(commit))?.tree;
        let Ok(mut index) = self.inner.index_from_tree(&tree) else {
            return Ok(());
        };
        let known = gix::index::File::at(
            base.join(".git/index"),
            gix::hash::Kind::Sha1,
            true,
            gix::index::decode::Options::default(),
        )
        // A checkout without an index holds names that Git itself refuses; every file is looked at then.
        .ok();
        for (entry, path) in index.entries_mut_with_paths() {
            let before = known.as_ref().and_then(|known| {
                known.entry_by_path_and_stage(path, gix::index::entry::Stage::Unconflicted)
            });
            if let Some(before) = before.filter(|before| before.id == entry.id && before.mode == entry.mode) {
                entry.stat = before.stat;
                continue;
            }
            let changed = layer.join(path.to_path_lossy());
            let at = if fs::symlink_metadata(&changed).is_ok() {
                changed
            } else {
                base.join(path.to_path_lossy())
            };
            let metadata = gix::index::fs::Metadata::from_path_no_follow(&at)
                .map_err(|source| write_error(&at, source))?;
            if let Ok(stat) = gix::index::entry::Stat::from_fs(&metadata) {
                entry.stat = stat;
            }
        }
        let to = layer.join(".git/index");
        let mut bytes = Vec::new();
        index
            .write_to(&mut bytes, gix::index::write::Options::default())
            .map_err(|source| self.storage("write an index".to_owned(), source))?;
        fs::write(&to, bytes)
            .and_then(|()| age_index(&to))
            .map_err(|source| write_error(&to, source))
    }
}

/// Writes the index as the difference from the checkout's own; `false` if that is too small for it, or of another form.
fn write_split_index(edits: &[Edit], base: &Path, layer: &Path) -> Result<bool, CheckoutError> {
    let shared = base.join(".git/index");
    if !fs::metadata(&shared).is_ok_and(|found| found.len() >= SPLIT_BYTES_MIN) {
        return Ok(false);
    }
    let known = fs::read(&shared).map_err(|source| write_error(&shared, source))?;
    let Some(name) = shared_name(&known) else {
        return Ok(false);
    };
    if !base.join(".git").join(name).exists() {
        return Ok(false);
    }
    let mut changed = BTreeMap::new();
    for edit in edits {
        let Some(new) = edit.new else {
            changed.insert(edit.path.clone(), None);
            continue;
        };
        let at = layer.join(edit.path.to_path_lossy());
        let metadata =
            gix::index::fs::Metadata::from_path_no_follow(&at).map_err(|source| write_error(&at, source))?;
        // A date before 1970 is one Git looks at the file for.
        let stat = gix::index::entry::Stat::from_fs(&metadata).unwrap_or_default();
        let mode = u32::from(match new.mode & KIND {
            SUBMODULE | LINK => new.mode & KIND,
            _ if new.mode == EXECUTABLE => EXECUTABLE,
            _ => 0o100_644,
        });
        changed.insert(
            edit.path.clone(),
            Some(stat_bytes(&stat, mode, new.id.as_slice())),
        );
    }
    let Some(bytes) = split_index(&known, &changed) else {
        return Ok(false);
    };
    let to = layer.join(".git/index");
    fs::write(&to, bytes)
        .and_then(|()| age_index(&to))
        .map_err(|source| write_error(&to, source))?;
    Ok(true)
}

struct LayerWriter<'a> {
    repository: &'a GitRepository,
    tree: gix::ObjectId,
    layer: &'a Path,
    /// Directories and marks that are there already.
    made: HashSet<Vec<u8>>,
}

impl LayerWriter<'_> {
    fn write(&mut self, edit: &Edit) -> Result<(), CheckoutError> {
        let Some(new) = edit.new else {
            return self.remove(&edit.path);
        };
        for name in edit.path.split(|byte| *byte == b'/') {
            check_name(&edit.path, name)?;
        }
        self.make_parents(&edit.path)?;
        let at = self.layer.join(edit.path.to_path_lossy());
        match new.mode & KIND {
            SUBMODULE => self.make_once(&edit.path),
            LINK => self.repository.write_link(new.id, &at, &edit.path),
            _ if new.mode == EXECUTABLE => self.repository.write_file(new.id, &at, &edit.path, 0o755),
            _ => self.repository.write_file(new.id, &at, &edit.path, 0o644),
        }
    }

    /// Marks the outermost name of a path that is not there any more.
    fn remove(&mut self, path: &[u8]) -> Result<(), CheckoutError> {
        let parents: Vec<Vec<u8>> = directories(path).map(<[u8]>::to_vec).collect();
        for parent in parents.iter().map(Vec::as_slice).chain([path]) {
            match self.repository.entry_at(self.tree, parent)? {
                Some(there) if matches!(there.mode & KIND, DIRECTORY | SUBMODULE) => {}
                // Something else has the name and hides what was below it.
                Some(_) => return Ok(()),
                None => {
                    if self.made.contains(parent) {
                        return Ok(());
                    }
                    self.make_parents(parent)?;
                    self.made.insert(parent.to_vec());
                    let at = self.layer.join(parent.to_path_lossy());
                    return mknodat(CWD, &at, FileType::CharacterDevice, Mode::empty(), Dev::default())
                        .map_err(|errno| write_error(&at, errno.into()));
                }
            }
        }
        Ok(())
    }

    fn make_parents(&mut self, path: &[u8]) -> Result<(), CheckoutError> {
        let parents: Vec<Vec<u8>> = directories(path).map(<[u8]>::to_vec).collect();
        for parent in parents {
            self.make_once(&parent)?;
        }
        Ok(())
    }

    fn make_once(&mut self, path: &[u8]) -> Result<(), CheckoutError> {
        if self.made.insert(path.to_vec()) {
            make_directory(&self.layer.join(path.to_path_lossy()), path)?;
        }
        Ok(())
    }
}
