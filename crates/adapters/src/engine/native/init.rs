//! Pid 1 of a box. Owns making it, its commands and its end: when this process exits, the kernel kills every
//! process of the box. It stays outside the box's root and never runs anything of the box with its own rights.
//!
//! ```text
//! engine ── channel ──► pid 1 ── spawns ──► exec: enters the box, becomes its user ── becomes ──► a command
//! ```

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{ChildStdin, Stdio, exit};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_dumpable, set_pdeathsig};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, sethostname, setsid};

use super::entry::{BOX_HOST_UID_FIRST, BOX_UIDS, Net, Stage, StageName, inner_uid};
use super::exec::{clone_stdin, tag};
use super::message::{Message, Request, receive, send};
use super::setup::Setup;
use super::status::{Status, tell, tell_through};
use super::supervise::close_inherited;
use super::{changes, loopback, proxy, root};
use crate::process;

/// What the engine may ask for.
pub(super) mod ask {
    pub(in super::super) const SETUP: u8 = b'S';
    pub(in super::super) const EXEC: u8 = b'x';
    pub(in super::super) const SIGNAL: u8 = b's';
    pub(in super::super) const SIGNAL_ALL: u8 = b'a';
    pub(in super::super) const PUT: u8 = b'p';
    pub(in super::super) const VISIT: u8 = b'v';
    pub(in super::super) const CHANGES: u8 = b'c';
    /// What pid 1 hands out: the port of the proxy.
    pub(in super::super) const PROXY: u8 = b'P';
}

/// Makes the box and serves the engine; never returns once the box is made.
pub(super) fn init(stage: &Stage) -> Result<i32, String> {
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| format!("cannot die with the daemon: {errno}"))?;
    close_inherited(&[])?;
    // What the box sees and makes is the same whatever mask the daemon has.
    umask(Mode::from_bits_truncate(0o022));
    set_dumpable(false).map_err(|errno| format!("cannot hide from the box: {errno}"))?;
    // Away from the daemon's terminal, should it have one.
    setsid().map_err(|errno| format!("cannot start a session: {errno}"))?;
    let channel = UnixStream::from(clone_stdin()?);
    let gone = |source| format!("the daemon gave up: {source}");
    let Some(request) = receive(&channel).map_err(gone)? else {
        exit(0);
    };
    let setup = Setup::of_message(request.message).ok_or("the order is not one")?;
    // A kernel without them shows the host's groups in /proc/self/cgroup, and nothing else.
    let _ = unshare(CloneFlags::CLONE_NEWCGROUP);
    sethostname("box").map_err(|errno| format!("cannot set the host name: {errno}"))?;
    if stage.net == Net::Own {
        loopback::bring_up().map_err(|errno| format!("cannot bring the loopback up: {errno}"))?;
    }
    let made = root::make(stage, &setup)?;
    let users = make_users(stage, &made.entry)?;
    if setup.proxy {
        let port = proxy::open_port().map_err(|source| format!("cannot open the proxy's port: {source}"))?;
        send(&channel, ask::PROXY, &[port.as_fd()], &Message::default()).map_err(gone)?;
    }
    let pid_one = PidOne {
        stage: stage.clone(),
        entry: made.entry,
        mounts: made.mounts,
        users,
        uppers: made.uppers,
        _folder: made.folder,
        running: Arc::default(),
    };
    let running = Arc::clone(&pid_one.running);
    thread::spawn(move || bury(&running));
    tell(&Status::Ready);
    pid_one.serve(&channel)
}

/// Makes the user namespace of the box: a child makes it, this process fills it and keeps it.
fn make_users(stage: &Stage, entry: &std::path::Path) -> Result<File, String> {
    let trouble = |source| format!("cannot give the box its users: {source}");
    let mut child = process::member_command(entry)
        .args(stage.next(StageName::Users).arguments())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(trouble)?;
    if let Some(told) = &mut child.stdout {
        told.read_exact(&mut [0]).map_err(trouble)?;
    }
    let line = if stage.privileged {
        format!("0 {BOX_HOST_UID_FIRST} {BOX_UIDS}")
    } else {
        format!("{} 0 1", inner_uid(stage.user))
    };
    for file in ["gid_map", "uid_map"] {
        let path = format!("/proc/{}/{file}", child.id());
        fs::write(&path, &line).map_err(|source| format!("cannot write {path}: {source}"))?;
    }
    let namespace = File::open(format!("/proc/{}/ns/user", child.id())).map_err(trouble)?;
    drop(child.stdin.take());
    child.wait().map_err(trouble)?;
    keep_open(&namespace)?;
    Ok(namespace)
}

type Running = Arc<(Mutex<Commands>, Condvar)>;

/// The commands that run, by process number.
#[derive(Default)]
struct Commands(HashMap<i32, (String, OwnedFd)>);

fn lock(running: &Running) -> MutexGuard<'_, Commands> {
    // The map is changed in one step: a panic elsewhere cannot leave it half changed.
    running.0.lock().unwrap_or_else(PoisonError::into_inner)
}

struct PidOne {
    stage: Stage,
    entry: PathBuf,
    mounts: File,
    users: File,
    uppers: Vec<changes::UpperAt>,
    _folder: OwnedFd,
    running: Running,
}

