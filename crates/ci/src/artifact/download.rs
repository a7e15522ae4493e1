//! Brings artifacts into a box. Owns which ones are meant and where their files go; must never write outside the
//! directory asked for.

use std::io;
use std::path::{Path, PathBuf};

use gantry_adapters::engine::{Sandbox, SandboxControl};

use super::name::{ArtifactName, matches_name};
use super::store::{Artifact, ArtifactStore, StoreError};
use super::unpack::{UnpackError, Unpacked, unpack};
use crate::files::deliver_file;

/// Which artifacts are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// One by its name.
    Name(ArtifactName),
    /// Those whose names a pattern means.
    Pattern(String),
    /// Some by their numbers.
    Ids(Vec<u64>),
    /// All of the run.
    All,
}

/// What is asked for.
#[derive(Debug)]
pub struct DownloadSpec<'a> {
    /// Which.
    pub wanted: &'a Wanted,
    /// Where to, in the box; absolute.
    pub at: &'a Path,
    /// Whether several go into one directory instead of one each.
    pub merge: bool,
}

/// What arrived.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Downloaded {
    /// Each artifact, where it is and how much of it there is.
    pub artifacts: Vec<(Artifact, PathBuf, Unpacked)>,
}

/// Why it did not arrive, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// There is none of this name.
    #[error(
        "Unable to download artifact(s): Artifact not found for name: {name}\n        Please ensure that your artifact is not expired and the artifact was uploaded using a compatible version of toolkit/upload-artifact. This run has: {present}"
    )]
    NotFound {
        /// The name.
        name: ArtifactName,
        /// What is there.
        present: String,
    },
    /// A number that is not there.
    #[error("no artifact of this run has the id {id}; this run has: {present}")]
    NoId {
        /// The number.
        id: u64,
        /// What is there.
        present: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An artifact.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

fn present(all: &[Artifact]) -> String {
    if all.is_empty() {
        return "no artifacts".to_owned();
    }
    all.iter()
        .map(|artifact| format!("{} (id {})", artifact.name, artifact.id))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Chooses artifacts, in the order of their numbers.
///
/// Errors: [`DownloadError`]; a pattern that means none is not an error.
pub fn choose(store: &ArtifactStore, wanted: &Wanted) -> Result<Vec<Artifact>, DownloadError> {
    let all = store.list()?;
    match wanted {
        Wanted::All => Ok(all),
        Wanted::Pattern(pattern) => Ok(all
            .into_iter()
            .filter(|artifact| matches_name(pattern, &artifact.name))
            .collect()),
        Wanted::Name(name) => match all.iter().find(|artifact| artifact.name == *name) {
            Some(found) => Ok(vec![found.clone()]),
            None => Err(DownloadError::NotFound {
                name: name.clone(),
                present: present(&all),
            }),
        },
        Wanted::Ids(ids) => ids
            .iter()
            .map(|id| {
                let found = all.iter().find(|artifact| artifact.id == *id);
                found.cloned().ok_or_else(|| DownloadError::NoId {
                    id: *id,
                    present: present(&all),
                })
            })
            .collect(),
    }
}

/// Writes artifacts into a box.
///
/// One that is asked for by its name goes right into the directory, and so does a single number; others go into
/// directories of their names unless they are merged.
///
/// Errors: [`DownloadError`].
pub fn download(
    store: &ArtifactStore,
    sandbox: &dyn Sandbox,
    control: &SandboxControl,
    spec: &DownloadSpec<'_>,
) -> Result<Downloaded, DownloadError> {
    let chosen = choose(store, spec.wanted)?;
    let flat = match spec.wanted {
        Wanted::Name(_) => true,
        Wanted::Ids(ids) => ids.len() == 1 || spec.merge,
        Wanted::Pattern(_) | Wanted::All => spec.merge,
    };
    let mut downloaded = Downloaded::default();
    for artifact in chosen {
        let at = if flat {
            spec.at.to_owned()
        } else {
            spec.at.join(artifact.name.as_str())
        };
        let unpacked = unpack(
            &store.zip_path(&artifact.name),
            &artifact,
            &mut |path, content| {
                deliver_file(sandbox, control, &at.join(path), content, 0o644)
                    .map(|_| ())
                    .map_err(io::Error::other)
            },
        )?;
        downloaded.artifacts.push((artifact, at, unpacked));
    }
    Ok(downloaded)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use gantry_core::time::Timestamp;

    use super::*;
    use crate::artifact::{Retention, UploadError, UploadSpec, Uploaded, merge, upload};
    use crate::fake_box::FakeBox;
    use crate::files::Patterns;
    use crate::mask::MaskStream;
    use crate::mask::tests::without;

    struct World {
        _folder: tempfile::TempDir,
        store: ArtifactStore,
        sandbox: FakeBox,
    }

    fn world(files: &[(&str, &str)]) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let store = ArtifactStore::open(folder.path()).expect("it opens");
        let sandbox = FakeBox::new();
        for (path, text) in files {
            sandbox
                .put_file(&sandbox.workspace().join(path), text.as_bytes(), 0o755)
                .expect("written");
        }
        World {
            _folder: folder,
            store,
            sandbox,
        }
    }

    fn spec<'a>(name: &'a ArtifactName, patterns: &'a Patterns) -> UploadSpec<'a> {
        UploadSpec {
            name,
            patterns,
            hidden: false,
            compression_level: 6,
            retention: Retention::of_days(0).0,
            overwrite: false,
            now: Timestamp::from_millis(0),
        }
    }

    impl World {
        fn up(&self, name: &str, paths: &str) -> Result<Uploaded, UploadError> {
            let name = ArtifactName::parse(name).expect("a name");
            let patterns = Patterns::parse(paths, &self.sandbox.workspace(), None, true).expect("patterns");
            upload(
                &self.store,
                &self.sandbox,
                &without("secret"),
                &spec(&name, &patterns),
            )
        }

        fn down(&self, wanted: &Wanted, merge: bool) -> Result<Vec<String>, DownloadError> {
            let at = self.sandbox.root().join("got");
            let spec = DownloadSpec {
                wanted,
                at: &at,
                merge,
            };
            download(&self.store, &self.sandbox, &SandboxControl::default(), &spec)?;
            let patterns = Patterns::parse(".", &at, None, true).expect("patterns");
            let mut got = Vec::new();
            crate::files::search(&self.sandbox, &patterns, true, &mut |file, content| {
                let mut text = String::new();
                content.read_to_string(&mut text)?;
                got.push(format!(
                    "{}={text}",
                    file.path.strip_prefix(&at).expect("below").display()
                ));
                Ok(())
            })
            .expect("searched");
            fs::remove_dir_all(&at).expect("removed");
            Ok(got)
        }
    }

    fn named(name: &str) -> Wanted {
        Wanted::Name(ArtifactName::parse(name).expect("a name"))
    }

    #[test]
    fn files_come_back_below_their_least_common_ancestor() {
        let world = world(&[("out/a/x", "1"), ("out/b/y", "2"), ("z", "3")]);
        world.up("two", "out/a\nout/b/*").expect("up");
        assert_eq!(
            world.down(&named("two"), false).expect("down"),
            ["a/x=1", "b/y=2"]
        );
        world.up("one", "out/a/x").expect("up");
        assert_eq!(world.down(&named("one"), false).expect("down"), ["x=1"]);
        world.up("wild", "out/**").expect("up");
        assert_eq!(
            world.down(&named("wild"), false).expect("down"),
            ["a/x=1", "b/y=2"]
        );
        world.up("less", "out\n!out/b").expect("up");
        assert_eq!(world.down(&named("less"), false).expect("down"), ["a/x=1"]);
    }

    #[test]
    fn several_go_into_directories_of_their_names_or_into_one() {
        let world = world(&[("a", "1"), ("b", "2")]);
        world.up("x-a", "a").expect("up");
        world.up("x-b", "b").expect("up");
        world.up("y", "b").expect("up");
        let pattern = Wanted::Pattern("x-*".to_owned());
        assert_eq!(world.down(&pattern, false).expect("down"), ["x-a/a=1", "x-b/b=2"]);
        assert_eq!(world.down(&pattern, true).expect("down"), ["a=1", "b=2"]);
        assert_eq!(
            world.down(&Wanted::All, false).expect("down"),
            ["x-a/a=1", "x-b/b=2", "y/b=2"]
        );
        let missing = world
            .down(&named("no"), false)
            .expect_err("it is not there")
            .to_string();
        assert!(
            missing.contains("no") && missing.contains("x-a (id "),
            "{missing}"
        );
    }

    #[test]
    fn secrets_do_not_leave_in_files_or_names() {
        let world = world(&[("a", "a secret here"), ("my-secret", "x")]);
        world.up("a", "a").expect("up");
        assert_eq!(world.down(&named("a"), false).expect("down"), ["a=a *** here"]);
        assert!(world.up("b", "my-secret").is_err());
        assert_eq!(world.store.list().expect("listed").len(), 1);
    }

    #[test]
    fn a_mask_that_fails_keeps_nothing() {
        let world = world(&[("a", "text")]);
        let name = ArtifactName::parse("a").expect("a name");
        let patterns = Patterns::parse("a", &world.sandbox.workspace(), None, true).expect("patterns");
        let failing = || -> MaskStream { Box::new(|_, _| Err(io::Error::other("no rules"))) };
        assert!(upload(&world.store, &world.sandbox, &failing, &spec(&name, &patterns)).is_err());
        assert_eq!(world.store.list().expect("listed"), []);
    }

    #[test]
    fn what_a_link_leads_to_is_kept_under_its_name() {
        let world = world(&[("out/a", "1"), ("other", "2")]);
        symlink("../other", world.sandbox.workspace().join("out/link")).expect("linked");
        symlink("/etc/passwd", world.sandbox.workspace().join("out/escape")).expect("linked");
        let Uploaded::Kept(_, left_out) = world.up("a", "out").expect("up") else {
            panic!("files are there")
        };
        assert_eq!(left_out, [world.sandbox.workspace().join("out/escape")]);
        assert_eq!(world.down(&named("a"), false).expect("down"), ["a=1", "link=2"]);
    }

    #[test]
    fn names_a_zip_cannot_hold_are_refused_by_name() {
        let world = world(&[("out/a:b", "1")]);
        let error = world.up("a", "out").expect_err("it is refused");
        let text = std::error::Error::source(&error)
            .map(ToString::to_string)
            .unwrap_or_default();
        let text = format!("{error} {text}");
        assert!(text.contains("a:b"), "{text}");
        assert_eq!(world.up("b", "nothing").expect("no files"), Uploaded::NoFiles);
    }

    #[test]
    fn a_merged_artifact_holds_the_later_file() {
        let world = world(&[("a/x", "1"), ("b/x", "2"), ("b/y", "3")]);
        world.up("a", "a").expect("up");
        world.up("b", "b").expect("up");
        let from = world.store.list().expect("listed");
        let patterns = Patterns::parse(".", Path::new("/"), None, true).expect("patterns");
        for (name, separate, expected) in [
            ("m", false, vec!["x=2", "y=3"]),
            ("s", true, vec!["a/x=1", "b/x=2", "b/y=3"]),
        ] {
            let name = ArtifactName::parse(name).expect("a name");
            merge(&world.store, &from, separate, &spec(&name, &patterns)).expect("merged");
            assert_eq!(world.down(&Wanted::Name(name), false).expect("down"), expected);
        }
    }

    #[test]
    fn an_artifact_that_was_changed_afterwards_is_refused() {
        let world = world(&[("a", "1")]);
        world.up("a", "a").expect("up");
        let zip = world.store.zip_path(&ArtifactName::parse("a").expect("a name"));
        fs::set_permissions(&zip, fs::Permissions::from_mode(0o600)).expect("allowed");
        fs::OpenOptions::new()
            .append(true)
            .open(&zip)
            .and_then(|mut file| file.write_all(b"x"))
            .expect("written");
        let refused = world.down(&named("a"), false);
        assert!(
            matches!(refused, Err(DownloadError::Unpack(UnpackError::Changed { .. }))),
            "{refused:?}"
        );
    }
}
