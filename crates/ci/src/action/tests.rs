//! The built-in actions in a box, each by what it promises.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;

use gantry_adapters::engine::{Sandbox, SandboxControl};
use gantry_core::time::Timestamp;

use super::*;
use crate::artifact::ArtifactStore;
use crate::cache::{CacheAccess, CacheStore};
use crate::fake_box::FakeBox;
use crate::mask::tests::without;

/// A host that has everything, and writes down what it is asked for.
#[derive(Default)]
struct EverySource(Mutex<Vec<Materialise>>);

impl Source for EverySource {
    fn materialise(
        &self,
        wanted: &Materialise,
        sandbox: &dyn Sandbox,
        control: &SandboxControl,
    ) -> Result<Materialised, SourceError> {
        self.0.lock().expect("nobody panicked").push(wanted.clone());
        let line = "git init -q \"$0\" && cd \"$0\" && git -c user.name=a -c user.email=a@b.c commit -q --allow-empty -m x && git rev-parse HEAD";
        let at = wanted.at.display().to_string();
        let env = [("HOME".to_owned(), "/nonexistent".to_owned())];
        let asked = crate::files::ask(
            sandbox,
            control,
            &["/bin/sh", "-ec", line, &at],
            &env,
            Path::new("/"),
        );
        Ok(Materialised {
            commit: asked.expect("it answers").text.trim().to_owned(),
        })
    }
}

struct Scene {
    source: Option<EverySource>,
    folder: tempfile::TempDir,
    sandbox: FakeBox,
    access: CacheAccess,
    env: Vec<(String, String)>,
}

struct Ran {
    result: Result<ActionOutcome, ActionError>,
    log: Vec<(LogLevel, String)>,
}

const COMMIT: &str = "GITHUB_SHA";

/// The host's programs that the actions' own commands need; none that is looked for as a toolchain.
const PROGRAMS: [&str; 12] = [
    "cat", "git", "head", "ln", "ls", "mkdir", "readlink", "rm", "sed", "tar", "tr", "true",
];

fn scene() -> Scene {
    let sandbox = FakeBox::new();
    let programs = sandbox.root().join("programs");
    fs::create_dir(&programs).expect("made");
    for name in PROGRAMS {
        let at = ["/usr/bin", "/bin"]
            .map(|folder| Path::new(folder).join(name))
            .into_iter()
            .find(|at| at.exists());
        symlink(at.expect("the host has it"), programs.join(name)).expect("linked");
    }
    let text = |path: std::path::PathBuf| path.display().to_string();
    let env = [
        (
            "PATH",
            format!("{}:{}", text(sandbox.root().join("bin")), text(programs)),
        ),
        ("HOME", text(sandbox.home())),
        ("RUNNER_TEMP", text(sandbox.temp())),
        ("RUNNER_TOOL_CACHE", text(sandbox.root().join("tools"))),
        ("RUNNER_ARCH", "X64".to_owned()),
        ("GITHUB_REPOSITORY", "octo/cat".to_owned()),
        ("GITHUB_REF", "refs/heads/main".to_owned()),
        ("GITHUB_JOB", "test".to_owned()),
    ];
    Scene {
        source: None,
        folder: tempfile::tempdir().expect("a folder"),
        access: CacheAccess::landed("main", "main"),
        env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        sandbox,
    }
}

impl Scene {
    fn write(&self, path: &str, text: &str) {
        let at = self.sandbox.workspace().join(path);
        self.sandbox
            .put_file(&at, text.as_bytes(), 0o644)
            .expect("written");
    }

    /// A program that answers any question about itself with one line.
    fn program(&self, path: &str, answer: &str) -> String {
        self.sandbox
            .script(path, &format!("echo '{answer}'"))
            .display()
            .to_string()
    }

