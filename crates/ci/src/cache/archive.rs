//! The form of a cache's data: a tar file of regular files, directories and links, each below `w` (the workspace), `h`
//! (home) or `r` (the root). Owns what may be in one; must never write a name through that leads elsewhere.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use gantry_core::limits::{CACHE_ENTRY_BYTES_MAX, CACHE_ENTRY_FILES_MAX};
use tar::{Archive, Builder, EntryType, Header};

/// Where in a box the parts of a cache belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bases {
    /// The workspace; absolute.
    pub workspace: PathBuf,
    /// The user's home; absolute.
    pub home: Option<PathBuf>,
}

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packed {
    /// Files, directories and links.
    pub entries: usize,
    /// Bytes of the files.
    pub bytes: u64,
    /// Devices, sockets and pipes, which were left out.
    pub left_out: usize,
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read or written.
    #[error("cannot copy the cache")]
    Copy(#[from] io::Error),
    /// A name in it.
    #[error("the cache holds {path}, which {why}; it is refused")]
    Path {
        /// The name.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// It is too much.
    #[error("the cache holds more than {CACHE_ENTRY_FILES_MAX} files or {CACHE_ENTRY_BYTES_MAX} bytes")]
    TooLarge,
}

impl Bases {
    /// Returns what a path of the box is called in an archive.
    fn inward(&self, path: &Path) -> PathBuf {
        let home = self.home.as_deref().map(|home| ("h", home));
        for (letter, base) in [Some(("w", self.workspace.as_path())), home]
            .into_iter()
            .flatten()
        {
            if let Ok(rest) = path.strip_prefix(base) {
                return Path::new(letter).join(rest);
            }
        }
        Path::new("r").join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Returns where in the box something in an archive belongs.
    fn outward(&self, path: &Path) -> Option<PathBuf> {
        let mut parts = path.components();
        let base = match parts.next()?.as_os_str().to_str()? {
            "w" => self.workspace.as_path(),
            "h" => self.home.as_deref()?,
            "r" => Path::new("/"),
            _ => return None,
        };
        Some(base.join(parts.as_path()))
    }
}

fn refuse(path: &Path, why: &'static str) -> ArchiveError {
    ArchiveError::Path {
        path: path.display().to_string(),
        why,
    }
}

/// Takes `./` out of a name and refuses what leads elsewhere.
fn plain(path: &Path) -> Result<PathBuf, ArchiveError> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            _ => return Err(refuse(path, "leads elsewhere")),
        }
    }
    Ok(plain)
}

type Rename<'a> = dyn Fn(&Path, bool) -> Result<Option<PathBuf>, ArchiveError> + 'a;

/// Makes the archive of a cache from what `tar -C /` wrote; `wanted` says which of its paths belong in it.
pub(super) fn pack(
    from: impl Read,
    to: impl Write,
    bases: &Bases,
    wanted: &dyn Fn(&Path, bool) -> bool,
) -> Result<Packed, ArchiveError> {
    rewrite(from, to, &|path, is_directory| {
        let path = Path::new("/").join(path);
        Ok(wanted(&path, is_directory).then(|| bases.inward(&path)))
    })
}

/// Makes what `tar -C /` reads from the archive of a cache; all of it has to be what `allowed` says.
pub(super) fn unpack(
    from: impl Read,
    to: impl Write,
    bases: &Bases,
    allowed: &dyn Fn(&Path) -> bool,
) -> Result<Packed, ArchiveError> {
    rewrite(from, to, &|path, _| {
        let at = bases
            .outward(path)
            .ok_or_else(|| refuse(path, "belongs nowhere in this box"))?;
        if !allowed(&at) {
            return Err(refuse(&at, "is not below a path that is asked for"));
        }
        Ok(Some(at.strip_prefix("/").unwrap_or(&at).to_owned()))
    })
}

