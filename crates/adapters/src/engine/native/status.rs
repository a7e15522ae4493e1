//! What the processes of a box tell their engine, one line each. Owns the words; the check itself cannot
//! write here.

use gantry_core::queue::build::Trouble;

/// Where a box is, as far as it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// Everything is made; the check starts now.
    Started,
    /// The check ended by itself.
    Exited(i32),
    /// A signal ended the check.
    Signalled(i32),
    /// Pid 1 of the box was killed; how.
    Died(String),
    /// The box could not be made or its check not be followed.
    Trouble(Trouble, String),
}

impl Status {
    /// Tells the engine, through standard error.
    pub(super) fn tell(&self) {
        let line = match self {
            Self::Started => "started".to_owned(),
            Self::Exited(code) => format!("exited {code}"),
            Self::Signalled(signal) => format!("signalled {signal}"),
            Self::Died(how) => format!("died {}", one_line(how)),
            Self::Trouble(Trouble::OutOfDisk, why) => format!("out-of-disk {}", one_line(why)),
            Self::Trouble(_, why) => format!("could-not-start {}", one_line(why)),
        };
        eprintln!("{line}");
    }

    /// Reads everything a box said. Lines that are no status are a program's last words: a panic, say.
    pub(super) fn parse_all(text: &[u8]) -> (Vec<Self>, String) {
        let mut told = Vec::new();
        let mut rest = Vec::new();
        for line in String::from_utf8_lossy(text).lines() {
            let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
            let status = match word {
                "started" => Some(Self::Started),
                "exited" => argument.parse().ok().map(Self::Exited),
                "signalled" => argument.parse().ok().map(Self::Signalled),
                "died" => Some(Self::Died(argument.to_owned())),
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

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_status_are_kept_apart() {
        let (told, rest) = Status::parse_all(b"started\nthread panicked\nexited 3\n");
        assert_eq!(told, [Status::Started, Status::Exited(3)]);
        assert_eq!(rest, "thread panicked");
    }

    #[test]
    fn trouble_keeps_its_reason() {
        let (told, _) = Status::parse_all(b"could-not-start cannot mount /proc: EPERM\n");
        let why = "cannot mount /proc: EPERM".to_owned();
        assert_eq!(told, [Status::Trouble(Trouble::CouldNotStart, why)]);
    }
}