    fn with_call<T>(
        &self,
        uses: &str,
        with: &[(&str, &str)],
        act: impl FnOnce(&NativeAction, &mut ActionCall<'_>) -> T,
    ) -> (T, Vec<(LogLevel, String)>) {
        let (name, version) = uses.split_once('@').expect("name@version");
        let action = find_action(name, version)
            .expect("it is built in")
            .expect("it is there");
        let given = with
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let (inputs, warning) = action.inputs_of(&given);
        assert_eq!(warning, None);
        let artifacts = ArtifactStore::open(&self.folder.path().join("artifacts")).expect("it opens");
        let caches = CacheStore::open(&self.folder.path().join("caches")).expect("it opens");
        let mask = without("secret");
        let stores = RunStores {
            artifacts: &artifacts,
            caches: &caches,
            access: &self.access,
            source: self.source.as_ref().map_or(&NoSource, |source| source),
            mask: &mask,
        };
        let mut log = Vec::new();
        let workspace = self.sandbox.workspace();
        let mut call = ActionCall {
            version,
            inputs,
            env: self.env.clone(),
            workspace: &workspace,
            sandbox: &self.sandbox,
            control: &SandboxControl::default(),
            stores: &stores,
            now: Timestamp::from_millis(1_000),
            log: &mut |level, text| log.push((level, text.to_owned())),
        };
        let result = act(action, &mut call);
        (result, log)
    }

    fn run(&self, uses: &str, with: &[(&str, &str)]) -> Ran {
        let (result, log) = self.with_call(uses, with, run_action);
        Ran { result, log }
    }

    fn good(&self, uses: &str, with: &[(&str, &str)]) -> ActionOutcome {
        let ran = self.run(uses, with);
        ran.result
            .unwrap_or_else(|error| panic!("{uses}: {error}\n{:?}", ran.log))
    }

    fn fails(&self, uses: &str, with: &[(&str, &str)], words: &[&str]) {
        let error = self.run(uses, with).result.expect_err("it fails").to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} is not in {error:?}");
        }
    }

    /// Runs the post step of what ran, as the end of a job that went well does.
    fn post(&self, uses: &str, with: &[(&str, &str)], outcome: &ActionOutcome) -> Vec<(LogLevel, String)> {
        let (_, post) = outcome.post.expect("it has one");
        let (result, log) = self.with_call(uses, with, |_, call| post(call, &outcome.state));
        result.expect("it ends well");
        log
    }

    fn sh(&self, line: &str) -> String {
        let asked = crate::files::ask(
            &self.sandbox,
            &SandboxControl::default(),
            &["/bin/sh", "-ec", line],
            &self.env,
            &self.sandbox.workspace(),
        )
        .expect("it answers");
        assert_eq!(asked.code, 0, "{line}: {}", asked.text);
        asked.text.trim().to_owned()
    }

    fn repository(&mut self) -> String {
        let commit = self.sh(
            "git init -q -b main . && git config user.name a && git config user.email a@b.c && echo 1 > file && mkdir -p dir other && echo 2 > dir/in && echo 3 > other/in && git add . && git commit -qm one && git rev-parse HEAD",
        );
        self.env.push((COMMIT.to_owned(), commit.clone()));
        commit
    }
}

fn output<'o>(outcome: &'o ActionOutcome, name: &str) -> Option<&'o str> {
    outcome
        .outputs
        .iter()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.as_str())
}

fn env<'o>(outcome: &'o ActionOutcome, name: &str) -> Option<&'o str> {
    outcome
        .env
        .iter()
        .rev()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.as_str())
}

#[test]
fn a_checkout_is_the_commit_of_the_run_and_clean() {
    let mut scene = scene();
    let commit = scene.repository();
    scene.write("untracked", "x");
    scene.write("file", "changed");
    let outcome = scene.good("actions/checkout@v4", &[]);
    assert_eq!(output(&outcome, "commit"), Some(commit.as_str()));
    assert_eq!(output(&outcome, "ref"), Some("refs/heads/main"));
    assert_eq!(scene.sh("git status --porcelain; cat file"), "1");
    assert!(
        scene
            .sh("git config --global --get-all safe.directory")
            .ends_with("/workspace")
    );
    scene.post("actions/checkout@v4", &[], &outcome);
    assert_eq!(
        scene.sh("git config --global --get-all safe.directory || true"),
        ""
    );
    scene.write("untracked", "x");
    scene.good(
        "actions/checkout@v4",
        &[("clean", "false"), ("ref", "main"), ("repository", "Octo/Cat")],
    );
    assert_eq!(scene.sh("cat untracked"), "x");
}

