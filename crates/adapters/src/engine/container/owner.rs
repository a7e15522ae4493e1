//! Whose a container is. Owns the text that stands for a process until it ends and is never anybody else's; must never
//! call an owner gone that it cannot see.

use std::fmt;
use std::fs;
use std::io;

/// A process, told apart from every other one by when and where it started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    /// Clock ticks from the machine's start to the process's.
    started_ticks: u64,
    /// The machine's start.
    boot: String,
    /// The process number means something in this namespace only.
    namespace: String,
}

/// Whether an owner lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// It does.
    Lives,
    /// It does not.
    Gone,
    /// It is in another process namespace or on another machine.
    Unseen,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}:{}",
            self.pid, self.started_ticks, self.boot, self.namespace
        )
    }
}

impl Owner {
    /// Returns this process.
    ///
    /// Errors: `/proc` cannot be read.
    pub(super) fn this() -> io::Result<Self> {
        let pid = std::process::id();
        let started_ticks = started_ticks(pid)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self {
            pid,
            started_ticks,
            boot: boot()?,
            namespace: namespace()?,
        })
    }

    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let owner = Self {
            pid: parts.next()?.parse().ok()?,
            started_ticks: parts.next()?.parse().ok()?,
            boot: parts.next()?.to_owned(),
            namespace: parts.next()?.to_owned(),
        };
        parts.next().is_none().then_some(owner)
    }

    /// Says whether it lives.
    ///
    /// Errors: `/proc` cannot be read.
    pub(super) fn state(&self) -> io::Result<OwnerState> {
        if self.boot != boot()? || self.namespace != namespace()? {
            return Ok(OwnerState::Unseen);
        }
        let lives = started_ticks(self.pid)? == Some(self.started_ticks);
        Ok(if lives {
            OwnerState::Lives
        } else {
            OwnerState::Gone
        })
    }
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// Returns the process namespace's number.
fn namespace() -> io::Result<String> {
    let link = fs::read_link("/proc/self/ns/pid")?;
    Ok(link
        .to_string_lossy()
        .chars()
        .filter(char::is_ascii_digit)
        .collect())
}

/// Returns when a process started, or `None` if there is none; one that has ended and is not waited for is none.
fn started_ticks(pid: u32) -> io::Result<Option<u64>> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // The program's name is in brackets and may hold anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    match (fields.first(), fields.get(19)) {
        (Some(&"Z" | &"X"), _) => Ok(None),
        (_, Some(ticks)) => ticks.parse().map(Some).map_err(io::Error::other),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Owner), expected: OwnerState) {
        let mut owner = Owner::this().expect("/proc");
        change(&mut owner);
        let read = Owner::parse(&owner.to_string()).expect("its own text");
        assert_eq!(read, owner);
        assert_eq!(read.state().expect("/proc"), expected, "{owner}");
    }

    #[test]
    fn an_owner_is_gone_only_if_that_can_be_seen() {
        check(|_| (), OwnerState::Lives);
        check(|owner| owner.started_ticks += 1, OwnerState::Gone);
        check(|owner| owner.pid = u32::MAX, OwnerState::Gone);
        check(|owner| owner.boot.push('0'), OwnerState::Unseen);
        check(|owner| owner.namespace.push('0'), OwnerState::Unseen);
    }

    #[test]
    fn other_texts_are_nobody() {
        for text in ["", "1:2:3", "1:2:3:4:5", "x:2:3:4"] {
            assert_eq!(Owner::parse(text), None, "{text}");
        }
    }
}
