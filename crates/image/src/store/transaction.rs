//! Something new in the store: made in a folder of its own, then published under the lock, layers first and names
//! last. Must never change what is there; a crash at any point leaves what `sweep` removes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use gantry_core::time::Timestamp;
use rustix::fs::FlockOperation;

use super::durable;
use super::image_store::{ImageStore, StoreError, failed};
use super::record::{BakedInputs, ImageRecord, LayerRecord, StepRecord};
use crate::digest::Digest;
use crate::format::{Descriptor, MEDIA_CONFIG, MEDIA_LAYER, MEDIA_MANIFEST, Manifest};
use crate::layer::{Notes, unpack};
use crate::name::ImageName;

/// A step of work in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A scratch folder was made.
    Began,
    /// A layer was unpacked into it.
    LayerUnpacked(Digest),
    /// A layer was there already.
    LayerReused(Digest),
    /// Everything new is on the disk.
    Synced,
    /// A layer is in the store.
    LayerPublished(Digest),
    /// A document is in the store.
    DocumentPublished(Digest),
    /// The image is in the store.
    ImagePublished(Digest),
    /// A name stands for it.
    Named(ImageName),
    /// The scratch folder is gone.
    Ended,
}

/// An image about to be published.
pub(crate) struct NewImage {
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) layers: Vec<Digest>,
    pub(crate) names: Vec<ImageName>,
    pub(crate) source_digest: Option<Digest>,
    pub(crate) inputs: Option<BakedInputs>,
    /// Layers by the keys of the steps that made them.
    pub(crate) steps: BTreeMap<String, Digest>,
}

/// Work on something new. Dropped without a commit it takes its scratch folder away.
pub(crate) struct Transaction<'a> {
    store: &'a ImageStore,
    folder: PathBuf,
    layers: Vec<LayerRecord>,
    /// Held while it lives, so that nothing it relies on is removed.
    _activity: File,
    _alive: File,
}

/// Tells the scratch folders of one process apart.
static COUNTER: AtomicU64 = AtomicU64::new(0);

impl ImageStore {
    /// Begins work on something new.
    pub(crate) fn begin(&self) -> Result<Transaction<'_>, StoreError> {
        let path = self.activity();
        let activity = durable::lock(&path, FlockOperation::LockShared).map_err(failed(&path))?;
        // Under the lock a sweep does not see the folder before it is held.
        let _lock = self.lock()?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut folder = self.at("tmp", &format!("{}.{number}", std::process::id()));
        let mut again = 0;
        // Another process may have had this number before this machine started last.
        while let Err(error) = std::fs::create_dir(&folder) {
            if error.kind() != std::io::ErrorKind::AlreadyExists || again >= 1000 {
                return Err(failed(&folder)(error));
            }
            again += 1;
            folder = self.at("tmp", &format!("{}.{number}.{again}", std::process::id()));
        }
        let held = folder.join("lock");
        let alive = durable::lock(&held, FlockOperation::LockExclusive).map_err(failed(&held))?;
        self.tell(&Progress::Began);
        Ok(Transaction {
            store: self,
            folder,
            layers: Vec::new(),
            _activity: activity,
            _alive: alive,
        })
    }
}

