//! Images written out so that other programs take them: OCI layouts as folders or archives, `docker load` archives.
//! Must never write over a file before the whole image is there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::documents::{Descriptor, Index, MEDIA_MANIFEST};
use crate::archive::{Meta, TarWriter, WriteEntry};
use crate::digest::Digest;
use crate::layer::{ReassembleError, reassemble};
use crate::name::ImageName;
use crate::store::{ImageRecord, ImageStore, StoreError};

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A folder with an OCI layout.
    OciFolder,
    /// A tar with an OCI layout.
    OciArchive,
    /// A tar as `docker save` writes it, which every engine's `load` takes.
    DockerArchive,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The image.
    pub digest: Digest,
    /// The names written into the export.
    pub names: Vec<ImageName>,
    /// Bytes of its layers.
    pub layer_bytes: u64,
}

/// Why an image was not written out.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The target.
    #[error("{} cannot be written", path.display())]
    Target {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The target is there already.
    #[error("{} is there already; give another path or remove it", .0.display())]
    Exists(PathBuf),
    /// A layer.
    #[error(transparent)]
    Layer(#[from] ReassembleError),
    /// A layer's size is not what the store wrote down.
    #[error("{0} is damaged: its size is not what it was; remove the image and import it again")]
    Size(Digest),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One image of a `docker save` archive.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// The date of every member: the same image gives the same bytes.
const META: Meta = Meta {
    mode: 0o644,
    uid: 0,
    gid: 0,
    modified: 0,
    attributes: Vec::new(),
};

impl ImageStore {
    /// Writes an image out.
    ///
    /// Errors: [`ExportError`]; an archive is there whole or not at all, of a folder a part may be left.
    pub fn export(
        &self,
        digest: Digest,
        format: ExportFormat,
        target: &Path,
    ) -> Result<Exported, ExportError> {
        let record = self.record(digest)?;
        let names: Vec<ImageName> = self
            .names()?
            .into_iter()
            .filter(|(_, named)| *named == digest)
            .map(|(name, _)| name)
            .collect();
        if target.exists() {
            return Err(ExportError::Exists(target.to_owned()));
        }
        let failed = |source| ExportError::Target {
            path: target.to_owned(),
            source,
        };
        let layer_bytes = match format {
            ExportFormat::OciFolder => self.write_folder(&record, &names, target)?,
            ExportFormat::OciArchive | ExportFormat::DockerArchive => {
                let mut partial = target.as_os_str().to_owned();
                partial.push(".partial");
                let partial = PathBuf::from(partial);
                let file = File::create(&partial).map_err(failed)?;
                let mut writer = TarWriter::new(BufWriter::with_capacity(256 * 1024, file));
                let bytes = if format == ExportFormat::OciArchive {
                    self.write_layout(&record, &names, &mut ArchiveTarget(&mut writer))
                } else {
                    self.write_saved(&record, &names, &mut ArchiveTarget(&mut writer))
                };
                if bytes.is_err() {
                    // The failure itself is what is told; a leftover is written over next time.
                    let _ = std::fs::remove_file(&partial);
                }
                let bytes = bytes?;
                let file = writer
                    .finish()
                    .map_err(failed)?
                    .into_inner()
                    .map_err(|error| failed(error.into_error()))?;
                file.sync_all().map_err(failed)?;
                std::fs::rename(&partial, target).map_err(failed)?;
                bytes
            }
        };
        Ok(Exported {
            digest,
            names,
            layer_bytes,
        })
    }

    fn write_folder(
        &self,
        record: &ImageRecord,
        names: &[ImageName],
        target: &Path,
    ) -> Result<u64, ExportError> {
        let blobs = target.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).map_err(|source| ExportError::Target { path: blobs, source })?;
        self.write_layout(record, names, &mut FolderTarget(target))
    }

    fn write_layout(
        &self,
        record: &ImageRecord,
        names: &[ImageName],
        target: &mut dyn Target,
    ) -> Result<u64, ExportError> {
        target.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let manifest = self.blob(record.digest)?;
        let mut descriptor = Descriptor::new(MEDIA_MANIFEST, record.digest, manifest.len() as u64);
        let mut manifests = Vec::new();
        for name in names {
            descriptor.annotations = BTreeMap::from([
                ("io.containerd.image.name".to_owned(), name.to_string()),
                ("org.opencontainers.image.ref.name".to_owned(), name.to_string()),
            ]);
            manifests.push(descriptor.clone());
        }
        if names.is_empty() {
            manifests.push(descriptor);
        }
        let index = Index {
            schema_version: 2,
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            manifests,
        };
        target.file(
            "index.json",
            &serde_json::to_vec(&index).expect("an index has text keys only"),
        )?;
        let blob = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
        target.file(&blob(record.digest), &manifest)?;
        target.file(&blob(record.config), &self.blob(record.config)?)?;
        self.write_layers(record, target, blob)
    }

    fn write_saved(
        &self,
        record: &ImageRecord,
        names: &[ImageName],
        target: &mut dyn Target,
    ) -> Result<u64, ExportError> {
        let layer = |digest: Digest| format!("{}.tar", digest.hex());
        let saved = [Saved {
            config: format!("{}.json", record.config.hex()),
            repo_tags: names.iter().map(ToString::to_string).collect(),
            layers: record.layers.iter().map(|digest| layer(*digest)).collect(),
        }];
        target.file(
            "manifest.json",
            &serde_json::to_vec(&saved).expect("it has text keys only"),
        )?;
        target.file(&saved[0].config, &self.blob(record.config)?)?;
        self.write_layers(record, target, layer)
    }

    fn write_layers(
        &self,
        record: &ImageRecord,
        target: &mut dyn Target,
        path: impl Fn(Digest) -> String,
    ) -> Result<u64, ExportError> {
        let mut written = Vec::new();
        let mut bytes = 0;
        for layer in &record.layers {
            // An image may have one layer twice: the member is needed once.
            if written.contains(layer) {
                continue;
            }
            let tar_bytes = self.layer_record(*layer)?.tar_bytes;
            target.layer(&path(*layer), &self.layer_folder(*layer), *layer, tar_bytes)?;
            bytes += tar_bytes;
            written.push(*layer);
        }
        Ok(bytes)
    }
}

/// Where members go.
trait Target {
    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<(), ExportError>;
    fn layer(&mut self, path: &str, folder: &Path, layer: Digest, tar_bytes: u64) -> Result<(), ExportError>;
}

struct FolderTarget<'a>(&'a Path);

