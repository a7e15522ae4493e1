//! Builds with a runner that does what a step's words say in an upper folder, and counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gantry_core::time::Timestamp;

use super::*;
use crate::archive::WriteEntry;
use crate::layer::stack::{Stack, open_file};
use crate::layer::tests::{file, tar_of};
use crate::recipe::{ImageSection, Recipe, parse_dockerfile};
use crate::{Digest, ImageStore, ImportRequest};

const NOW: Timestamp = Timestamp::from_millis(5);

/// Understands `write PATH TEXT`, `delete PATH`, `fail CODE`.
struct Fake {
    scratch: PathBuf,
    seen: Vec<(Vec<LayerPath>, RunStep)>,
}

impl StepRunner for Fake {
    fn run(&mut self, layers: &[LayerPath], step: &RunStep) -> Result<ChangedLayer, StepError> {
        self.seen.push((layers.to_vec(), step.clone()));
        let upper = self.scratch.join(format!("upper{}", self.seen.len()));
        std::fs::create_dir_all(&upper).expect("a folder");
        let line = step.words.last().expect("a step has words").clone();
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        match words.as_slice() {
            ["write", path, text] => {
                let path = upper.join(path);
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
                std::fs::write(path, text).expect("a file");
            }
            ["delete", path] => {
                let folder = crate::beneath::Beneath::open(&upper).expect("it");
                let folder = folder.folder(b"").expect("it");
                crate::layer::whiteout::put_whiteout(&folder, path.as_bytes()).expect("a mark");
            }
            ["fail", code] => {
                return Err(StepError::Failed {
                    code: code.parse().expect("a number"),
                });
            }
            other => panic!("{other:?}"),
        }
        Ok(ChangedLayer { upper, guard: None })
    }
}

struct World {
    scratch: tempfile::TempDir,
    store: ImageStore,
    runner: Fake,
    secret: &'static [u8],
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let store = ImageStore::open(scratch.path().join("images")).expect("a store");
        std::fs::create_dir(scratch.path().join("context")).expect("a folder");
        let runner = Fake {
            scratch: scratch.path().join("uppers"),
            seen: Vec::new(),
        };
        let base = scratch.path().join("base.tar");
        let tar = tar_of(&[
            (b"tmp", WriteEntry::Folder, 0o1777, b""),
            (b"usr/lib", WriteEntry::Folder, 0o755, b""),
            (b"lib", WriteEntry::Symlink(b"usr/lib"), 0o777, b""),
            (b"old", file(b"old"), 0o644, b"old"),
        ]);
        std::fs::write(&base, tar).expect("a file");
        let name = Some("base".parse().expect("a name"));
        store
            .import(&ImportRequest {
                path: &base,
                name,
                now: NOW,
            })
            .expect("a base");
        Self {
            scratch,
            store,
            runner,
            secret: b"no such secret",
        }
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.scratch.path().join("context").join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }

    fn build_recipe(&mut self, recipe: &Recipe, arguments: &[(&str, &str)]) -> Result<Built, BuildError> {
        let secret = self.secret;
        let request = BuildRequest {
            recipe,
            context: &self.scratch.path().join("context"),
            names: vec!["built".parse().expect("a name")],
            arguments: arguments
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            cached: true,
            named_secret: &|bytes| {
                bytes
                    .windows(secret.len())
                    .any(|window| window == secret)
                    .then(|| "DEPLOY".to_owned())
            },
            now: NOW,
        };
        self.store.build(&request, &mut self.runner)
    }

    fn build(&mut self, text: &str) -> Result<Built, BuildError> {
        self.build_recipe(&parse_dockerfile("Dockerfile", text).expect("a Dockerfile"), &[])
    }

    fn text(&self, image: Digest, path: &str) -> Option<String> {
        let stack = Stack::open(&self.store.layer_trees(image).expect("it")).expect("trees");
        let node = stack.resolve(path.as_bytes()).expect("a look")?;
        Some(std::io::read_to_string(open_file(&node).expect("a file")).expect("text"))
    }
}