#[test]
fn a_checkout_that_is_not_the_commit_of_the_run_fails() {
    let mut scene = scene();
    scene.repository();
    scene.sh("echo 4 > file && git commit -qam two");
    scene.fails("actions/checkout@v4", &[], &["a step before moved it"]);
}

#[test]
fn a_sparse_checkout_holds_only_what_is_asked_for() {
    let mut scene = scene();
    scene.repository();
    scene.good("actions/checkout@v4", &[("sparse-checkout", "dir")]);
    assert_eq!(scene.sh("ls"), "dir\nfile");
}

#[test]
fn what_a_checkout_cannot_have_offline_is_refused_by_name() {
    let mut scene = scene();
    scene.repository();
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (&[("repository", "octo/other")], &["octo/other"]),
        (&[("ref", "v1")], &["v1"]),
        (&[("submodules", "true")], &["cannot check out"]),
        (&[("lfs", "true")], &["cannot check out"]),
        (&[("path", "../out")], &["is not under"]),
        (&[("path", "/etc")], &["is not under"]),
        (&[("repository", "octo")], &["Invalid repository 'octo'"]),
        (&[("submodules", "some")], &["submodules is 'some'"]),
        (&[("fetch-tags", "true")], &["cannot check out"]),
    ];
    for (with, words) in cases {
        scene.fails("actions/checkout@v4", with, words);
    }
}

#[test]
fn another_repository_comes_from_the_source_into_its_directory() {
    let mut scene = scene();
    scene.repository();
    scene.source = Some(EverySource::default());
    let with = [
        ("repository", "octo/other"),
        ("ref", "v1"),
        ("path", "sub/other"),
        ("fetch-depth", "0"),
        ("submodules", "recursive"),
    ];
    let outcome = scene.good("actions/checkout@v4", &with);
    let there = scene.sh("cd sub/other && git rev-parse HEAD");
    assert_eq!(
        (output(&outcome, "commit"), output(&outcome, "ref")),
        (Some(there.as_str()), Some("v1"))
    );
    let asked = scene
        .source
        .expect("it is there")
        .0
        .into_inner()
        .expect("nobody panicked");
    let wanted = Materialise {
        repository: Some("octo/other".to_owned()),
        reference: Some("v1".to_owned()),
        at: scene.sandbox.workspace().join("sub/other"),
        depth: 0,
        tags: false,
        lfs: false,
        submodules: Submodules::Recursive,
    };
    assert_eq!(asked, [wanted]);
}

#[test]
fn programs_for_another_architecture_are_refused() {
    let scene = scene();
    scene.program("bin/node", "v18.19.1");
    scene.good("actions/setup-node@v4", &[("architecture", "amd64")]);
    scene.fails(
        "actions/setup-node@v4",
        &[("architecture", "arm64")],
        &["this box is x64"],
    );
}

#[test]
fn a_cache_is_saved_after_a_miss_and_hit_by_the_next_job() {
    let scene = scene();
    let uses = "actions/cache@v4";
    let with = [("path", "deps"), ("key", "deps-1"), ("restore-keys", "deps-")];
    let first = scene.good(uses, &with);
    assert_eq!(
        (output(&first, "cache-hit"), output(&first, "cache-matched-key")),
        (Some(""), Some(""))
    );
    scene.write("deps/a", "1");
    scene.post(uses, &with, &first);
    fs::remove_dir_all(scene.sandbox.workspace().join("deps")).expect("removed");
    let second = scene.good(uses, &with);
    assert_eq!(output(&second, "cache-hit"), Some("true"));
    assert_eq!(scene.sh("cat deps/a"), "1");
    let log = scene.post(uses, &with, &second);
    assert!(log[0].1.contains("not saving cache"), "{log:?}");
    let other = [("path", "deps"), ("key", "deps-2"), ("restore-keys", "deps-")];
    let third = scene.good(uses, &other);
    assert_eq!(
        (output(&third, "cache-hit"), output(&third, "cache-matched-key")),
        (Some("false"), Some("deps-1"))
    );
    scene.fails(
        "actions/cache/restore@v4",
        &[("path", "deps"), ("key", "x"), ("fail-on-cache-miss", "true")],
        &["fail-on-cache-miss"],
    );
    scene.fails(
        uses,
        &[("path", "deps"), ("key", "a,b")],
        &["cannot contain commas"],
    );
    scene.fails(
        uses,
        &[("path", "deps")],
        &["Input required and not supplied: key"],
    );
}

