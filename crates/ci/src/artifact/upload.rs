//! Takes files out of a box into an artifact. Owns what goes in and what it is called there; every byte and every name
//! passes the mask, and nothing is published if the mask fails.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use gantry_adapters::engine::Sandbox;
use gantry_core::limits::{ARTIFACT_BYTES_MAX, ARTIFACT_FILES_MAX, ARTIFACT_RETENTION_DAYS_MAX};
use gantry_core::time::Timestamp;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::name::{ArtifactName, NameError, check_path};
use super::store::{Artifact, ArtifactStore, Staged, StoreError};
use super::unpack::{UnpackError, unpack};
use crate::files::{BoxFile, Patterns, SearchError, search};
use crate::mask::{MaskSource, copy_masked, mask_text};

/// What to do if the patterns mean no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfNoFiles {
    /// Say so and go on.
    Warn,
    /// Fail.
    Error,
    /// Go on.
    Ignore,
}

impl IfNoFiles {
    /// Reads the input's word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "warn" => Some(Self::Warn),
            "error" => Some(Self::Error),
            "ignore" => Some(Self::Ignore),
            _ => None,
        }
    }
}

/// How many days an artifact is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention(Option<u32>);

impl Retention {
    /// Takes the number of days an upload asks for; 0 is the default of the run. Says whether it had to be cut.
    #[must_use]
    pub const fn of_days(days: u32) -> (Self, bool) {
        match days {
            0 => (Self(None), false),
            days if days > ARTIFACT_RETENTION_DAYS_MAX => (Self(Some(ARTIFACT_RETENTION_DAYS_MAX)), true),
            days => (Self(Some(days)), false),
        }
    }
}

/// What is asked for.
#[derive(Debug)]
pub struct UploadSpec<'a> {
    /// The artifact's name.
    pub name: &'a ArtifactName,
    /// Which files.
    pub patterns: &'a Patterns,
    /// Whether those that begin with a dot, too.
    pub hidden: bool,
    /// 0 to 9.
    pub compression_level: u8,
    /// How long it is kept.
    pub retention: Retention,
    /// Whether an artifact of the same name may be replaced.
    pub overwrite: bool,
    /// Now.
    pub now: Timestamp,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// It is kept; what was left out, for the log.
    Kept(Artifact, Vec<PathBuf>),
    /// The patterns mean no file.
    NoFiles,
}

/// Why nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The box.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// An artifact that was to be merged.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The zip file could not be written.
    #[error("cannot write the artifact {name}")]
    Write {
        /// Its name.
        name: ArtifactName,
        /// What was said.
        #[source]
        source: io::Error,
    },
}

/// A zip file that is being written.
struct Packing<'a> {
    zip: ZipWriter<File>,
    options: SimpleFileOptions,
    mask: Option<&'a MaskSource<'a>>,
    files: usize,
    bytes: u64,
}

fn refused(error: NameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

impl<'a> Packing<'a> {
    fn begin(staged: &Staged, level: u8, mask: Option<&'a MaskSource<'a>>) -> io::Result<Self> {
        let options = SimpleFileOptions::default()
            .large_file(true)
            .unix_permissions(0o644);
        let options = match level {
            0 => options.compression_method(CompressionMethod::Stored),
            level => options
                .compression_method(CompressionMethod::Deflated)
                .compression_level(Some(i64::from(level.min(9)))),
        };
        let zip = ZipWriter::new(File::create_new(staged.zip())?);
        Ok(Self {
            zip,
            options,
            mask,
            files: 0,
            bytes: 0,
        })
    }

    fn add(&mut self, path: &str, content: &mut dyn Read) -> io::Result<()> {
        check_path(path).map_err(refused)?;
        if let Some(mask) = self.mask
            && mask_text(mask, path.as_bytes())? != path.as_bytes()
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the name of a file holds a secret",
            ));
        }
        self.files += 1;
        if self.files > ARTIFACT_FILES_MAX {
            let text = format!("an artifact holds at most {ARTIFACT_FILES_MAX} files; pack them first");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        self.zip.start_file(path, self.options)?;
        let left = ARTIFACT_BYTES_MAX.saturating_sub(self.bytes);
        self.bytes += match self.mask {
            Some(mask) => copy_masked(mask, content, &mut self.zip, left)?,
            None => io::copy(content, &mut self.zip)?,
        };
        Ok(())
    }

    fn finish(self) -> io::Result<usize> {
        self.zip.finish()?.flush()?;
        Ok(self.files)
    }
}

