//! From a specification to a box that lives. Owns the order of the steps and what a refusal of each means; must
//! leave nothing behind when one fails.

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use gantry_core::queue::build::Trouble;
use nix::errno::Errno;

use super::NativeEngine;
use super::disk::DiskWatch;
use super::entry::{Net, Stage, StageName, host_uid};
use super::folder::BoxFolder;
use super::init::ask;
use super::message::{receive, send};
use super::native_sandbox::{Lifeline, NativeSandbox, Parts};
use super::outer::{BoxProcess, channel_pair};
use super::proxy::Proxy;
use super::reap::group_mark;
use super::services;
use super::setup::{Setup, Upper};
use super::status::Status;
use super::view::object_directory;
use super::warm::{Loan, Wanted};
use crate::clock::Stopwatch;
use crate::engine::{Image, MountKind, Network, OpenError, SandboxControl, SandboxSpec, Workspace};
use crate::git::{CheckoutError, GitRepository};

/// More than this on the status pipe is not a status.
const STATUS_BYTES_MAX: u64 = 64 * 1024;

/// Makes a box and its services.
///
/// Errors: [`OpenError`].
pub(super) fn open(
    engine: &NativeEngine,
    spec: &SandboxSpec,
    control: &SandboxControl,
) -> Result<NativeSandbox, OpenError> {
    check(spec)?;
    let net = if spec.network == Network::Full {
        Net::Host
    } else {
        Net::Own
    };
    let mut sandbox = open_one(engine, spec, net, control)?;
    services::start(engine, spec, &mut sandbox, control)?;
    Ok(sandbox)
}

/// Makes one box in a network.
pub(super) fn open_one(
    engine: &NativeEngine,
    spec: &SandboxSpec,
    net: Net,
    control: &SandboxControl,
) -> Result<NativeSandbox, OpenError> {
    if control.is_cancelled() {
        return Err(OpenError::Cancelled);
    }
    let watch = Stopwatch::start();
    let folder = BoxFolder::create(&engine.scratch, &spec.name)
        .map_err(|source| host_trouble("make the box's folder", &source))?;
    let made = make(engine, spec, net, control, &folder);
    match made {
        Ok(parts) => Ok(NativeSandbox::new(parts, folder, watch)),
        Err(failed) => {
            // What stays is taken by the next reap; the refusal is what has to be told.
            let _ = folder.remove();
            Err(failed)
        }
    }
}

/// Refuses what this engine cannot do.
fn check(spec: &SandboxSpec) -> Result<(), OpenError> {
    let unsupported = |why: String| Err(OpenError::Unsupported(why));
    let images = spec
        .services
        .iter()
        .map(|service| &service.image)
        .chain([&spec.image]);
    for image in images {
        if let Image::Named(name) = image {
            return unsupported(format!(
                "the native engine knows no image {name}: give it one of gantry's own, or use docker or podman"
            ));
        }
        if let Image::Layers { layers, .. } = image
            && layers.is_empty()
        {
            return unsupported("an image without a layer has nothing to run".to_owned());
        }
    }
    if !spec.workspace_at.is_absolute() || spec.workspace_at.components().count() < 2 {
        return unsupported(format!(
            "{} is no place for a workspace",
            spec.workspace_at.display()
        ));
    }
    if let Some(mount) = spec.mounts.iter().find(|mount| !mount.at.is_absolute()) {
        return unsupported(format!(
            "{} is no place for a mount: it is not absolute",
            mount.at.display()
        ));
    }
    if spec.limits.in_memory && spec.limits.disk_bytes.is_none() && spec.limits.memory_bytes.is_none() {
        return unsupported("a box in memory needs a limit: set disk_bytes or memory_bytes".to_owned());
    }
    Ok(())
}

