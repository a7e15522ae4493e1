//! The outermost process of a box. Owns making its namespaces and starting its pid 1; must never outlive the
//! daemon, and never read what the daemon sends: that is for pid 1.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{close, getegid, geteuid};

use super::entry::{Stage, StageName};
use super::status::Status;
use crate::engine::Network;
use crate::process;

/// Makes the namespaces, runs pid 1 in them, and waits for the end of everything.
pub(super) fn supervise(stage: &Stage) -> Result<i32, String> {
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| format!("cannot die with the daemon: {errno}"))?;
    close_inherited()?;
    // What the box sees and makes is the same whatever mask the daemon has.
    umask(Mode::from_bits_truncate(0o022));
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if stage.network == Network::None {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    if !stage.privileged {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(|errno| format!("cannot make namespaces: {errno}"))?;
    if !stage.privileged {
        // Pid 1 is root in a namespace where only this user is mapped: it may mount there and nothing else.
        for (file, line) in [
            ("setgroups", "deny".to_owned()),
            ("gid_map", format!("0 {gid} 1")),
            ("uid_map", format!("0 {uid} 1")),
        ] {
            let path = format!("/proc/self/{file}");
            fs::write(&path, line).map_err(|source| format!("cannot write {path}: {source}"))?;
        }
    }
    let mut child = process::member_command("/proc/self/exe")
        .args(stage.next(StageName::Init).arguments())
        .stdin(Stdio::inherit())
        .spawn()
        .map_err(|source| format!("cannot start pid 1: {source}"))?;
    let status = child
        .wait()
        .map_err(|source| format!("cannot wait for pid 1: {source}"))?;
    if let Some(signal) = status.signal() {
        Status::Died(format!("of signal {signal}")).tell();
    }
    Ok(status.code().unwrap_or(1))
}

/// Closes everything but the three standard files: what the daemon's own parent left open is not for a check.
fn close_inherited() -> Result<(), String> {
    let open = fs::read_dir("/proc/self/fd").map_err(|source| format!("cannot list open files: {source}"))?;
    let numbers: Vec<i32> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // The listing's own file is closed already.
        let _ = close(number);
    }
    Ok(())
}
