//! The interface of box engines: what a box is given, what may be done with it while it lives, and what is told when
//! it ends. Must never know how a box is made.
//!
//! ```text
//! SandboxSpec ─ open ─► Sandbox ─ exec*, put_file*, visit_files* ─ close ─► SandboxReceipt
//! ```
//!
//! A box belongs to the process that opened it: when that process is gone, however it went, so is the box.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_core::id::CommitId;
use gantry_core::queue::build::Trouble;

use super::{SandboxControl, SandboxReceipt};

/// A place on the network.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A host name, an address, or `*.example.org` for every name below it.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// What a box can reach over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// Its own loopback and nothing else.
    None,
    /// What the host can reach.
    Full,
    /// These places only, through a proxy that the environment names; nothing else leads out.
    Allow(Vec<HostPort>),
}

/// One layer of a root file system, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootLayer(pub PathBuf);

/// What a box's root file system is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// The host's programs and libraries, read-only.
    Host,
    /// Layers of gantry's own image store, the lowest first; for the native engine.
    Layers {
        /// The image's digest.
        digest: String,
        /// Directories, the lowest first.
        layers: Vec<RootLayer>,
        /// The image's own environment.
        env: Vec<(String, String)>,
    },
    /// A name or digest that the engine itself knows or can get; for container engines.
    Named(String),
}

/// What is in the workspace at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workspace {
    /// Nothing.
    Empty,
    /// A commit's files and a Git directory of the box's own.
    Commit {
        /// The Git directory that holds the commit.
        repository: PathBuf,
        /// The commit.
        commit: CommitId,
    },
}

/// What a mount is for, which decides how it is handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    /// Read-only.
    ReadOnly,
    /// Shared with the host, written by both.
    Shared,
    /// Read-only below, private on top: what the box writes is gone with it.
    CopyOnWrite,
}

/// A host's file or directory in the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On the host; it must be there.
    pub host: PathBuf,
    /// In the box; absolute.
    pub at: PathBuf,
    /// How.
    pub kind: MountKind,
}

/// Whom the box's commands run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxUser {
    /// `box`, uid 1000, with no capability.
    Plain,
    /// `root` of the box's own user namespace and of nothing else: for images that are being built and containers
    /// that expect it.
    Root,
}

/// What a box may use; `None` is no limit of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory of all its processes and in-memory files, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time per wall time, in thousandths of one core.
    pub cpu_millis: Option<u64>,
    /// Processes and threads at once.
    pub processes: Option<u64>,
    /// Bytes of what it writes to its root and workspace.
    pub disk_bytes: Option<u64>,
    /// Files and directories it makes.
    pub inodes: Option<u64>,
    /// Whether what it writes is kept in memory (charged to `memory_bytes`) rather than on the disk.
    pub in_memory: bool,
}

/// What a box is given.
#[derive(Debug, Clone)]
pub struct SandboxSpec {
    /// What people call it, such as `B12-test`; two boxes may share a name.
    pub name: String,
    /// Its root file system.
    pub image: Image,
    /// What is in its workspace.
    pub workspace: Workspace,
    /// Where the workspace is in the box; absolute.
    pub workspace_at: PathBuf,
    /// What else is handed in, in this order.
    pub mounts: Vec<Mount>,
    /// Added to the environment every command of the box has; the later of two equal names wins.
    pub env: Vec<(String, String)>,
    /// What it can reach.
    pub network: Network,
    /// What it may use.
    pub limits: Limits,
    /// Whom its commands run as.
    pub user: BoxUser,
    /// Boxes that share its network and live as long as it does, each ready before the first command.
    pub services: Vec<ServiceSpec>,
}

/// A service beside a box, such as a database: a box in the same network, found by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its host name.
    pub name: String,
    /// What it runs on.
    pub image: Image,
    /// Its command; empty for the image's own.
    pub command: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// A command in it that ends with 0 once it is ready; empty: ready at once.
    pub health: Vec<String>,
    /// How long it may take to become ready.
    pub ready_within: Duration,
}

/// One command in a box that lives.
#[derive(Debug, Clone)]
pub struct ExecSpec {
    /// The program and its arguments; a shell line is `/bin/sh -c LINE`.
    pub command: Vec<String>,
    /// Added to the box's environment; the later of two equal names wins.
    pub env: Vec<(String, String)>,
    /// The working directory in the box; absolute. It must be there.
    pub directory: PathBuf,
    /// Wall time; then it is asked to end (SIGTERM), and ended after [`ExecSpec::grace`].
    pub timeout: Duration,
    /// How long a command that is asked to end may take.
    pub grace: Duration,
}

/// How a command in a box ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEnding {
    /// By itself; 127 also if it is not there or cannot be executed.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// By a signal of somebody in the box, or its own.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// Because the kernel had no memory left for the box: its own limit, not the host's.
    OutOfMemory,
    /// It ran into its time limit.
    TimedOut,
    /// [`SandboxControl::cancel`] ended it.
    Cancelled,
    /// No verdict, nobody is blamed; the reason.
    Trouble(Trouble, String),
}

/// What is told about a command that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecReport {
    /// How it ended.
    pub ending: ExecEnding,
    /// Wall time.
    pub duration: Duration,
}

