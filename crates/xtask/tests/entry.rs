//! `./x` on systems that lack something: each test gives it a `PATH` of its own, in which what is missing is not
//! there and what would change the system only writes down that it was started.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use gantry_adapters::process::{self, Bounds};
use tempfile::TempDir;

const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(60),
    output_bytes_max: 100_000,
};

/// A system with nothing but a shell's everyday programs.
struct System {
    folder: TempDir,
}

impl System {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (home, bin) = (folder.path().join("repo"), folder.path().join("bin"));
        std::fs::create_dir(&home).expect("a folder");
        std::fs::create_dir(&bin).expect("a folder");
        for file in ["x", "rust-toolchain.toml"] {
            std::fs::copy(root.join(file), home.join(file)).expect("the file is there");
        }
        for tool in ["cat", "chmod", "dirname", "grep", "head", "sed", "sort"] {
            let found = ["/usr/bin", "/bin"]
                .iter()
                .map(|dir| Path::new(dir).join(tool))
                .find(|path| path.exists());
            symlink(found.expect("an everyday program"), bin.join(tool)).expect("a link");
        }
        let system = Self { folder };
        system.with("id", "echo 0")
    }

    /// Adds a program that runs these lines of shell after it has written down how it was started.
    fn with(self, name: &str, lines: &str) -> Self {
        let bin = self.folder.path().join("bin");
        let quiet = matches!(name, "id");
        let note = if quiet {
            String::new()
        } else {
            format!("echo \"{name} $*\" >> '{}/log'\n", bin.display())
        };
        let text = format!("#!/bin/sh\nbin='{}'\n{note}{lines}\n", bin.display());
        std::fs::write(bin.join(name), text).expect("a program");
        std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).expect("its mode");
        self
    }

    /// Adds an `apt-get` that really gives what it is asked for, and the programs in it.
    fn with_apt(self) -> Self {
        let lines = r#"
give() { printf '#!/bin/sh\nbin=%s\necho "%s $*" >> "$bin/log"\n%s\n' "$bin" "$1" "$2" > "$bin/$1"; chmod +x "$bin/$1"; }
[ "$1" = install ] || exit 0
for package in "$@"; do
    case $package in
    git) give git : ;;
    gcc) give cc : ;;
    rustup)
        give rustup 'case "$*" in "toolchain list") cat "$bin/toolchains" 2>/dev/null ;; "toolchain install"*) echo "$3" > "$bin/toolchains" ;; esac'
        give cargo 'case "$*" in --version) echo "cargo $(cat "$bin/toolchains") (stub)" ;; nextest*) exit 1 ;; esac'
        ;;
    esac
done"#;
        self.with("apt-get", lines)
    }

    /// Runs `./x` with these arguments; returns whether it succeeded, what it said and what it started.
    fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        let bin = self.folder.path().join("bin");
        let mut command = process::command("/bin/sh");
        command
            .env("PATH", &bin)
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path());
        let finished = process::run(command.arg("repo/x").args(arguments), BOUNDS).expect("it runs");
        let said = String::from_utf8_lossy(&[finished.stdout, finished.stderr].concat()).into_owned();
        let log = std::fs::read_to_string(bin.join("log")).unwrap_or_default();
        (finished.status.success(), said, log)
    }
}

const CARGO: &str = "case \"$*\" in --version) echo 'cargo 1.95.0 (stub)' ;; nextest*) exit 1 ;; esac";

#[test]
fn nothing_is_installed_where_nothing_is_missing() {
    let engines = ["dockerd", "podman", "runc", "busybox", "bwrap"];
    let system = System::new()
        .with("git", ":")
        .with("cc", ":")
        .with("cargo", CARGO)
        .with_apt();
    let system = engines
        .iter()
        .fold(system, |system, program| system.with(program, ":"));
    let (done, said, log) = system.run(&["test", "--quiet"]);
    assert!(done, "{said}");
    assert_eq!(said, "");
    assert!(
        log.ends_with("cargo test --workspace --locked --quiet\n"),
        "{log}"
    );
    assert!(!log.contains("apt-get"), "{log}");
}

#[test]
fn what_is_missing_is_said_and_installed_and_the_toolchain_too() {
    let system = System::new()
        .with_apt()
        .with("apt-cache", "echo 'Package: rustup'");
    let (done, said, log) = system.run(&["test"]);
    assert!(done, "{said}\n{log}");
    for line in [
        "x: will run: apt-get update && apt-get install -y git gcc libc6-dev",
        "x: will run: apt-get update && apt-get install -y rustup",
        "x: will run: apt-get update && apt-get install -y docker.io podman runc busybox-static bubblewrap",
        "x: will run: rustup toolchain install 1.95.0 --profile minimal --component rustfmt --component clippy",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert!(log.contains("apt-get install -y git gcc libc6-dev\n"), "{log}");
    assert!(log.ends_with("cargo test --workspace --locked\n"), "{log}");
}

#[test]
fn a_system_without_a_package_of_rustup_is_told_what_to_do() {
    let system = System::new()
        .with("git", ":")
        .with("cc", ":")
        .with_apt()
        .with("apt-cache", "exit 100");
    let (done, said, log) = system.run(&["test"]);
    assert!(!done);
    assert!(
        said.contains("this system has no package of rustup. Install rustup as"),
        "{said}"
    );
    assert!(!log.contains("apt-get"), "{log}");
}

#[test]
fn a_cargo_that_is_too_old_is_refused_by_its_version() {
    let old = "echo 'cargo 1.63.0 (stub)'";
    let (done, said, _) = System::new()
        .with("git", ":")
        .with("cc", ":")
        .with("cargo", old)
        .run(&["test"]);
    assert!(!done);
    assert!(
        said.contains("cargo is 1.63.0, and 1.95.0 or newer is needed"),
        "{said}"
    );
}

#[test]
fn without_apt_the_missing_tools_are_named() {
    let (done, said, _) = System::new().with("cargo", CARGO).run(&["test"]);
    assert!(!done);
    assert!(said.contains("missing: git gcc libc6-dev"), "{said}");
}

#[test]
fn an_unknown_word_is_answered_with_the_usage() {
    let (done, said, _) = System::new().run(&["tset"]);
    assert!(!done);
    assert!(said.contains("usage: ./x demo"), "{said}");
    assert!(System::new().run(&[]).0);
}
