//! What the processes of a box tell their engine, one line each, on a pipe that no command of the box holds. Owns
//! the words.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use gantry_core::queue::build::Trouble;
use nix::errno::Errno;

/// Where a box or a command of it is, as far as it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// Everything is made; commands may start.
    Ready,
    /// The command ended by itself.
    Exited(i32),
    /// A signal ended the command.
    Signalled(i32),
    /// What was asked for is done.
    Done,
    /// It could not be done.
    Trouble(Trouble, String),
}

impl Status {
    /// Makes the word for a refusal of the host; a full disk is told apart by the system's own words.
    pub(super) fn trouble(why: String) -> Self {
        let full = [Errno::ENOSPC, Errno::EDQUOT].iter().any(|errno| {
            let said = std::io::Error::from(*errno);
            why.contains(&said.to_string()) || why.contains(&errno.to_string())
        });
        // Namespaces that are used up are told with the same number.
        if full && !why.contains("namespace") {
            return Self::Trouble(Trouble::OutOfDisk, why);
        }
        Self::Trouble(Trouble::CouldNotStart, why)
    }

    fn line(&self) -> String {
        match self {
            Self::Ready => "ready\n".to_owned(),
            Self::Exited(code) => format!("exited {code}\n"),
            Self::Signalled(signal) => format!("signalled {signal}\n"),
            Self::Done => "done\n".to_owned(),
            Self::Trouble(Trouble::OutOfDisk, why) => format!("out-of-disk {}\n", one_line(why)),
            Self::Trouble(_, why) => format!("could-not-start {}\n", one_line(why)),
        }
    }

    /// Reads everything that was said. Lines that are no status are a program's last words: a panic, say.
    pub(super) fn parse_all(text: &[u8]) -> (Vec<Self>, String) {
        let mut told = Vec::new();
        let mut rest = Vec::new();
        for line in String::from_utf8_lossy(text).lines() {
            let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
            let status = match word {
                "ready" => Some(Self::Ready),
                "done" => Some(Self::Done),
                "exited" => argument.parse().ok().map(Self::Exited),
                "signalled" => argument.parse().ok().map(Self::Signalled),
                "out-of-disk" => Some(Self::Trouble(Trouble::OutOfDisk, argument.to_owned())),
                "could-not-start" => Some(Self::Trouble(Trouble::CouldNotStart, argument.to_owned())),
                _ => None,
            };
            match status {
                Some(status) => told.push(status),
                None => rest.push(line.to_owned()),
            }
        }
        (told, rest.join("; "))
    }
}

/// Tells the engine, through standard error.
pub(super) fn tell(status: &Status) {
    // An engine that does not listen any more is about to end the box.
    let _ = std::io::stderr().write_all(status.line().as_bytes());
}

/// Tells the engine through a pipe it handed in, and closes it.
pub(super) fn tell_through(pipe: OwnedFd, status: &Status) {
    // As above.
    let _ = File::from(pipe).write_all(status.line().as_bytes());
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_status_are_kept_apart() {
        let (told, rest) = Status::parse_all(b"ready\nthread panicked\nexited 3\n");
        assert_eq!(told, [Status::Ready, Status::Exited(3)]);
        assert_eq!(rest, "thread panicked");
    }

    #[test]
    fn trouble_keeps_its_reason_and_a_full_disk_is_told_apart() {
        for why in [
            "cannot mount /proc: EPERM",
            "cannot make namespaces: ENOSPC: No space left on device",
        ] {
            let status = Status::trouble(why.to_owned());
            assert_eq!(status, Status::Trouble(Trouble::CouldNotStart, why.to_owned()));
            assert_eq!(Status::parse_all(status.line().as_bytes()).0, [status]);
        }
        let full = Status::trouble("cannot make /a: No space left on device (os error 28)".to_owned());
        assert!(matches!(full, Status::Trouble(Trouble::OutOfDisk, _)));
    }
}
