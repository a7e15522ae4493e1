//! What of the host a box may see, and its environment. Owns the rule: nothing, but for programs and libraries
//! for reading. Where they are is named here; what is not named is not there.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::folder::BoxFolder;
use super::order::{Order, Step};
use crate::engine::{CheckSpec, Network};

/// Where the workspace is in every box.
pub(super) const WORKSPACE: &str = "/box/workspace";
/// The home directory in every box.
pub(super) const HOME: &str = "/box/home";
/// Where the repository's objects are in every box, by number.
const OBJECTS: &str = "/box/objects";

/// Where systems keep programs, libraries and their settings.
const SYSTEM: [&str; 12] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu", "/snap",
];
/// Where toolchains live below a home directory. Everything else in it, credentials first, is not in the box.
const TOOLS: [&str; 31] = [
    ".asdf",
    ".bun",
    ".cabal",
    ".cargo",
    ".deno",
    ".dotnet",
    ".fnm",
    ".ghcup",
    ".go",
    ".juliaup",
    ".local/bin",
    ".local/lib",
    ".local/share/fnm",
    ".local/share/mise",
    ".local/share/pnpm",
    ".local/share/pipx",
    ".local/share/uv",
    ".m2/repository",
    ".nodenv",
    ".nvm",
    ".opam",
    ".pub-cache",
    ".pyenv",
    ".rbenv",
    ".rustup",
    ".rvm",
    ".sdkman",
    ".stack",
    ".volta",
    "go",
    "miniconda3",
];
/// Files below the toolchains that hold credentials.
const CREDENTIALS: [&str; 7] = [
    ".cabal/config",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".dotnet/corefx",
    ".local/share/uv/credentials",
    ".pub-cache/credentials.json",
    ".stack/hackage-credentials",
];

/// Secrets among the system's settings. Their modes protect them, but not where the daemon's user owns them.
const SYSTEM_SECRETS: [&str; 9] = [
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/krb5.keytab",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/sudoers",
    "/etc/sudoers.d",
];

/// What this host offers to its boxes.
#[derive(Debug, Clone, Default)]
pub(super) struct Host {
    pub(super) home: Option<PathBuf>,
    pub(super) path: Vec<PathBuf>,
    /// Further directories to show for reading.
    pub(super) shown: Vec<PathBuf>,
    /// Directories no box may see, wherever they are.
    pub(super) hidden: Vec<PathBuf>,
}

impl Host {
    /// Reads the home directory and the search path of this process.
    pub(super) fn of_this_process() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        Self {
            home: std::env::home_dir(),
            path: std::env::split_paths(&path).collect(),
            shown: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// Plans what a box sees, knows and runs.
    pub(super) fn plan(&self, spec: &CheckSpec, folder: &BoxFolder, objects: &[PathBuf]) -> Order {
        let mut order = Order::default();
        let mut shown = show_system(&mut order);
        let home = self.home.as_deref().filter(|home| home.components().count() > 1);
        if let Some(home) = home {
            if is_below(home, &shown) {
                order.steps.push(Step::Hide { at: home.to_owned() });
            }
            for tool in TOOLS {
                let path = home.join(tool);
                if path.is_dir() {
                    order.show(&path);
                    shown.push(path);
                }
            }
        }
        let further = self.shown.iter().chain(&self.path);
        for path in further.filter(|path| is_plain(path) && path.is_dir()) {
            // A search path that names the home directory itself would show all of it.
            if home != Some(path) && !is_below(path, &shown) {
                order.show(path);
                shown.push(path.clone());
            }
        }
        let secrets = home
            .into_iter()
            .flat_map(|home| CREDENTIALS.map(|name| home.join(name)));
        let system = SYSTEM_SECRETS.map(PathBuf::from);
        for at in self.hidden.iter().cloned().chain(secrets).chain(system) {
            if is_below(&at, &shown) {
                order.steps.push(Step::Hide { at });
            }
        }
        if spec.network == Network::Full {
            show_resolver(&mut order, &shown);
        }
        show_own_files(&mut order, folder, objects);
        order.env = self.environment(spec, home, &shown);
        order.command = spec.command.iter().map(OsString::from).collect();
        order
    }

    fn environment(
        &self,
        spec: &CheckSpec,
        home: Option<&Path>,
        shown: &[PathBuf],
    ) -> Vec<(OsString, OsString)> {
        let mut path: Vec<&PathBuf> = self.path.iter().filter(|path| is_below(path, shown)).collect();
        let cargo = home.map(|home| home.join(".cargo/bin"));
        if let Some(cargo) = &cargo
            && cargo.is_dir()
            && !path.contains(&cargo)
        {
            path.insert(0, cargo);
        }
        // A directory with a colon in its name cannot be in a search path.
        let path = std::env::join_paths(path).unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into());
        let mut env: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), path),
            ("HOME".into(), HOME.into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("TERM".into(), "dumb".into()),
            ("CI".into(), "true".into()),
            ("GANTRY".into(), "1".into()),
            ("GANTRY_COMMIT".into(), spec.commit.to_string().into()),
        ];
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let value = home.map(|home| home.join(folder)).filter(|path| path.is_dir());
            env.extend(value.map(|value| (name.into(), value.into())));
        }
        for (name, value) in &spec.env {
            env.push((name.into(), value.into()));
        }
        env
    }
}