#[test]
fn a_change_that_has_not_landed_cannot_poison_its_target() {
    let mut scene = scene();
    let with = [("path", "deps"), ("key", "k")];
    scene.write("deps/a", "poison");
    scene.access = CacheAccess::unmerged("refs/pull/1/merge", "main", "main");
    scene.good("actions/cache/save@v4", &with);
    assert_eq!(
        output(&scene.good("actions/cache/restore@v4", &with), "cache-hit"),
        Some("true")
    );
    scene.access = CacheAccess::landed("main", "main");
    assert_eq!(
        output(&scene.good("actions/cache/restore@v4", &with), "cache-hit"),
        Some("")
    );
}

#[test]
fn artifacts_go_up_and_come_down() {
    let scene = scene();
    scene.write("out/log", "a secret");
    let up = scene.good("actions/upload-artifact@v4", &[("name", "logs"), ("path", "out")]);
    assert!(
        output(&up, "artifact-id").is_some()
            && output(&up, "artifact-digest").is_some_and(|text| text.len() == 64)
    );
    let down = scene.good(
        "actions/download-artifact@v4",
        &[("name", "logs"), ("path", "got")],
    );
    assert!(output(&down, "download-path").is_some_and(|path| path.ends_with("/workspace/got")));
    assert_eq!(scene.sh("cat got/log"), "a ***");
    scene.fails(
        "actions/upload-artifact@v4",
        &[("name", "logs"), ("path", "out")],
        &["logs"],
    );
    scene.fails(
        "actions/upload-artifact@v4",
        &[("name", "a/b"), ("path", "out")],
        &["Forward slash"],
    );
    scene.fails(
        "actions/upload-artifact@v4",
        &[("path", "no"), ("if-no-files-found", "error")],
        &["No files were found"],
    );
    scene.fails(
        "actions/upload-artifact@v4",
        &[("path", "no"), ("compression-level", "10")],
        &["compression-level"],
    );
    scene.fails(
        "actions/download-artifact@v4",
        &[("name", "none")],
        &["none", "logs (id "],
    );
    scene.fails(
        "actions/download-artifact@v4",
        &[("name", "a"), ("artifact-ids", "1")],
        &["cannot be used together"],
    );
    let ran = scene.run("actions/upload-artifact@v4", &[("name", "x"), ("path", "no")]);
    assert!(
        ran.result.is_ok() && ran.log[0].0 == LogLevel::Warning,
        "{:?}",
        ran.log
    );
    let merged = [
        ("name", "all"),
        ("pattern", "l*"),
        ("delete-merged", "true"),
        ("separate-directories", "true"),
    ];
    scene.good("actions/upload-artifact/merge@v4", &merged);
    let down = scene.good("actions/download-artifact@v4", &[("path", "again")]);
    assert!(
        output(&down, "artifacts")
            .is_some_and(|text| text.contains("\"all\"") && !text.contains("\"name\":\"logs\""))
    );
    assert_eq!(scene.sh("cat again/all/logs/log"), "a ***");
}

#[test]
fn node_is_the_newest_that_is_wanted_and_there() {
    let scene = scene();
    scene.program("bin/node", "v18.19.1");
    let twenty = scene.program("tools/node/20.11.0/x64/bin/node", "v20.11.0");
    scene.program("home/.nvm/versions/node/v20.1.0/bin/node", "v20.1.0");
    let outcome = scene.good("actions/setup-node@v4", &[("node-version", "20")]);
    assert_eq!(output(&outcome, "node-version"), Some("v20.11.0"));
    assert_eq!(outcome.path, [twenty.trim_end_matches("/node")]);
    assert_eq!(outcome.matchers.len(), 3);
    scene.write(".nvmrc", "lts/hydrogen\n");
    let outcome = scene.good("actions/setup-node@v4", &[("node-version-file", ".nvmrc")]);
    assert_eq!(output(&outcome, "node-version"), Some("v18.19.1"));
    scene.fails(
        "actions/setup-node@v4",
        &[("node-version", "22.x")],
        &["Node.js 22.x is not in this box", "20.11.0", "18.19.1"],
    );
    scene.fails(
        "actions/setup-node@v4",
        &[("node-version-file", "no")],
        &["does not exist"],
    );
}

