//! `COPY`: files of the context, another stage or another image as a layer of their own. Follows links only inside of
//! where they come from. Dates are left out, so that a fresh checkout of the same files gives the same layer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};

use gantry_core::limits::IMAGE_ENTRIES_MAX;
use rustix::fs::FileType;

use super::pattern::{Ignore, fits_name};
use crate::archive::{Meta, TarWriter, WriteEntry};
use crate::layer::stack::{Node, Stack, children};

/// Writes what is copied.
pub(super) struct Copier<'a, W: Write> {
    writer: TarWriter<W>,
    /// Where it goes, to keep the modes of folders that are there.
    target: &'a Stack,
    /// Folders that were written already, and whether something was copied at all.
    folders: BTreeMap<Vec<u8>, ()>,
    mode: Option<u32>,
    entries: u64,
}

/// Something that a pattern found.
pub(super) struct Source {
    pub(super) path: Vec<u8>,
    pub(super) node: Node,
}

/// Finds what a source of `COPY` names; the links of a name itself are followed, inside of the stack.
pub(super) fn find(stack: &Stack, pattern: &[u8], ignore: &Ignore) -> io::Result<Vec<Source>> {
    let mut found = vec![Vec::new()];
    for name in pattern
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
    {
        let has_wildcard = name.iter().any(|byte| b"*?[".contains(byte));
        let mut next = Vec::new();
        for path in found {
            if !has_wildcard {
                next.push(join(&path, name));
            } else if let Some(folder) = stack.resolve(&path)? {
                let names = children(&folder)?
                    .into_keys()
                    .filter(|child| fits_name(name, child));
                next.extend(names.map(|child| join(&path, &child)));
            }
        }
        found = next;
    }
    let mut sources = Vec::new();
    for path in found {
        if let Some((node, path)) = stack.resolve_path(&path)?
            && (path.is_empty() || !ignore.leaves_out(&path) || ignore.takes_back())
        {
            sources.push(Source { path, node });
        }
    }
    Ok(sources)
}

/// Returns where a path of an image leads with its links followed, as far as it is there.
pub(super) fn real_path(stack: &Stack, path: &str) -> io::Result<Vec<u8>> {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    for length in (0..=names.len()).rev() {
        if let Some((_, real)) = stack.resolve_path(names[..length].join("/").as_bytes())? {
            return Ok(names[length..]
                .iter()
                .fold(real, |path, name| join(&path, name.as_bytes())));
        }
    }
    Ok(names.join("/").into_bytes())
}

impl<'a, W: Write> Copier<'a, W> {
    pub(super) fn new(writer: W, target: &'a Stack, mode: Option<u32>) -> Self {
        Self {
            writer: TarWriter::new(writer),
            target,
            folders: BTreeMap::new(),
            mode,
            entries: 0,
        }
    }

    /// Copies one source to a path.
    pub(super) fn copy(&mut self, source: &Source, to: &[u8], ignore: &Ignore) -> io::Result<()> {
        match &source.node {
            Node::Folder(_) => {
                self.ensure_folder(to)?;
                self.content(&source.node, &source.path, to, ignore)
            }
            Node::Leaf(..) => self.leaf(&source.node, to),
        }
    }

    /// Writes a file whose content is at hand.
    pub(super) fn inline(&mut self, to: &[u8], mut content: &[u8]) -> io::Result<()> {
        self.parents(to)?;
        let meta = Meta {
            mode: self.mode.unwrap_or(0o644),
            ..Meta::default()
        };
        self.writer
            .append(to, WriteEntry::File(content.len() as u64), &meta, &mut content)
    }

    /// Writes a folder and those above, with the modes they have.
    pub(super) fn ensure_folder(&mut self, path: &[u8]) -> io::Result<()> {
        if path.is_empty() || self.folders.contains_key(path) {
            return Ok(());
        }
        self.parents(path)?;
        let mode = match self.target.resolve(path)? {
            Some(Node::Folder(parts)) => match parts.first() {
                Some(top) => rustix::fs::fstat(top)?.st_mode & 0o1777,
                None => 0o755,
            },
            _ => 0o755,
        };
        let meta = Meta {
            mode,
            ..Meta::default()
        };
        self.writer
            .append(path, WriteEntry::Folder, &meta, &mut io::empty())?;
        self.folders.insert(path.to_vec(), ());
        Ok(())
    }

    fn parents(&mut self, path: &[u8]) -> io::Result<()> {
        self.ensure_folder(crate::beneath::split(path).0)
    }

    fn content(&mut self, folder: &Node, path: &[u8], to: &[u8], ignore: &Ignore) -> io::Result<()> {
        for (name, node) in children(folder)? {
            let (path, to) = (join(path, &name), join(to, &name));
            let left_out = ignore.leaves_out(&path);
            if node.kind() == FileType::Directory {
                if !left_out {
                    self.ensure_folder(&to)?;
                }
                if !left_out || ignore.takes_back() {
                    self.content(&node, &path, &to, ignore)?;
                }
            } else if !left_out {
                self.leaf(&node, &to)?;
            }
        }
        Ok(())
    }

    fn leaf(&mut self, node: &Node, to: &[u8]) -> io::Result<()> {
        self.entries += 1;
        if self.entries > IMAGE_ENTRIES_MAX {
            return Err(io::Error::other(format!(
                "there are more than {IMAGE_ENTRIES_MAX} files to copy"
            )));
        }
        self.parents(to)?;
        if let Some(target) = node.link()? {
            let meta = Meta {
                mode: 0o777,
                ..Meta::default()
            };
            return self
                .writer
                .append(to, WriteEntry::Symlink(&target), &meta, &mut io::empty());
        }
        let Node::Leaf(_, _, stat) = node else {
            return Ok(());
        };
        if node.kind() != FileType::RegularFile {
            return Ok(());
        }
        let mode = self.mode.unwrap_or(stat.st_mode & 0o1777);
        let mut file = File::from(node.open()?);
        let size = file.metadata()?.len();
        self.writer.append(
            to,
            WriteEntry::File(size),
            &Meta {
                mode,
                ..Meta::default()
            },
            &mut file,
        )
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.writer.finish()
    }
}

pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        return name.to_vec();
    }
    [folder, b"/", name].concat()
}