#[test]
fn a_dockerfile_is_built_once_and_then_taken_from_the_cache() {
    let mut world = World::new();
    world.put("a.txt", "from the context");
    world.put("dir/b.txt", "b");
    world.put("dir/c.log", "left out");
    world.put(".dockerignore", "**/*.log\n");
    let text = "FROM base AS one\nARG V=7\nENV A=x\nRUN write made $A\nFROM base\nWORKDIR /srv/app\nUSER dev\n\
                COPY --from=one made /lib/made\nCOPY a.txt dir ./\nCOPY <<EOF /tmp/inline\n\"$HOME\" it's\nEOF\nRUN delete old\nCMD [\"sh\"]\n";
    let built = world.build(text).expect("a build");
    assert_eq!((built.run_count, built.cached_count), (6, 0));
    let image = built.digest;
    assert_eq!(
        world.text(image, "usr/lib/made").as_deref(),
        Some("$A"),
        "the link /lib stays a link"
    );
    assert_eq!(
        world.text(image, "srv/app/a.txt").as_deref(),
        Some("from the context")
    );
    assert_eq!(world.text(image, "srv/app/b.txt").as_deref(), Some("b"));
    assert_eq!(world.text(image, "srv/app/c.log"), None);
    assert_eq!(world.text(image, "tmp/inline").as_deref(), Some("\"\" it's\n"));
    assert_eq!(world.text(image, "old"), None);
    let config = world.store.config(image).expect("it").config;
    assert_eq!(
        (config.user.as_str(), config.working_dir.as_str()),
        ("dev", "/srv/app")
    );
    assert_eq!(config.cmd, Some(vec!["sh".to_owned()]));
    let (layers, first) = &world.runner.seen[0];
    assert_eq!(layers.len(), 1);
    assert_eq!(first.words, ["/bin/sh", "-c", "write made $A"]);
    let environment: BTreeMap<&str, &str> = first
        .environment
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!((environment["A"], environment["V"]), ("x", "7"));
    assert_eq!(
        (
            world.runner.seen[1].1.user.as_str(),
            world.runner.seen[1].1.folder.as_str()
        ),
        ("dev", "/srv/app")
    );
    let again = world.build(text).expect("a build");
    assert_eq!((again.digest, again.run_count, again.cached_count), (image, 0, 6));
    world.put("a.txt", "changed");
    let changed = world.build(text).expect("a build");
    assert_ne!(changed.digest, image);
    assert_eq!(
        changed.cached_count, 4,
        "what stands before the change and does not depend on it"
    );
}

#[test]
fn the_modes_of_folders_that_are_there_stay() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::new();
    world.put("a", "a");
    let image = world
        .build("FROM base\nCOPY --chmod=750 a /tmp/new/\n")
        .expect("a build")
        .digest;
    let tree = world
        .store
        .layer_trees(image)
        .expect("it")
        .pop()
        .expect("a layer");
    let mode = |path: &str| {
        std::fs::metadata(tree.join(path))
            .expect("it")
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(
        (mode("tmp"), mode("tmp/new"), mode("tmp/new/a")),
        (0o1777, 0o755, 0o750)
    );
}

#[test]
fn the_table_is_built_and_its_key_files_decide() {
    let mut world = World::new();
    let section = ImageSection {
        base: "base".into(),
        packages: vec![],
        setup: vec!["write x y".into()],
        key: vec!["lock".into()],
    };
    let recipe = section.recipe();
    let first = world.build_recipe(&recipe, &[]).expect("a build");
    let second = world.build_recipe(&recipe, &[]).expect("a build");
    assert_eq!(
        (first.run_count, second.run_count, second.digest),
        (1, 0, first.digest)
    );
    world.put("lock", "1");
    assert_eq!(world.build_recipe(&recipe, &[]).expect("a build").run_count, 1);
    assert_eq!(world.build_recipe(&recipe, &[]).expect("a build").run_count, 0);
    let host = ImageSection {
        base: "host".into(),
        packages: vec![],
        setup: vec!["write x y".into()],
        key: vec![],
    };
    world.build_recipe(&host.recipe(), &[]).expect("a build");
    assert_eq!(world.runner.seen.last().expect("a step").0, [LayerPath::Host]);
}

