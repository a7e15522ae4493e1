//! Starts a job as a process of its own that goes on when this one dies. Owns the hand-over of the order, which goes
//! through a pipe: arguments and files can be read by others.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

use super::JobFolder;
use crate::process;

/// Starts `program words… FOLDER` with the order on its standard input; what it says of itself goes to `process.out`.
///
/// Of the starter's variables only a few of the system's and those of `variables` are handed on.
///
/// The caller waits for the child while it lives; a job whose starter died is waited for by the system. The job
/// leaves the starter's session itself.
///
/// Errors: what the system said.
pub fn start_job(
    program: &Path,
    words: &[&OsStr],
    folder: &JobFolder,
    order: &[u8],
    variables: &[String],
) -> io::Result<Child> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(folder.file("process.out"))?;
    let mut command = process::member_command(program);
    for name in [
        "HOME",
        "TMPDIR",
        "XDG_RUNTIME_DIR",
        "DOCKER_HOST",
        "CONTAINER_HOST",
        "RUST_LOG",
        "RUST_BACKTRACE",
    ] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for name in variables {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let mut child = command
        .args(words)
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let Some(mut stdin) = child.stdin.take() else {
        return Err(io::Error::other("the job's pipe was not made"));
    };
    if let Err(error) = stdin.write_all(order) {
        // It died before it read its order: its end tells why, in its log.
        if error.kind() != io::ErrorKind::BrokenPipe {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
    }
    Ok(child)
}