/// Shows the system's directories; those that are links are links in the box too.
fn show_system(order: &mut Order) -> Vec<PathBuf> {
    let mut shown = Vec::new();
    for path in SYSTEM.map(Path::new) {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => {
                if let Ok(target) = fs::read_link(path) {
                    order.steps.push(Step::Link {
                        target,
                        at: path.to_owned(),
                    });
                    shown.push(path.to_owned());
                }
            }
            Ok(found) if found.is_dir() => {
                order.show(path);
                shown.push(path.to_owned());
            }
            // What this system does not have, its boxes do not have.
            Ok(_) | Err(_) => {}
        }
    }
    shown
}

/// Shows the file behind `/etc/resolv.conf`, which is often a link into `/run`.
fn show_resolver(order: &mut Order, shown: &[PathBuf]) {
    if let Ok(path) = fs::canonicalize("/etc/resolv.conf")
        && !is_below(&path, shown)
    {
        order.show(&path);
    }
}

fn show_own_files(order: &mut Order, folder: &BoxFolder, objects: &[PathBuf]) {
    for (number, host) in objects.iter().enumerate() {
        order.steps.push(Step::ReadOnly {
            host: host.clone(),
            at: object_directory(number),
        });
    }
    for (host, at) in [(folder.workspace(), WORKSPACE), (folder.home(), HOME)] {
        order.steps.push(Step::Writable { host, at: at.into() });
    }
    for name in ["passwd", "group"] {
        let at = Path::new("/etc").join(name);
        if at.is_file() {
            order.steps.push(Step::ReadOnly {
                host: folder.settings(name),
                at,
            });
        }
    }
}

/// Returns where the box sees the repository's objects.
pub(super) fn object_directory(number: usize) -> PathBuf {
    Path::new(OBJECTS).join(number.to_string())
}

/// Says whether a path has no `.` or `..` to be misread and starts at the root.
fn is_plain(path: &Path) -> bool {
    let mut parts = path.components();
    parts.next() == Some(Component::RootDir)
        && path.components().count() > 1
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

fn is_below(path: &Path, shown: &[PathBuf]) -> bool {
    shown.iter().any(|shown| path.starts_with(shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use gantry_core::id::CommitId;

    fn check(host: &Host, network: Network, look: impl Fn(&Order)) {
        let scratch = tempfile::tempdir().expect("a folder");
        let folder = BoxFolder::create(scratch.path(), "B1").expect("a box folder");
        let spec = CheckSpec {
            name: "B1".to_owned(),
            repository: PathBuf::new(),
            commit: CommitId::from_bytes([1; 20]),
            command: vec!["true".to_owned()],
            env: Vec::new(),
            timeout: Duration::ZERO,
            output_bytes_max: 1,
            log: PathBuf::new(),
            fail_fast: Vec::new(),
            network,
        };
        look(&host.plan(&spec, &folder, &[PathBuf::from("/repo/objects")]));
    }

    fn shows(order: &Order, path: &Path) -> bool {
        let shown = |step: &Step| matches!(step, Step::ReadOnly { host, .. } if path.starts_with(host));
        order.steps.iter().any(shown)
    }

    fn hides(order: &Order, path: &Path) -> bool {
        order
            .steps
            .iter()
            .any(|step| matches!(step, Step::Hide { at } if at == path))
    }

    #[test]
    fn of_a_home_only_toolchains_are_shown_and_their_credentials_hidden() {
        let home = tempfile::tempdir().expect("a folder");
        let at = |name: &str| home.path().join(name);
        for name in [".cargo/bin", ".ssh", ".aws", "work"] {
            fs::create_dir_all(at(name)).expect("a folder");
        }
        let host = Host {
            home: Some(home.path().to_owned()),
            path: vec![
                home.path().to_owned(),
                at("work"),
                "relative".into(),
                "/usr/bin".into(),
            ],
            ..Host::default()
        };
        check(&host, Network::None, |order| {
            assert!(shows(order, &at(".cargo/bin/cargo")) && shows(order, &at("work/tool")));
            assert!(!shows(order, &at(".ssh/id")) && !shows(order, &at(".aws/credentials")));
            assert!(hides(order, &at(".cargo/credentials.toml")));
            let path = order.env.iter().find(|(name, _)| name == "PATH").expect("a path");
            let expected = format!("{}:{}:/usr/bin", at(".cargo/bin").display(), at("work").display());
            assert_eq!(path.1, OsString::from(expected));
            assert!(order.env.contains(&("CARGO_HOME".into(), at(".cargo").into())));
        });
    }

    #[test]
    fn what_is_hidden_stays_hidden_below_something_shown() {
        let host = Host {
            shown: vec!["/proc/self".into()],
            hidden: vec!["/usr/share/secret".into(), "/not/shown/anyway".into()],
            ..Host::default()
        };
        check(&host, Network::None, |order| {
            assert!(hides(order, Path::new("/usr/share/secret")));
            assert!(!hides(order, Path::new("/not/shown/anyway")));
        });
    }

    #[test]
    fn a_home_inside_a_system_directory_is_hidden_first() {
        let host = Host {
            home: Some("/usr/local".into()),
            ..Host::default()
        };
        check(&host, Network::None, |order| {
            assert!(hides(order, Path::new("/usr/local")))
        });
    }

    #[test]
    fn the_whole_host_is_never_shown() {
        let host = Host {
            path: vec!["/".into(), "/usr/..".into()],
            shown: vec!["/".into()],
            home: Some("/".into()),
            ..Host::default()
        };
        check(&host, Network::Full, |order| {
            let root =
                |step: &Step| matches!(step, Step::ReadOnly { host, .. } if host.components().count() < 2);
            assert!(!order.steps.iter().any(root));
            assert!(!shows(order, Path::new("/var/lib")));
        });
    }
}