impl PidOne {
    /// Does what the engine asks for until it is gone.
    fn serve(&self, channel: &UnixStream) -> ! {
        while let Ok(Some(request)) = receive(channel) {
            self.obey(request);
        }
        exit(0);
    }

    fn obey(&self, request: Request) {
        let mut descriptors = request.descriptors.into_iter();
        let first = descriptors.next();
        let second = descriptors.next();
        match (request.kind, first, second) {
            (ask::EXEC, Some(output), Some(status)) => self.exec(&request.message, output, status),
            (ask::PUT, Some(content), Some(status)) => {
                self.start(StageName::Put, "", [content.into(), Stdio::null()], status);
            }
            (ask::VISIT, Some(conversation), Some(status)) => match conversation.try_clone() {
                Ok(input) => {
                    self.start(StageName::Visit, "", [input.into(), conversation.into()], status);
                }
                Err(source) => tell_through(status, &Status::trouble(source.to_string())),
            },
            (ask::CHANGES, Some(output), _) => {
                let uppers = self.uppers.clone();
                thread::spawn(move || changes::tell_changes(&uppers, output));
            }
            (ask::SIGNAL, ..) => self.signal_session(&request.message),
            (ask::SIGNAL_ALL, ..) => {
                if let Some(signal) = signal_of(&request.message) {
                    // Nobody left to be told is as good as told.
                    let _ = kill(Pid::from_raw(-1), signal);
                }
            }
            _ => {}
        }
    }

    /// Starts a stage that enters the box; a refusal is told through its status.
    fn start(
        &self,
        name: StageName,
        number: &str,
        [stdin, stdout]: [Stdio; 2],
        status: OwnedFd,
    ) -> Option<ChildStdin> {
        let stage = Stage {
            namespaces: [self.mounts.as_raw_fd(), self.users.as_raw_fd()],
            ..self.stage.next(name)
        };
        let trouble = |source| format!("cannot start a process in the box: {source}");
        let told = match status.try_clone() {
            Ok(told) => told,
            Err(source) => {
                tell_through(status, &Status::trouble(trouble(source)));
                return None;
            }
        };
        // Held until the command is known, so that its end cannot be seen before.
        let mut running = lock(&self.running);
        let child = process::member_command(&self.entry)
            .args(stage.arguments())
            .stdin(stdin)
            .stdout(stdout)
            .stderr(told)
            .spawn();
        match child {
            Ok(mut child) => {
                let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
                running.0.insert(pid, (number.to_owned(), status));
                drop(running);
                self.running.1.notify_all();
                child.stdin.take()
            }
            Err(source) => {
                drop(running);
                tell_through(status, &Status::trouble(trouble(source)));
                None
            }
        }
    }

    fn exec(&self, message: &Message, output: OwnedFd, status: OwnedFd) {
        let number = message.first(tag::NUMBER).unwrap_or_default().to_string_lossy();
        let stdio = [Stdio::piped(), output.into()];
        if let Some(mut order) = self.start(StageName::Exec, &number, stdio, status) {
            // A stage that died says so by its end.
            let _ = message.write(&mut order);
        }
    }

    /// Signals every process of the session a command leads.
    fn signal_session(&self, message: &Message) {
        let (Some(number), Some(signal)) = (message.first(tag::NUMBER), signal_of(message)) else {
            return;
        };
        let leader = {
            let running = lock(&self.running);
            let found = running.0.iter().find(|(_, (known, _))| number == known.as_str());
            found.map(|(pid, _)| *pid)
        };
        if let Some(leader) = leader {
            for pid in session_members(leader) {
                // One that ended in the meantime needs no signal.
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
    }
}

fn signal_of(message: &Message) -> Option<Signal> {
    let number: i32 = message.first(b'S')?.to_str()?.parse().ok()?;
    Signal::try_from(number).ok()
}

/// Lists the processes of a session. Source: proc_pid_stat(5), field 6.
fn session_members(leader: i32) -> Vec<i32> {
    let mut members = vec![leader];
    // Without a process table the leader alone is signalled.
    let Ok(entries) = fs::read_dir("/proc") else {
        return members;
    };
    for entry in entries.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let Ok(stat) = fs::read(entry.path().join("stat")) else {
            continue;
        };
        let behind_name = stat.iter().rposition(|byte| *byte == b')').unwrap_or(0);
        let text = String::from_utf8_lossy(&stat[behind_name..]).into_owned();
        let session = text.split(' ').nth(4).and_then(|field| field.parse::<i32>().ok());
        if pid != leader && session == Some(leader) {
            members.push(pid);
        }
    }
    members
}

/// Waits for every child of pid 1, orphans of the box among them, and tells how commands ended.
fn bury(running: &Running) {
    loop {
        let (pid, status) = match wait() {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Status::Exited(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Status::Signalled(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(_) => {
                // No child at all: the next one is waited for.
                let commands = lock(running);
                if commands.0.is_empty() {
                    drop(running.1.wait(commands));
                }
                continue;
            }
        };
        let ended = lock(running).0.remove(&pid.as_raw());
        if let Some((_, pipe)) = ended {
            tell_through(pipe, &status);
        }
    }
}

/// Lets a descriptor pass to the next program.
pub(super) fn keep_open(descriptor: &impl AsFd) -> Result<(), String> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))
        .map(drop)
        .map_err(|errno| format!("cannot keep a descriptor open: {errno}"))
}
