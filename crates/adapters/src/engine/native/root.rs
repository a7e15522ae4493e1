//! What a box sees. Owns its mounts, made in two rooms: pid 1's own, which keeps the host's tree and where every
//! source is opened, and the box's, which is entered first and filled from inside, so that no link of an image or
//! a workspace can lead a mount out of it. Must never leave a host's path writable or a mount on the host.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, pivot_root};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, move_mount};

use super::changes::UpperAt;
use super::entry::{Stage, host_uid};
use super::image_users::{add_box_user, is_user_list};
use super::init::keep_open;
use super::mounts::{
    DEVICES, Restrictions, SAFE, attach, bind, change, clone_tree, make_devices, make_directory, make_parent,
    make_place, mask_proc, new_file_system, open_path, restrict,
};
use super::setup::{Setup, Step, Upper};
use super::view::HOME;
use crate::engine::BoxUser;

/// Options of the file system that holds pid 1's own small files.
const OWN_FILES: &str = "mode=700,size=64m";

/// Where every box has file systems of its own.
const OWN_PLACES: [&str; 6] = ["/box", "/dev", "/proc", "/run", "/sys", "/tmp"];

/// A box's tree.
pub(super) struct Made {
    /// Its mount namespace.
    pub(super) mounts: File,
    /// This program, at a place where nobody can write to it.
    pub(super) entry: PathBuf,
    /// Where what the box writes is kept.
    pub(super) uppers: Vec<UpperAt>,
    /// The box's folder on the disk, which the paths of what it writes begin with.
    pub(super) folder: OwnedFd,
}

/// Makes the tree.
pub(super) fn make(stage: &Stage, setup: &Setup) -> Result<Made, String> {
    change("/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    let no_exec = SAFE | MsFlags::MS_NOEXEC;
    // Process numbers are those of the box from here on.
    new_file_system("proc", Path::new("/proc"), no_exec, None)?;
    let folder = open_path(&stage.folder)?;
    new_file_system(
        "tmpfs",
        &stage.folder,
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(OWN_FILES),
    )?;
    let mut room = Room {
        stage,
        setup,
        disk: PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())),
        uppers: Vec::new(),
        stacks: 0,
    };
    let entry = room.show_entry()?;
    if let Upper::Memory(options) = &setup.upper {
        let at = stage.folder.join("memory");
        make_directory(&at)?;
        new_file_system("tmpfs", &at, SAFE, Some(options))?;
    }
    let root = room.make_base()?;
    let workspace = room.make_workspace()?;
    let home = room.upper("home")?;
    room.uppers.push(UpperAt {
        directory: home.clone(),
        at: HOME.into(),
        given: Vec::new(),
    });
    let mut sources = Vec::new();
    for (number, step) in setup.steps.iter().enumerate() {
        sources.push(room.open_source(number, step, &root)?);
    }
    let mut devices = Vec::new();
    for name in DEVICES {
        let host = Path::new("/dev").join(name);
        if host.exists() {
            devices.push((name, clone_tree(&host)?));
        }
    }
    let [workspace, home, root] = [&workspace, &home, &root].map(|path| clone_tree(path));
    let (workspace, home, root) = (workspace?, home?, root?);
    let (shown, whole) = (clone_tree(Path::new("/proc"))?, clone_tree(Path::new("/proc"))?);
    let sys = stage.folder.join("sys");
    make_directory(&sys)?;
    // Without a network of its own a plain user may not mount it; the box does without.
    let sys = new_file_system("sysfs", &sys, no_exec | MsFlags::MS_RDONLY, None)
        .and_then(|()| clone_tree(&sys))
        .ok();
    let mut uppers = room.uppers;
    // A thread may leave this mount namespace for one of its own; the rest of the process stays.
    let (mounts, given) = thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| format!("cannot make namespaces: {errno}"))?;
            Inside {
                stage,
                setup,
                workspace,
                home,
                sources,
                devices,
                proc: [shown, whole],
                sys,
            }
            .fill(root)
        });
        inside
            .join()
            .map_err(|_| "the thread of the mounts panicked".to_owned())?
    })?;
    for upper in uppers.iter_mut().filter(|upper| upper.at == Path::new("/")) {
        upper.given.clone_from(&given);
    }
    keep_open(&mounts)?;
    Ok(Made {
        mounts,
        entry,
        uppers,
        folder,
    })
}

/// Pid 1's own room.
struct Room<'a> {
    stage: &'a Stage,
    setup: &'a Setup,
    /// The box's folder on the disk, behind the file system mounted over it.
    disk: PathBuf,
    uppers: Vec<UpperAt>,
    stacks: usize,
}

