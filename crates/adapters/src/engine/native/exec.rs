//! The process that becomes a command. Owns entering the box and giving up every right before it does; must never
//! return to anything once it is the box's user.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use gantry_core::limits::{BOX_OPEN_FILES_MAX, BOX_PROCESSES_MAX};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid, setsid};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use super::entry::{Stage, inner_uid};
use super::message::Message;
use super::seccomp;
use super::status::{Status, tell, tell_through};
use super::supervise::close_inherited;
use crate::engine::BoxUser;
use crate::process;

/// The exit code of a command that is not there or cannot be executed, as in every shell.
const NOT_EXECUTABLE: i32 = 127;
/// How much rather the kernel kills a command of a box than anything else when memory is short, of 1000.
const OOM_SCORE_ADJUST: &str = "500";

/// Tags of the message a command is told with.
pub(super) mod tag {
    pub(in super::super) const ARGUMENT: u8 = b'a';
    pub(in super::super) const VARIABLE: u8 = b'e';
    pub(in super::super) const DIRECTORY: u8 = b'd';
    pub(in super::super) const NUMBER: u8 = b'n';
    pub(in super::super) const PROCESSES_MAX: u8 = b'p';
}

/// Makes the box's user namespace and waits until pid 1 has filled and taken it.
pub(super) fn make_users() -> Result<i32, String> {
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| format!("cannot make a user namespace: {errno}"))?;
    let gone = |source| format!("pid 1 gave up: {source}");
    io::stdout().write_all(b"u").map_err(gone)?;
    io::stdout().flush().map_err(gone)?;
    io::stdin().read_to_end(&mut Vec::new()).map_err(gone)?;
    Ok(0)
}

/// Becomes the box's user, then the command; returns an exit code only if the command cannot be executed.
pub(super) fn exec(stage: &Stage) -> Result<i32, String> {
    let order =
        Message::read(&mut io::stdin()).map_err(|source| format!("cannot read the order: {source}"))?;
    setsid().map_err(|errno| format!("cannot start a session: {errno}"))?;
    // Better a command than the daemon; a kernel that refuses this has another way to choose.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJUST);
    limit(Resource::RLIMIT_CORE, 0)?;
    limit(Resource::RLIMIT_NOFILE, BOX_OPEN_FILES_MAX)?;
    let filter = seccomp::filter()?;
    enter(stage)?;
    if stage.user == BoxUser::Plain {
        clear_bounding_set()?;
    }
    become_box_user(stage)?;
    let processes = order
        .first(tag::PROCESSES_MAX)
        .and_then(|text| text.to_str()?.parse().ok());
    // Counted in the box's own user namespace, so that neither the host nor another box is in it.
    limit(Resource::RLIMIT_NPROC, processes.unwrap_or(BOX_PROCESSES_MAX))?;
    set_no_new_privs().map_err(|errno| format!("cannot give up new privileges: {errno}"))?;
    seccompiler::apply_filter(&filter)
        .map_err(|source| format!("cannot set the filter of calls: {source}"))?;
    start(&order)
}

/// Enters the box's mounts and its user namespace, where this process has every capability.
pub(super) fn enter(stage: &Stage) -> Result<(), String> {
    close_inherited(&stage.namespaces)?;
    umask(Mode::from_bits_truncate(0o022));
    // Nothing of the box may look into this process while it still has rights.
    set_dumpable(false).map_err(|errno| format!("cannot hide from the box: {errno}"))?;
    let kinds = [CloneFlags::CLONE_NEWNS, CloneFlags::CLONE_NEWUSER];
    // Opened before the first is entered: the numbers mean nothing behind it.
    let mut opened = Vec::new();
    for number in stage.namespaces {
        let path = format!("/proc/self/fd/{number}");
        opened.push(File::open(&path).map_err(|source| format!("cannot open {path}: {source}"))?);
    }
    close_inherited(
        &opened
            .iter()
            .map(std::os::fd::AsRawFd::as_raw_fd)
            .collect::<Vec<_>>(),
    )?;
    for (namespace, kind) in opened.into_iter().zip(kinds) {
        setns(namespace, kind).map_err(|errno| format!("cannot enter the box: {errno}"))?;
    }
    Ok(())
}