/// Takes a command's output, standard output and standard error in the order of their arrival.
///
/// An error ends the command with [`ExecEnding::Trouble`]: out of disk if it says so, too much output for
/// [`io::ErrorKind::FileTooLarge`], interrupted otherwise.
pub type Output<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

/// What something found in a box is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundKind {
    /// A directory.
    Directory,
    /// A regular file and its length in bytes.
    File {
        /// Its length.
        bytes: u64,
    },
    /// A symbolic link and where it says it leads; it is never followed.
    Link(PathBuf),
    /// A device, socket or pipe; never opened.
    Other,
}

/// Something found in a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its path relative to where the visit began; empty for the start itself.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: FoundKind,
}

/// Is shown what is in a box, parents before children, names of one directory in byte order.
pub trait FileVisitor {
    /// Says whether to go into a directory.
    fn enter(&mut self, directory: &Found) -> bool {
        let _ = directory;
        true
    }

    /// Takes one thing; `content` reads a regular file's bytes and is empty for everything else.
    ///
    /// Errors: ends the visit with this error.
    fn visit(&mut self, found: &Found, content: &mut dyn Read) -> io::Result<()>;
}

/// Why a box was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The tree cannot be checked out anywhere: the change's own fault.
    #[error("{0}")]
    Refused(String),
    /// What is asked for cannot be held or had here; says what to ask for instead.
    #[error("{0}")]
    Unsupported(String),
    /// Somebody asked to stop.
    #[error("the box was cancelled before it was ready")]
    Cancelled,
    /// Nobody's fault.
    #[error("{1}")]
    Trouble(Trouble, String),
}

/// Why something could not be done with a box.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The box is not there any more.
    #[error("the box has ended")]
    Gone,
    /// There is nothing at this path in the box, or it is not what is asked for.
    #[error("{path} in the box: {why}")]
    Path {
        /// The path as the box names it.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The system refused.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: String,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// A box that lives. Dropping it ends it and removes what can be removed; [`Sandbox::close`] also tells about it.
pub trait Sandbox: Send + Sync {
    /// Runs one command to its end; several may run at once. Blocks. Everything the command wrote before its end is
    /// handed to `output`. What it left running in the background goes on until the box ends (its output is dropped),
    /// but a command that timed out or was cancelled takes its whole session with it.
    fn exec(&self, spec: &ExecSpec, output: &mut Output<'_>, control: &SandboxControl) -> ExecReport;

    /// Writes a file in the box, owned by the box's user; parents are made, what is there is replaced, no link is
    /// followed out of the box.
    ///
    /// Errors: [`SandboxError`].
    fn put_file(&self, at: &Path, bytes: &[u8], mode: u32) -> Result<(), SandboxError>;

    /// Shows everything at and below a path in the box. Links in the path itself are resolved inside the box.
    ///
    /// Errors: [`SandboxError`], [`SandboxError::Path`] if there is nothing.
    fn visit_files(&self, at: &Path, visitor: &mut dyn FileVisitor) -> Result<(), SandboxError>;

    /// Returns the host directory that holds what the box changed of its root, for image builds; `None` if the engine
    /// has none.
    fn changed_root(&self) -> Option<PathBuf>;

    /// Stops (`true`) or continues every process of the box.
    ///
    /// Errors: [`SandboxError`].
    fn freeze(&self, frozen: bool) -> Result<(), SandboxError>;

    /// Ends the box and tells about it. Nothing of it is left, but for [`SandboxReceipt::leftover`].
    fn close(self: Box<Self>) -> SandboxReceipt;
}

/// Why an engine cannot be used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {engine} engine cannot make boxes here: {why}; {mend}")]
pub struct EngineUnavailable {
    /// The engine.
    pub engine: &'static str,
    /// What was refused.
    pub why: String,
    /// What to do about it: a command where one is known.
    pub mend: String,
}

/// Why leftovers of earlier boxes could not all be ended.
#[derive(Debug, thiserror::Error)]
#[error("cannot clear {}", path.display())]
pub struct ReapError {
    /// What is still there.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Makes boxes.
pub trait SandboxEngine: Send + Sync {
    /// Returns the name a configuration file uses for it.
    fn name(&self) -> &'static str;

    /// Makes one empty box and ends it, to tell whether the engine works here; returns what it can hold and what
    /// not, in sentences (`limits by cgroup v1: memory, cpu, pids`).
    ///
    /// Errors: [`EngineUnavailable`] with the cause and what mends it.
    fn probe(&self) -> Result<Vec<String>, EngineUnavailable>;

    /// Makes a box. Blocks until its first command can start; a limit that cannot be held is refused.
    ///
    /// Errors: [`OpenError`].
    fn open(&self, spec: &SandboxSpec, control: &SandboxControl) -> Result<Box<dyn Sandbox>, OpenError>;

    /// Ends every leftover of owners that are gone: processes, mounts, cgroups, networks, containers and folders.
    /// Returns how many boxes it ended. Boxes whose owner lives are left alone, whoever that is.
    ///
    /// Errors: [`ReapError`] for the first that could not be ended; the others are ended all the same.
    fn reap(&self) -> Result<usize, ReapError>;
}
