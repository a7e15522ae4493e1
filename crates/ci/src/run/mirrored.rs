//! The mirror as the library of a run. Owns reading a mirrored repository whole; what a link in it leads to must be in it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::request::{ActionPart, Library};
use crate::mirror::{ActionRef, Mirror};

impl Library for Mirror {
    fn repository(
        &self,
        owner: &str,
        name: &str,
        reference: &str,
    ) -> Result<Option<Vec<ActionPart>>, String> {
        let action =
            ActionRef::parse(&format!("{owner}/{name}@{reference}")).map_err(|error| error.to_string())?;
        let found = self.find(&action).map_err(|error| error.to_string())?;
        let Some((root, _)) = found else { return Ok(None) };
        let failed = |error: io::Error| format!("the mirrored {action} cannot be read: {error}");
        let root = fs::canonicalize(&root).map_err(failed)?;
        let mut parts = Vec::new();
        read_folder(&root, &root, &mut parts).map_err(failed)?;
        Ok(Some(parts))
    }
}

fn read_folder(root: &Path, folder: &Path, parts: &mut Vec<ActionPart>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            read_folder(root, &path, parts)?;
            continue;
        }
        let real = fs::canonicalize(&path)?;
        let meta = fs::metadata(&real)?;
        if !real.starts_with(root) || !meta.is_file() {
            let message = format!(
                "the link {} does not lead to a file of the repository",
                path.display()
            );
            return Err(io::Error::other(message));
        }
        let inside = path.strip_prefix(root).expect("the walk began at the root");
        parts.push(ActionPart {
            path: inside.to_owned(),
            mode: meta.permissions().mode() & 0o777,
            bytes: fs::read(&real)?,
        });
    }
    Ok(())
}