impl Target for FolderTarget<'_> {
    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let path = self.0.join(path);
        std::fs::write(&path, bytes).map_err(|source| ExportError::Target { path, source })
    }

    fn layer(&mut self, path: &str, folder: &Path, layer: Digest, tar_bytes: u64) -> Result<(), ExportError> {
        let path = self.0.join(path);
        let file = File::create(&path).map_err(|source| ExportError::Target { path, source })?;
        let count = reassemble(folder, layer, BufWriter::with_capacity(256 * 1024, file))?;
        if count == tar_bytes {
            Ok(())
        } else {
            Err(ExportError::Size(layer))
        }
    }
}

struct ArchiveTarget<'a, W: Write>(&'a mut TarWriter<W>);

fn member(path: &str) -> impl FnOnce(io::Error) -> ExportError + '_ {
    |source| ExportError::Target {
        path: path.into(),
        source,
    }
}

impl<W: Write> Target for ArchiveTarget<'_, W> {
    fn file(&mut self, path: &str, mut bytes: &[u8]) -> Result<(), ExportError> {
        let what = WriteEntry::File(bytes.len() as u64);
        self.0
            .append(path.as_bytes(), what, &META, &mut bytes)
            .map_err(member(path))
    }

    fn layer(&mut self, path: &str, folder: &Path, layer: Digest, tar_bytes: u64) -> Result<(), ExportError> {
        self.0
            .begin(path.as_bytes(), WriteEntry::File(tar_bytes), &META)
            .map_err(member(path))?;
        let count = reassemble(folder, layer, self.0.content())?;
        if count != tar_bytes {
            return Err(ExportError::Size(layer));
        }
        self.0.end(tar_bytes).map_err(member(path))
    }
}
