//! The store's folder and what is read from it. Owns where everything is; writing is in `transaction`, taking away in
//! `remove`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_core::limits::IMAGE_DOCUMENT_BYTES_MAX;
use gantry_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::durable;
use super::record::{ImageRecord, LayerRecord, StepRecord};
use super::transaction::Progress;
use crate::digest::Digest;
use crate::format::ConfigDocument;
use crate::layer::{LayerLimits, OwnerBase, TREE, UnpackError};
use crate::name::ImageName;

/// How much an image may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageLimits {
    /// Each of its layers.
    pub layer: LayerLimits,
}

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A document of the store is not one.
    #[error("{} is damaged; remove the image and import it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Nothing has that name.
    #[error("no image is named {0:?}; `gantry image list` shows what there is")]
    Unknown(String),
    /// A layer cannot be unpacked.
    #[error("a layer cannot be taken in")]
    Layer(#[from] UnpackError),
    /// A layer is not what its image says.
    #[error("a layer is {found}, and its image says {expected}; fetch the image again")]
    LayerDigest {
        /// What the image says.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A text or clock that cannot be written down.
    #[error("{0}")]
    Refused(String),
}

/// Is told of every step.
type Watcher = dyn Fn(&Progress) + Send + Sync;

/// Images in one folder.
///
/// Several processes may use one folder at once; each operation is whole or not at all.
#[derive(Clone)]
pub struct ImageStore {
    root: PathBuf,
    limits: ImageLimits,
    owner: Option<OwnerBase>,
    watcher: Option<Arc<Watcher>>,
}

pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    |source| StoreError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Says whose the files of layers are, in a store where they are boxes' users'.
const OWNER: &str = "owner.json";

/// The folders of a store.
const FOLDERS: [&str; 8] = [
    "layers", "blobs", "images", "names", "used", "leases", "steps", "tmp",
];

impl ImageStore {
    /// Opens the store in a folder, which is made if it is not there.
    ///
    /// Errors: [`StoreError::Io`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        for folder in FOLDERS {
            let path = root.join(folder);
            std::fs::create_dir_all(&path).map_err(failed(&path))?;
        }
        let mut store = Self {
            root,
            limits: ImageLimits::default(),
            owner: None,
            watcher: None,
        };
        let owner: Option<u32> = store.read_json("", OWNER)?;
        store.owner = owner.map(OwnerBase);
        Ok(store)
    }

    /// Gives the files of all layers to the users of boxes: a file of user N of an archive to the host's user `base` +
    /// N, and back when a step's changes are captured. `None`: to this process's user, as is usual. A store keeps
    /// what it was opened with first.
    ///
    /// Errors: [`StoreError::Refused`] for a store whose layers belong to others, and the file system's.
    pub fn owned_from(mut self, base: Option<u32>) -> Result<Self, StoreError> {
        let _lock = self.lock()?;
        let known: Option<u32> = self.read_json("", OWNER)?;
        if known != base {
            if known.is_some() || !self.file_names("layers")?.is_empty() {
                return Err(StoreError::Refused(format!(
                    "the layers in {} belong to other users than boxes have now; remove that folder and get its images again",
                    self.root.display()
                )));
            }
            self.write_json("", OWNER, &base)?;
        }
        self.owner = base.map(OwnerBase);
        Ok(self)
    }

    /// Takes less, or more, than is usual.
    #[must_use]
    pub fn with_limits(mut self, limits: ImageLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Has every step of work that takes long told to `watcher`.
    #[must_use]
    pub fn watched_by(mut self, watcher: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    pub(crate) fn owner(&self) -> Option<OwnerBase> {
        self.owner
    }

    pub(crate) fn limits(&self) -> ImageLimits {
        self.limits
    }

    pub(super) fn tell(&self, progress: &Progress) {
        if let Some(watcher) = &self.watcher {
            watcher(progress);
        }
    }

    /// Returns a file or folder of the store.
    pub(super) fn at(&self, folder: &str, name: &str) -> PathBuf {
        self.root.join(folder).join(name)
    }

    /// Takes the short lock under which things appear, are named and disappear.
    pub(super) fn lock(&self) -> Result<std::fs::File, StoreError> {
        let path = self.root.join("lock");
        durable::lock(&path, rustix::fs::FlockOperation::LockExclusive).map_err(failed(&path))
    }

    pub(super) fn activity(&self) -> PathBuf {
        self.root.join("activity")
    }

    /// Returns the image a text means: a name, a digest, or the first 12 or more digits of one.
    ///
    /// Errors: [`StoreError::Unknown`], and the file system's.
    pub fn resolve(&self, text: &str) -> Result<Digest, StoreError> {
        let unknown = || StoreError::Unknown(text.to_owned());
        if let Ok(digest) = text.parse::<Digest>() {
            return if self.find(digest)?.is_some() {
                Ok(digest)
            } else {
                Err(unknown())
            };
        }
        if let Ok(name) = text.parse::<ImageName>()
            && let Some(digest) = self.named(&name)?
        {
            return Ok(digest);
        }
        if text.len() >= 12 && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            let mut found = self
                .digests()?
                .into_iter()
                .filter(|digest| digest.hex().starts_with(text));
            if let (Some(digest), None) = (found.next(), found.next()) {
                return Ok(digest);
            }
        }
        Err(unknown())
    }

    /// Returns what a name stands for.
    ///
    /// Errors: [`StoreError::Io`] and [`StoreError::Damaged`].
    pub fn named(&self, name: &ImageName) -> Result<Option<Digest>, StoreError> {
        self.read_json("names", &name.file_name())
    }

    /// Returns the record of an image.
    ///
    /// Errors: [`StoreError::Unknown`], and the file system's.
    pub fn record(&self, digest: Digest) -> Result<ImageRecord, StoreError> {
        self.find(digest)?
            .ok_or_else(|| StoreError::Unknown(digest.to_string()))
    }

    pub(crate) fn find(&self, digest: Digest) -> Result<Option<ImageRecord>, StoreError> {
        self.read_json("images", &digest.hex())
    }

    /// Returns the record of a layer.
    pub(crate) fn layer_record(&self, layer: Digest) -> Result<LayerRecord, StoreError> {
        let name = format!("{}/layer.json", layer.hex());
        let found = self.read_json("layers", &name)?;
        found.ok_or_else(|| StoreError::Unknown(format!("layer {layer}")))
    }

    pub(crate) fn layer_folder(&self, layer: Digest) -> PathBuf {
        self.at("layers", &layer.hex())
    }

    /// Returns the folder of a layer that an overlay takes as a lower; read only.
    #[must_use]
    pub fn layer_tree(&self, layer: Digest) -> PathBuf {
        self.layer_folder(layer).join(TREE)
    }

    /// Returns the folders of an image's layers for an overlay, the lowest first; hold a [`super::Lease`] meanwhile.
    ///
    /// Errors: as [`Self::record`].
    pub fn layer_trees(&self, digest: Digest) -> Result<Vec<PathBuf>, StoreError> {
        let layers = self.record(digest)?.layers;
        Ok(layers.into_iter().map(|layer| self.layer_tree(layer)).collect())
    }

    pub(crate) fn blob(&self, digest: Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.at("blobs", &digest.hex());
        let file = std::fs::File::open(&path).map_err(failed(&path))?;
        crate::bounded::read_document(file, IMAGE_DOCUMENT_BYTES_MAX).map_err(failed(&path))
    }

    /// Returns the configuration of an image.
    ///
    /// Errors: as [`Self::record`].
    pub fn config(&self, digest: Digest) -> Result<ConfigDocument, StoreError> {
        let config = self.record(digest)?.config;
        let bytes = self.blob(config)?;
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Damaged {
            path: self.at("blobs", &config.hex()),
            source,
        })
    }

    /// Returns the layer that a step with this key made, if it is still there.
    pub(crate) fn cached_step(&self, key: &str) -> Result<Option<Digest>, StoreError> {
        let found: Option<StepRecord> = self.read_json("steps", key)?;
        Ok(found
            .map(|step| step.layer)
            .filter(|layer| self.layer_folder(*layer).exists()))
    }

    /// Returns the digests of all images, in their order.
    ///
    /// Errors: [`StoreError::Io`].
    pub fn digests(&self) -> Result<Vec<Digest>, StoreError> {
        let names = self.file_names("images")?;
        Ok(names
            .iter()
            .filter_map(|name| Digest::parse_hex(name).ok())
            .collect())
    }

    /// Returns all names with what they stand for.
    ///
    /// Errors: [`StoreError::Io`] and [`StoreError::Damaged`].
    pub fn names(&self) -> Result<Vec<(ImageName, Digest)>, StoreError> {
        let mut found = Vec::new();
        for file in self.file_names("names")? {
            // A file with another name was not put there by a store.
            let Ok(name) = ImageName::from_file_name(&file) else {
                continue;
            };
            if let Some(digest) = self.read_json("names", &file)? {
                found.push((name, digest));
            }
        }
        Ok(found)
    }

    /// Returns when an image was used last; never, for one whose date is not there.
    pub(crate) fn used(&self, digest: Digest) -> Result<Option<Timestamp>, StoreError> {
        let millis: Option<i64> = self.read_json("used", &digest.hex())?;
        Ok(millis.map(Timestamp::from_millis))
    }

    pub(super) fn file_names(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = self.root.join(folder);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(failed(&path))? {
            let name = entry.map_err(failed(&path))?.file_name();
            names.extend(name.into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    pub(super) fn read_json<T: DeserializeOwned>(
        &self,
        folder: &str,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        let path = self.at(folder, name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path)(error)),
        };
        let parsed = serde_json::from_slice(&bytes);
        parsed
            .map(Some)
            .map_err(|source| StoreError::Damaged { path, source })
    }

    /// Writes a small document in one step; the caller holds the store's lock.
    pub(super) fn write_json<T: Serialize>(
        &self,
        folder: &str,
        name: &str,
        value: &T,
    ) -> Result<(), StoreError> {
        let path = self.at(folder, name);
        let bytes = serde_json::to_vec(value).expect("the store's records have text keys only");
        // Under the lock nobody else writes one.
        let scratch = self.root.join("tmp.json");
        durable::replace_file(&scratch, &path, &bytes).map_err(failed(&path))
    }
}
