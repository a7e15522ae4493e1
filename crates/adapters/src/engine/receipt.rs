//! What a box that ended leaves to be known about it. Owns plain values only: who writes them down and in which
//! form is decided above.

use std::path::PathBuf;
use std::time::Duration;

/// What a box used, all of its processes together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Wall time from asking for the box to its end.
    pub wall: Duration,
    /// Processor time, user and system; `None` where it cannot be measured.
    pub cpu: Option<Duration>,
    /// The most memory held at once, in bytes, pages of its in-memory files included.
    pub memory_peak_bytes: Option<u64>,
    /// The most processes at once.
    pub processes_peak: Option<u64>,
    /// How often the kernel ended one of its processes for want of memory.
    pub oom_kills: u64,
    /// Bytes its commands wrote to their output, kept or not.
    pub output_bytes: u64,
}

/// What a box wrote into its root and its workspace, summarised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesWritten {
    /// Files, links and directories made or changed.
    pub changed_count: u64,
    /// Names taken away.
    pub removed_count: u64,
    /// Bytes of the regular files that were written.
    pub bytes: u64,
    /// The first of them as the box names them; at most `RECEIPT_PATHS_MAX`, the rest is counted only.
    pub paths: Vec<PathBuf>,
}

/// What is known of a box that ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxReceipt {
    /// Which engine made it.
    pub engine: String,
    /// The digest or name of the image it ran on.
    pub image: String,
    /// What it used.
    pub usage: Usage,
    /// What it wrote.
    pub files: FilesWritten,
    /// `host:port` it asked for and was let through to, or was refused (prefix `refused `); `None` if the network was
    /// full and nobody watched.
    pub hosts: Option<Vec<String>>,
    /// Limits that were asked for, in words, as they were held: `memory 2 GiB (cgroup v1)`.
    pub limits: Vec<String>,
    /// What of the box could not be removed, and why; the next reap tries again.
    pub leftover: Option<String>,
}