#[test]
fn the_token_of_a_registry_is_read_from_the_environment() {
    let scene = scene();
    scene.program("bin/node", "v18.19.1");
    let with = [("registry-url", "https://npm.example.org"), ("scope", "Octo")];
    let outcome = scene.good("actions/setup-node@v4", &with);
    let file =
        fs::read_to_string(env(&outcome, "NPM_CONFIG_USERCONFIG").expect("it is set")).expect("it is there");
    assert_eq!(
        file,
        "//npm.example.org/:_authToken=${NODE_AUTH_TOKEN}\n@octo:registry=https://npm.example.org/\n"
    );
}

#[test]
fn a_package_managers_cache_is_kept_by_its_lock_files() {
    let scene = scene();
    scene.program("bin/node", "v18.19.1");
    scene.sandbox.script("bin/npm", "echo \"$HOME/.npm\"");
    let with = [("cache", "npm")];
    scene.fails("actions/setup-node@v4", &with, &["unable to cache dependencies"]);
    scene.write("package-lock.json", "{}");
    let first = scene.good("actions/setup-node@v4", &with);
    assert_eq!(output(&first, "cache-hit"), Some("false"));
    scene
        .sandbox
        .put_file(&scene.sandbox.home().join(".npm/a"), b"1", 0o644)
        .expect("written");
    scene.post("actions/setup-node@v4", &with, &first);
    assert_eq!(
        output(&scene.good("actions/setup-node@v4", &with), "cache-hit"),
        Some("true")
    );
    scene.write("package-lock.json", "{ }");
    assert_eq!(
        output(&scene.good("actions/setup-node@v4", &with), "cache-hit"),
        Some("false")
    );
}

#[test]
fn python_is_what_python_and_python3_mean_afterwards() {
    let scene = scene();
    scene.program("tools/Python/3.5.10/x64/bin/python3", "Python 3.5.10");
    scene.program("home/.pyenv/versions/3.4.2/bin/python3", "Python 3.4.2");
    let outcome = scene.good("actions/setup-python@v5", &[("python-version", "3.5")]);
    assert_eq!(output(&outcome, "python-version"), Some("3.5.10"));
    assert!(env(&outcome, "pythonLocation").is_some_and(|path| path.ends_with("tools/Python/3.5.10/x64")));
    let first = outcome.path.last().expect("it has one");
    assert_eq!(
        scene.sh(&format!("{first}/python --version && {first}/python3 --version")),
        "Python 3.5.10\nPython 3.5.10"
    );
    let both = scene.good(
        "actions/setup-python@v5",
        &[("python-version", "3.5\n3.4"), ("update-environment", "false")],
    );
    assert_eq!(
        (output(&both, "python-version"), both.env.len()),
        (Some("3.4.2"), 0)
    );
    scene.fails(
        "actions/setup-python@v5",
        &[("python-version", "3.99")],
        &["Python 3.99 is not in this box", "3.5.10"],
    );
    scene.fails(
        "actions/setup-python@v5",
        &[("python-version", "pypy3.9")],
        &["pypy3.9"],
    );
}

#[test]
fn go_is_what_its_module_asks_for() {
    let scene = scene();
    for version in ["1.3.9", "1.98.3"] {
        let script = format!(
            "case $1 in version) echo go version go{version} linux/amd64;; env) shift; for n do echo \"$HOME/go/$n\"; done;; esac"
        );
        scene
            .sandbox
            .script(&format!("tools/go/{version}/x64/bin/go"), &script);
    }
    scene.write("go.mod", "module x\n\ngo 1.3\n");
    scene.write("go.sum", "x");
    let outcome = scene.good("actions/setup-go@v5", &[("go-version-file", "go.mod")]);
    assert_eq!(
        (output(&outcome, "go-version"), output(&outcome, "cache-hit")),
        (Some("1.3.9"), Some("false"))
    );
    assert!(outcome.post.is_some() && outcome.path.iter().any(|path| path.ends_with("/GOPATH/bin")));
    let newest = scene.good(
        "actions/setup-go@v5",
        &[("go-version", "stable"), ("cache", "false")],
    );
    assert_eq!(
        (output(&newest, "go-version"), newest.post.is_none()),
        (Some("1.98.3"), true)
    );
    scene.fails(
        "actions/setup-go@v5",
        &[("go-version", "1.99")],
        &["Go 1.99", "1.98.3"],
    );
}

