//! What a profile comes to for one box: mounts, files, variables, and what must be masked. Owns reading it from the
//! host; must never put a secret's value into a name, an argument or an error.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use gantry_adapters::engine::{FileVisitor, Found, Mount, MountKind, Sandbox, SandboxError};
use gantry_core::limits::AUTH_BYTES_MAX;

use super::auth::{AuthCopy, AuthOutcome, return_auth, take_auth};
use super::parse::{HandedKind, Profile};

/// Everything a profile hands into one box.
#[derive(Debug, Clone, Default)]
pub struct Handed {
    /// For the box's specification.
    pub mounts: Vec<Mount>,
    /// Variables, secrets among them.
    pub env: Vec<(String, String)>,
    /// Files written into the box before its first command: path, content, mode.
    pub files: Vec<(PathBuf, Vec<u8>, u32)>,
    /// Credentials to be taken back.
    pub auth: Vec<AuthCopy>,
    /// Names and values of everything that must not leave the box readable.
    pub masked: Vec<(String, String)>,
}

/// Gathers what a profile hands in. `secrets` are the values of the profile's secrets by name; `sessions` is the
/// folder of this run below which each `sessions` mount gets one of its own.
///
/// Errors: a sentence that names what is missing and the mend.
pub fn hand_in(
    profile: &Profile,
    secrets: &BTreeMap<String, String>,
    sessions: &Path,
) -> Result<Handed, String> {
    let mut handed = Handed::default();
    handed.env.extend(profile.env.iter().cloned());
    for name in &profile.pass_env {
        // A variable the daemon does not have is one the box does not have.
        handed
            .env
            .extend(std::env::var(name).ok().map(|value| (name.clone(), value)));
    }
    for name in &profile.secrets {
        let value = secrets
            .get(name)
            .ok_or_else(|| format!("secret {name}: it is not in gantry.toml; add [secret.{name}]"))?;
        handed.env.push((name.clone(), value.clone()));
        handed.masked.push((name.clone(), value.clone()));
    }
    for (index, mount) in profile.mounts.iter().enumerate() {
        let host = expand_home(&mount.from);
        let missing = |error: io::Error| format!("{} {}: {error}", kind_word(mount.kind), host.display());
        match mount.kind {
            HandedKind::Auth => {
                let copy = take_auth(&host, &mount.at).map_err(missing)?;
                handed.files.push((mount.at.clone(), copy.bytes.clone(), 0o600));
                handed.masked.extend(tokens_of(&mount.at, &copy.bytes));
                handed.auth.push(copy);
            }
            HandedKind::Secret => {
                let copy = take_auth(&host, &mount.at).map_err(missing)?;
                if let Ok(text) = std::str::from_utf8(&copy.bytes) {
                    handed
                        .masked
                        .push((mount.at.display().to_string(), text.to_owned()));
                }
                handed.files.push((mount.at.clone(), copy.bytes, 0o400));
            }
            HandedKind::Data => {
                std::fs::metadata(&host).map_err(missing)?;
                handed.mounts.push(Mount {
                    host,
                    at: mount.at.clone(),
                    kind: MountKind::ReadOnly,
                });
            }
            HandedKind::Sessions => {
                let folder = sessions.join(index.to_string());
                std::fs::create_dir_all(&folder).map_err(missing)?;
                handed.mounts.push(Mount {
                    host: folder,
                    at: mount.at.clone(),
                    kind: MountKind::Shared,
                });
            }
            // A snapshot is chosen by trust, which whoever runs the box knows.
            HandedKind::Cache => {}
        }
    }
    Ok(handed)
}

impl Handed {
    /// Writes the files into a box that was just opened.
    ///
    /// Errors: [`SandboxError`] for the first that cannot be written.
    pub fn write_files(&self, sandbox: &dyn Sandbox) -> Result<(), SandboxError> {
        let mut files = self.files.iter();
        files.try_for_each(|(at, bytes, mode)| sandbox.put_file(at, bytes, *mode))
    }

    /// Takes the credentials back from a box that is about to be closed; a line for each that was not simply as before.
    pub fn take_back(&self, sandbox: &dyn Sandbox) -> Vec<String> {
        let mut lines = Vec::new();
        for copy in &self.auth {
            let mut reader = OneFile::default();
            let outcome = match sandbox.visit_files(&copy.at, &mut reader) {
                Ok(()) => return_auth(copy, &reader.bytes),
                // The box removed its own copy: the host's is as it was.
                Err(SandboxError::Path { .. }) => Ok(AuthOutcome::Rejected),
                Err(error) => Err(io::Error::other(error)),
            };
            let name = copy.host.display();
            match outcome {
                Ok(AuthOutcome::Unchanged) => {}
                Ok(AuthOutcome::Refreshed) => lines.push(format!("auth {name}: refreshed by the box")),
                Ok(AuthOutcome::KeptHosts) => lines.push(format!(
                    "auth {name}: changed on both sides; the host's is kept, the box's is beside it as {name}.from-box"
                )),
                Ok(AuthOutcome::Rejected) => {
                    lines.push(format!("auth {name}: what the box left is no credential; the host's is kept"));
                }
                Err(error) => lines.push(format!("auth {name}: could not be taken back: {error}")),
            }
        }
        lines
    }
}

