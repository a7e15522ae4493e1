//! `[profile.NAME]` as text: TOML in, a profile out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gantry_adapters::engine::{BoxUser, HostPort, Limits, Network};
use serde::Deserialize;

use crate::config_text::{nearest, parse_bytes};

/// Which engine makes the boxes of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineName {
    /// Linux namespaces, no daemon.
    #[default]
    Native,
    /// Docker's API.
    Docker,
    /// Podman's API.
    Podman,
}

impl EngineName {
    /// Every engine by its word.
    pub const ALL: [(&'static str, Self); 3] = [
        ("native", Self::Native),
        ("docker", Self::Docker),
        ("podman", Self::Podman),
    ];

    /// Returns its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// What a host's file or folder is to a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandedKind {
    /// A credential that its program may refresh: copied in, compared and copied out.
    Auth,
    /// Read-only, its content masked in everything that leaves the box.
    Secret,
    /// Read-only.
    Data,
    /// Kept from box to box by name and trust; private while it is used.
    Cache,
    /// Written by the box, kept on the host: transcripts.
    Sessions,
}

/// The kinds by their words.
const KINDS: [(&str, HandedKind); 5] = [
    ("auth", HandedKind::Auth),
    ("secret", HandedKind::Secret),
    ("data", HandedKind::Data),
    ("cache", HandedKind::Cache),
    ("sessions", HandedKind::Sessions),
];

/// Something handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedMount {
    /// What it is.
    pub kind: HandedKind,
    /// A path on the host; for a cache its name.
    pub from: String,
    /// Where it is in the box; absolute.
    pub at: PathBuf,
}

/// What a box is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Which engine.
    pub engine: EngineName,
    /// An image's name or digest; `host` is the host's own programs.
    pub image: String,
    /// Whom commands run as.
    pub user: BoxUser,
    /// What it can reach.
    pub network: Network,
    /// Set in the box.
    pub env: Vec<(String, String)>,
    /// Names of the daemon's own variables that are handed on.
    pub pass_env: Vec<String>,
    /// Names of secrets that are variables in the box.
    pub secrets: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// What else is handed in.
    pub mounts: Vec<HandedMount>,
}

impl Profile {
    /// Returns the profile nobody wrote: the host's programs, no network, no limits but the built-in ones.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            name: "default".to_owned(),
            engine: EngineName::Native,
            image: "host".to_owned(),
            user: BoxUser::Plain,
            network: Network::None,
            env: Vec::new(),
            pass_env: Vec::new(),
            secrets: Vec::new(),
            limits: Limits::default(),
            mounts: Vec::new(),
        }
    }
}

