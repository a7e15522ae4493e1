//! The outermost process of a plain user's box. Owns its namespaces and waits for its pid 1; must never do
//! anything else: it is outside the box's process numbers. A root daemon needs none: its own thread does this.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{close, getegid, geteuid};

use super::entry::{Net, Stage, StageName};
use super::exec::clone_stdin;
use crate::process;

/// Returns the namespaces every box has, but for the user's.
pub(super) fn namespaces(net: Net) -> CloneFlags {
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if net == Net::Own {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    flags
}

/// Makes the namespaces, runs pid 1 in them, and waits for the end of everything.
pub(super) fn supervise(stage: &Stage) -> Result<i32, String> {
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| format!("cannot die with the daemon: {errno}"))?;
    close_inherited(&[])?;
    let refused = |errno| format!("cannot make namespaces: {errno}");
    if let Net::Of(pid) = stage.net {
        for (name, kind) in [
            ("user", CloneFlags::CLONE_NEWUSER),
            ("net", CloneFlags::CLONE_NEWNET),
        ] {
            let path = format!("/proc/{pid}/ns/{name}");
            let joined = fs::File::open(&path).map_err(|source| format!("cannot open {path}: {source}"))?;
            setns(joined, kind).map_err(refused)?;
        }
        unshare(namespaces(stage.net)).map_err(refused)?;
    } else {
        let (uid, gid) = (geteuid(), getegid());
        unshare(namespaces(stage.net) | CloneFlags::CLONE_NEWUSER).map_err(refused)?;
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
    // The engine puts this process where its limits are before it says so.
    // Read without a buffer: what follows is for pid 1.
    fs::File::from(clone_stdin()?)
        .read_exact(&mut [0])
        .map_err(|source| format!("the daemon gave up: {source}"))?;
    let mut child = process::member_command("/proc/self/exe")
        .args(stage.next(StageName::Init).arguments())
        .stdin(Stdio::inherit())
        .spawn()
        .map_err(|source| format!("cannot start pid 1: {source}"))?;
    drop_stdin()?;
    let status = child
        .wait()
        .map_err(|source| format!("cannot wait for pid 1: {source}"))?;
    Ok(status.code().unwrap_or(1))
}

/// Leaves the channel to pid 1 alone: its closing is how the engine learns of the end.
fn drop_stdin() -> Result<(), String> {
    close(0).map_err(|errno| format!("cannot close the channel: {errno}"))
}

/// Closes everything but the three standard files and those named: what the daemon's own parent left open is not
/// for a box.
pub(super) fn close_inherited(kept: &[i32]) -> Result<(), String> {
    let open = fs::read_dir("/proc/self/fd").map_err(|source| format!("cannot list open files: {source}"))?;
    let numbers: Vec<i32> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2 && !kept.contains(number))
        .collect();
    for number in numbers {
        // The listing's own file is closed already.
        let _ = close(number);
    }
    Ok(())
}
