//! A job's folder: where its lock, socket, events and report are. Owns the lock and whole writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// A job's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFolder {
    path: PathBuf,
}

/// Held by the job while it lives.
#[derive(Debug)]
pub struct JobLock {
    _file: Flock<File>,
}

impl JobFolder {
    /// Names a folder that may or may not be there.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Makes the folder, readable by its owner only; one that is there is used.
    ///
    /// Errors: what the system said.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    /// Returns the folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where a file of the job is.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns where the socket is.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.file("control.sock")
    }

    /// Takes the job's lock; `None` if a job lives in this folder.
    ///
    /// Errors: what the system said about the lock's file.
    pub fn lock(&self) -> io::Result<Option<JobLock>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.file("lock"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0)?;
                write!(file, "{}", std::process::id())?;
                Ok(Some(JobLock { _file: file }))
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    /// Says whether a job lives here. Does not change the folder.
    ///
    /// Errors: what the system said; a folder that is not there holds no job.
    pub fn is_alive(&self) -> io::Result<bool> {
        let file = match File::open(self.file("lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(false),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(true),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    /// Returns the process that holds the lock or held it last, as it wrote itself down.
    #[must_use]
    pub fn process(&self) -> Option<i32> {
        // A lock without a readable number belongs to nobody who could be named.
        fs::read_to_string(self.file("lock")).ok()?.trim().parse().ok()
    }

    /// Writes a file of the job whole or not at all, and onto the disk.
    ///
    /// Errors: what the system said.
    pub fn write_whole(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, partial) = (self.file(name), self.file(&format!("{name}.part")));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        File::open(&self.path)?.sync_all()
    }

    /// Reads a file of the job, `None` if it is not there.
    ///
    /// Errors: what the system said.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.file(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_lives_while_its_lock_is_held() {
        let scratch = tempfile::tempdir().expect("a folder");
        let folder = JobFolder::create(scratch.path().join("B1")).expect("a folder");
        assert!(!folder.is_alive().expect("readable"));
        let lock = folder.lock().expect("lockable").expect("free");
        assert!(folder.is_alive().expect("readable"));
        assert!(folder.lock().expect("lockable").is_none(), "there is one holder");
        assert_eq!(folder.process(), i32::try_from(std::process::id()).ok());
        drop(lock);
        assert!(!folder.is_alive().expect("readable"));
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let scratch = tempfile::tempdir().expect("a folder");
        let folder = JobFolder::create(scratch.path().join("B1")).expect("a folder");
        assert_eq!(folder.read("report").expect("readable"), None);
        folder.write_whole("report", b"one").expect("room");
        folder.write_whole("report", b"two").expect("room");
        assert_eq!(
            folder.read("report").expect("readable").as_deref(),
            Some(&b"two"[..])
        );
        assert!(!folder.file("report.part").exists());
    }
}
