//! What leaves the store: images with their names, layers nobody needs, scratch folders of processes that died. Must
//! never remove what a lease, a running import or an image holds.

use std::collections::HashSet;

use rustix::fs::FlockOperation;
use serde::Serialize;

use super::durable;
use super::image_store::{ImageStore, StoreError, failed};
use super::record::StepRecord;
use crate::digest::Digest;
use crate::name::ImageName;

/// What was taken away beside images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Swept {
    /// Scratch folders of processes that are gone.
    pub scratch_count: u64,
    /// Layers no image and no step needs.
    pub layer_count: u64,
    /// Bytes of those layers' files.
    pub layer_bytes: u64,
    /// True where work was under way, so that layers were left for another time.
    pub busy: bool,
}

impl ImageStore {
    /// Removes an image and its names; its layers go with the next [`Self::sweep`].
    ///
    /// Shape: `false` if a lease holds it, and then nothing is removed.
    /// Errors: [`StoreError::Unknown`], and the file system's.
    pub fn remove(&self, digest: Digest) -> Result<bool, StoreError> {
        let _lock = self.lock()?;
        if self.find(digest)?.is_none() {
            return Err(StoreError::Unknown(digest.to_string()));
        }
        if self.is_leased(digest)? {
            return Ok(false);
        }
        for (name, named) in self.names()? {
            if named == digest {
                self.remove_file("names", &name.file_name())?;
            }
        }
        // The record goes before what it stands on.
        for folder in ["images", "used", "leases"] {
            self.remove_file(folder, &digest.hex())?;
        }
        Ok(true)
    }

    /// Takes a name away; the image stays.
    ///
    /// Errors: [`StoreError::Unknown`], and the file system's.
    pub fn remove_name(&self, name: &ImageName) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        if self.named(name)?.is_none() {
            return Err(StoreError::Unknown(name.to_string()));
        }
        self.remove_file("names", &name.file_name())
    }

    /// Gives an image a further name.
    ///
    /// Errors: [`StoreError::Unknown`], and the file system's.
    pub fn set_name(&self, name: &ImageName, digest: Digest) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        self.record(digest)?;
        self.write_json("names", &name.file_name(), &digest)
    }

    /// Takes away what crashes and removed images left.
    ///
    /// Errors: the file system's.
    pub fn sweep(&self) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        {
            let _lock = self.lock()?;
            for name in self.file_names("tmp")? {
                let folder = self.at("tmp", &name);
                let held = folder.join("lock");
                let free = match durable::try_lock(&held, FlockOperation::NonBlockingLockExclusive) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => None,
                    other => other.map_err(failed(&held))?,
                };
                if free.is_some() {
                    durable::remove_tree(&folder).map_err(failed(&folder))?;
                    swept.scratch_count += 1;
                }
            }
        }
        let path = self.activity();
        let idle =
            durable::try_lock(&path, FlockOperation::NonBlockingLockExclusive).map_err(failed(&path))?;
        if idle.is_none() {
            swept.busy = true;
            return Ok(swept);
        }
        let _lock = self.lock()?;
        self.sweep_layers(&mut swept)?;
        Ok(swept)
    }

    fn sweep_layers(&self, swept: &mut Swept) -> Result<(), StoreError> {
        let mut layers = HashSet::new();
        let mut blobs = HashSet::new();
        for digest in self.digests()? {
            let record = self.record(digest)?;
            layers.extend(record.layers);
            blobs.extend([digest, record.config]);
        }
        for key in self.file_names("steps")? {
            let step: Option<StepRecord> = self.read_json("steps", &key)?;
            layers.extend(step.map(|step| step.layer));
        }
        for name in self.file_names("layers")? {
            if Digest::parse_hex(&name).is_ok_and(|layer| layers.contains(&layer)) {
                continue;
            }
            let folder = self.at("layers", &name);
            if let Some(record) =
                self.read_json::<super::LayerRecord>("layers", &format!("{name}/layer.json"))?
            {
                swept.layer_bytes += record.content_bytes;
            }
            swept.layer_count += 1;
            // Out of sight in one step: a crash while it is emptied leaves no half layer in place.
            let gone = self.at("tmp", &format!("gone.{name}"));
            durable::remove_tree(&gone).map_err(failed(&gone))?;
            std::fs::rename(&folder, &gone).map_err(failed(&folder))?;
            durable::remove_tree(&gone).map_err(failed(&gone))?;
        }
        for name in self.file_names("blobs")? {
            if Digest::parse_hex(&name).is_ok_and(|blob| !blobs.contains(&blob)) {
                self.remove_file("blobs", &name)?;
            }
        }
        Ok(())
    }

    /// Forgets steps whose layer is in no image.
    pub(crate) fn forget_steps(&self) -> Result<u64, StoreError> {
        let _lock = self.lock()?;
        let mut layers = HashSet::new();
        for digest in self.digests()? {
            layers.extend(self.record(digest)?.layers);
        }
        let mut count = 0;
        for key in self.file_names("steps")? {
            let step: Option<StepRecord> = self.read_json("steps", &key)?;
            if step.is_some_and(|step| !layers.contains(&step.layer)) {
                self.remove_file("steps", &key)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn remove_file(&self, folder: &str, name: &str) -> Result<(), StoreError> {
        let path = self.at(folder, name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(failed(&path)),
        }
    }
}
