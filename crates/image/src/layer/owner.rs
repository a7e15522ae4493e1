//! Whose files a layer's are on the host. Owns the shift between the numbers an archive writes and those of the host's
//! users that stand for them; must never give a file to one of the host's own users.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Stat, Uid};

/// How many users a box has. Source: the mapping of the native engine's boxes.
const USERS: u32 = 65_536;
/// The user who owns what no user of a box owns.
const NOBODY: u32 = 65_534;

/// The host's user who stands for root of a box; the others follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnerBase(pub(crate) u32);

impl OwnerBase {
    /// Returns the host's number for one of an archive.
    fn outside(self, inside: u32) -> u32 {
        let inside = if inside < USERS { inside } else { NOBODY };
        self.0.saturating_add(inside)
    }

    /// Returns an archive's number for one of the host.
    fn inside(self, outside: u32) -> u32 {
        let inside = outside.checked_sub(self.0).filter(|inside| *inside < USERS);
        inside.unwrap_or(NOBODY)
    }

    /// Returns the owner and group an archive writes for a file.
    pub(crate) fn of(self, stat: &Stat) -> (u32, u32) {
        (self.inside(stat.st_uid), self.inside(stat.st_gid))
    }

    /// Gives an open file to the owner an archive names.
    pub(crate) fn give(self, file: impl AsFd, (uid, gid): (u32, u32)) -> io::Result<()> {
        let (uid, gid) = (self.outside(uid), self.outside(gid));
        Ok(rustix::fs::fchown(
            file,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
        )?)
    }

    /// As [`Self::give`], for a name in a folder; no link is followed.
    pub(crate) fn give_name(self, folder: &OwnedFd, name: &[u8], (uid, gid): (u32, u32)) -> io::Result<()> {
        let (uid, gid) = (self.outside(uid), self.outside(gid));
        Ok(rustix::fs::chownat(
            folder,
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }
}
