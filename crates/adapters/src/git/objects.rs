//! Writing objects. Owns the check that spares what is there already; must never write an object whose name it
//! did not compute from the content.

use gix::ObjectId;
use gix::objs::{Kind, Write as _};

use super::{GitError, GitRepository};

impl GitRepository {
    /// Writes an object unless it lies there loose already, and returns its name.
    ///
    /// Errors: [`GitError::Storage`], as when the disk is full.
    pub(super) fn write_object(&self, kind: Kind, bytes: &[u8]) -> Result<ObjectId, GitError> {
        let trouble = |source| self.storage(format!("write a {kind}"), source);
        let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, bytes).map_err(trouble)?;
        // Making a file costs more than all the rest of a replay. An empty file is what a crash leaves of an
        // object, so it is written anew.
        if self.inner.objects.num_objects_in_memory() == 0 && self.is_loose(id) {
            return Ok(id);
        }
        self.inner
            .objects
            .write_buf_with_known_id(kind, bytes, id)
            .map_err(trouble)
    }

    fn is_loose(&self, id: ObjectId) -> bool {
        let hex = id.to_string();
        let path = self
            .inner
            .common_dir()
            .join("objects")
            .join(&hex[..2])
            .join(&hex[2..]);
        path.metadata().is_ok_and(|file| file.len() > 0)
    }
}
