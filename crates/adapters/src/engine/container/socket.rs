//! Where a daemon listens. Owns the order in which places are looked at; must never connect to one.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::flavour::Flavour;

/// The most bytes of docker's own files that are read.
const CONTEXT_BYTES_MAX: u64 = 64 * 1024;
/// The most contexts that are looked at.
const CONTEXTS_MAX: usize = 256;

/// What the places depend on.
pub(super) struct Surroundings<'a> {
    /// Reads the environment.
    pub(super) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The user's home.
    pub(super) home: Option<PathBuf>,
    /// Where the system's sockets are; `/`.
    pub(super) root: PathBuf,
}

/// Why no socket is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSocket {
    /// A variable names a daemon that is not on this machine's sockets.
    #[error("{variable} is {value}, and only unix:// sockets are spoken to")]
    Elsewhere {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// There is none.
    #[error("there is no socket at {}", list(looked_at))]
    Missing {
        /// Where one was looked for.
        looked_at: Vec<PathBuf>,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let texts: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    texts.join(", ")
}

/// Finds the socket of a daemon.
///
/// Errors: [`NoSocket`].
pub(super) fn find_socket(flavour: Flavour, around: &Surroundings<'_>) -> Result<PathBuf, NoSocket> {
    let variable = match flavour {
        Flavour::Docker => "DOCKER_HOST",
        Flavour::Podman => "CONTAINER_HOST",
    };
    if let Some(value) = (around.variable)(variable).filter(|value| !value.is_empty()) {
        let text = value.to_string_lossy();
        let Some(path) = text.strip_prefix("unix://") else {
            return Err(NoSocket::Elsewhere {
                variable,
                value: text.into_owned(),
            });
        };
        // What somebody has set is used or missed, never replaced by something else that happens to be there.
        let path = PathBuf::from(path);
        return if path.exists() {
            Ok(path)
        } else {
            Err(NoSocket::Missing {
                looked_at: vec![path],
            })
        };
    }
    let places = usual_places(flavour, around);
    match places.iter().find(|path| path.exists()) {
        Some(path) => Ok(path.clone()),
        None => Err(NoSocket::Missing { looked_at: places }),
    }
}

fn usual_places(flavour: Flavour, around: &Surroundings<'_>) -> Vec<PathBuf> {
    let runtime = (around.variable)("XDG_RUNTIME_DIR").map(PathBuf::from);
    let mut places = Vec::new();
    match flavour {
        Flavour::Docker => {
            places.extend(current_context(around));
            places.push(around.root.join("var/run/docker.sock"));
            places.extend(runtime.map(|path| path.join("docker.sock")));
            places.extend(
                around
                    .home
                    .as_ref()
                    .map(|home| home.join(".docker/run/docker.sock")),
            );
        }
        Flavour::Podman => {
            places.push(around.root.join("run/podman/podman.sock"));
            places.extend(runtime.map(|path| path.join("podman/podman.sock")));
        }
    }
    places
}

/// Returns the socket of the context that docker's own commands use, if it is one.
fn current_context(around: &Surroundings<'_>) -> Option<PathBuf> {
    let folder = match (around.variable)("DOCKER_CONFIG") {
        Some(path) => PathBuf::from(path),
        None => around.home.as_ref()?.join(".docker"),
    };
    let wanted = match (around.variable)("DOCKER_CONTEXT") {
        Some(name) => name.to_str()?.to_owned(),
        None => read_json(&folder.join("config.json"))?
            .get("currentContext")?
            .as_str()?
            .to_owned(),
    };
    // A context that cannot be read is one less place to look at; the others are named if nothing is found.
    let metas = fs::read_dir(folder.join("contexts/meta")).ok()?;
    for entry in metas.take(CONTEXTS_MAX).flatten() {
        let Some(meta) = read_json(&entry.path().join("meta.json")) else {
            continue;
        };
        if meta.get("Name").and_then(|name| name.as_str()) == Some(&wanted) {
            let host = meta.pointer("/Endpoints/docker/Host")?.as_str()?;
            return host.strip_prefix("unix://").map(PathBuf::from);
        }
    }
    None
}

fn read_json(path: &Path) -> Option<serde_json::Value> {
    if fs::metadata(path).ok()?.len() > CONTEXT_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds docker's socket among these files, with these variables; `~` and `/` are folders of the test's own.
    fn check(files: &[(&str, &str)], variables: &[(&str, &str)], expected: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path().to_str().expect("text").to_owned();
        for (path, text) in files {
            let at = folder.path().join(path);
            fs::create_dir_all(at.parent().expect("below")).expect("folders");
            fs::write(at, text.replace("BASE", &base)).expect("a file");
        }
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value.replace("BASE", &base)))
        };
        let around = Surroundings {
            variable: &variable,
            home: Some(folder.path().join("home")),
            root: folder.path().join("root"),
        };
        let found = match find_socket(Flavour::Docker, &around) {
            Ok(path) => path.display().to_string(),
            Err(why) => why.to_string(),
        };
        assert_eq!(found.replace(&base, "BASE"), expected);
    }

    const SYSTEM: (&str, &str) = ("root/var/run/docker.sock", "");
    const CONTEXT: (&str, &str) = (
        "home/.docker/contexts/meta/1f/meta.json",
        r#"{"Name":"mine","Endpoints":{"docker":{"Host":"unix://BASE/mine.sock"}}}"#,
    );

    #[test]
    fn a_variable_goes_before_everything_else_and_is_never_replaced() {
        let own = ("own.sock", "");
        check(
            &[SYSTEM, own],
            &[("DOCKER_HOST", "unix://BASE/own.sock")],
            "BASE/own.sock",
        );
        check(
            &[SYSTEM],
            &[("DOCKER_HOST", "unix://BASE/own.sock")],
            "there is no socket at BASE/own.sock",
        );
        check(
            &[SYSTEM],
            &[("DOCKER_HOST", "tcp://far:2375")],
            "DOCKER_HOST is tcp://far:2375, and only unix:// sockets are spoken to",
        );
    }

    #[test]
    fn the_usual_places_are_looked_at_in_their_order() {
        check(&[SYSTEM], &[], "BASE/root/var/run/docker.sock");
        let user = ("run/docker.sock", "");
        let variables = [("XDG_RUNTIME_DIR", "BASE/run")];
        check(&[user, SYSTEM], &variables, "BASE/root/var/run/docker.sock");
        check(&[user], &variables, "BASE/run/docker.sock");
        check(
            &[("home/.docker/run/docker.sock", "")],
            &variables,
            "BASE/home/.docker/run/docker.sock",
        );
        check(
            &[],
            &[],
            "there is no socket at BASE/root/var/run/docker.sock, BASE/home/.docker/run/docker.sock",
        );
    }

    #[test]
    fn the_context_docker_itself_uses_is_used() {
        let config = ("home/.docker/config.json", r#"{"currentContext":"mine"}"#);
        let socket = ("mine.sock", "");
        check(&[SYSTEM, config, CONTEXT, socket], &[], "BASE/mine.sock");
        check(&[SYSTEM, config], &[], "BASE/root/var/run/docker.sock");
        check(
            &[SYSTEM, CONTEXT, socket],
            &[("DOCKER_CONTEXT", "mine")],
            "BASE/mine.sock",
        );
        check(
            &[SYSTEM, CONTEXT, socket],
            &[("DOCKER_CONTEXT", "other")],
            "BASE/root/var/run/docker.sock",
        );
    }
}