impl Transaction<'_> {
    /// Returns the scratch folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns what was left out of the layers that are new.
    pub(crate) fn notes(&self) -> Notes {
        let mut all = Notes::default();
        for layer in &self.layers {
            for note in &layer.notes.first {
                all.add(note.kind, note.path.as_bytes());
            }
            all.count += layer.notes.count - layer.notes.first.len() as u64;
        }
        all
    }

    /// Says whether a layer need not be unpacked.
    pub(crate) fn reuse_layer(&self, layer: Digest) -> Result<bool, StoreError> {
        let known =
            self.layers.iter().any(|new| new.diff_id == layer) || self.store.layer_folder(layer).exists();
        if known {
            self.store.tell(&Progress::LayerReused(layer));
        }
        Ok(known)
    }

    /// Returns the tree of a layer that is in the store or new in this transaction.
    pub(crate) fn layer_tree(&self, layer: Digest) -> PathBuf {
        let new = self.folder.join(layer.hex());
        if new.exists() {
            new.join(crate::layer::TREE)
        } else {
            self.store.layer_tree(layer)
        }
    }

    /// Unpacks a layer's uncompressed tar.
    pub(crate) fn add_layer(
        &mut self,
        tar: impl Read,
        expected: Option<Digest>,
    ) -> Result<LayerRecord, StoreError> {
        let scratch = self.folder.join("layer");
        durable::remove_tree(&scratch).map_err(failed(&scratch))?;
        let layer = unpack(tar, &scratch, self.store.limits().layer, self.store.owner())?;
        if let Some(expected) = expected.filter(|expected| *expected != layer.diff_id) {
            return Err(StoreError::LayerDigest {
                expected,
                found: layer.diff_id,
            });
        }
        let record = LayerRecord {
            diff_id: layer.diff_id,
            tar_bytes: layer.tar_bytes,
            content_bytes: layer.content_bytes,
            entry_count: layer.entries,
            notes: layer.notes,
        };
        if self.layers.iter().all(|other| other.diff_id != record.diff_id) {
            let json = serde_json::to_vec(&record).expect("a record has text keys only");
            let path = scratch.join("layer.json");
            std::fs::write(&path, json).map_err(failed(&path))?;
            std::fs::rename(&scratch, self.folder.join(record.diff_id.hex())).map_err(failed(&scratch))?;
            self.layers.push(record.clone());
        }
        self.store.tell(&Progress::LayerUnpacked(record.diff_id));
        Ok(record)
    }

    /// Publishes an image with its layers, names and steps, and ends.
    pub(crate) fn commit(self, image: NewImage, now: Timestamp) -> Result<ImageRecord, StoreError> {
        let config = Digest::of(&image.config_bytes);
        let manifest = self.manifest(&image, config)?;
        let digest = Digest::of(&manifest);
        let blobs = [(config, &image.config_bytes), (digest, &manifest)];
        for (blob, bytes) in blobs {
            let path = self.folder.join(format!("{}.json", blob.hex()));
            std::fs::write(&path, bytes).map_err(failed(&path))?;
        }
        self.sync()?;
        let store = self.store;
        let _lock = store.lock()?;
        for layer in &self.layers {
            self.publish_layer(layer.diff_id)?;
        }
        for (blob, _) in blobs {
            let path = store.at("blobs", &blob.hex());
            let from = self.folder.join(format!("{}.json", blob.hex()));
            std::fs::rename(&from, &path).map_err(failed(&path))?;
            store.tell(&Progress::DocumentPublished(blob));
        }
        self.sync_store(&["layers", "blobs"])?;
        for (key, layer) in image.steps {
            let step = StepRecord {
                layer,
                created_ms: now.as_millis(),
            };
            store.write_json("steps", &key, &step)?;
        }
        let earlier = store.find(digest)?;
        let record = ImageRecord {
            digest,
            config,
            layers: image.layers,
            source_digest: image
                .source_digest
                .or(earlier.as_ref().and_then(|one| one.source_digest)),
            created_ms: earlier.as_ref().map_or(now.as_millis(), |one| one.created_ms),
            inputs: image.inputs.or(earlier.and_then(|one| one.inputs)),
        };
        store.write_json("used", &digest.hex(), &now.as_millis())?;
        store.write_json("images", &digest.hex(), &record)?;
        store.tell(&Progress::ImagePublished(digest));
        for name in image.names {
            store.write_json("names", &name.file_name(), &digest)?;
            store.tell(&Progress::Named(name));
        }
        Ok(record)
    }

    /// Publishes a layer of a step and remembers the step, before the image is finished: a build that fails later
    /// goes on from there.
    pub(crate) fn commit_step(&mut self, key: &str, layer: Digest, now: Timestamp) -> Result<(), StoreError> {
        self.sync()?;
        let _lock = self.store.lock()?;
        self.publish_layer(layer)?;
        self.sync_store(&["layers"])?;
        let step = StepRecord {
            layer,
            created_ms: now.as_millis(),
        };
        self.store.write_json("steps", key, &step)
    }

    /// Returns the manifest under which this store names an image: its layers uncompressed.
    fn manifest(&self, image: &NewImage, config: Digest) -> Result<Vec<u8>, StoreError> {
        let mut layers = Vec::new();
        for layer in &image.layers {
            let new = self.layers.iter().find(|new| new.diff_id == *layer);
            let tar_bytes = new
                .map_or_else(|| self.store.layer_record(*layer), |new| Ok(new.clone()))?
                .tar_bytes;
            layers.push(Descriptor::new(MEDIA_LAYER, *layer, tar_bytes));
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: MEDIA_MANIFEST.to_owned(),
            config: Descriptor::new(MEDIA_CONFIG, config, image.config_bytes.len() as u64),
            layers,
        };
        Ok(serde_json::to_vec(&manifest).expect("a manifest has text keys only"))
    }

    /// Brings everything in the scratch folder to the disk: one call for the file system is faster than one for each
    /// of a hundred thousand files.
    fn sync(&self) -> Result<(), StoreError> {
        let folder = File::open(&self.folder).map_err(failed(&self.folder))?;
        rustix::fs::syncfs(&folder).map_err(|error| failed(&self.folder)(error.into()))?;
        self.store.tell(&Progress::Synced);
        Ok(())
    }

    fn sync_store(&self, folders: &[&str]) -> Result<(), StoreError> {
        for folder in folders {
            let path = self.store.at(folder, "");
            durable::sync_folder(&path).map_err(failed(&path))?;
        }
        Ok(())
    }

    fn publish_layer(&self, layer: Digest) -> Result<(), StoreError> {
        let from = self.folder.join(layer.hex());
        let to = self.store.layer_folder(layer);
        // Another process may have brought the same layer meanwhile; the scratch folder goes with its copy.
        if !from.exists() || to.exists() {
            return Ok(());
        }
        std::fs::rename(&from, &to).map_err(failed(&to))?;
        self.store.tell(&Progress::LayerPublished(layer));
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next sweep, as nobody holds it then.
        if durable::remove_tree(&self.folder).is_ok() {
            self.store.tell(&Progress::Ended);
        }
    }
}