#[test]
fn java_is_of_the_maker_that_is_asked_for() {
    let scene = scene();
    scene.program(
        "tools/Java_Temurin-Hotspot_jdk/97.0.12-7/x64/bin/java",
        "openjdk version",
    );
    let home = scene
        .sandbox
        .root()
        .join("tools/Java_Temurin-Hotspot_jdk/97.0.12-7/x64");
    let text = b"IMPLEMENTOR=\"Eclipse Adoptium\"\nJAVA_VERSION=\"97.0.12\"\n";
    scene
        .sandbox
        .put_file(&home.join("release"), text, 0o644)
        .expect("written");
    let uses = "actions/setup-java@v4";
    let outcome = scene.good(uses, &[("java-version", "97"), ("distribution", "temurin")]);
    assert_eq!(
        env(&outcome, "JAVA_HOME"),
        Some(home.display().to_string().as_str())
    );
    assert_eq!(env(&outcome, "JAVA_HOME_97_X64"), env(&outcome, "JAVA_HOME"));
    let settings = scene.sandbox.home().join(".m2/settings.xml");
    assert!(
        fs::read_to_string(settings)
            .expect("it is there")
            .contains("<password>${env.GITHUB_TOKEN}</password>")
    );
    scene.fails(
        uses,
        &[("java-version", "97"), ("distribution", "zulu")],
        &["Azul", "97.0.12 of Eclipse Adoptium"],
    );
    scene.fails(
        uses,
        &[("java-version", "99"), ("distribution", "temurin")],
        &["99"],
    );
    scene.fails(uses, &[("java-version", "97")], &["distribution"]);
}

#[test]
fn uv_is_the_version_its_project_requires() {
    let scene = scene();
    scene.program("bin/uv", "uv 0.5.1 (abc 2024-11-08)");
    scene.write("pyproject.toml", "[tool.uv]\nrequired-version = \">=0.5\"\n");
    let outcome = scene.good("astral-sh/setup-uv@v5", &[("python-version", "3.12")]);
    assert_eq!(
        (output(&outcome, "uv-version"), env(&outcome, "UV_PYTHON")),
        (Some("0.5.1"), Some("3.12"))
    );
    assert!(env(&outcome, "UV_CACHE_DIR").is_some() && outcome.post.is_some());
    scene.fails(
        "astral-sh/setup-uv@v5",
        &[("version", "0.6.x")],
        &["uv 0.6.x is not in this box", "0.5.1"],
    );
}

#[test]
fn a_rust_toolchain_is_there_with_its_parts() {
    let scene = scene();
    let host = "x86_64-unknown-linux-gnu";
    scene.sandbox.script(
        "bin/rustup",
        &format!(
            "case \"$1 $2\" in 'toolchain list') echo 'stable-{host} (default)'; echo 1.80.1-{host};; 'component list') echo clippy-{host}; echo rustfmt-{host};; 'target list') echo {host};; default*) echo $2 > \"$HOME/default\";; esac"
        ),
    );
    scene.sandbox.script("bin/rustc", "echo 'rustc 1.80.1 (3f5fd8dd4 2024-08-06)'; echo 'commit-hash: 3f5fd8dd41'; echo 'commit-date: 2024-08-06'");
    let uses = "dtolnay/rust-toolchain@1.80";
    let outcome = scene.good(uses, &[("components", "clippy, rustfmt")]);
    assert_eq!(output(&outcome, "name"), Some(format!("1.80.1-{host}").as_str()));
    assert_eq!(output(&outcome, "cachekey"), Some("202408063f5f"));
    assert_eq!(scene.sh("cat $HOME/default"), format!("1.80.1-{host}"));
    assert_eq!(env(&outcome, "CARGO_INCREMENTAL"), Some("0"));
    scene.fails(uses, &[("components", "miri")], &["the component miri"]);
    scene.fails(
        uses,
        &[("targets", "wasm32-unknown-unknown")],
        &["wasm32-unknown-unknown"],
    );
    scene.fails(
        "dtolnay/rust-toolchain@nightly",
        &[],
        &["the Rust toolchain nightly is not in this box", "stable-"],
    );
    scene.fails(
        "dtolnay/rust-toolchain@master",
        &[],
        &["'toolchain' is a required input"],
    );
    scene.write("rust-toolchain.toml", "[toolchain]\nchannel = \"1.79\"\n");
    scene.fails("actions-rs/toolchain@v1", &[], &["1.79"]);
}

