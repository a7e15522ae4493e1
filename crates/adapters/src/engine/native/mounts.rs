//! The mounts a box's tree is made of. Owns making, copying, restricting and covering one; which ones there are is
//! decided by `root`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

/// The devices of a box, as the host has them.
pub(super) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
pub(super) const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Copies a tree of mounts, to be put somewhere else.
pub(super) fn clone_tree(path: &Path) -> Result<OwnedFd, String> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags).map_err(|errno| format!("cannot show {}: {errno}", path.display()))
}

/// Puts a tree at a place that is made if needed.
pub(super) fn attach(tree: &OwnedFd, at: &Path, is_directory: bool) -> Result<(), String> {
    let trouble = |source: io::Error| format!("cannot show {}: {source}", at.display());
    if is_directory {
        make_directory(at)?;
    } else if fs::metadata(at).is_err() {
        make_parent(at)?;
        // A link to nowhere is replaced by what it should have been.
        if fs::symlink_metadata(at).is_ok() {
            fs::remove_file(at).map_err(trouble)?;
        }
        File::create(at).map_err(trouble)?;
    }
    move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|errno| trouble(errno.into()))
}

/// Covers something, so that nobody in the box can see it.
pub(super) fn hide(at: &Path) -> Result<(), String> {
    match fs::symlink_metadata(at) {
        Ok(found) if found.is_dir() => new_file_system("tmpfs", at, SAFE, Some("mode=755")),
        Ok(found) if found.is_file() => bind(Path::new("/dev/null"), at),
        // A link is hidden where it leads, if that is in the box at all.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Mounts a host's file or directory, with everything mounted below it, at a place that is made if needed.
pub(super) fn bind(host: &Path, at: &Path) -> Result<(), String> {
    let trouble = |source| format!("cannot show {}: {source}", host.display());
    if fs::metadata(host).map_err(trouble)?.is_dir() {
        make_directory(at)?;
    } else if fs::symlink_metadata(at).is_err() {
        make_parent(at)?;
        File::create(at).map_err(trouble)?;
    }
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(host), at, None::<&str>, flags, None::<&str>).map_err(|errno| trouble(errno.into()))
}

/// Flags that mounts are to get, collected while a tree is filled and set in one go: the kernel's table of mounts is
/// long, and reading it once for each of them was a fifth of a box's time.
#[derive(Debug, Default)]
pub(super) struct Restrictions(Vec<(PathBuf, MsFlags)>);

impl Restrictions {
    /// Notes flags for the mount at a place and every mount below it that has none of its own noted. Of two notes for
    /// one place the later counts. The place is where the path leads: an image may have a link there, and the kernel's
    /// table has no links.
    pub(super) fn note(&mut self, at: &Path, flags: MsFlags) -> Result<(), String> {
        let at = fs::canonicalize(at)
            .map_err(|source| format!("cannot tell where {} leads: {source}", at.display()))?;
        self.0.push((at, flags));
        Ok(())
    }

    /// Sets them. Flags a mount has are kept: a user namespace may not take them away, and must name them again.
    pub(super) fn apply(&self) -> Result<(), String> {
        let table = fs::read("/proc/thread-self/mountinfo")
            .map_err(|source| format!("cannot read the mounts: {source}"))?;
        for (path, kept) in mounts_of(&table) {
            if let Some(flags) = self.of(&path) {
                let all = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | kept | flags;
                mount(None::<&str>, &path, None::<&str>, all, None::<&str>)
                    .map_err(|errno| format!("cannot restrict {}: {errno}", path.display()))?;
            }
        }
        Ok(())
    }

    fn of(&self, path: &Path) -> Option<MsFlags> {
        let above = self.0.iter().filter(|(at, _)| path.starts_with(at));
        above
            .max_by_key(|(at, _)| at.components().count())
            .map(|(_, flags)| *flags)
    }
}

/// Adds flags to a mount and to every mount below it, at once.
pub(super) fn restrict(at: &Path, flags: MsFlags) -> Result<(), String> {
    let mut restrictions = Restrictions::default();
    restrictions.note(at, flags)?;
    restrictions.apply()
}

/// Reads the mount points and flags of a mount table. Source: proc_pid_mountinfo(5).
fn mounts_of(table: &[u8]) -> Vec<(PathBuf, MsFlags)> {
    let lines = table.split(|byte| *byte == b'\n');
    let parse = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let path = PathBuf::from(OsString::from_vec(unescape(fields.get(4)?)));
        let mut flags = MsFlags::empty();
        for option in fields.get(5)?.split(|byte| *byte == b',') {
            flags |= match option {
                b"ro" => MsFlags::MS_RDONLY,
                b"nosuid" => MsFlags::MS_NOSUID,
                b"nodev" => MsFlags::MS_NODEV,
                b"noexec" => MsFlags::MS_NOEXEC,
                b"noatime" => MsFlags::MS_NOATIME,
                b"nodiratime" => MsFlags::MS_NODIRATIME,
                b"relatime" => MsFlags::MS_RELATIME,
                _ => MsFlags::empty(),
            };
        }
        Some((path, flags))
    };
    lines.filter_map(parse).collect()
}

