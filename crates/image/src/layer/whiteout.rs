//! Deletions in a layer: `.wh.` names of archives on one side, the overlay's own marks on the other. Source: OCI image
//! specification, "Whiteouts"; the kernel's `filesystems/overlayfs.rst`, "whiteouts and opaque directories".

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

/// What an archive puts before the name of something deleted.
pub(crate) const PREFIX: &[u8] = b".wh.";
/// The name that says that nothing of a folder's lower layers is seen.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// The overlay's attributes for a mount with `userxattr`, and for one without.
const SPACES: [&str; 2] = ["user.overlay.", "trusted.overlay."];

/// Marks a name in a folder as deleted: a device 0/0, or a marked empty file where devices may not be made.
pub(crate) fn put_whiteout(folder: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Ok(()) => return Ok(()),
        Err(Errno::PERM | Errno::ACCESS) => {}
        Err(error) => return Err(error.into()),
    }
    put_marked_file(folder, name)
}

/// Marks a name as deleted without a device. The kernel looks for such files only in folders marked `x`.
pub(crate) fn put_marked_file(folder: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o600))?;
    rustix::fs::fsetxattr(&file, "user.overlay.whiteout", b"y", XattrFlags::empty())?;
    rustix::fs::fsetxattr(folder, "user.overlay.opaque", b"x", XattrFlags::empty())?;
    Ok(())
}

/// Marks a folder as hiding all that lower layers have in it, for both kinds of mounts where the user may.
pub(crate) fn put_opaque(folder: &OwnedFd) -> io::Result<()> {
    rustix::fs::fsetxattr(folder, "user.overlay.opaque", b"y", XattrFlags::empty())?;
    match rustix::fs::fsetxattr(folder, "trusted.overlay.opaque", b"y", XattrFlags::empty()) {
        // A plain user can only mount with `userxattr`, where this mark is not looked at.
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Says whether a folder hides what is below it.
pub(crate) fn is_opaque(folder: &OwnedFd) -> io::Result<bool> {
    Ok(mark(folder, "opaque")?.as_deref() == Some(b"y"))
}

/// Says whether a name in a folder stands for a deletion.
pub(crate) fn is_whiteout(folder: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => Ok(stat.st_rdev == 0),
        FileType::RegularFile if stat.st_size == 0 && mark(folder, "opaque")?.as_deref() == Some(b"x") => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::openat(folder, name, flags, Mode::empty())?;
            Ok(mark(&file, "whiteout")?.is_some())
        }
        _ => Ok(false),
    }
}

/// Says whether an attribute steers the overlay and is none of the image's.
pub(crate) fn is_mark(attribute: &[u8]) -> bool {
    SPACES.iter().any(|space| attribute.starts_with(space.as_bytes()))
}

/// Returns the mark of that name in either space.
pub(crate) fn mark(file: &OwnedFd, name: &str) -> io::Result<Option<Vec<u8>>> {
    for space in SPACES {
        let mut value = [0_u8; 64];
        match rustix::fs::fgetxattr(file, format!("{space}{name}"), &mut value) {
            Ok(count) => return Ok(Some(value[..count].to_vec())),
            Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM) => {}
            // Longer than any mark this is asked for.
            Err(Errno::RANGE) => return Ok(Some(Vec::new())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