/// `[profile.NAME]` as it stands in the file.
#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct ProfileSection {
    engine: Option<String>,
    image: Option<String>,
    user: Option<String>,
    network: Option<NetworkText>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    pass_env: Vec<String>,
    #[serde(default)]
    secrets: Vec<String>,
    memory: Option<String>,
    cpus: Option<f64>,
    processes: Option<u64>,
    disk: Option<String>,
    inodes: Option<u64>,
    in_memory: Option<bool>,
    #[serde(default)]
    mount: Vec<MountSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MountSection {
    kind: String,
    from: String,
    at: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NetworkText {
    Word(String),
    Allow(AllowSection),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowSection {
    allow: Vec<String>,
}

/// The keys of a profile, for the nearest one to an unknown key.
pub const PROFILE_KEYS: [&str; 20] = [
    "profile",
    "engine",
    "image",
    "user",
    "network",
    "allow",
    "env",
    "pass_env",
    "secrets",
    "memory",
    "cpus",
    "processes",
    "disk",
    "inodes",
    "in_memory",
    "mount",
    "kind",
    "from",
    "at",
    "host",
];

/// Reads all profiles of a file.
///
/// `may_name_paths` says whether the file is the factory's own, which may name paths of the host. Errors: a sentence
/// that names the profile, the key and the mend.
pub fn read_profiles(
    sections: BTreeMap<String, ProfileSection>,
    may_name_paths: bool,
) -> Result<BTreeMap<String, Profile>, String> {
    let read = |(name, section): (String, ProfileSection)| {
        let profile = read_profile(&name, section, may_name_paths)
            .map_err(|problem| format!("profile {name:?}: {problem}"))?;
        Ok((name, profile))
    };
    sections.into_iter().map(read).collect()
}

fn read_profile(name: &str, section: ProfileSection, may_name_paths: bool) -> Result<Profile, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err("a name has 1 to 64 letters, digits, dashes, dots or underscores".to_owned());
    }
    let asks_host = !section.pass_env.is_empty() || !section.secrets.is_empty();
    if asks_host && !may_name_paths {
        return Err(
            "pass_env and secrets are the host's: write this profile into the factory's gantry.toml"
                .to_owned(),
        );
    }
    let user = match section.user.as_deref() {
        None => BoxUser::Plain,
        Some(word) => one_of("user", word, &[("box", BoxUser::Plain), ("root", BoxUser::Root)])?,
    };
    let engine = match section.engine.as_deref() {
        None => EngineName::Native,
        Some(word) => one_of("engine", word, &EngineName::ALL)?,
    };
    let mounts = section
        .mount
        .into_iter()
        .map(|mount| read_mount(mount, may_name_paths));
    for key in section.env.keys().chain(&section.pass_env) {
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(format!("env {key:?} cannot be a variable's name"));
        }
    }
    Ok(Profile {
        name: name.to_owned(),
        engine,
        image: section.image.unwrap_or_else(|| "host".to_owned()),
        user,
        network: section.network.map_or(Ok(Network::None), read_network)?,
        env: section.env.into_iter().collect(),
        pass_env: section.pass_env,
        secrets: section.secrets,
        limits: Limits {
            memory_bytes: bytes("memory", section.memory)?,
            cpu_millis: section.cpus.map(cpu_millis).transpose()?,
            processes: at_least_one("processes", section.processes)?,
            disk_bytes: bytes("disk", section.disk)?,
            inodes: at_least_one("inodes", section.inodes)?,
            in_memory: section.in_memory.unwrap_or(false),
        },
        mounts: mounts.collect::<Result<_, _>>()?,
    })
}

fn read_mount(mount: MountSection, may_name_paths: bool) -> Result<HandedMount, String> {
    let kind = one_of("mount kind", &mount.kind, &KINDS)?;
    if !may_name_paths && kind != HandedKind::Cache {
        return Err(format!(
            "a mount of kind {:?} names a path of the host: write this profile into the factory's gantry.toml",
            mount.kind
        ));
    }
    let at = PathBuf::from(&mount.at);
    if !at.is_absolute()
        || at
            .components()
            .any(|part| part == std::path::Component::ParentDir)
        || at == Path::new("/")
    {
        return Err(format!(
            "mount at {:?}: write an absolute path without `..`",
            mount.at
        ));
    }
    if mount.from.is_empty() {
        return Err(format!("mount at {:?}: from is empty", mount.at));
    }
    Ok(HandedMount {
        kind,
        from: mount.from,
        at,
    })
}

fn read_network(text: NetworkText) -> Result<Network, String> {
    match text {
        NetworkText::Word(word) => one_of(
            "network",
            &word,
            &[("none", Network::None), ("full", Network::Full)],
        )
        .map_err(|problem| format!("{problem}; or write network = {{ allow = [\"host:443\"] }}")),
        NetworkText::Allow(section) => {
            let places = section.allow.iter().map(|place| read_place(place));
            places.collect::<Result<_, _>>().map(Network::Allow)
        }
    }
}

/// Reads `host:port`, `*.host:port` or `[address]:port`.
pub(super) fn read_place(text: &str) -> Result<HostPort, String> {
    let wrong = || format!("network allows {text:?}; write host:port, as in \"github.com:443\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let name = host.strip_prefix("*.").unwrap_or(host);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(wrong());
    }
    Ok(HostPort {
        host: host.to_ascii_lowercase(),
        port,
    })
}

pub(super) fn one_of<T: Clone>(key: &str, value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, found)) = choices.iter().find(|(word, _)| *word == value) {
        return Ok(found.clone());
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let near = nearest(value, &words).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    Err(format!(
        "{key} is {value:?}, which is none of {}{near}",
        words.join(", ")
    ))
}

