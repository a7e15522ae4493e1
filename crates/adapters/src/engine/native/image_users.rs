//! The lists of users and groups of an image. Owns adding the box's own user; must never follow a link of the image
//! out of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::entry::BOX_UID;
use super::mounts::open_path;
use super::view::HOME;

/// The most bytes of an image's list of users that are read.
const USERS_BYTES_MAX: u64 = 1024 * 1024;

/// Says whether a file is a list of users or groups.
pub(super) fn is_user_list(at: &Path) -> bool {
    at == Path::new("/etc/passwd") || at == Path::new("/etc/group")
}

/// Reads an image's list of users or groups and adds the box's user, if nobody has its number. No link of the image
/// leads out of it.
pub(super) fn add_box_user(root: &Path, at: &Path) -> Result<Vec<u8>, String> {
    let trouble = |source: io::Error| format!("cannot read {} of the image: {source}", at.display());
    let directory = open_path(root)?;
    let opened = openat2(
        &directory,
        at,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
        ResolveFlags::IN_ROOT,
    );
    let mut text = Vec::new();
    if let Ok(file) = opened {
        File::from(file)
            .take(USERS_BYTES_MAX)
            .read_to_end(&mut text)
            .map_err(trouble)?;
    }
    let number = format!("{BOX_UID}");
    let known = text
        .split(|byte| *byte == b'\n')
        .any(|line| line.split(|byte| *byte == b':').nth(2) == Some(number.as_bytes()));
    if !known {
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        let line = if at == Path::new("/etc/passwd") {
            format!("box:x:{BOX_UID}:{BOX_UID}:box:{HOME}:/bin/sh\n")
        } else {
            format!("box:x:{BOX_UID}:\n")
        };
        text.extend_from_slice(line.as_bytes());
    }
    Ok(text)
}