impl Room<'_> {
    /// Shows this program read-only: a command that is told to start its own starter must not write to it.
    fn show_entry(&self) -> Result<PathBuf, String> {
        let trouble = |source| format!("cannot show the program to itself: {source}");
        let at = self.stage.folder.join("gantry");
        let this = Path::new("/proc/self/exe");
        let path = fs::read_link(this).map_err(trouble)?;
        let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        let here = fs::metadata(this).map_err(trouble)?;
        if fs::metadata(&path).is_ok_and(|found| same(&found, &here)) {
            bind(&path, &at)?;
        } else {
            // It was replaced since it started.
            fs::copy(this, &at).map_err(trouble)?;
            fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).map_err(trouble)?;
            bind(&at, &at)?;
        }
        restrict(&at, MsFlags::MS_RDONLY)?;
        Ok(at)
    }

    /// Returns where a path is still seen: the box's own folder is covered.
    fn on_disk(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.stage.folder) {
            Ok(below) => self.disk.join(below),
            Err(_) => path.to_owned(),
        }
    }

    /// Returns a directory for what the box writes, owned by its user.
    fn upper(&mut self, name: &str) -> Result<PathBuf, String> {
        let base = match self.setup.upper {
            Upper::Disk => self.disk.clone(),
            Upper::Memory(_) => self.stage.folder.join("memory"),
        };
        let at = base.join(name);
        self.own_directory(&at, self.stage.user)?;
        Ok(at)
    }

    fn own_directory(&self, at: &Path, user: BoxUser) -> Result<(), String> {
        let trouble = |source: io::Error| format!("cannot make {}: {source}", at.display());
        match fs::DirBuilder::new().mode(0o755).create(at) {
            Ok(()) => {}
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(trouble(source)),
        }
        if self.stage.privileged {
            chown(at, Some(host_uid(user)), Some(host_uid(user))).map_err(trouble)?;
        }
        Ok(())
    }

    /// Puts the box's own layer on directories, the uppermost first, and mounts them together.
    fn stack(&mut self, lower: &[PathBuf], name: &str, owner: BoxUser) -> Result<(PathBuf, PathBuf), String> {
        let upper = self.upper(name)?;
        self.own_directory(&upper, owner)?;
        let work = self.upper(&format!("{name}.work"))?;
        self.stacks += 1;
        let at = self.stage.folder.join(format!("stack-{}", self.stacks));
        make_directory(&at)?;
        // By descriptor: no path is too long for the kernel's one page, and none holds a character that means
        // something there.
        let opened: Vec<OwnedFd> = lower
            .iter()
            .map(|path| open_path(path))
            .collect::<Result<_, _>>()?;
        let (upper_fd, work_fd) = (open_path(&upper)?, open_path(&work)?);
        let named = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let lower = opened.iter().map(named).collect::<Vec<_>>().join(":");
        let mut options = format!(
            "lowerdir={lower},upperdir={},workdir={}",
            named(&upper_fd),
            named(&work_fd)
        );
        if !self.stage.privileged {
            options.push_str(",userxattr");
        }
        // Nothing of it has to survive a crash: the next reap removes it.
        let fast = format!("{options},volatile");
        new_file_system("overlay", &at, SAFE, Some(&fast))
            .or_else(|_| new_file_system("overlay", &at, SAFE, Some(&options)))?;
        Ok((at, upper))
    }

    /// Makes the root: the image with the box's own layer, or an empty one.
    fn make_base(&mut self) -> Result<PathBuf, String> {
        if self.setup.layers.is_empty() {
            let at = self.stage.folder.join("root");
            make_directory(&at)?;
            let options = format!("mode=755,size=64m{}", owner_options(self.stage));
            new_file_system("tmpfs", &at, SAFE, Some(&options))?;
            return Ok(at);
        }
        let lower: Vec<PathBuf> = self.setup.layers.iter().rev().cloned().collect();
        let (at, upper) = self.stack(&lower, "root-upper", BoxUser::Root)?;
        self.uppers.push(UpperAt {
            directory: upper,
            at: "/".into(),
            given: Vec::new(),
        });
        Ok(at)
    }

    fn make_workspace(&mut self) -> Result<PathBuf, String> {
        let at = self.setup.workspace_at.clone();
        let (shown, upper) = if self.setup.workspace.is_empty() {
            let upper = self.upper("upper")?;
            (upper.clone(), upper)
        } else {
            let lower: Vec<PathBuf> = self
                .setup
                .workspace
                .iter()
                .map(|path| self.on_disk(path))
                .collect();
            self.stack(&lower, "upper", self.stage.user)?
        };
        self.uppers.push(UpperAt {
            directory: upper,
            at,
            given: Vec::new(),
        });
        Ok(shown)
    }

    /// Copies a file that is written on its own: an overlay is made of directories.
    fn copy(&mut self, number: usize, host: &Path) -> Result<PathBuf, String> {
        let trouble = |source: io::Error| format!("cannot copy {}: {source}", host.display());
        let copied = self.upper(&format!("copy-{number}"))?.join("file");
        fs::copy(host, &copied).map_err(trouble)?;
        if self.stage.privileged {
            let owner = Some(host_uid(self.stage.user));
            chown(&copied, owner, owner).map_err(trouble)?;
        }
        Ok(copied)
    }

    /// Opens what a step shows; `None` for steps that show nothing of this room.
    fn open_source(&mut self, number: usize, step: &Step, root: &Path) -> Result<Option<Source>, String> {
        let of = |path: &Path| {
            let is_directory = fs::metadata(path)
                .map_err(|source| format!("cannot show {}: {source}", path.display()))?
                .is_dir();
            let tree = clone_tree(path)?;
            Ok::<_, String>(Some(Source { tree, is_directory }))
        };
        match step {
            Step::ReadOnly { host, .. } | Step::Shared { host, .. } => of(host),
            Step::CopyOnWrite { host, .. } if fs::metadata(host).is_ok_and(|found| found.is_file()) => {
                of(&self.copy(number, host)?)
            }
            Step::CopyOnWrite { host, at } => {
                let (shown, upper) = self.stack(
                    std::slice::from_ref(host),
                    &format!("copy-{number}"),
                    self.stage.user,
                )?;
                self.uppers.push(UpperAt {
                    directory: upper,
                    at: at.clone(),
                    given: Vec::new(),
                });
                of(&shown)
            }
            Step::File { text, at } => {
                let path = self.stage.folder.join(format!("file-{number}"));
                let mut bytes = text.as_bytes().to_vec();
                if !self.setup.layers.is_empty() && is_user_list(at) {
                    bytes = add_box_user(root, at)?;
                }
                fs::write(&path, bytes)
                    .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)))
                    .map_err(|source| format!("cannot write {}: {source}", at.display()))?;
                of(&path)
            }
            Step::Link { .. } | Step::Hide { .. } | Step::Own => Ok(None),
        }
    }
}