pub(super) fn bytes(key: &str, text: Option<String>) -> Result<Option<u64>, String> {
    let Some(text) = text else { return Ok(None) };
    match parse_bytes(&text) {
        Some(bytes) if bytes >= 1 << 20 => Ok(Some(bytes)),
        _ => Err(format!(
            "{key} is {text:?}; write a size of 1MiB or more, as in \"4GiB\""
        )),
    }
}

fn at_least_one(key: &str, value: Option<u64>) -> Result<Option<u64>, String> {
    match value {
        Some(0) => Err(format!("{key} is 0; write 1 or more")),
        other => Ok(other),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked before"
)]
pub(super) fn cpu_millis(cpus: f64) -> Result<u64, String> {
    if !(0.01..=10_000.0).contains(&cpus) {
        return Err(format!(
            "cpus is {cpus}; write a number of cores from 0.01 to 10000"
        ));
    }
    Ok((cpus * 1_000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        profile: BTreeMap<String, ProfileSection>,
    }

    fn read(text: &str, may_name_paths: bool) -> Result<Profile, String> {
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let profiles = read_profiles(file.profile, may_name_paths)?;
        Ok(profiles.into_values().next().expect("a profile"))
    }

    #[test]
    fn a_profile_with_everything_is_read() {
        let text = r#"
[profile.agent]
engine = "podman"
image = "factory"
user = "root"
network = { allow = ["API.example.org:443", "*.crates.io:443"] }
env = { A = "b" }
pass_env = ["LANG"]
secrets = ["TOKEN"]
memory = "2GiB"
cpus = 1.5
processes = 100
disk = "10G"
in_memory = true
[[profile.agent.mount]]
kind = "auth"
from = "~/.codex/auth.json"
at = "/box/home/.codex/auth.json"
"#;
        let profile = read(text, true).expect("it reads");
        assert_eq!(profile.engine, EngineName::Podman);
        assert_eq!(profile.limits.memory_bytes, Some(2 << 30));
        assert_eq!(profile.limits.cpu_millis, Some(1_500));
        assert_eq!(profile.mounts[0].kind, HandedKind::Auth);
        let Network::Allow(places) = profile.network else {
            panic!("a list")
        };
        assert_eq!(
            (places[0].host.as_str(), places[0].port),
            ("api.example.org", 443)
        );
    }

    #[test]
    fn a_repository_names_no_path_of_the_host() {
        let mount = "[[profile.x.mount]]\nkind = 'data'\nfrom = '/etc'\nat = '/data'\n";
        insta::assert_snapshot!(read(mount, false).expect_err("refused"), @r#"profile "x": a mount of kind "data" names a path of the host: write this profile into the factory's gantry.toml"#);
        assert!(read("[profile.x]\nsecrets = ['A']\n", false).is_err());
        assert!(read("[profile.x]\npass_env = ['A']\n", false).is_err());
        let cache = "[[profile.x.mount]]\nkind = 'cache'\nfrom = 'cargo'\nat = '/cache'\n";
        assert!(read(cache, false).is_ok());
    }

    #[test]
    fn values_that_cannot_be_are_refused_with_the_mend() {
        let refused = |line: &str| read(&format!("[profile.x]\n{line}\n"), true).expect_err("refused");
        insta::assert_snapshot!(refused("network = 'ful'"), @r#"profile "x": network is "ful", which is none of none, full; did you mean "full"?; or write network = { allow = ["host:443"] }"#);
        insta::assert_snapshot!(refused("network = { allow = ['github.com'] }"), @r#"profile "x": network allows "github.com"; write host:port, as in "github.com:443""#);
        insta::assert_snapshot!(refused("memory = '12'"), @r#"profile "x": memory is "12"; write a size of 1MiB or more, as in "4GiB""#);
        insta::assert_snapshot!(refused("cpus = 0.0"), @r#"profile "x": cpus is 0; write a number of cores from 0.01 to 10000"#);
        insta::assert_snapshot!(refused("engine = 'dokcer'"), @r#"profile "x": engine is "dokcer", which is none of native, docker, podman; did you mean "docker"?"#);
        assert!(
            refused("[[profile.x.mount]]\nkind='data'\nfrom='/a'\nat='/b/../c'").contains("without `..`")
        );
    }
}
