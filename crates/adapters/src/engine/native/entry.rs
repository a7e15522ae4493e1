//! Where this binary becomes a part of a box. Owns the hidden words that ask for it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::exit;

use super::{exec, files, init, status, supervise};
use crate::engine::BoxUser;
use crate::engine::native::status::Status;

/// The first argument of every process of a box.
pub(super) const ENTRY_WORD: &str = "__sandbox";
/// The plain user inside every box.
pub(super) const BOX_UID: u32 = 1000;
/// The host's user behind root of a box when the daemon is root; the 65,536 users of a box follow it. Above every
/// range in use (systemd's containers end at 1879048191), so that no file and no process of the host is its own.
/// Source: systemd's `docs/UIDS-GIDS.md`.
pub(super) const BOX_HOST_UID_FIRST: u32 = 1_900_000_000;
/// How many users a box of a root daemon has.
pub(super) const BOX_UIDS: u32 = 65_536;
/// The exit code of a stage that failed; its reason is in its status.
const STAGE_FAILED: i32 = 125;

/// What every stage of a box knows from its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) name: StageName,
    /// The box's folder, which also tells whose process this is.
    pub(super) folder: PathBuf,
    /// Whether the daemon is a root that may act as another user.
    pub(super) privileged: bool,
    pub(super) user: BoxUser,
    pub(super) net: Net,
    /// Descriptors of the box's mount and user namespaces, for the stages that enter them.
    pub(super) namespaces: [i32; 2],
}

/// Which network namespace a box is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Net {
    /// One of its own.
    Own,
    /// The host's.
    Host,
    /// That of the box whose pid 1 the host knows by this number.
    Of(i32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StageName {
    /// Makes the namespaces for a plain user.
    Supervise,
    /// Pid 1.
    Init,
    /// Lives as long as it takes to give the box its users.
    Users,
    /// Becomes a command.
    Exec,
    /// Writes one file.
    Put,
    /// Shows files.
    Visit,
}

const NAMES: [(StageName, &str); 6] = [
    (StageName::Supervise, "supervise"),
    (StageName::Init, "init"),
    (StageName::Users, "users"),
    (StageName::Exec, "exec"),
    (StageName::Put, "put"),
    (StageName::Visit, "visit"),
];

impl Stage {
    /// Returns the arguments that start this stage.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let name = NAMES.iter().find(|(name, _)| *name == self.name);
        let net = match self.net {
            Net::Own => "own".to_owned(),
            Net::Host => "host".to_owned(),
            Net::Of(pid) => pid.to_string(),
        };
        vec![
            ENTRY_WORD.into(),
            name.map_or("", |(_, word)| word).into(),
            self.folder.clone().into(),
            if self.privileged { "root" } else { "plain" }.into(),
            match self.user {
                BoxUser::Plain => "box",
                BoxUser::Root => "admin",
            }
            .into(),
            net.into(),
            self.namespaces[0].to_string().into(),
            self.namespaces[1].to_string().into(),
        ]
    }

    fn parse(arguments: &[OsString]) -> Option<Self> {
        let [word, name, folder, privileged, user, net, mounts, users] = arguments else {
            return None;
        };
        if word != ENTRY_WORD {
            return None;
        }
        let (name, _) = NAMES.iter().find(|(_, known)| name == known)?;
        Some(Self {
            name: *name,
            folder: folder.into(),
            privileged: privileged == OsStr::new("root"),
            user: if user == OsStr::new("admin") {
                BoxUser::Root
            } else {
                BoxUser::Plain
            },
            net: match net.to_str()? {
                "own" => Net::Own,
                "host" => Net::Host,
                pid => Net::Of(pid.parse().ok()?),
            },
            namespaces: [mounts.to_str()?.parse().ok()?, users.to_str()?.parse().ok()?],
        })
    }

    pub(super) fn next(&self, name: StageName) -> Self {
        Self { name, ..self.clone() }
    }
}

/// Returns the host's number of a user of a box of a root daemon.
pub(super) const fn host_uid(user: BoxUser) -> u32 {
    BOX_HOST_UID_FIRST + inner_uid(user)
}

/// Returns a box's own number of its user.
pub(super) const fn inner_uid(user: BoxUser) -> u32 {
    match user {
        BoxUser::Plain => BOX_UID,
        BoxUser::Root => 0,
    }
}

/// Becomes a part of a box and never returns, if the arguments ask for it; returns at once otherwise.
///
/// Call it first in `main`, before any thread is started: a process with threads cannot change its namespaces.
pub fn enter_if_asked() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).take(9).collect();
    if arguments.first().is_none_or(|word| word != ENTRY_WORD) {
        return;
    }
    let Some(stage) = Stage::parse(&arguments) else {
        eprintln!("{ENTRY_WORD} is for gantry itself: it starts the processes of a box");
        exit(2);
    };
    let ended = match stage.name {
        StageName::Supervise => supervise::supervise(&stage),
        StageName::Init => init::init(&stage),
        StageName::Users => exec::make_users(),
        StageName::Exec => exec::exec(&stage),
        StageName::Put => files::put(&stage),
        StageName::Visit => files::visit(&stage),
    };
    match ended {
        Ok(code) => exit(code),
        Err(why) => {
            status::tell(&Status::trouble(why));
            exit(STAGE_FAILED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_read_from_its_own_arguments() {
        for (name, _) in NAMES {
            for net in [Net::Own, Net::Host, Net::Of(77)] {
                let stage = Stage {
                    name,
                    folder: "/boxes/B1 x".into(),
                    privileged: true,
                    user: BoxUser::Root,
                    net,
                    namespaces: [5, 6],
                };
                assert_eq!(Stage::parse(&stage.arguments()), Some(stage));
            }
        }
    }

    #[test]
    fn other_arguments_are_not_a_stage() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(Stage::parse(&words(&["up"])), None);
        let wrong = ["__sandbox", "what", "/f", "root", "box", "own", "0", "0"];
        assert_eq!(Stage::parse(&words(&wrong)), None);
    }
}