/// Something of the host that waits to be shown.
struct Source {
    tree: OwnedFd,
    is_directory: bool,
}

/// The box's own room, seen from inside.
struct Inside<'a> {
    stage: &'a Stage,
    setup: &'a Setup,
    workspace: OwnedFd,
    home: OwnedFd,
    sources: Vec<Option<Source>>,
    devices: Vec<(&'static str, OwnedFd)>,
    proc: [OwnedFd; 2],
    sys: Option<OwnedFd>,
}

impl Inside<'_> {
    /// Enters the root, drops the host's tree, fills the root and returns its namespace and
    /// what had to be made in an image's root.
    fn fill(self, root: OwnedFd) -> Result<(File, Vec<PathBuf>), String> {
        enter(&root, &self.stage.folder)?;
        let is_root = self.stage.user == BoxUser::Root;
        let given = self.make_places()?;
        // A plain user may mount these only where they are seen already: they were, in pid 1's room.
        let [shown, whole_proc] = &self.proc;
        attach(shown, Path::new("/proc"), true)?;
        mount_new("tmpfs", "/box", SAFE, Some("mode=755,size=1m"))?;
        let temporary = &self.setup.temporary;
        for at in ["/tmp", "/var/tmp"] {
            // An image that is built keeps what is in them.
            if self.setup.layers.is_empty() || at == "/tmp" {
                mount_new("tmpfs", at, SAFE, Some(&format!("mode=1777{temporary}")))?;
            }
        }
        let owner = owner_options(self.stage);
        mount_new(
            "tmpfs",
            "/run",
            SAFE,
            Some(&format!("mode=755{owner}{temporary}")),
        )?;
        make_devices(Path::new("/dev"), temporary, &self.devices)?;
        make_directory(Path::new("/sys"))?;
        if let Some(sys) = &self.sys {
            attach(sys, Path::new("/sys"), true)?;
        }
        let mut restrictions = Restrictions::default();
        for (step, source) in self.setup.steps.iter().zip(&self.sources) {
            match step {
                Step::Own => self.show_own(&mut restrictions)?,
                _ => perform(step, source.as_ref(), &mut restrictions)?,
            }
        }
        // A whole process table nobody in the box can reach: while there is one, the kernel lets a program's own
        // sandbox mount its own.
        let whole = Path::new("/box/.proc");
        fs::DirBuilder::new()
            .mode(0o700)
            .create(whole)
            .map_err(|source| format!("cannot make {}: {source}", whole.display()))?;
        let below = whole.join("all");
        attach(whole_proc, &below, true)?;
        mask_proc(&mut restrictions)?;
        restrictions.apply()?;
        change(
            "/box",
            MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | SAFE,
        )?;
        if self.setup.layers.is_empty() && !is_root {
            change(
                "/",
                MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | SAFE,
            )?;
        }
        let mounts = File::open("/proc/thread-self/ns/mnt")
            .map_err(|source| format!("cannot keep the box's mounts: {source}"))?;
        Ok((mounts, given))
    }

    /// Makes the places of mounts that an image does not have, owned by the box's root: they stay in its layer.
    /// Returns what is in that layer now.
    fn make_places(&self) -> Result<Vec<PathBuf>, String> {
        let mut made = Vec::new();
        if self.setup.layers.is_empty() {
            return Ok(made);
        }
        let owner = self.stage.privileged.then(|| host_uid(BoxUser::Root));
        for at in OWN_PLACES {
            make_place(Path::new(at), true, owner, &mut made)?;
        }
        for (step, source) in self.setup.steps.iter().zip(&self.sources) {
            let (at, is_directory) = match step {
                Step::Own => (&self.setup.workspace_at, true),
                Step::ReadOnly { at, .. }
                | Step::Shared { at, .. }
                | Step::CopyOnWrite { at, .. }
                | Step::File { at, .. } => (at, source.as_ref().is_some_and(|source| source.is_directory)),
                Step::Link { .. } | Step::Hide { .. } => continue,
            };
            // What is below another mount is made there.
            if !OWN_PLACES.iter().any(|place| at.starts_with(place)) {
                make_place(at, is_directory, owner, &mut made)?;
            }
        }
        Ok(made)
    }

    fn show_own(&self, restrictions: &mut Restrictions) -> Result<(), String> {
        for (tree, at) in [
            (&self.home, Path::new(HOME)),
            (&self.workspace, &self.setup.workspace_at),
        ] {
            attach(tree, at, true)?;
            restrictions.note(at, SAFE)?;
        }
        Ok(())
    }
}

