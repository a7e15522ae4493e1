//! Images in use: a lock that its process holds while a box stands on the image, and that ends with the process.

use std::fs::File;

use gantry_core::time::Timestamp;
use rustix::fs::FlockOperation;

use super::durable;
use super::image_store::{ImageStore, StoreError, failed};
use crate::digest::Digest;

/// Keeps an image from being removed while it is held.
#[derive(Debug)]
pub struct Lease {
    digest: Digest,
    _lock: File,
}

impl Lease {
    /// Returns the image.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl ImageStore {
    /// Marks an image as used now and keeps it until the lease is dropped.
    ///
    /// Errors: [`StoreError::Unknown`], and the file system's.
    pub fn lease(&self, digest: Digest, now: Timestamp) -> Result<Lease, StoreError> {
        let _lock = self.lock()?;
        if self.find(digest)?.is_none() {
            return Err(StoreError::Unknown(digest.to_string()));
        }
        let path = self.at("leases", &digest.hex());
        let lease = durable::lock(&path, FlockOperation::LockShared).map_err(failed(&path))?;
        self.write_json("used", &digest.hex(), &now.as_millis())?;
        Ok(Lease { digest, _lock: lease })
    }

    /// Says whether somebody holds a lease; the caller holds the store's lock.
    pub(crate) fn is_leased(&self, digest: Digest) -> Result<bool, StoreError> {
        let path = self.at("leases", &digest.hex());
        if !path.exists() {
            return Ok(false);
        }
        let free =
            durable::try_lock(&path, FlockOperation::NonBlockingLockExclusive).map_err(failed(&path))?;
        Ok(free.is_none())
    }
}
