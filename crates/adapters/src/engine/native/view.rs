//! What of the host a box may see, and its environment. Owns the rule: nothing, but for programs and libraries
//! for reading. Where they are is named here; what is not named is not there.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::entry::BOX_UID;
use super::proxy::PORT;
use super::setup::{Setup, Step};
use crate::engine::{BoxUser, Image, MountKind, Network, SandboxSpec, Workspace};

/// The environment of a box's commands, in order.
pub(super) type Environment = Vec<(OsString, OsString)>;
/// Where programs are if nobody says.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Where the workspace of a box is if nobody says.
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
        let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into());
        Self {
            home: std::env::home_dir(),
            path: std::env::split_paths(&path).collect(),
            shown: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// Plans what a box sees and the environment of its commands; `objects` are the repository's object directories.
    pub(super) fn plan(&self, spec: &SandboxSpec, objects: &[PathBuf]) -> (Setup, Environment) {
        let mut setup = Setup {
            workspace_at: spec.workspace_at.clone(),
            ..Setup::default()
        };
        let mut env = match &spec.image {
            Image::Layers { layers, env, .. } => {
                setup.layers = layers.iter().map(|layer| layer.0.clone()).collect();
                image_environment(env, spec)
            }
            Image::Host | Image::Named(_) => self.show_host(spec, &mut setup),
        };
        show_own_files(&mut setup, spec, objects);
        for (name, value) in [("CI", "true"), ("GANTRY", "1")] {
            env.push((name.into(), value.into()));
        }
        if let Workspace::Commit { commit, .. } = &spec.workspace {
            env.push(("GANTRY_COMMIT".into(), commit.to_string().into()));
        }
        if matches!(spec.network, Network::Allow(_)) {
            env.extend(proxy_environment(spec));
        }
        for (name, value) in &spec.env {
            env.push((name.into(), value.into()));
        }
        (setup, env)
    }

    /// Shows the host's programs and toolchains.
    fn show_host(&self, spec: &SandboxSpec, setup: &mut Setup) -> Environment {
        let mut shown = show_system(setup, spec.user);
        let home = self.home.as_deref().filter(|home| home.components().count() > 1);
        if let Some(home) = home {
            if is_below(home, &shown) {
                setup.steps.push(Step::Hide { at: home.to_owned() });
            }
            for tool in TOOLS {
                let path = home.join(tool);
                if path.is_dir() {
                    setup.show(&path);
                    shown.push(path);
                }
            }
        }
        let further = self.shown.iter().chain(&self.path);
        for path in further.filter(|path| is_plain(path) && path.is_dir()) {
            // A search path that names the home directory itself would show all of it.
            if home != Some(path) && !is_below(path, &shown) {
                setup.show(path);
                shown.push(path.clone());
            }
        }
        let secrets = home
            .into_iter()
            .flat_map(|home| CREDENTIALS.map(|name| home.join(name)));
        let system = SYSTEM_SECRETS.map(PathBuf::from);
        for at in self.hidden.iter().cloned().chain(secrets).chain(system) {
            if is_below(&at, &shown) {
                setup.steps.push(Step::Hide { at });
            }
        }
        if spec.network == Network::Full {
            show_resolver(setup, &shown);
        }
        self.environment(home, &shown)
    }

    fn environment(&self, home: Option<&Path>, shown: &[PathBuf]) -> Environment {
        let mut path: Vec<&PathBuf> = self.path.iter().filter(|path| is_below(path, shown)).collect();
        let cargo = home.map(|home| home.join(".cargo/bin"));
        if let Some(cargo) = &cargo
            && cargo.is_dir()
            && !path.contains(&cargo)
        {
            path.insert(0, cargo);
        }
        // A directory with a colon in its name cannot be in a search path.
        let path = std::env::join_paths(path).unwrap_or_else(|_| USUAL_PATH.into());
        let mut env: Environment = vec![
            ("PATH".into(), path),
            ("HOME".into(), HOME.into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("TERM".into(), "dumb".into()),
        ];
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let value = home.map(|home| home.join(folder)).filter(|path| path.is_dir());
            env.extend(value.map(|value| (name.into(), value.into())));
        }
        env
    }
}

fn image_environment(of_image: &[(String, String)], spec: &SandboxSpec) -> Environment {
    let home = match spec.user {
        BoxUser::Plain => HOME,
        BoxUser::Root => "/root",
    };
    let mut env: Environment = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("HOME", home),
        ("LANG", "C.UTF-8"),
        ("TERM", "dumb"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec();
    env.extend(of_image.iter().map(|(name, value)| (name.into(), value.into())));
    env
}

fn proxy_environment(spec: &SandboxSpec) -> Environment {
    let proxy = format!("http://127.0.0.1:{PORT}");
    let mut direct = "localhost,127.0.0.1,::1".to_owned();
    for service in &spec.services {
        direct.push(',');
        direct.push_str(&service.name);
    }
    let mut env = Environment::new();
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        for name in [name.to_owned(), name.to_uppercase()] {
            env.push((name.into(), proxy.clone().into()));
        }
    }
    for name in ["no_proxy", "NO_PROXY"] {
        env.push((name.into(), direct.clone().into()));
    }
    env
}