fn make(
    engine: &NativeEngine,
    spec: &SandboxSpec,
    net: Net,
    control: &SandboxControl,
    folder: &BoxFolder,
) -> Result<Parts, OpenError> {
    let (objects, loan) = lend_workspace(engine, spec, control, folder)?;
    share_mounts(engine, spec)?;
    let (mut setup, env) = engine.host.plan(spec, &objects);
    setup.workspace = loan.iter().flat_map(layers_of).collect();
    setup.upper = upper(spec);
    setup.proxy = net == Net::Own && matches!(spec.network, Network::Allow(_));
    if let Some(bytes) = spec.limits.memory_bytes {
        // Half of it: what is left of a full one must be enough for the command that clears it.
        setup.temporary = format!(",size={}", bytes / 2);
    }
    let (groups, mut limits) = engine
        .groups()
        .make(
            &format!("{}@{}", folder.name(), group_mark(&engine.scratch)),
            &spec.limits,
        )
        .map_err(OpenError::Unsupported)?;
    limits.extend(disk_words(spec));
    let started = start(engine, spec, net, folder, &groups, &setup);
    let (process, channel, proxy) = match started {
        Ok(started) => started,
        Err(failed) => {
            groups.remove();
            return Err(failed);
        }
    };
    let channel = Arc::new(Lifeline::new(channel));
    let disk = DiskWatch::start(spec, folder.path(), &channel);
    Ok(Parts {
        spec: spec.clone(),
        privileged: engine.privileged,
        scratch: engine.scratch.clone(),
        process,
        channel,
        env,
        groups,
        limits,
        proxy,
        disk,
        loan,
    })
}

fn layers_of(loan: &Loan) -> Vec<PathBuf> {
    loan.layer
        .iter()
        .cloned()
        .chain([loan.warm.tree.clone()])
        .collect()
}

fn upper(spec: &SandboxSpec) -> Upper {
    if !spec.limits.in_memory {
        return Upper::Disk;
    }
    let bytes = spec.limits.disk_bytes.or(spec.limits.memory_bytes).unwrap_or(0);
    let inodes = spec
        .limits
        .inodes
        .map_or(String::new(), |count| format!(",nr_inodes={count}"));
    Upper::Memory(format!("mode=755,size={bytes}{inodes}"))
}

fn disk_words(spec: &SandboxSpec) -> Vec<String> {
    let how = if spec.limits.in_memory {
        "size of its file system"
    } else {
        "looked at"
    };
    let bytes = spec
        .limits
        .disk_bytes
        .map(|bytes| format!("disk {bytes} bytes ({how})"));
    let inodes = spec.limits.inodes.map(|count| format!("files {count} ({how})"));
    bytes.into_iter().chain(inodes).collect()
}

/// Finds the commit's files; returns the host's object directories, which the box may read.
fn lend_workspace(
    engine: &NativeEngine,
    spec: &SandboxSpec,
    control: &SandboxControl,
    folder: &BoxFolder,
) -> Result<(Vec<PathBuf>, Option<Loan>), OpenError> {
    let Workspace::Commit { repository, commit } = &spec.workspace else {
        return Ok((Vec::new(), None));
    };
    let lend = || {
        let opened = GitRepository::open(repository)?;
        let objects = opened.object_directories()?;
        let inside: Vec<_> = (0..objects.len()).map(object_directory).collect();
        let wanted = Wanted {
            scratch: &engine.scratch,
            repository: &opened,
            at: repository,
            commit: *commit,
            layer: folder.path().join("delta"),
            owner: engine.privileged.then(|| host_uid(spec.user)),
            objects: &inside,
        };
        let loan = engine.warm.lend(&wanted, &|| control.is_cancelled())?;
        Ok((objects, Some(loan)))
    };
    lend().map_err(|failed: CheckoutError| match &failed {
        CheckoutError::Stopped => OpenError::Cancelled,
        CheckoutError::Refused { .. } => OpenError::Refused(failed.to_string()),
        CheckoutError::Write { source, .. } => host_trouble("check the commit out", source),
        CheckoutError::Git(_) => OpenError::Trouble(Trouble::CouldNotStart, chain(&failed)),
    })
}

/// Gives directories that are shared to the box's user, who could not write to them otherwise.
fn share_mounts(engine: &NativeEngine, spec: &SandboxSpec) -> Result<(), OpenError> {
    for mount in &spec.mounts {
        let trouble = |source| host_trouble(&format!("hand {} in", mount.host.display()), &source);
        let found = fs::symlink_metadata(&mount.host).map_err(trouble)?;
        let is_copied = mount.kind == MountKind::CopyOnWrite;
        if is_copied && !fs::metadata(&mount.host).is_ok_and(|found| found.is_dir() || found.is_file()) {
            return Err(OpenError::Unsupported(format!(
                "{} is neither a file nor a directory: nothing else can be copied on write",
                mount.host.display()
            )));
        }
        if engine.privileged && mount.kind == MountKind::Shared && !found.is_symlink() {
            let owner = Some(host_uid(spec.user));
            chown(&mount.host, owner, owner).map_err(trouble)?;
        }
    }
    Ok(())
}

