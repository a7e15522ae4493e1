//! An archive put together again from its skeleton and the unpacked tree. Must give the bytes that came in or fail.

use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::skeleton::{Record, SkeletonReader};
use super::{CONTENTS, SKELETON};
use crate::beneath::Beneath;
use crate::digest::{Digest, Hashing};

/// Why a layer's tar cannot be made again.
#[derive(Debug, thiserror::Error)]
pub enum ReassembleError {
    /// A file of the layer, or the target.
    #[error("{layer}: {path} cannot be read")]
    Io {
        /// The layer.
        layer: Digest,
        /// Below its folder.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The target.
    #[error("{layer} cannot be written out")]
    Write {
        /// The layer.
        layer: Digest,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody changed files of the store.
    #[error("{layer} is damaged: its files give {found}; remove the image and import it again")]
    Damaged {
        /// The layer.
        layer: Digest,
        /// The digest of what is there now.
        found: Digest,
    },
}

/// Writes the layer's uncompressed tar and returns how many bytes it has.
pub(crate) fn reassemble(folder: &Path, layer: Digest, target: impl Write) -> Result<u64, ReassembleError> {
    let at = |path: &[u8]| {
        let path = String::from_utf8_lossy(path).into_owned();
        move |source| ReassembleError::Io { layer, path, source }
    };
    let root = Beneath::open(folder).map_err(at(b""))?;
    let contents = std::fs::read(folder.join(CONTENTS)).map_err(at(CONTENTS.as_bytes()))?;
    let contents: Vec<&[u8]> = contents.split(|byte| *byte == 0).collect();
    let skeleton = root.file(SKELETON.as_bytes()).map_err(at(SKELETON.as_bytes()))?;
    let mut skeleton = SkeletonReader::new(skeleton);
    let mut target = Hashing::new(target);
    let wrote = |source| ReassembleError::Write { layer, source };
    let mut buffer = vec![0; 128 * 1024];
    while let Some(record) = skeleton.next().map_err(at(SKELETON.as_bytes()))? {
        let (number, pieces) = match record {
            Record::Raw(bytes) => {
                target.write_all(&bytes).map_err(wrote)?;
                continue;
            }
            Record::Content(number, pieces) => (number, pieces),
        };
        let path = usize::try_from(number)
            .ok()
            .and_then(|number| contents.get(number))
            .copied();
        let path = path.ok_or_else(|| at(CONTENTS.as_bytes())(io::ErrorKind::InvalidData.into()))?;
        let file = root.file(path).map_err(at(path))?;
        for (mut offset, length) in pieces {
            let mut left = length;
            while left > 0 {
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let count = file.read_at(&mut buffer[..want], offset).map_err(at(path))?;
                if count == 0 {
                    return Err(at(path)(io::ErrorKind::UnexpectedEof.into()));
                }
                target.write_all(&buffer[..count]).map_err(wrote)?;
                offset += count as u64;
                left -= count as u64;
            }
        }
    }
    target.flush().map_err(wrote)?;
    let (found, count) = target.finish();
    if found != layer {
        return Err(ReassembleError::Damaged { layer, found });
    }
    Ok(count)
}
