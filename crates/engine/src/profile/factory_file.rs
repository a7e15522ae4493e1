//! The factory's own file, `gantry.toml` in the data directory: profiles, secrets, engines. Text in, values out; the
//! secrets' values are read where they are used and kept nowhere.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gantry_core::limits::{GATE_FILE_BYTES_MAX, SECRET_BYTES_MAX};
use serde::Deserialize;

use super::parse::{PROFILE_KEYS, Profile, ProfileSection, read_profiles};
use crate::config_text::{Wrong, explain};

/// The file's name in the data directory.
pub const FACTORY_FILE: &str = "gantry.toml";

/// Where a secret's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The content of a file, without line ends at its end.
    File(PathBuf),
    /// A variable of the daemon.
    Env(String),
}

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FactoryFile {
    /// Profiles by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Docker's socket, if it is not where it usually is.
    pub docker_socket: Option<PathBuf>,
    /// Podman's socket, if it is not where it usually is.
    pub podman_socket: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    profile: BTreeMap<String, ProfileSection>,
    #[serde(default)]
    secret: BTreeMap<String, SecretSection>,
    #[serde(default)]
    engine: EngineSection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretSection {
    file: Option<PathBuf>,
    env: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct EngineSection {
    docker_socket: Option<PathBuf>,
    podman_socket: Option<PathBuf>,
}

const KEYS: [&str; 5] = ["secret", "file", "engine", "docker_socket", "podman_socket"];

impl FactoryFile {
    /// Reads the file.
    ///
    /// Errors: [`Wrong`] with the place, the problem and the mend.
    pub fn parse(bytes: &[u8]) -> Result<Self, Wrong> {
        let whole = |problem: String| Wrong {
            place: String::new(),
            problem,
        };
        if bytes.len() > GATE_FILE_BYTES_MAX {
            return Err(whole(format!("it has more than {GATE_FILE_BYTES_MAX} bytes")));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| whole("it is not UTF-8 text; save it as UTF-8".to_owned()))?;
        let keys: Vec<&str> = KEYS.iter().chain(&PROFILE_KEYS).copied().collect();
        let file: File = toml::from_str(text).map_err(|error| explain(text, &error, &keys))?;
        let secrets = file.secret.into_iter().map(|(name, section)| {
            let source = match (section.file, section.env) {
                (Some(path), None) => SecretSource::File(path),
                (None, Some(variable)) => SecretSource::Env(variable),
                _ => {
                    return Err(whole(format!(
                        "secret {name:?}: write either file = \"/path\" or env = \"VARIABLE\""
                    )));
                }
            };
            Ok((name, source))
        });
        Ok(Self {
            profiles: read_profiles(file.profile, true).map_err(whole)?,
            secrets: secrets.collect::<Result<_, _>>()?,
            docker_socket: file.engine.docker_socket,
            podman_socket: file.engine.podman_socket,
        })
    }
}

impl FactoryFile {
    /// Names every variable of the daemon that a profile or a secret asks for.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        let passed = self
            .profiles
            .values()
            .flat_map(|profile| profile.pass_env.iter().cloned());
        let secrets = self.secrets.values().filter_map(|source| match source {
            SecretSource::Env(name) => Some(name.clone()),
            SecretSource::File(_) => None,
        });
        passed.chain(secrets).collect()
    }
}

impl SecretSource {
    /// Reads the secret's value.
    ///
    /// Errors: a sentence that names the place, never the value.
    pub fn load(&self, name: &str) -> Result<String, String> {
        let value = match self {
            Self::File(path) => {
                let length = std::fs::metadata(path)
                    .map_err(|error| format!("secret {name}: cannot read {}: {error}", path.display()))?
                    .len();
                if length > SECRET_BYTES_MAX {
                    return Err(format!(
                        "secret {name}: {} has more than {SECRET_BYTES_MAX} bytes",
                        path.display()
                    ));
                }
                std::fs::read_to_string(path)
                    .map_err(|error| format!("secret {name}: cannot read {}: {error}", path.display()))?
                    .trim_end_matches(['\r', '\n'])
                    .to_owned()
            }
            Self::Env(variable) => std::env::var(variable)
                .map_err(|error| format!("secret {name}: the daemon's variable {variable}: {error}"))?,
        };
        if value.is_empty() {
            return Err(format!("secret {name}: it is empty"));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_sockets_are_read() {
        let file = FactoryFile::parse(
            b"[secret.A]\nfile = '/a'\n[secret.B]\nenv = 'B'\n[engine]\ndocker_socket = '/d'\n[profile.x]\nsecrets = ['A']\n",
        )
        .expect("it reads");
        assert_eq!(file.secrets["A"], SecretSource::File("/a".into()));
        assert_eq!(file.secrets["B"], SecretSource::Env("B".into()));
        assert_eq!(file.docker_socket, Some("/d".into()));
        assert_eq!(file.profiles["x"].secrets, ["A"]);
    }

    #[test]
    fn a_secret_has_one_source() {
        for text in ["[secret.A]\n", "[secret.A]\nfile = '/a'\nenv = 'B'\n"] {
            let wrong = FactoryFile::parse(text.as_bytes()).expect_err("refused");
            insta::allow_duplicates! {
                insta::assert_snapshot!(wrong.problem, @r#"secret "A": write either file = "/path" or env = "VARIABLE""#);
            }
        }
    }

    #[test]
    fn a_secret_is_read_from_its_file_without_its_last_line_end() {
        let scratch = tempfile::tempdir().expect("a folder");
        let path = scratch.path().join("token");
        std::fs::write(&path, "one\ntwo\n").expect("room");
        assert_eq!(
            SecretSource::File(path.clone()).load("A").as_deref(),
            Ok("one\ntwo")
        );
        std::fs::write(&path, "\n").expect("room");
        assert_eq!(
            SecretSource::File(path).load("A"),
            Err("secret A: it is empty".to_owned())
        );
    }
}
