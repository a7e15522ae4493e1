//! Pid 1 of a box. Owns its mounts, its one check and its end: when this process exits, the kernel kills every
//! process of the box. Must never run anything of the box with its own rights.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio, exit};
use std::thread;
use std::time::Duration;

use gantry_core::limits::BOX_GRACE;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, sethostname, setsid};

use super::entry::{BOX_HOST_UID, BOX_UID, Stage, StageName};
use super::order::Order;
use super::status::Status;
use super::{loopback, mounts};
use crate::engine::Network;
use crate::process;

/// What the daemon writes to end the check gently. Closing the pipe ends it at once.
pub(super) const END_GENTLY: u8 = b't';

/// Makes what the box sees, runs the check, and returns when the check has ended.
pub(super) fn init(stage: &Stage) -> Result<i32, String> {
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| format!("cannot die with the supervisor: {errno}"))?;
    // Away from the daemon's terminal, should it have one.
    setsid().map_err(|errno| format!("cannot start a session: {errno}"))?;
    let mut control = File::from(clone_stdin()?);
    let order = Order::read(&mut control).map_err(|source| format!("cannot read the order: {source}"))?;
    sethostname("box").map_err(|errno| format!("cannot set the host name: {errno}"))?;
    if stage.network == Network::None {
        loopback::bring_up().map_err(|errno| format!("cannot bring the loopback up: {errno}"))?;
    }
    mounts::make_root(&stage.folder, &order.steps)?;
    let (child, mut channel) = start_check(stage)?;
    thread::spawn(move || obey(control));
    map_user(stage, &child, &mut channel, &order)?;
    Status::Started.tell();
    await_check(&child)
}

/// Waits for the check and for every orphan that is handed to pid 1.
fn await_check(child: &Child) -> Result<i32, String> {
    let check = i32::try_from(child.id()).map_err(|_| "the check has no process number".to_owned())?;
    loop {
        let status = match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == check => Status::Exited(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == check => {
                Status::Signalled(signal as i32)
            }
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(format!("cannot wait for the check: {errno}")),
        };
        status.tell();
        return Ok(0);
    }
}

/// Starts the stage that becomes the check, waiting for its user.
fn start_check(stage: &Stage) -> Result<(Child, UnixStream), String> {
    let trouble = |source| format!("cannot start the check's own process: {source}");
    let (ours, theirs) = UnixStream::pair().map_err(trouble)?;
    let child = process::member_command("/proc/self/exe")
        .args(stage.next(StageName::Exec).arguments())
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::inherit())
        .spawn()
        .map_err(trouble)?;
    Ok((child, ours))
}

/// Hands the order to the check's process and gives it the box's user, in a user namespace of its own.
fn map_user(stage: &Stage, child: &Child, channel: &mut UnixStream, order: &Order) -> Result<(), String> {
    let only_check = Order {
        steps: Vec::new(),
        ..order.clone()
    };
    let trouble = |source| format!("the check's process gave up: {source}");
    only_check.write(channel).map_err(trouble)?;
    let mut word = [0];
    channel.read_exact(&mut word).map_err(trouble)?;
    let outside = if stage.privileged { BOX_HOST_UID } else { 0 };
    for file in ["gid_map", "uid_map"] {
        let path = format!("/proc/{}/{file}", child.id());
        fs::write(&path, format!("{BOX_UID} {outside} 1"))
            .map_err(|source| format!("cannot write {path}: {source}"))?;
    }
    channel.write_all(&word).map_err(trouble)
}

/// Ends the box when the daemon says so, or is gone.
fn obey(mut control: File) {
    let mut word = [0];
    if let Ok(1) = control.read(&mut word)
        && word[0] == END_GENTLY
    {
        // Nobody left to be told is as good as told.
        let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
        wait_for_close(&control, BOX_GRACE);
    }
    exit(0);
}

fn wait_for_close(control: &File, limit: Duration) {
    let mut waits = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    // Whatever the answer is, the box ends now.
    let _ = poll(&mut waits, timeout);
}

pub(super) fn clone_stdin() -> Result<OwnedFd, String> {
    std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| format!("cannot use standard input: {source}"))
}
