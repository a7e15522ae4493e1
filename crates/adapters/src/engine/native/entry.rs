//! Where this binary becomes a part of a box. Owns the hidden words that ask for it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::exit;

use gantry_core::queue::build::Trouble;

use super::status::Status;
use super::{exec, init, supervise};
use crate::engine::Network;

/// The first argument of every process of a box.
pub(super) const ENTRY_WORD: &str = "__sandbox";
/// The user inside every box.
pub(super) const BOX_UID: u32 = 1000;
/// The host's user behind it when the daemon is root: above every range in use (systemd's containers end at
/// 1879048191), so that no file and no process of the host is its own.
/// Source: systemd's `docs/UIDS-GIDS.md`.
pub(super) const BOX_HOST_UID: u32 = 1_900_000_000;
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
    pub(super) network: Network,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StageName {
    Supervise,
    Init,
    Exec,
}

impl Stage {
    /// Returns the arguments that start this stage.
    pub(super) fn arguments(&self) -> [OsString; 5] {
        let name = match self.name {
            StageName::Supervise => "supervise",
            StageName::Init => "init",
            StageName::Exec => "exec",
        };
        let user = if self.privileged { "root" } else { "plain" };
        let network = match self.network {
            Network::None | Network::Allow(_) => "none",
            Network::Full => "full",
        };
        [
            ENTRY_WORD.into(),
            name.into(),
            self.folder.clone().into(),
            user.into(),
            network.into(),
        ]
    }

    fn parse(arguments: &[OsString]) -> Option<Self> {
        let [word, name, folder, user, network] = arguments else {
            return None;
        };
        if word != ENTRY_WORD {
            return None;
        }
        let name = match name.to_str()? {
            "supervise" => StageName::Supervise,
            "init" => StageName::Init,
            "exec" => StageName::Exec,
            _ => return None,
        };
        Some(Self {
            name,
            folder: folder.into(),
            privileged: user == OsStr::new("root"),
            network: if network == OsStr::new("full") {
                Network::Full
            } else {
                Network::None
            },
        })
    }

    pub(super) fn next(&self, name: StageName) -> Self {
        Self { name, ..self.clone() }
    }
}

/// Becomes a part of a box and never returns, if the arguments ask for it; returns at once otherwise.
///
/// Call it first in `main`, before any thread is started: a process with threads cannot change its namespaces.
pub fn enter_if_asked() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).take(6).collect();
    if arguments.first().is_none_or(|word| word != ENTRY_WORD) {
        return;
    }
    let Some(stage) = Stage::parse(&arguments) else {
        eprintln!("{ENTRY_WORD} is for gantry itself: it starts the processes of a box");
        exit(2);
    };
    let failed = match stage.name {
        StageName::Supervise => supervise::supervise(&stage),
        StageName::Init => init::init(&stage),
        StageName::Exec => exec::exec(&stage),
    };
    match failed {
        Ok(code) => exit(code),
        Err(why) => {
            Status::Trouble(Trouble::CouldNotStart, why).tell();
            exit(STAGE_FAILED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_read_from_its_own_arguments() {
        for name in [StageName::Supervise, StageName::Init, StageName::Exec] {
            let stage = Stage {
                name,
                folder: "/boxes/B1 x".into(),
                privileged: true,
                network: Network::Full,
            };
            assert_eq!(Stage::parse(&stage.arguments()), Some(stage));
        }
    }

    #[test]
    fn other_arguments_are_not_a_stage() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(Stage::parse(&words(&["up"])), None);
        assert_eq!(
            Stage::parse(&words(&["__sandbox", "what", "/f", "root", "none"])),
            None
        );
    }
}