/// Undoes the kernel's `\040` form of blanks, line ends and backslashes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let escaped = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// Makes the devices of a box from those of the host, which were opened before.
pub(super) fn make_devices(
    dev: &Path,
    temporary: &str,
    devices: &[(&'static str, OwnedFd)],
) -> Result<(), String> {
    make_directory(dev)?;
    new_file_system("tmpfs", dev, MsFlags::MS_NOSUID, Some("mode=755,size=1m"))?;
    for (name, tree) in devices {
        attach(tree, &dev.join(name), false)?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name)).map_err(|source| format!("cannot link /dev/{name}: {source}"))?;
    }
    let pts = dev.join("pts");
    make_directory(&pts)?;
    let no_exec = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    new_file_system(
        "devpts",
        &pts,
        no_exec,
        Some("newinstance,ptmxmode=0666,mode=620"),
    )?;
    let shm = dev.join("shm");
    make_directory(&shm)?;
    new_file_system("tmpfs", &shm, SAFE, Some(&format!("mode=1777{temporary}")))
}

/// What of a process table tells about the host; covered.
const COVERED: [&str; 10] = [
    "acpi",
    "asound",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
];
/// What of a process table changes the host; read-only.
const READ_ONLY: [&str; 4] = ["bus", "fs", "irq", "sys"];

/// Covers or closes what of `/proc` is not the box's own. The kernel checks who writes there all the same.
pub(super) fn mask_proc(restrictions: &mut Restrictions) -> Result<(), String> {
    let proc = Path::new("/proc");
    for name in COVERED {
        hide(&proc.join(name))?;
    }
    for name in READ_ONLY {
        let at = proc.join(name);
        if at.exists() {
            bind(&at, &at)?;
            restrictions.note(&at, MsFlags::MS_RDONLY | SAFE | MsFlags::MS_NOEXEC)?;
        }
    }
    Ok(())
}

pub(super) fn change(at: &str, flags: MsFlags) -> Result<(), String> {
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
        .map_err(|errno| format!("cannot change the mount of {at}: {errno}"))
}

pub(super) fn new_file_system(
    kind: &str,
    at: &Path,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<(), String> {
    mount(Some(kind), at, Some(kind), flags, options)
        .map_err(|errno| format!("cannot mount {kind} at {}: {errno}", at.display()))
}

pub(super) fn make_directory(at: &Path) -> Result<(), String> {
    fs::create_dir_all(at).map_err(|source| format!("cannot make {}: {source}", at.display()))
}

pub(super) fn make_parent(at: &Path) -> Result<(), String> {
    at.parent().map_or(Ok(()), make_directory)
}

/// Makes a place and what is missing above it, of this owner. What has the name already, or a link to nowhere, is left as it is.
pub(super) fn make_place(
    at: &Path,
    is_directory: bool,
    owner: Option<u32>,
    made: &mut Vec<PathBuf>,
) -> Result<(), String> {
    let trouble = |source: io::Error| format!("cannot make {}: {source}", at.display());
    let mut places: Vec<&Path> = at.ancestors().collect();
    places.reverse();
    for place in places {
        if fs::symlink_metadata(place).is_ok() {
            continue;
        }
        if is_directory || place != at {
            fs::create_dir(place).map_err(trouble)?;
        } else {
            File::create_new(place).map_err(trouble)?;
        }
        if owner.is_some() {
            lchown(place, owner, owner).map_err(trouble)?;
        }
        // An overlay copies the directories above it up, which is no change of the box's either.
        for place in place.ancestors() {
            if !made.iter().any(|known| known == place) {
                made.push(place.to_owned());
            }
        }
    }
    Ok(())
}

pub(super) fn open_path(path: &Path) -> Result<OwnedFd, String> {
    rustix::fs::openat(
        CWD,
        path,
        OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY,
        Mode::empty(),
    )
    .map_err(|errno| format!("cannot open {}: {errno}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_mount_gets_the_flags_noted_nearest_above_it_and_the_last_of_two() {
        let noted = [
            ("/opt", MsFlags::MS_RDONLY),
            ("/opt/tool", MsFlags::MS_NOEXEC),
            ("/opt/tool", SAFE),
        ];
        let restrictions = Restrictions(noted.map(|(at, flags)| (at.into(), flags)).to_vec());
        for (path, flags) in [
            ("/opt", Some(MsFlags::MS_RDONLY)),
            ("/opt/other/deep", Some(MsFlags::MS_RDONLY)),
            ("/opt/tool", Some(SAFE)),
            ("/opt/tool/below", Some(SAFE)),
            ("/opt/toolshed", Some(MsFlags::MS_RDONLY)),
            ("/optional", None),
        ] {
            assert_eq!(restrictions.of(Path::new(path)), flags, "{path}");
        }
    }

    #[test]
    fn mount_points_and_flags_are_read_from_the_kernels_table() {
        let table = b"28 27 0:25 / /mnt/a\\040b\\134c ro,nosuid,nodev,relatime - tmpfs x ro\n\
            31 23 0:28 / /sys rw,noexec,noatime shared:1 - sysfs s rw\n";
        let mounts = mounts_of(table);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].0.as_os_str().as_bytes(), b"/mnt/a b\\c");
        assert_eq!(mounts[0].1, MsFlags::MS_RDONLY | SAFE | MsFlags::MS_RELATIME);
        assert_eq!(mounts[1].1, MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME);
    }
}