#[test]
fn a_tool_that_is_not_there_is_not_installed() {
    let scene = scene();
    scene.sandbox.script(
        "bin/cargo-nextest",
        "[ \"$1\" = nextest ] && echo 'cargo-nextest 0.9.72 (abc 2024)'",
    );
    for uses in [
        "taiki-e/install-action@nextest",
        "taiki-e/install-action@cargo-nextest",
    ] {
        scene.good(uses, &[]);
    }
    scene.good("taiki-e/install-action@v2", &[("tool", "cargo-nextest@0.9")]);
    scene.fails(
        "taiki-e/install-action@v2",
        &[("tool", "nextest@0.9.80")],
        &["nextest 0.9.80", "0.9.72"],
    );
    scene.fails(
        "taiki-e/install-action@v2",
        &[("tool", "nextest,no-such-tool-here")],
        &["no-such-tool-here"],
    );
    scene.fails("taiki-e/install-action@v2", &[], &["no tool specified"]);
    scene.fails(
        "taiki-e/install-action@v2",
        &[("tool", "a;rm")],
        &["invalid tool name"],
    );
}

#[test]
fn pnpm_is_the_version_of_the_package() {
    let scene = scene();
    scene.program("bin/pnpm", "9.1.0");
    scene.write("package.json", "{\"packageManager\":\"pnpm@9.1.0+sha256.abc\"}");
    let outcome = scene.good("pnpm/action-setup@v4", &[]);
    assert!(env(&outcome, "PNPM_HOME").is_some_and(|path| path.ends_with("/bin")));
    scene.fails(
        "pnpm/action-setup@v4",
        &[("version", "8.0.0")],
        &["Multiple versions"],
    );
    scene.fails(
        "pnpm/action-setup@v4",
        &[("version", "10")],
        &["pnpm 10 is not in this box", "9.1.0"],
    );
}

#[test]
fn dependencies_are_cached_and_a_workspaces_own_crates_are_not() {
    let scene = scene();
    scene.program("bin/rustc", "rustc 1.80.1");
    let metadata = "{\"packages\":[{\"name\":\"my-crate\",\"targets\":[{\"name\":\"my_crate\"}]}]}";
    scene.program("bin/cargo", metadata);
    scene.write("Cargo.lock", "x");
    let hash = "0123456789abcdef";
    let own = format!("target/debug/deps/libmy_crate-{hash}.rlib");
    let other = format!("target/debug/deps/libmy_crate_other-{hash}.rlib");
    scene.write(&own, "1");
    scene.write(&other, "2");
    let uses = "Swatinem/rust-cache@v2";
    let first = scene.good(uses, &[]);
    assert_eq!(output(&first, "cache-hit"), Some("false"));
    scene.post(uses, &[], &first);
    fs::remove_dir_all(scene.sandbox.workspace().join("target")).expect("removed");
    assert_eq!(output(&scene.good(uses, &[]), "cache-hit"), Some("true"));
    let there = |path: &str| scene.sandbox.workspace().join(path).exists();
    assert!(there(&other) && !there(&own));
    scene.write("Cargo.lock", "y");
    assert_eq!(output(&scene.good(uses, &[]), "cache-hit"), Some("false"));
    assert!(scene.good(uses, &[("save-if", "false")]).post.is_none());
}

#[test]
fn a_box_that_ended_fails_an_action() {
    let scene = scene();
    let control = SandboxControl::default();
    control.cancel();
    let asked = crate::files::ask(&scene.sandbox, &control, &["true"], &[], Path::new("/"));
    assert!(asked.is_err());
}