/// Keeps the bytes of one small file.
#[derive(Default)]
struct OneFile {
    bytes: Vec<u8>,
}

impl FileVisitor for OneFile {
    fn visit(&mut self, found: &Found, content: &mut dyn io::Read) -> io::Result<()> {
        if found.path.as_os_str().is_empty() {
            content.take(AUTH_BYTES_MAX + 1).read_to_end(&mut self.bytes)?;
        }
        Ok(())
    }
}

/// The texts of a credential that are worth masking: every long string of a JSON document, or the whole of it.
fn tokens_of(at: &Path, bytes: &[u8]) -> Vec<(String, String)> {
    /// Shorter strings are words such as `Bearer` or a user's name.
    const TOKEN_CHARS_MIN: usize = 16;
    fn collect(value: &serde_json::Value, into: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) if text.chars().count() >= TOKEN_CHARS_MIN => {
                into.push(text.clone())
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
            serde_json::Value::Object(fields) => fields.values().for_each(|field| collect(field, into)),
            _ => {}
        }
    }
    let name = at.display().to_string();
    match serde_json::from_slice(bytes) {
        Ok(value) => {
            let mut texts = Vec::new();
            collect(&value, &mut texts);
            texts.into_iter().map(|text| (name.clone(), text)).collect()
        }
        Err(_) => {
            std::str::from_utf8(bytes).map_or_else(|_| Vec::new(), |text| vec![(name, text.to_owned())])
        }
    }
}

pub(super) fn expand_home(path: &str) -> PathBuf {
    match path.strip_prefix("~/").zip(std::env::home_dir()) {
        Some((rest, home)) => home.join(rest),
        None => PathBuf::from(path),
    }
}

pub(super) const fn kind_word(kind: HandedKind) -> &'static str {
    match kind {
        HandedKind::Auth => "auth",
        HandedKind::Secret => "secret",
        HandedKind::Data => "data",
        HandedKind::Cache => "cache",
        HandedKind::Sessions => "sessions",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::HandedMount;

    #[test]
    fn every_kind_comes_to_what_it_promises() {
        let scratch = tempfile::tempdir().expect("a folder");
        let token = scratch.path().join("auth.json");
        std::fs::write(&token, "{\"access\":\"0123456789abcdef\",\"type\":\"Bearer\"}").expect("room");
        let mount = |kind, at: &str| HandedMount {
            kind,
            from: token.display().to_string(),
            at: at.into(),
        };
        let profile = Profile {
            secrets: vec!["NPM".into()],
            mounts: vec![
                mount(HandedKind::Auth, "/a"),
                mount(HandedKind::Secret, "/s"),
                mount(HandedKind::Data, "/d"),
                mount(HandedKind::Sessions, "/t"),
            ],
            ..Profile::plain()
        };
        let secrets = BTreeMap::from([("NPM".to_owned(), "hidden".to_owned())]);
        let handed = hand_in(&profile, &secrets, &scratch.path().join("sessions")).expect("all there");
        let modes: Vec<u32> = handed.files.iter().map(|(_, _, mode)| *mode).collect();
        assert_eq!(modes, [0o600, 0o400]);
        let kinds: Vec<MountKind> = handed.mounts.iter().map(|mount| mount.kind).collect();
        assert_eq!(kinds, [MountKind::ReadOnly, MountKind::Shared]);
        assert_eq!(handed.env, [("NPM".to_owned(), "hidden".to_owned())]);
        assert!(handed.masked.iter().any(|(_, value)| value == "0123456789abcdef"));
        assert!(!handed.masked.iter().any(|(_, value)| value == "Bearer"));
    }

    #[test]
    fn a_secret_nobody_defined_is_named() {
        let profile = Profile {
            secrets: vec!["NPM".into()],
            ..Profile::plain()
        };
        let problem = hand_in(&profile, &BTreeMap::new(), Path::new("/nowhere")).expect_err("missing");
        assert_eq!(problem, "secret NPM: it is not in gantry.toml; add [secret.NPM]");
    }
}
