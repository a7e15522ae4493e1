//! The side of whoever started a job or found it again. Owns connecting by the folder, asking and watching.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_core::limits::{JOB_ANSWER_WAIT, JOB_EVENT_BYTES_MAX};

use super::JobFolder;
use super::server::{RENEW, WATCH};

/// Talks to the job of one folder.
#[derive(Debug, Clone)]
pub struct JobClient {
    folder: JobFolder,
}

/// How a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEnd {
    /// The job ended the stream, or died.
    Closed,
    /// The watcher wanted no more.
    Stopped,
}

impl JobClient {
    /// Names the job; nothing is opened yet.
    #[must_use]
    pub fn of(folder: JobFolder) -> Self {
        Self { folder }
    }

    /// Sends a request and returns the line it is answered with.
    ///
    /// Errors: nobody listens (`ConnectionRefused`, `NotFound`), or no answer in time.
    pub fn ask(&self, request: &str) -> io::Result<String> {
        let mut answer = String::new();
        let stream = self.send(request)?;
        stream.set_read_timeout(Some(JOB_ANSWER_WAIT))?;
        BufReader::new(stream.take(JOB_EVENT_BYTES_MAX)).read_line(&mut answer)?;
        Ok(answer.trim_end_matches('\n').to_owned())
    }

    /// Sends a request whose answer is a stream of its own.
    ///
    /// Errors: nobody listens.
    pub fn send(&self, request: &str) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(short(&self.folder.socket())?.path())?;
        stream.write_all(format!("{request}\n").as_bytes())?;
        Ok(stream)
    }

    /// Says that somebody still wants the job's result.
    ///
    /// Errors: nobody listens.
    pub fn renew(&self) -> io::Result<()> {
        self.ask(RENEW).map(|_| ())
    }

    /// Hands every event, those before as well, to `each` until it says stop or the job ends; renews the lease at
    /// `renew_every` meanwhile.
    ///
    /// Errors: nobody listens, or the connection broke.
    pub fn watch(&self, renew_every: Duration, mut each: impl FnMut(&str) -> bool) -> io::Result<WatchEnd> {
        let stream = self.send(WATCH)?;
        stream.set_read_timeout(Some(renew_every))?;
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            let room = JOB_EVENT_BYTES_MAX.saturating_sub(line.len() as u64);
            match reader.by_ref().take(room).read_until(b'\n', &mut line) {
                Ok(0) => return Ok(WatchEnd::Closed),
                Ok(_) if line.ends_with(b"\n") => {
                    line.pop();
                    if !each(&String::from_utf8_lossy(&line)) {
                        return Ok(WatchEnd::Stopped);
                    }
                    line.clear();
                }
                Ok(_) if line.len() as u64 >= JOB_EVENT_BYTES_MAX => {
                    return Err(io::Error::other("an event is longer than any event is"));
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    self.renew()?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A socket's path by way of its folder's descriptor: names of sockets have 108 bytes at most, folders do not.
pub(super) struct Short {
    _folder: File,
    path: PathBuf,
}

impl Short {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

pub(super) fn short(socket: &Path) -> io::Result<Short> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = File::open(folder)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok(Short {
        _folder: folder,
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobServer, Reply};
    use std::sync::Arc;

    fn server() -> (tempfile::TempDir, Arc<JobServer>, JobClient) {
        let scratch = tempfile::tempdir().expect("a folder");
        // Longer than any socket's name.
        let folder = JobFolder::create(scratch.path().join("x".repeat(200))).expect("a folder");
        let server = Arc::new(JobServer::claim(folder.clone()).expect("lockable").expect("free"));
        server
            .serve(|request| Reply::Line(format!("you said {request}")))
            .expect("a socket");
        (scratch, server, JobClient::of(folder))
    }

    #[test]
    fn a_request_is_answered() {
        let (_scratch, _server, client) = server();
        assert_eq!(client.ask("hello").expect("an answer"), "you said hello");
        client.renew().expect("renewed");
    }

    #[test]
    fn a_watcher_gets_what_was_before_and_what_comes() {
        let (_scratch, server, client) = server();
        server.publish("one").expect("room");
        let mut seen = Vec::new();
        let end = client.watch(JOB_ANSWER_WAIT, |line| {
            seen.push(line.to_owned());
            match line {
                "one" => server.publish("two").expect("room"),
                _ => server.end(),
            }
            true
        });
        assert_eq!(end.expect("it listens"), WatchEnd::Closed);
        assert_eq!(seen, ["one", "two"]);
    }

    #[test]
    fn a_lease_nobody_renews_runs_out_and_an_ended_job_has_none() {
        let (_scratch, server, client) = server();
        assert!(server.wait_lease(Duration::ZERO));
        client.renew().expect("renewed");
        server.end();
        assert!(!server.wait_lease(JOB_ANSWER_WAIT));
    }
}