/// Makes every capability one that no program of this user namespace can have again. A namespace that a program's own
/// sandbox makes has its own.
fn clear_bounding_set() -> Result<(), String> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel's last one was before this.
            Err(rustix::io::Errno::INVAL) => break,
            Err(errno) => return Err(format!("cannot give up capabilities: {errno}")),
        }
    }
    Ok(())
}

pub(super) fn become_box_user(stage: &Stage) -> Result<(), String> {
    let (uid, gid) = (
        Uid::from_raw(inner_uid(stage.user)),
        Gid::from_raw(inner_uid(stage.user)),
    );
    if stage.privileged {
        setgroups(&[]).map_err(|errno| format!("cannot leave the daemon's groups: {errno}"))?;
    }
    setresgid(gid, gid, gid).map_err(|errno| format!("cannot become the box's group: {errno}"))?;
    // The capabilities of the namespace go with the next exec, unless its user is the box's root.
    setresuid(uid, uid, uid).map_err(|errno| format!("cannot become the box's user: {errno}"))
}

/// Becomes root of the box's user namespace, who may read and own whatever is the box's.
pub(super) fn become_box_root(stage: &Stage) -> Result<(), String> {
    if stage.privileged {
        return become_box_user(&Stage {
            user: BoxUser::Root,
            ..stage.clone()
        });
    }
    // The one user there is has the capabilities already.
    Ok(())
}

fn limit(resource: Resource, value: u64) -> Result<(), String> {
    let trouble = |errno| format!("cannot limit {resource:?}: {errno}");
    let (_, hard) = getrlimit(resource).map_err(trouble)?;
    let value = value.min(hard);
    setrlimit(resource, value, value).map_err(trouble)
}

fn start(order: &Message) -> Result<i32, String> {
    let texts = |wanted| order.0.iter().filter(move |record| record.tag == wanted);
    let mut command = texts(tag::ARGUMENT).map(|record| &record.first);
    let program = command.next().ok_or("there is no command to start")?;
    let cannot = |source| format!("cannot use the standard files: {source}");
    let log = io::stdout().as_fd().try_clone_to_owned().map_err(cannot)?;
    let errors = log.try_clone().map_err(cannot)?;
    let status = io::stderr().as_fd().try_clone_to_owned().map_err(cannot)?;
    let directory = order.first(tag::DIRECTORY).unwrap_or_default();
    if let Err(source) = std::env::set_current_dir(directory) {
        let why = format!("cannot enter {}: {source}", directory.to_string_lossy());
        tell(&Status::trouble(why));
        return Ok(NOT_EXECUTABLE);
    }
    let failed = process::member_command(program)
        .args(command)
        .env_clear()
        .envs(texts(tag::VARIABLE).map(|record| (&record.first, &record.second)))
        .stdin(Stdio::null())
        .stdout(Stdio::inherit())
        .stderr(errors)
        .exec();
    if is_the_commands_fault(&failed) {
        let words = format!("gantry: cannot start {}: {failed}\n", program.to_string_lossy());
        // The exit code says the same if the log cannot take the words.
        let _ = File::from(log).write_all(words.as_bytes());
        return Ok(NOT_EXECUTABLE);
    }
    // Standard error may be the log by now.
    tell_through(
        status,
        &Status::trouble(format!("cannot start the command: {failed}")),
    );
    Ok(NOT_EXECUTABLE)
}

fn is_the_commands_fault(failed: &io::Error) -> bool {
    use nix::libc::{E2BIG, EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOEXEC, ENOTDIR, EPERM};
    failed.raw_os_error().is_none_or(|code| {
        [
            ENOENT,
            EACCES,
            ENOEXEC,
            ENOTDIR,
            EISDIR,
            ELOOP,
            ENAMETOOLONG,
            E2BIG,
            EPERM,
        ]
        .contains(&code)
    })
}

/// Returns a further descriptor of standard input.
pub(super) fn clone_stdin() -> Result<OwnedFd, String> {
    io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| format!("cannot use standard input: {source}"))
}
