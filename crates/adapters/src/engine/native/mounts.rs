//! What a box sees. Owns its mounts: an empty root, filled step by step, then entered for good; must never
//! leave a host's path writable or a mount outside the box's own namespace.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::order::Step;

/// The devices of a box, as the host has them.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Makes the root of the box in its folder and enters it; nothing of the host's tree is mounted afterwards.
pub(super) fn make_root(folder: &Path, steps: &[Step]) -> Result<(), String> {
    let root = folder.join("root");
    change("/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    new_file_system("tmpfs", &root, SAFE, Some("mode=755"))?;
    for name in ["tmp", "var/tmp"] {
        let at = root.join(name);
        make_directory(&at)?;
        new_file_system("tmpfs", &at, SAFE, Some("mode=1777"))?;
    }
    let run = root.join("run");
    make_directory(&run)?;
    new_file_system("tmpfs", &run, SAFE, Some("mode=755"))?;
    make_devices(&root.join("dev"))?;
    let proc = root.join("proc");
    make_directory(&proc)?;
    new_file_system("proc", &proc, SAFE | MsFlags::MS_NOEXEC, None)?;
    let sys = root.join("sys");
    make_directory(&sys)?;
    // Without a network of its own a plain user may not mount it; the box does without.
    let _ = new_file_system(
        "sysfs",
        &sys,
        SAFE | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY,
        None,
    );
    for step in steps {
        perform(&root, step)?;
    }
    enter(&root)
}

fn perform(root: &Path, step: &Step) -> Result<(), String> {
    match step {
        Step::Link { target, at } => {
            let at = inside(root, at);
            make_parent(&at)?;
            symlink(target, &at).map_err(|source| format!("cannot link {}: {source}", at.display()))
        }
        Step::ReadOnly { host, at } => {
            let at = inside(root, at);
            bind(host, &at)?;
            restrict(&at, MsFlags::MS_RDONLY | SAFE)
        }
        Step::Writable { host, at } => {
            let at = inside(root, at);
            bind(host, &at)?;
            restrict(&at, SAFE)
        }
        Step::Hide { at } => hide(&inside(root, at)),
    }
}

fn inside(root: &Path, at: &Path) -> PathBuf {
    root.join(at.strip_prefix("/").unwrap_or(at))
}

fn hide(at: &Path) -> Result<(), String> {
    match fs::symlink_metadata(at) {
        Ok(found) if found.is_dir() => new_file_system("tmpfs", at, SAFE, Some("mode=755")),
        Ok(found) if found.is_file() => bind(Path::new("/dev/null"), at),
        // A link is hidden where it leads, if that is in the box at all.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Mounts a host's file or directory, with everything mounted below it, at a place that is made if needed.
fn bind(host: &Path, at: &Path) -> Result<(), String> {
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

/// Adds flags to a mount and to every mount below it. Flags they have are kept: a user namespace may not take
/// them away, and must name them again.
fn restrict(at: &Path, flags: MsFlags) -> Result<(), String> {
    let table =
        fs::read("/proc/self/mountinfo").map_err(|source| format!("cannot read the mounts: {source}"))?;
    for (path, kept) in mounts_of(&table) {
        if path.starts_with(at) {
            let all = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | kept | flags;
            mount(None::<&str>, &path, None::<&str>, all, None::<&str>)
                .map_err(|errno| format!("cannot restrict {}: {errno}", path.display()))?;
        }
    }
    Ok(())
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

fn make_devices(dev: &Path) -> Result<(), String> {
    make_directory(dev)?;
    new_file_system("tmpfs", dev, MsFlags::MS_NOSUID, Some("mode=755"))?;
    for name in DEVICES {
        let host = Path::new("/dev").join(name);
        if host.exists() {
            bind(&host, &dev.join(name))?;
        }
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
    new_file_system("tmpfs", &shm, SAFE, Some("mode=1777"))
}

/// Makes `root` the root of this namespace, drops the host's, and makes it read-only.
fn enter(root: &Path) -> Result<(), String> {
    let trouble = |errno| format!("cannot enter the box's root: {errno}");
    chdir(root).map_err(trouble)?;
    // The old root lands on top of the new one and is taken off it again. Source: pivot_root(2), NOTES.
    pivot_root(".", ".").map_err(trouble)?;
    umount2(".", MntFlags::MNT_DETACH).map_err(trouble)?;
    chdir("/").map_err(trouble)?;
    change(
        "/",
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | SAFE,
    )
}

fn change(at: &str, flags: MsFlags) -> Result<(), String> {
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
        .map_err(|errno| format!("cannot change the mount of {at}: {errno}"))
}

fn new_file_system(kind: &str, at: &Path, flags: MsFlags, options: Option<&str>) -> Result<(), String> {
    mount(Some(kind), at, Some(kind), flags, options)
        .map_err(|errno| format!("cannot mount {kind} at {}: {errno}", at.display()))
}

fn make_directory(at: &Path) -> Result<(), String> {
    fs::create_dir_all(at).map_err(|source| format!("cannot make {}: {source}", at.display()))
}

fn make_parent(at: &Path) -> Result<(), String> {
    at.parent().map_or(Ok(()), make_directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

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