#[test]
fn arguments_reach_the_base_and_the_steps() {
    let mut world = World::new();
    let text = "ARG BASE=nothing\nFROM $BASE\nARG WHO\nRUN write who x\n";
    let recipe = parse_dockerfile("Dockerfile", text).expect("a Dockerfile");
    let error = world.build_recipe(&recipe, &[]).expect_err("no such base");
    assert_eq!(
        error.to_string(),
        "Dockerfile line 2: no image is named \"nothing\"; pull or import it first"
    );
    let run = |world: &mut World, who| {
        world
            .build_recipe(&recipe, &[("BASE", "base"), ("WHO", who)])
            .expect("a build")
            .run_count
    };
    assert_eq!(
        (run(&mut world, "a"), run(&mut world, "a"), run(&mut world, "b")),
        (1, 0, 1)
    );
}

#[test]
fn a_failed_step_names_its_line_and_keeps_the_steps_before() {
    let mut world = World::new();
    let text = "FROM base\nRUN write a b\nRUN fail 3\n";
    let error = world.build(text).expect_err("it fails");
    assert!(
        matches!(
            &error,
            BuildError::Step {
                line: 3,
                source: StepError::Failed { code: 3 },
                ..
            }
        ),
        "{error}"
    );
    world.build(text).expect_err("it fails again");
    assert_eq!(world.runner.seen.len(), 3, "the first step ran once");
    assert!(world.store.resolve("built").is_err());
}

#[test]
fn an_image_with_a_secret_is_refused() {
    let mut world = World::new();
    world.secret = b"hunter22";
    let check = |world: &mut World, text: &str, place: &str, kind: &str| {
        let error = world.build(text).expect_err(text);
        let BuildError::Secrets(found) = &error else {
            panic!("{error}")
        };
        assert_eq!((found[0].place.as_str(), found[0].kind.as_str()), (place, kind));
        assert!(!error.to_string().contains("hunter22"), "{error}");
        assert!(world.store.resolve("built").is_err());
    };
    check(
        &mut world,
        "FROM base\nRUN write etc/conf key=hunter22\n",
        "/etc/conf",
        "secret DEPLOY",
    );
    check(
        &mut world,
        "FROM base\nRUN write etc/conf key=hunter22\n",
        "/etc/conf",
        "secret DEPLOY",
    );
    check(
        &mut world,
        "FROM base\nENV KEY=hunter22\n",
        "environment KEY",
        "secret DEPLOY",
    );
    check(
        &mut world,
        "FROM base\nLABEL k=hunter22\n",
        "label k",
        "secret DEPLOY",
    );
    let token = ["npm_", "a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8"].concat();
    world.put("token", &token);
    check(&mut world, "FROM base\nCOPY token /t\n", "/t", "npm token");
}

#[test]
fn a_copy_follows_no_link_out_of_the_context() {
    let mut world = World::new();
    let outside = world.scratch.path().join("outside");
    std::fs::write(&outside, "outside").expect("a file");
    std::os::unix::fs::symlink(&outside, world.scratch.path().join("context/link")).expect("a link");
    std::os::unix::fs::symlink("..", world.scratch.path().join("context/up")).expect("a link");
    for source in [
        "link",
        "up/outside",
        "../outside",
        Path::new(&outside).to_str().expect("UTF-8"),
    ] {
        let error = world
            .build(&format!("FROM base\nCOPY {source} /x\n"))
            .expect_err(source);
        assert!(error.to_string().contains("is not there"), "{source}: {error}");
    }
}

