//! The image store as boxes see it: a name in, layers and a lease out. Owns that an image is not removed while a box
//! stands on it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gantry_adapters::clock;
use gantry_adapters::engine::{Image, NativeEngine, RootLayer};
use gantry_engine::profile::FACTORY_FILE;
use gantry_engine::sandbox::{Identity, Images, name_of_boxes};
use gantry_image::{ImageStore, Lease, StoreError};

use crate::wiring::SELF;

/// Finds images in one data directory's store, and holds them until it is dropped.
pub struct StoredImages {
    root: PathBuf,
    leases: Mutex<Vec<Lease>>,
}

impl StoredImages {
    /// Names the store of a data directory; it is opened when an image is asked for.
    pub fn of(data: &Path) -> Self {
        Self {
            root: store_path(data),
            leases: Mutex::default(),
        }
    }
}

/// Where the images of a data directory are.
pub fn store_path(data: &Path) -> PathBuf {
    data.join("images")
}

/// Opens the store at its path; what is unpacked belongs to the users of boxes.
///
/// Errors: the store cannot be used, or it was made by another user.
pub fn open_store(root: &Path) -> Result<ImageStore, StoreError> {
    let engine = NativeEngine::new(SELF.into(), root.join("boxes"));
    ImageStore::open(root)?.owned_from(engine.users_from())
}

/// Names the boxes of a data directory by its profiles and images, each time as they are then.
pub fn boxes_of(data: &Path) -> Identity {
    let data = data.to_owned();
    Identity::new(move || {
        // What cannot be read stops the build that needs it, with its own words; a result is not kept under it.
        let file = std::fs::read(data.join(FACTORY_FILE)).unwrap_or_default();
        let root = store_path(&data);
        let names = if root.exists() {
            open_store(&root)
                .and_then(|store| store.names())
                .unwrap_or_default()
        } else {
            Vec::new()
        };
        let images: Vec<(String, String)> = names
            .into_iter()
            .map(|(name, digest)| (name.as_str().to_owned(), digest.to_string()))
            .collect();
        name_of_boxes(&file, &images)
    })
}

impl Images for StoredImages {
    fn find(&self, name: &str) -> Result<Image, String> {
        let said =
            |error: &dyn std::error::Error| format!("image {name:?}: {}", gantry_engine::line::chain(error));
        let store = open_store(&self.root).map_err(|error| said(&error))?;
        let digest = store
            .resolve(name)
            .map_err(|error| format!("{}; gantry image list shows those that are there", said(&error)))?;
        let lease = store.lease(digest, clock::now()).map_err(|error| said(&error))?;
        let layers = store.layer_trees(digest).map_err(|error| said(&error))?;
        let config = store.config(digest).map_err(|error| said(&error))?;
        // Whoever panicked held nothing but a list.
        self.leases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(lease);
        Ok(Image::Layers {
            digest: digest.to_string(),
            layers: layers.into_iter().map(RootLayer).collect(),
            env: config
                .config
                .env
                .iter()
                .filter_map(|text| text.split_once('='))
                .map(own)
                .collect(),
        })
    }

    fn all(&self) -> Vec<(String, Image)> {
        let names = open_store(&self.root).and_then(|store| store.names());
        // A store that cannot be read has no image; asking for one by name says why.
        let names = names.unwrap_or_default();
        let found = names.into_iter().map(|(name, _)| name.as_str().to_owned());
        found
            .filter_map(|name| self.find(&name).ok().map(|image| (name, image)))
            .collect()
    }
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