type Started = (BoxProcess, UnixStream, Option<Proxy>);

fn start(
    engine: &NativeEngine,
    spec: &SandboxSpec,
    net: Net,
    folder: &BoxFolder,
    groups: &super::cgroup::BoxGroups,
    setup: &Setup,
) -> Result<Started, OpenError> {
    let trouble = |source| start_trouble(&source);
    let stage = Stage {
        name: StageName::Supervise,
        folder: folder.path().to_owned(),
        privileged: engine.privileged,
        user: spec.user,
        net,
        namespaces: [0, 0],
    };
    let (channel, theirs) = channel_pair().map_err(trouble)?;
    let (mut process, status) = BoxProcess::start(engine.entry.clone(), stage, theirs).map_err(trouble)?;
    let started = Spawned {
        channel: &channel,
        pid: process.pid,
        status,
    };
    let begun = begin(engine, spec, groups, setup, started);
    match begun {
        Ok(proxy) => Ok((process, channel, proxy)),
        Err(failed) => {
            drop(channel);
            // The refusal is what has to be told; what stays is taken by the next reap.
            let _ = process.end();
            Err(failed)
        }
    }
}

/// A process that waits to be told what to make.
struct Spawned<'a> {
    channel: &'a UnixStream,
    pid: u32,
    status: PipeReader,
}

/// Puts the process where its limits are, tells it what to make and waits until it is made.
fn begin(
    engine: &NativeEngine,
    spec: &SandboxSpec,
    groups: &super::cgroup::BoxGroups,
    setup: &Setup,
    spawned: Spawned<'_>,
) -> Result<Option<Proxy>, OpenError> {
    let Spawned {
        channel,
        pid,
        mut status,
    } = spawned;
    // A process that died already says why on its status pipe.
    let mut sent = match groups.take_in(pid) {
        Err(source) if source.raw_os_error() != Some(Errno::ESRCH as i32) => {
            return Err(host_trouble("put the box into its groups", &source));
        }
        taken => taken,
    };
    if sent.is_ok() && !engine.privileged {
        sent = io::Write::write_all(&mut &*channel, b"g");
    }
    let sent = sent.and_then(|()| send(channel, ask::SETUP, &[], &setup.to_message()));
    let mut proxy = None;
    if let (Network::Allow(allowed), true, true) = (&spec.network, setup.proxy, sent.is_ok()) {
        // A box that cannot open the port says why on its status pipe.
        if let Ok(Some(request)) = receive(channel)
            && let Some(port) = request.descriptors.into_iter().next()
        {
            let started = Proxy::start(port, allowed.clone());
            proxy = Some(started.map_err(|source| host_trouble("start the proxy", &source))?);
        }
    }
    let mut told = Vec::new();
    await_line(&mut status, &mut told);
    let (statuses, last_words) = Status::parse_all(&told);
    match statuses.first() {
        Some(Status::Ready) => Ok(proxy),
        Some(Status::Trouble(trouble, why)) => Err(OpenError::Trouble(*trouble, why.clone())),
        _ => {
            let sent = sent.err().map_or(String::new(), |source| format!(" ({source})"));
            let why = format!("the box died before its first command could start; {last_words}{sent}");
            Err(OpenError::Trouble(Trouble::CouldNotStart, why))
        }
    }
}

/// Reads until a status is told or nobody is there to tell one.
fn await_line(status: &mut PipeReader, told: &mut Vec<u8>) {
    let mut chunk = [0; 4096];
    while (told.len() as u64) < STATUS_BYTES_MAX {
        match status.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => {
                told.extend_from_slice(&chunk[..count]);
                let (statuses, _) = Status::parse_all(told);
                if told.ends_with(b"\n") && !statuses.is_empty() {
                    return;
                }
            }
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn start_trouble(source: &io::Error) -> OpenError {
    let text = source.to_string();
    if text.starts_with("cannot make namespaces") {
        return OpenError::Trouble(Trouble::CouldNotStart, text);
    }
    host_trouble("start the box", source)
}

/// Sorts what the host refused: a full disk from everything else.
fn host_trouble(doing: &str, source: &io::Error) -> OpenError {
    let full = [Errno::ENOSPC, Errno::EDQUOT].map(|errno| Some(errno as i32));
    let trouble = if full.contains(&source.raw_os_error()) {
        Trouble::OutOfDisk
    } else {
        Trouble::CouldNotStart
    };
    OpenError::Trouble(trouble, format!("cannot {doing}: {source}"))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
