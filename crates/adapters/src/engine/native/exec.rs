//! The process that becomes the check. Owns giving up every right before it does; must never return to
//! anything once it is the box's user.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use gantry_core::limits::{BOX_OPEN_FILES_MAX, BOX_PROCESSES_MAX};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid, setsid};
use std::os::fd::AsFd;

use super::entry::{BOX_UID, Stage};
use super::init::clone_stdin;
use super::order::Order;
use super::view::WORKSPACE;
use crate::process;

/// The exit code of a command that is not there or cannot be executed, as in every shell.
const NOT_EXECUTABLE: i32 = 127;
/// How much rather the kernel kills a check than anything else when memory is short, of 1000.
const OOM_SCORE_ADJUST: &str = "500";

/// Becomes the box's user, then the check; returns an exit code only if the command cannot be executed.
pub(super) fn exec(stage: &Stage) -> Result<i32, String> {
    let mut channel = UnixStream::from(clone_stdin()?);
    let order = Order::read(&mut channel).map_err(|source| format!("cannot read the order: {source}"))?;
    setsid().map_err(|errno| format!("cannot start a session: {errno}"))?;
    // Better a check than the daemon; a kernel that refuses this has another way to choose.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJUST);
    limit(Resource::RLIMIT_CORE, 0)?;
    limit(Resource::RLIMIT_NOFILE, BOX_OPEN_FILES_MAX)?;
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| format!("cannot make a user namespace: {errno}"))?;
    let wait = |source| format!("pid 1 gave up: {source}");
    channel.write_all(b"u").map_err(wait)?;
    channel.read_exact(&mut [0]).map_err(wait)?;
    become_box_user(stage)?;
    // Counted in the namespace just made, so that neither the host nor another box is in it.
    limit(Resource::RLIMIT_NPROC, BOX_PROCESSES_MAX)?;
    set_no_new_privs().map_err(|errno| format!("cannot give up new privileges: {errno}"))?;
    start(&order)
}

fn become_box_user(stage: &Stage) -> Result<(), String> {
    let (uid, gid) = (Uid::from_raw(BOX_UID), Gid::from_raw(BOX_UID));
    if stage.privileged {
        setgroups(&[]).map_err(|errno| format!("cannot leave the daemon's groups: {errno}"))?;
    }
    setresgid(gid, gid, gid).map_err(|errno| format!("cannot become the box's group: {errno}"))?;
    // The capabilities of the namespace go with the next exec: its user is not root.
    setresuid(uid, uid, uid).map_err(|errno| format!("cannot become the box's user: {errno}"))
}

fn limit(resource: Resource, value: u64) -> Result<(), String> {
    let trouble = |errno| format!("cannot limit {resource:?}: {errno}");
    let (_, hard) = getrlimit(resource).map_err(trouble)?;
    let value = value.min(hard);
    setrlimit(resource, value, value).map_err(trouble)
}

fn start(order: &Order) -> Result<i32, String> {
    let Some((program, arguments)) = order.command.split_first() else {
        return Err("the check has no command".to_owned());
    };
    let log = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| format!("cannot use standard output: {source}"))?;
    let errors = log
        .try_clone()
        .map_err(|source| format!("cannot use standard output: {source}"))?;
    let mut status = File::from(
        io::stderr()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|source| format!("cannot keep the status: {source}"))?,
    );
    let failed = process::member_command(program)
        .args(arguments)
        .env_clear()
        .envs(order.env.iter().map(|(name, value)| (name, value)))
        .current_dir(WORKSPACE)
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
    let _ = writeln!(status, "could-not-start cannot start the check: {failed}");
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