#[test]
fn each_difference_from_the_inputs_is_named() {
    use crate::Drift;
    let mut world = World::new();
    world.put("lock", "1");
    let section = |base: &str, packages: &[&str], setup: &[&str], key: &[&str]| {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        ImageSection {
            base: base.into(),
            packages: owned(packages),
            setup: owned(setup),
            key: owned(key),
        }
        .recipe()
    };
    let recipe = section("base", &[], &["write a b", "write c d"], &["lock"]);
    let digest = world.build_recipe(&recipe, &[]).expect("a build").digest;
    let context = world.scratch.path().join("context");
    let check = |world: &World, recipe: &Recipe, expected: &[Drift]| {
        let read = |path: &Path| std::fs::read(context.join(path));
        assert_eq!(
            world.store.drift(digest, recipe, &read).expect("a look"),
            expected
        );
    };
    check(&world, &recipe, &[]);
    check(
        &world,
        &section("base", &["git"], &["write a b", "write c d"], &["lock"]),
        &[Drift::PackageAdded {
            package: "git".into(),
        }],
    );
    check(
        &world,
        &section("other", &[], &["write a b", "write c d"], &["lock"]),
        &[Drift::Base {
            was: "base".into(),
            now: "other".into(),
        }],
    );
    check(
        &world,
        &section("base", &[], &["write c d", "write a b"], &["lock"]),
        &[Drift::Recipe],
    );
    check(
        &world,
        &section("base", &[], &["write a b", "write e f"], &[]),
        &[
            Drift::FileRemoved { path: "lock".into() },
            Drift::StepAdded {
                step: "RUN write e f".into(),
            },
            Drift::StepRemoved {
                step: "RUN write c d".into(),
            },
        ],
    );
    world.put("lock", "2");
    check(&world, &recipe, &[Drift::FileChanged { path: "lock".into() }]);
    world.put("lock", "1");
    let base = world.store.resolve("base").expect("it");
    world
        .store
        .set_name(&"base".parse().expect("a name"), digest)
        .expect("a name");
    check(
        &world,
        &recipe,
        &[Drift::BaseDigest {
            was: Some(base),
            now: Some(digest),
        }],
    );
    let read = |_: &Path| Ok(Vec::new());
    assert_eq!(
        world.store.drift(base, &recipe, &read).expect("a look"),
        [Drift::NotBuilt]
    );
}

#[test]
fn what_is_pruned_takes_its_layers_and_steps_along() {
    use std::time::Duration;

    use crate::CollectLimits;
    let mut world = World::new();
    let built = world.build("FROM base\nRUN write a b\n").expect("a build").digest;
    let later = Timestamp::from_millis(100_000);
    let lease = world.store.lease(built, later).expect("a lease");
    let limits = CollectLimits {
        unused_for: Some(Duration::from_secs(50)),
        bytes: None,
    };
    let pruned = world.store.prune(limits, later).expect("a prune");
    assert_eq!(
        (pruned.removed.len(), pruned.swept.layer_count),
        (1, 0),
        "the base's layer is the built image's, too"
    );
    drop(lease);
    let much_later = Timestamp::from_millis(200_000);
    let pruned = world.store.prune(limits, much_later).expect("a prune");
    assert_eq!(
        (pruned.removed.len(), pruned.step_count, pruned.swept.layer_count),
        (1, 1, 2)
    );
    assert_eq!(pruned.removed[0].1, ["built".parse().expect("a name")]);
    assert!(world.store.list().expect("a list").is_empty());
}

#[test]
fn a_scan_finds_what_a_later_layer_deletes() {
    let mut world = World::new();
    let built = world
        .build("FROM base\nRUN write old hunter22\nRUN delete old\n")
        .expect("a build")
        .digest;
    let named = |bytes: &[u8]| {
        bytes
            .windows(8)
            .any(|window| window == b"hunter22")
            .then(|| "DEPLOY".to_owned())
    };
    let found = world.store.scan(built, &named).expect("a scan");
    let finding = |place: &str| crate::Finding {
        place: place.into(),
        kind: "secret DEPLOY".into(),
    };
    assert_eq!(found, [finding("history step 2"), finding("/old")]);
}