/// Shows the system's directories; those that are links are links in the box too.
fn show_system(setup: &mut Setup, user: BoxUser) -> Vec<PathBuf> {
    let mut shown = Vec::new();
    for path in SYSTEM.map(Path::new) {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => {
                if let Ok(target) = fs::read_link(path) {
                    setup.steps.push(Step::Link {
                        target,
                        at: path.to_owned(),
                    });
                    shown.push(path.to_owned());
                }
            }
            Ok(found) if found.is_dir() => {
                if user == BoxUser::Root && path != Path::new("/nix") {
                    setup.steps.push(Step::CopyOnWrite {
                        host: path.to_owned(),
                        at: path.to_owned(),
                    });
                } else {
                    setup.show(path);
                }
                shown.push(path.to_owned());
            }
            // What this system does not have, its boxes do not have.
            Ok(_) | Err(_) => {}
        }
    }
    shown
}

/// Shows the file behind `/etc/resolv.conf`, which is often a link into `/run`.
fn show_resolver(setup: &mut Setup, shown: &[PathBuf]) {
    if let Ok(path) = fs::canonicalize("/etc/resolv.conf")
        && !is_below(&path, shown)
    {
        setup.show(&path);
    }
}

fn show_own_files(setup: &mut Setup, spec: &SandboxSpec, objects: &[PathBuf]) {
    for (number, host) in objects.iter().enumerate() {
        setup.steps.push(Step::ReadOnly {
            host: host.clone(),
            at: object_directory(number),
        });
    }
    let is_image = matches!(spec.image, Image::Layers { .. });
    let mut file = |at: &str, text: String| {
        let is_there = is_image || Path::new(at).is_file() || spec.user == BoxUser::Root;
        if is_there {
            setup.steps.push(Step::File {
                text: text.into(),
                at: at.into(),
            });
        }
    };
    // Programs that add users replace these files, which is refused for a mount: an image being built has its own.
    if !is_image || spec.user == BoxUser::Plain {
        file(
            "/etc/passwd",
            format!(
                "root:x:0:0:root:/root:/bin/sh\nbox:x:{BOX_UID}:{BOX_UID}:box:{HOME}:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
            ),
        );
        file(
            "/etc/group",
            format!("root:x:0:\nbox:x:{BOX_UID}:\nnogroup:x:65534:\n"),
        );
    }
    let mut hosts = "127.0.0.1 localhost box\n::1 localhost\n".to_owned();
    for service in &spec.services {
        hosts.push_str(&format!("127.0.0.1 {}\n", service.name));
    }
    if spec.network != Network::Full || !spec.services.is_empty() || is_image {
        file("/etc/hosts", hosts);
    }
    file("/etc/hostname", "box\n".to_owned());
    if is_image && spec.network == Network::Full {
        // Without one, names are not found, which a command tells better.
        let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        file("/etc/resolv.conf", resolver);
    }
    setup.steps.push(Step::Own);
    for mount in &spec.mounts {
        let (host, at) = (mount.host.clone(), mount.at.clone());
        setup.steps.push(match mount.kind {
            MountKind::ReadOnly => Step::ReadOnly { host, at },
            MountKind::Shared => Step::Shared { host, at },
            MountKind::CopyOnWrite => Step::CopyOnWrite { host, at },
        });
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

    fn check(host: &Host, network: Network, look: impl Fn(&Setup, &Environment)) {
        let spec = SandboxSpec {
            name: "B1".to_owned(),
            image: Image::Host,
            workspace: Workspace::Empty,
            workspace_at: WORKSPACE.into(),
            mounts: Vec::new(),
            env: Vec::new(),
            network,
            limits: crate::engine::Limits::default(),
            user: BoxUser::Plain,
            services: Vec::new(),
        };
        let (setup, env) = host.plan(&spec, &[PathBuf::from("/repo/objects")]);
        look(&setup, &env);
    }

    fn shows(order: &Setup, path: &Path) -> bool {
        let shown = |step: &Step| matches!(step, Step::ReadOnly { host, .. } if path.starts_with(host));
        order.steps.iter().any(shown)
    }

    fn hides(order: &Setup, path: &Path) -> bool {
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
        check(&host, Network::None, |order, env| {
            assert!(shows(order, &at(".cargo/bin/cargo")) && shows(order, &at("work/tool")));
            assert!(!shows(order, &at(".ssh/id")) && !shows(order, &at(".aws/credentials")));
            assert!(hides(order, &at(".cargo/credentials.toml")));
            let path = env.iter().find(|(name, _)| name == "PATH").expect("a path");
            let expected = format!("{}:{}:/usr/bin", at(".cargo/bin").display(), at("work").display());
            assert_eq!(path.1, OsString::from(expected));
            assert!(env.contains(&("CARGO_HOME".into(), at(".cargo").into())));
        });
    }

    #[test]
    fn what_is_hidden_stays_hidden_below_something_shown() {
        let host = Host {
            shown: vec!["/proc/self".into()],
            hidden: vec!["/usr/share/secret".into(), "/not/shown/anyway".into()],
            ..Host::default()
        };
        check(&host, Network::None, |order, _| {
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
        check(&host, Network::None, |order, _| {
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
        check(&host, Network::Full, |order, _| {
            let root =
                |step: &Step| matches!(step, Step::ReadOnly { host, .. } if host.components().count() < 2);
            assert!(!order.steps.iter().any(root));
            assert!(!shows(order, Path::new("/var/lib")));
        });
    }
}
