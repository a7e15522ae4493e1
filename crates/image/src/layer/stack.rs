//! Several layers seen as one tree, as an overlay would show them, without mounting anything. Owns the rule of what
//! hides what; must never follow a link outside of the stack.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::whiteout;
use crate::beneath::Beneath;

/// How many symbolic links one path may pass: the kernel's own number.
const LINKS_MAX: usize = 40;

/// Trees of layers, the lowest first.
pub(crate) struct Stack {
    trees: Vec<Beneath>,
}

/// What is at a path.
pub(crate) enum Node {
    /// A folder, in the layers that have a part of it, the topmost first.
    Folder(Vec<OwnedFd>),
    /// Anything else: the folder that holds it in the layer that decides, and its name there.
    Leaf(OwnedFd, Vec<u8>, Stat),
}

impl Node {
    pub(crate) fn kind(&self) -> FileType {
        match self {
            Self::Folder(_) => FileType::Directory,
            Self::Leaf(_, _, stat) => FileType::from_raw_mode(stat.st_mode),
        }
    }

    /// Opens a regular file.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Leaf(folder, name, _) if self.kind() == FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                Ok(rustix::fs::openat(folder, name.as_slice(), flags, Mode::empty())?)
            }
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a regular file",
            )),
        }
    }

    /// Returns where a symbolic link leads, and `None` for anything else.
    pub(crate) fn link(&self) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Leaf(folder, name, _) if self.kind() == FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder, name.as_slice(), Vec::new())?;
                Ok(Some(target.into_bytes()))
            }
            _ => Ok(None),
        }
    }
}

impl Stack {
    /// Opens the trees, the lowest first.
    pub(crate) fn open<P: AsRef<Path>>(trees: &[P]) -> io::Result<Self> {
        let trees = trees
            .iter()
            .map(|tree| Beneath::open(tree.as_ref()))
            .collect::<io::Result<_>>()?;
        Ok(Self { trees })
    }

    fn root(&self) -> io::Result<Node> {
        let mut parts = Vec::new();
        for tree in self.trees.iter().rev() {
            let part = tree.folder(b"")?;
            let opaque = whiteout::is_opaque(&part)?;
            parts.push(part);
            if opaque {
                break;
            }
        }
        Ok(Node::Folder(parts))
    }

    /// Returns what is at a path, following links in the way a process whose root is the stack would.
    ///
    /// Shape: `None` where nothing is, or a loop of links.
    pub(crate) fn resolve(&self, path: &[u8]) -> io::Result<Option<Node>> {
        Ok(self.resolve_path(path)?.map(|(node, _)| node))
    }

    /// As [`Self::resolve`], with the path that has no links left.
    pub(crate) fn resolve_path(&self, path: &[u8]) -> io::Result<Option<(Node, Vec<u8>)>> {
        let mut todo: Vec<Vec<u8>> = names(path).rev().map(<[u8]>::to_vec).collect();
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        let mut node = self.root()?;
        while let Some(name) = todo.pop() {
            if name == b".." {
                done.pop();
                node = self.walk(&done)?.map_or_else(|| self.root(), Ok)?;
                continue;
            }
            let Some(next) = child(&node, &name)? else {
                return Ok(None);
            };
            if let Some(target) = next.link()? {
                links += 1;
                if links > LINKS_MAX {
                    return Ok(None);
                }
                if target.starts_with(b"/") {
                    done.clear();
                    node = self.root()?;
                }
                todo.extend(names(&target).rev().map(<[u8]>::to_vec));
                continue;
            }
            done.push(name);
            node = next;
        }
        Ok(Some((node, done.join(&b'/'))))
    }

    fn walk(&self, path: &[Vec<u8>]) -> io::Result<Option<Node>> {
        let mut node = self.root()?;
        for name in path {
            match child(&node, name)? {
                Some(next) => node = next,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// Returns what is at a path without following its links.
    #[cfg(test)]
    pub(crate) fn at(&self, path: &[u8]) -> io::Result<Option<Node>> {
        let path: Vec<Vec<u8>> = names(path).map(<[u8]>::to_vec).collect();
        self.walk(&path)
    }
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

/// Returns what a folder has under a name.
pub(crate) fn child(folder: &Node, name: &[u8]) -> io::Result<Option<Node>> {
    let Node::Folder(parts) = folder else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for part in parts {
        let stat = match rustix::fs::statat(part, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        if whiteout::is_whiteout(part, name)? {
            break;
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if found.is_empty() {
                let part = rustix::io::dup(part)?;
                return Ok(Some(Node::Leaf(part, name.to_vec(), stat)));
            }
            break;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(part, name, flags, Mode::empty())?;
        let opaque = whiteout::is_opaque(&opened)?;
        found.push(opened);
        if opaque {
            break;
        }
    }
    Ok((!found.is_empty()).then_some(Node::Folder(found)))
}

/// Returns everything in a folder, by name; nothing for what is no folder.
pub(crate) fn children(folder: &Node) -> io::Result<BTreeMap<Vec<u8>, Node>> {
    let mut found = BTreeMap::new();
    let Node::Folder(parts) = folder else {
        return Ok(found);
    };
    for part in parts {
        for entry in Dir::read_from(part)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name == b"." || name == b".." || found.contains_key(&name) {
                continue;
            }
            if let Some(node) = child(folder, &name)? {
                found.insert(name, node);
            }
        }
    }
    Ok(found)
}

/// Opens a regular file of the stack for reading.
pub(crate) fn open_file(node: &Node) -> io::Result<File> {
    node.open().map(File::from)
}
