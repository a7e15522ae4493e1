//! What is wrong with a profile on this host, before anything starts. Owns looking; changes nothing.

use std::collections::BTreeMap;

use super::auth::take_auth;
use super::factory_file::SecretSource;
use super::handed::{expand_home, kind_word};
use super::parse::{HandedKind, Profile};

/// Something that would stop a box, or a lane, of this profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about, such as `auth ~/.codex/auth.json`.
    pub subject: String,
    /// What is wrong, and what mends it.
    pub text: String,
}

/// Looks at everything a profile hands in.
///
/// `is_lane` asks for what an agent's lane needs besides: a place for its transcripts. Shape: in the profile's order;
/// empty if a box of this profile can start.
#[must_use]
pub fn preflight(profile: &Profile, secrets: &BTreeMap<String, SecretSource>, is_lane: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for name in &profile.secrets {
        let found = match secrets.get(name) {
            Some(source) => source.load(name).map(|_| ()),
            None => Err(format!("it is not in gantry.toml; add [secret.{name}]")),
        };
        problems.extend(found.err().map(|text| Problem {
            subject: format!("secret {name}"),
            text,
        }));
    }
    for mount in &profile.mounts {
        let host = expand_home(&mount.from);
        let text = match mount.kind {
            HandedKind::Auth | HandedKind::Secret => {
                take_auth(&host, &mount.at).map(|_| ()).map_err(|e| e.to_string())
            }
            HandedKind::Data => std::fs::metadata(&host).map(|_| ()).map_err(|e| e.to_string()),
            HandedKind::Cache | HandedKind::Sessions => Ok(()),
        };
        problems.extend(text.err().map(|text| Problem {
            subject: format!("{} {}", kind_word(mount.kind), host.display()),
            text: format!(
                "{text}; put it there, or take the mount out of profile {:?}",
                profile.name
            ),
        }));
    }
    let keeps_transcripts = profile
        .mounts
        .iter()
        .any(|mount| mount.kind == HandedKind::Sessions);
    if is_lane && !keeps_transcripts {
        problems.push(Problem {
            subject: "sessions".to_owned(),
            text: format!(
                "a lane keeps its agent's transcripts: add a mount of kind \"sessions\" to profile {:?}",
                profile.name
            ),
        });
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::HandedMount;

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let mount = |kind, from: &str| HandedMount {
            kind,
            from: from.into(),
            at: "/x".into(),
        };
        let profile = Profile {
            secrets: vec!["A".into()],
            mounts: vec![
                mount(HandedKind::Auth, "/nonexistent/auth"),
                mount(HandedKind::Data, "/nonexistent/data"),
                mount(HandedKind::Cache, "cargo"),
            ],
            ..Profile::plain()
        };
        let subjects: Vec<String> = preflight(&profile, &BTreeMap::new(), true)
            .into_iter()
            .map(|problem| problem.subject)
            .collect();
        assert_eq!(
            subjects,
            [
                "secret A",
                "auth /nonexistent/auth",
                "data /nonexistent/data",
                "sessions"
            ]
        );
    }

    #[test]
    fn a_plain_profile_has_no_problem() {
        assert_eq!(preflight(&Profile::plain(), &BTreeMap::new(), false), []);
    }
}
