//! An engine under test: started if it can be, stopped afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use gantry_adapters::engine::{
    ContainerEngine, ContainerSettings, Image, NativeEngine, RootLayer, SandboxEngine,
};
use gantry_adapters::process;

use crate::world::wait_until;

/// The image `engines.sh` imports.
const IMAGE: &str = "gantry-test:latest";

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Docker,
    Podman,
    /// Boxes that see the host's programs.
    NativeOnHost,
    /// Boxes on a layer of busybox.
    NativeOnImage,
}

/// An engine that works here.
pub struct Subject {
    /// Dropped first: their files are in the folder.
    _daemons: Daemons,
    pub name: &'static str,
    pub engine: Box<dyn SandboxEngine>,
    /// An engine of the same kind whose daemon nobody started, if the kind has daemons.
    pub unreachable: Option<Box<dyn SandboxEngine>>,
    /// What boxes are made of.
    pub image: Image,
    /// An image the engine does not have and cannot get.
    pub no_image: Image,
    /// A place of the test's own, short enough for sockets.
    pub folder: tempfile::TempDir,
    /// The first arguments of `sandbox_owner`.
    pub owner: Vec<String>,
}

/// The daemons, stopped when dropped if they were started for this test.
struct Daemons {
    folder: PathBuf,
    own: bool,
}

impl Drop for Daemons {
    fn drop(&mut self) {
        if self.own {
            engines("stop", &self.folder);
        }
    }
}

fn engines(what: &str, folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/engines.sh");
    let output = process::command(script)
        .arg(what)
        .arg(folder)
        .output()
        .expect("the script starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Subject {
    /// Starts the engine, or says loudly that it cannot be started and is not tested.
    pub fn start(kind: Kind) -> Option<Self> {
        let name = match kind {
            Kind::Docker => "docker",
            Kind::Podman => "podman",
            Kind::NativeOnHost | Kind::NativeOnImage => return Self::native(kind),
        };
        let folder = tempfile::Builder::new()
            .prefix("gt")
            .tempdir_in("/tmp")
            .expect("a folder");
        let daemons = match std::env::var_os("GANTRY_ENGINES_FOLDER") {
            Some(folder) => Daemons {
                folder: folder.into(),
                own: false,
            },
            None => Daemons {
                folder: folder.path().join("e"),
                own: true,
            },
        };
        let said = engines(&format!("start-{name}"), &daemons.folder);
        let Some(socket) = said
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(" unix://"))
        else {
            eprintln!("\n!!! SKIPPED: {name}: nothing of this engine is tested here: {said}\n");
            assert!(std::env::var_os("GANTRY_ENGINES_REQUIRED").is_none(), "{said}");
            return None;
        };
        let scratch = folder.path().join("boxes");
        let settings = |socket: &str| ContainerSettings {
            scratch: scratch.clone(),
            socket: Some(socket.into()),
            probe_image: Some(IMAGE.to_owned()),
        };
        let make = |settings| -> Box<dyn SandboxEngine> {
            Box::new(match kind {
                Kind::Docker => ContainerEngine::docker(settings),
                _ => ContainerEngine::podman(settings),
            })
        };
        let dead = folder.path().join("dead.sock");
        // A socket file behind which nobody listens any more, as after a crash.
        drop(std::os::unix::net::UnixListener::bind(&dead).expect("a socket"));
        let text = |path: &Path| path.to_str().expect("text").to_owned();
        Some(Self {
            name,
            engine: make(settings(socket)),
            unreachable: Some(make(settings(&text(&dead)))),
            image: Image::Named(IMAGE.to_owned()),
            no_image: Image::Named("localhost:1/gantry/nowhere:1".to_owned()),
            owner: vec![
                name.to_owned(),
                socket.to_owned(),
                text(&scratch),
                IMAGE.to_owned(),
            ],
            folder,
            _daemons: daemons,
        })
    }

    /// Makes a native engine, or says loudly that it makes no boxes here.
    fn native(kind: Kind) -> Option<Self> {
        let folder = tempfile::Builder::new()
            .prefix("gt")
            .tempdir_in("/tmp")
            .expect("a folder");
        let test = std::env::current_exe().expect("this program");
        let target = test.parent().and_then(Path::parent).expect("cargo's folder");
        let entry = target.join("examples/sandbox_owner");
        assert!(
            entry.is_file(),
            "build it first: cargo build -p gantry-adapters --examples"
        );
        let scratch = folder.path().join("boxes");
        let engine = NativeEngine::new(entry, scratch.clone());
        if let Err(why) = engine.probe() {
            eprintln!("\n!!! SKIPPED: native: nothing of this engine is tested here: {why}\n");
            assert!(std::env::var_os("GANTRY_BOXES_REQUIRED").is_none(), "{why}");
            return None;
        }
        let daemons = Daemons {
            folder: folder.path().join("e"),
            own: false,
        };
        let image = if kind == Kind::NativeOnImage {
            engines("rootfs", &daemons.folder);
            let layer = daemons.folder.join("rootfs");
            let owned = process::command("chown")
                .args(["-hR", "1900000000:1900000000"])
                .arg(&layer)
                .status();
            // A plain user's boxes have one user, who owns the layer already.
            if nix::unistd::geteuid().is_root() {
                assert!(owned.is_ok_and(|status| status.success()), "chown");
            }
            Image::Layers {
                digest: "sha256:00".to_owned(),
                layers: vec![RootLayer(layer)],
                env: Vec::new(),
            }
        } else {
            Image::Host
        };
        let scratch = scratch.to_str().expect("text").to_owned();
        Some(Self {
            name: "native",
            engine: Box::new(engine),
            unreachable: None,
            image,
            no_image: Image::Named("localhost:1/gantry/nowhere:1".to_owned()),
            owner: vec!["native".to_owned(), String::new(), scratch, "host".to_owned()],
            folder,
            _daemons: daemons,
        })
    }

    /// Asserts that no folder of a box is there and that nobody left one with the engine.
    pub fn nothing_is_left(&self) {
        let scratch = self.folder.path().join("boxes");
        let folders = || {
            let entries = fs::read_dir(&scratch).into_iter().flatten().flatten();
            entries.filter(|entry| entry.file_name() != ".warm").count()
        };
        wait_until("no folder of a box is left", || folders() == 0);
        assert_eq!(self.engine.reap().expect("reaped"), 0, "boxes are left");
    }
}