/// Returns the options that give a file system in memory to the box's root, if there is one to be.
fn owner_options(stage: &Stage) -> String {
    match (stage.user, stage.privileged) {
        (BoxUser::Root, true) => format!(",uid={0},gid={0}", host_uid(BoxUser::Root)),
        _ => String::new(),
    }
}

fn perform(step: &Step, source: Option<&Source>, restrictions: &mut Restrictions) -> Result<(), String> {
    let mut show = |at: &Path, flags| {
        if let Some(source) = source {
            attach(&source.tree, at, source.is_directory)?;
            restrictions.note(at, flags)?;
        }
        Ok(())
    };
    match step {
        Step::Link { target, at } => {
            make_parent(at)?;
            std::os::unix::fs::symlink(target, at)
                .map_err(|source| format!("cannot link {}: {source}", at.display()))
        }
        Step::ReadOnly { at, .. } => show(at, MsFlags::MS_RDONLY | SAFE),
        Step::File { at, .. } => show(at, MsFlags::MS_RDONLY | SAFE),
        Step::Shared { at, .. } | Step::CopyOnWrite { at, .. } => show(at, SAFE),
        Step::Hide { at } => super::mounts::hide(at),
        Step::Own => Ok(()),
    }
}

/// Makes a tree the root of this namespace and drops the host's. `at` is where it is put on the way.
fn enter(root: &OwnedFd, at: &Path) -> Result<(), String> {
    let trouble = |errno: nix::errno::Errno| format!("cannot enter the box's root: {errno}");
    move_mount(root, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|errno| format!("cannot enter the box's root: {errno}"))?;
    chdir(at).map_err(trouble)?;
    // The old root lands on top of the new one and is taken off it again. Source: pivot_root(2), NOTES.
    pivot_root(".", ".").map_err(trouble)?;
    umount2(".", MntFlags::MNT_DETACH).map_err(trouble)?;
    chdir("/").map_err(trouble)
}

fn mount_new(kind: &str, at: &str, flags: MsFlags, options: Option<&str>) -> Result<(), String> {
    make_directory(Path::new(at))?;
    new_file_system(kind, Path::new(at), flags, options)
}