fn rewrite(from: impl Read, to: impl Write, rename: &Rename<'_>) -> Result<Packed, ArchiveError> {
    let mut archive = Archive::new(from);
    let mut builder = Builder::new(to);
    let mut packed = Packed::default();
    let mut files: HashSet<PathBuf> = HashSet::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        let Some(path) = rename(&plain(&entry.path()?)?, kind == EntryType::Directory)? else {
            continue;
        };
        packed.entries += 1;
        let mut header = Header::new_gnu();
        header.set_mode(entry.header().mode()? & 0o777);
        header.set_mtime(entry.header().mtime()?);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                packed.bytes = packed.bytes.saturating_add(entry.size());
                header.set_entry_type(EntryType::Regular);
                header.set_size(entry.size());
            }
            EntryType::Directory | EntryType::Symlink | EntryType::Link => header.set_entry_type(kind),
            _ => {
                packed.entries -= 1;
                packed.left_out += 1;
                continue;
            }
        }
        if packed.entries > CACHE_ENTRY_FILES_MAX || packed.bytes > CACHE_ENTRY_BYTES_MAX {
            return Err(ArchiveError::TooLarge);
        }
        match kind {
            EntryType::Directory => builder.append_data(&mut header, &path, io::empty())?,
            EntryType::Symlink => {
                let target = entry
                    .link_name()?
                    .ok_or_else(|| refuse(&path, "is a link to nothing"))?
                    .into_owned();
                builder.append_link(&mut header, &path, &target)?;
            }
            EntryType::Link => {
                let target = entry
                    .link_name()?
                    .ok_or_else(|| refuse(&path, "is a link to nothing"))?;
                // A hard link is to a file that came before it, or it would reach one that is not the cache's.
                let target = rename(&plain(&target)?, false)?.filter(|target| files.contains(target));
                let target = target.ok_or_else(|| refuse(&path, "is a hard link to what is not in it"))?;
                builder.append_link(&mut header, &path, &target)?;
            }
            _ => {
                builder.append_data(&mut header, &path, &mut entry)?;
                files.insert(path);
            }
        }
    }
    builder.into_inner()?.flush()?;
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases() -> Bases {
        Bases {
            workspace: "/w/here".into(),
            home: Some("/home/box".into()),
        }
    }

    /// A path, what is there, where it leads, and what it holds.
    type Raw<'a> = (&'a [u8], EntryType, &'a [u8], &'a [u8]);

    /// Makes a tar file whose names nobody checked.
    fn raw(entries: &[Raw<'_>]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind, link, content) in entries {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path);
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            header.set_mtime(7);
            header.set_uid(3);
            header.set_gid(3);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, *content).expect("memory takes it");
        }
        builder.into_inner().expect("memory takes it")
    }

    fn names(bytes: &[u8]) -> Vec<(String, u32)> {
        let mut archive = Archive::new(bytes);
        archive
            .entries()
            .expect("it is one")
            .map(|entry| {
                let entry = entry.expect("it is whole");
                (
                    String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
                    entry.header().mode().expect("it has one"),
                )
            })
            .collect()
    }

    #[test]
    fn an_archive_moves_with_its_box() {
        let from = raw(&[
            (b"w/here/target/a", EntryType::Regular, b"", b"1"),
            (b"home/box/.cargo/\xff", EntryType::Regular, b"", b"2"),
            (b"opt/x", EntryType::Symlink, b"../../anywhere", b""),
        ]);
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        let packed = pack(&from[..], &mut inner, &bases(), &|_, _| true).expect("packed");
        assert_eq!(
            packed,
            Packed {
                entries: 3,
                bytes: 2,
                left_out: 0
            }
        );
        assert_eq!(
            names(&inner)[0],
            ("w/target/a".to_owned(), 0o755),
            "set-uid is taken off"
        );
        let other = Bases {
            workspace: "/elsewhere".into(),
            home: Some("/root".into()),
        };
        unpack(&inner[..], &mut outer, &other, &|_| true).expect("unpacked");
        let paths: Vec<String> = names(&outer).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["elsewhere/target/a", "root/.cargo/\u{fffd}", "opt/x"]);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let hostile: &[(&[u8], EntryType, &[u8])] = &[
            (b"w/../../etc/passwd", EntryType::Regular, b""),
            (b"/etc/passwd", EntryType::Regular, b""),
            (b"x/a", EntryType::Regular, b""),
            (b"w/a", EntryType::Link, b"/etc/passwd"),
            (b"w/a", EntryType::Link, b"r/etc/passwd"),
            (b"r/etc/passwd", EntryType::Regular, b""),
        ];
        for (path, kind, link) in hostile {
            let from = raw(&[(path, *kind, link, b"")]);
            let mut to = Vec::new();
            let result = unpack(&from[..], &mut to, &bases(), &|at| at.starts_with("/w/here"));
            assert!(
                matches!(result, Err(ArchiveError::Path { .. })),
                "{path:?} {result:?}"
            );
        }
    }

    #[test]
    fn devices_are_left_out_and_hard_links_kept() {
        let from = raw(&[
            (b"w/here/a", EntryType::Regular, b"", b"1"),
            (b"w/here/b", EntryType::Link, b"w/here/a", b""),
            (b"w/here/p", EntryType::Fifo, b"", b""),
            (b"w/here/skip", EntryType::Regular, b"", b"2"),
        ]);
        let mut inner = Vec::new();
        let packed = pack(&from[..], &mut inner, &bases(), &|path, _| {
            !path.ends_with("skip")
        })
        .expect("packed");
        assert_eq!(
            packed,
            Packed {
                entries: 2,
                bytes: 1,
                left_out: 1
            }
        );
    }

    #[test]
    fn an_archive_that_is_cut_is_refused() {
        let from = raw(&[(b"w/here/a", EntryType::Regular, b"", &[1; 600])]);
        let result = pack(&from[..700], Vec::new(), &bases(), &|_, _| true);
        assert!(matches!(result, Err(ArchiveError::Copy(_))), "{result:?}");
    }
}