/// Returns what a file is called in an artifact: its path below the directory that all search paths have in common.
fn name_below(root: &Path, path: &Path) -> io::Result<String> {
    let relative = match path.strip_prefix(root) {
        Ok(rest) if rest.as_os_str().is_empty() => path.file_name().map(Path::new).unwrap_or(rest),
        Ok(rest) => rest,
        Err(_) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is outside of the artifact's root",
            ));
        }
    };
    relative.to_str().map(str::to_owned).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "its name is not UTF-8, which a zip file cannot hold",
        )
    })
}

/// Keeps the files that the patterns mean as an artifact, masked.
///
/// Links are followed inside the box, and what they lead to is kept under the link's name; permissions are not kept.
///
/// Errors: [`UploadError`]; then nothing is kept.
pub fn upload(
    store: &ArtifactStore,
    sandbox: &dyn Sandbox,
    mask: &MaskSource<'_>,
    spec: &UploadSpec<'_>,
) -> Result<Uploaded, UploadError> {
    let write = |source| UploadError::Write {
        name: spec.name.clone(),
        source,
    };
    let staged = store.begin(spec.name, spec.overwrite)?;
    let mut packing = Packing::begin(&staged, spec.compression_level, Some(mask)).map_err(write)?;
    let root = spec.patterns.least_common_ancestor();
    let mut take =
        |file: &BoxFile<'_>, content: &mut dyn Read| packing.add(&name_below(&root, file.path)?, content);
    let searched = search(sandbox, spec.patterns, spec.hidden, &mut take)?;
    let files = packing.finish().map_err(write)?;
    if files == 0 {
        return Ok(Uploaded::NoFiles);
    }
    let artifact = staged.publish(
        spec.name,
        spec.overwrite,
        files as u64,
        spec.retention.0,
        spec.now,
    )?;
    let left_out = searched.broken.into_iter().chain(searched.special).collect();
    Ok(Uploaded::Kept(artifact, left_out))
}

/// Makes one artifact of several that are kept already, each in a directory of its name if asked for. Of two files
/// with one path the later artifact's is kept.
///
/// Errors: [`UploadError`]; then nothing is kept.
pub fn merge(
    store: &ArtifactStore,
    from: &[Artifact],
    separate: bool,
    spec: &UploadSpec<'_>,
) -> Result<Artifact, UploadError> {
    let write = |source| UploadError::Write {
        name: spec.name.clone(),
        source,
    };
    let staged = store.begin(spec.name, spec.overwrite)?;
    let mut packing = Packing::begin(&staged, spec.compression_level, None).map_err(write)?;
    let mut later = std::collections::HashSet::new();
    // From the last to the first, so that a path that was taken is the later artifact's.
    for artifact in from.iter().rev() {
        unpack(&store.zip_path(&artifact.name), artifact, &mut |path, content| {
            let path = if separate {
                format!("{}/{path}", artifact.name)
            } else {
                path.to_owned()
            };
            if later.insert(path.clone()) {
                packing.add(&path, content)
            } else {
                Ok(())
            }
        })?;
    }
    let files = packing.finish().map_err(write)?;
    Ok(staged.publish(
        spec.name,
        spec.overwrite,
        files as u64,
        spec.retention.0,
        spec.now,
    )?)
}
