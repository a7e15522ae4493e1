//! The mirror directory: a directory for each repository and ref, with its files and what is known of them. Owns what
//! is copied in and the proof that it is unchanged; must never hand out files that are not those that were added.
//!
//! ```text
//! new/<n>/ ─ rename ─► actions/<owner>/<name>/<digest of the ref>/{tree/, mirror.json}
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use gantry_adapters::git::GitProgram;
use gantry_adapters::process::{Bounds, ProcessError, run};
use gantry_core::limits::{BOX_CHORE_TIMEOUT, MIRROR_BYTES_MAX, MIRROR_FILES_MAX};
use serde::{Deserialize, Serialize};

use super::reference::ActionRef;
use crate::cache::{CacheError, disk, list, make_unique, sync, write_out};
use crate::digest::{Running, of_bytes, of_file};

const FACTS: &str = "mirror.json";
const TREE: &str = "tree";
/// How long Git may take to tell about a local clone.
const GIT_TIMEOUT: Duration = BOX_CHORE_TIMEOUT;
/// How much of its answer is read; a commit's name is far shorter.
const GIT_OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// What is known of a mirrored repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirrored {
    /// `owner/name`.
    pub repository: String,
    /// The branch, tag or commit it stands for.
    pub version: String,
    /// The commit, if it came out of a clone.
    pub commit: Option<String>,
    /// SHA-256 over every path, mode and content.
    pub digest: String,
    /// How many files.
    pub file_count: usize,
}

/// Why the mirror did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] CacheError),
    /// What is mirrored was changed.
    #[error(
        "{action} was changed after it was mirrored: its digest is {found}, not {wanted}; mirror it again"
    )]
    Changed {
        /// Which.
        action: String,
        /// What it has.
        found: String,
        /// What it should have.
        wanted: String,
    },
    /// Something in what is to be mirrored.
    #[error("{} cannot be mirrored: it {why}", path.display())]
    Content {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is no action.
    #[error("{action} holds no action.yml, action.yaml or Dockerfile{place}")]
    NoAction {
        /// Which.
        action: String,
        /// Where it was looked for.
        place: String,
    },
    /// Git.
    #[error(transparent)]
    Git(#[from] ProcessError),
    /// The ref is not in the clone.
    #[error("{} has no ref {version}: {said}; fetch it there first", clone.display())]
    NoRef {
        /// The clone.
        clone: PathBuf,
        /// The ref.
        version: String,
        /// What Git said.
        said: String,
    },
}

/// A mirror directory.
#[derive(Debug, Clone)]
pub struct Mirror {
    root: PathBuf,
}

impl Mirror {
    /// Opens a mirror, which is made if it is not there.
    ///
    /// Errors: [`MirrorError::Disk`].
    pub fn open(root: &Path) -> Result<Self, MirrorError> {
        for folder in ["actions", "new"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(disk("make", &path))?;
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    fn place(&self, action: &ActionRef) -> PathBuf {
        self.root
            .join("actions")
            .join(&action.owner)
            .join(&action.name)
            .join(of_bytes(action.version.as_bytes()))
    }

    /// Copies an action in, replacing what the mirror has of the same ref: from a clone the files of the ref itself
    /// (whatever is checked out there), from any other directory its files.
    ///
    /// Errors: [`MirrorError`].
    pub fn add(&self, action: &ActionRef, from: &Path) -> Result<Mirrored, MirrorError> {
        let at = make_unique(&self.root.join("new"))?;
        let made = self.fill(action, from, &at);
        if made.is_err() {
            // Losing the answer is safe: what stays in `new` is never read.
            let _ = fs::remove_dir_all(&at);
        }
        made
    }

    fn fill(&self, action: &ActionRef, from: &Path, at: &Path) -> Result<Mirrored, MirrorError> {
        let tree = at.join(TREE);
        fs::create_dir(&tree).map_err(disk("make", &tree))?;
        let commit = if from.join(".git").exists() || from.join("HEAD").is_file() {
            Some(copy_ref(from, &action.version, at, &tree)?)
        } else {
            copy_directory(from, &tree)?;
            None
        };
        is_action(action, &tree)?;
        let (digest, file_count) = digest_of(&tree)?;
        let mirrored = Mirrored {
            repository: format!("{}/{}", action.owner, action.name),
            version: action.version.clone(),
            commit,
            digest,
            file_count,
        };
        let facts = serde_json::to_vec_pretty(&mirrored).expect("plain values are written as JSON");
        write_out(&at.join(FACTS), &facts)?;
        sync(at)?;
        let place = self.place(action);
        let parent = place.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(disk("make", parent))?;
        if place.exists() {
            let old = make_unique(&self.root.join("new"))?;
            fs::rename(&place, old.join("old")).map_err(disk("replace", &place))?;
            fs::remove_dir_all(&old).map_err(disk("remove", &old))?;
        }
        fs::rename(at, &place).map_err(disk("publish", &place))?;
        sync(parent)?;
        Ok(mirrored)
    }

    fn facts(place: &Path) -> Result<Option<Mirrored>, MirrorError> {
        let path = place.join(FACTS);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk("read", &path)(error).into()),
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|error| {
            CacheError::Foreign {
                path,
                why: error.to_string(),
            }
            .into()
        })
    }

    /// Returns the directory of an action and what is known of it, once its files are seen to be unchanged; `None` if
    /// it is not mirrored.
    ///
    /// Errors: [`MirrorError`].
    pub fn find(&self, action: &ActionRef) -> Result<Option<(PathBuf, Mirrored)>, MirrorError> {
        let place = self.place(action);
        let Some(mirrored) = Self::facts(&place)? else {
            return Ok(None);
        };
        let tree = place.join(TREE);
        let (found, _) = digest_of(&tree)?;
        if found != mirrored.digest {
            return Err(MirrorError::Changed {
                action: action.to_string(),
                found,
                wanted: mirrored.digest,
            });
        }
        is_action(action, &tree)?;
        Ok(Some((tree.join(&action.path), mirrored)))
    }

    /// Returns all that is mirrored, in order of names and refs.
    ///
    /// Errors: [`MirrorError`].
    pub fn list(&self) -> Result<Vec<Mirrored>, MirrorError> {
        let mut all = Vec::new();
        for owner in list(&self.root.join("actions"))? {
            for name in list(&owner)? {
                for place in list(&name)? {
                    all.extend(Self::facts(&place)?);
                }
            }
        }
        all.sort_by(|a, b| (&a.repository, &a.version).cmp(&(&b.repository, &b.version)));
        Ok(all)
    }
}

fn is_action(action: &ActionRef, tree: &Path) -> Result<(), MirrorError> {
    let folder = tree.join(&action.path);
    let is_file = |name: &str| fs::symlink_metadata(folder.join(name)).is_ok_and(|meta| meta.is_file());
    // A repository may hold nothing but actions and workflows in directories of their own.
    let whole = action.path.is_empty() && !is_file("action.yml");
    let deep = || {
        Walk::over(tree).map(|found| {
            found.iter().any(|(path, _)| {
                path.ends_with("action.yml")
                    || path.ends_with("action.yaml")
                    || path.starts_with(".github/workflows")
            })
        })
    };
    if ["action.yml", "action.yaml", "Dockerfile"]
        .iter()
        .any(|name| is_file(name))
        || (whole && deep()?)
    {
        return Ok(());
    }
    let workflow = fs::symlink_metadata(&folder).is_ok_and(|meta| meta.is_file());
    if workflow {
        return Ok(());
    }
    let place = if action.path.is_empty() {
        String::new()
    } else {
        format!(" in {}", action.path)
    };
    Err(MirrorError::NoAction {
        action: action.to_string(),
        place,
    })
}

/// Everything below a directory, without following a link.
struct Walk {
    found: Vec<(PathBuf, fs::Metadata)>,
    bytes: u64,
}

impl Walk {
    fn over(root: &Path) -> Result<Vec<(PathBuf, fs::Metadata)>, MirrorError> {
        let mut walk = Self {
            found: Vec::new(),
            bytes: 0,
        };
        let mut open = vec![PathBuf::new()];
        while let Some(folder) = open.pop() {
            for path in list(&root.join(&folder))? {
                let meta = fs::symlink_metadata(&path).map_err(disk("look at", &path))?;
                let relative = folder.join(path.file_name().unwrap_or_default());
                if relative == Path::new(".git") {
                    continue;
                }
                walk.bytes += if meta.is_file() { meta.len() } else { 0 };
                if walk.found.len() >= MIRROR_FILES_MAX || walk.bytes > MIRROR_BYTES_MAX {
                    let why = format!("holds more than {MIRROR_FILES_MAX} files or {MIRROR_BYTES_MAX} bytes");
                    return Err(MirrorError::Content {
                        path: root.to_owned(),
                        why,
                    });
                }
                if meta.is_dir() {
                    open.push(relative.clone());
                }
                walk.found.push((relative, meta));
            }
        }
        walk.found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(walk.found)
    }
}

/// Refuses a link that leads out of the tree.
///
/// Steps up are taken only at its beginning, where they go up through directories: after a name they might go up from
/// wherever another link leads.
fn check_link(path: &Path, target: &Path) -> Result<(), MirrorError> {
    let mut up = path.components().count().saturating_sub(1);
    let mut went_down = false;
    for part in target.components() {
        match part {
            Component::Normal(_) => went_down = true,
            Component::CurDir => {}
            Component::ParentDir if up > 0 && !went_down => up -= 1,
            _ => {
                let why = format!(
                    "is a link that may lead out of the action, to {}",
                    target.display()
                );
                return Err(MirrorError::Content {
                    path: path.to_owned(),
                    why,
                });
            }
        }
    }
    Ok(())
}

fn copy_directory(from: &Path, to: &Path) -> Result<(), MirrorError> {
    for (path, meta) in Walk::over(from)? {
        let (source, target) = (from.join(&path), to.join(&path));
        if meta.is_dir() {
            fs::create_dir(&target).map_err(disk("make", &target))?;
        } else if meta.is_symlink() {
            let link = fs::read_link(&source).map_err(disk("read", &source))?;
            check_link(&path, &link)?;
            symlink(&link, &target).map_err(disk("make", &target))?;
        } else if meta.is_file() {
            fs::copy(&source, &target).map_err(disk("copy", &source))?;
            let mode = if meta.permissions().mode() & 0o111 == 0 {
                0o644
            } else {
                0o755
            };
            fs::set_permissions(&target, fs::Permissions::from_mode(mode)).map_err(disk("copy", &source))?;
        } else {
            return Err(MirrorError::Content {
                path,
                why: "is no file, directory or link".to_owned(),
            });
        }
    }
    Ok(())
}

/// Copies the files of a ref out of a clone and returns the commit.
fn copy_ref(clone: &Path, version: &str, scratch: &Path, to: &Path) -> Result<String, MirrorError> {
    // No hook, filter or setting of a user has a say in what is copied: the door to Git sees to that.
    let program = GitProgram::at(clone);
    let git = |words: &[&str]| {
        let mut git = program.command(words);
        git.stdin(Stdio::null());
        let bounds = Bounds {
            timeout: GIT_TIMEOUT,
            output_bytes_max: GIT_OUTPUT_BYTES_MAX,
        };
        run(&mut git, bounds)
    };
    let mut commit = None;
    let mut said = String::new();
    for prefix in ["refs/tags/", "refs/heads/", "refs/remotes/origin/", ""] {
        let name = format!("{prefix}{version}^{{commit}}");
        let finished = git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &name])?;
        if finished.status.success() {
            commit = Some(String::from_utf8_lossy(&finished.stdout).trim().to_owned());
            break;
        }
        said = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
    }
    let no_ref = |said| MirrorError::NoRef {
        clone: clone.to_owned(),
        version: version.to_owned(),
        said,
    };
    let commit = commit.ok_or_else(|| no_ref(said))?;
    let tar = scratch.join("tree.tar");
    let output = format!("--output={}", tar.display());
    let finished = git(&["archive", "--format=tar", &output, &commit])?;
    if !finished.status.success() {
        return Err(no_ref(
            String::from_utf8_lossy(&finished.stderr).trim().to_owned(),
        ));
    }
    let unpacked = scratch.join("unpacked");
    fs::create_dir(&unpacked).map_err(disk("make", &unpacked))?;
    let file = File::open(&tar).map_err(disk("read", &tar))?;
    tar::Archive::new(file)
        .unpack(&unpacked)
        .map_err(disk("unpack", &tar))?;
    copy_directory(&unpacked, to)?;
    fs::remove_dir_all(&unpacked).map_err(disk("remove", &unpacked))?;
    fs::remove_file(&tar).map_err(disk("remove", &tar))?;
    Ok(commit)
}

/// Returns the digest of a tree and how many files it has.
fn digest_of(tree: &Path) -> Result<(String, usize), MirrorError> {
    let mut running = Running::default();
    let mut files = 0;
    for (path, meta) in Walk::over(tree)? {
        let at = tree.join(&path);
        let (kind, content) = if meta.is_dir() {
            ("d", String::new())
        } else if meta.is_symlink() {
            let link = fs::read_link(&at).map_err(disk("read", &at))?;
            ("l", of_bytes(link.as_os_str().as_bytes()))
        } else {
            files += 1;
            let kind = if meta.permissions().mode() & 0o111 == 0 {
                "f"
            } else {
                "x"
            };
            (kind, of_file(&at).map_err(disk("read", &at))?.0)
        };
        let name = path.as_os_str().as_bytes();
        running.take(format!("{kind} {content} {} ", name.len()).as_bytes());
        running.take(name);
    }
    Ok((running.finish(), files))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        folder: tempfile::TempDir,
        mirror: Mirror,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let mirror = Mirror::open(&folder.path().join("mirror")).expect("it opens");
        fs::create_dir_all(folder.path().join("from/sub")).expect("made");
        for path in ["from/action.yml", "from/sub/action.yml", "from/run.sh"] {
            fs::write(folder.path().join(path), path).expect("written");
        }
        World { folder, mirror }
    }

    fn action(text: &str) -> ActionRef {
        ActionRef::parse(text).expect("it is one")
    }

    impl World {
        fn from(&self) -> PathBuf {
            self.folder.path().join("from")
        }

        fn git(&self, words: &[&str]) -> String {
            let author = ["-c", "user.name=a", "-c", "user.email=a@b.c"];
            let mut git = GitProgram::at(self.from()).command(author.iter().chain(words));
            let bounds = Bounds {
                timeout: Duration::from_secs(60),
                output_bytes_max: 4096,
            };
            let finished = run(&mut git, bounds).expect("git runs");
            assert!(
                finished.status.success(),
                "{words:?} {}",
                String::from_utf8_lossy(&finished.stderr)
            );
            String::from_utf8_lossy(&finished.stdout).trim().to_owned()
        }
    }

    #[test]
    fn a_directory_is_copied_and_found_again() {
        let world = world();
        let added = world
            .mirror
            .add(&action("Octo/Cat@v1"), &world.from())
            .expect("added");
        assert_eq!((added.file_count, &added.commit), (3, &None));
        let (at, found) = world
            .mirror
            .find(&action("octo/cat/sub@v1"))
            .expect("found")
            .expect("there");
        assert_eq!(
            fs::read_to_string(at.join("action.yml")).expect("there"),
            "from/sub/action.yml"
        );
        assert_eq!(found, added);
        assert_eq!(world.mirror.find(&action("octo/cat@v2")).expect("asked"), None);
        let missing = world.mirror.find(&action("octo/cat/none@v1"));
        assert!(
            matches!(missing, Err(MirrorError::NoAction { .. })),
            "{missing:?}"
        );
        assert_eq!(world.mirror.list().expect("listed"), [added]);
    }

    #[test]
    fn files_that_were_changed_are_refused() {
        type Change = fn(&Path);
        let changes: [Change; 4] = [
            |at| fs::write(at.join("run.sh"), "other").expect("written"),
            |at| fs::remove_file(at.join("run.sh")).expect("removed"),
            |at| fs::write(at.join("new"), "").expect("written"),
            |at| fs::set_permissions(at.join("run.sh"), fs::Permissions::from_mode(0o755)).expect("set"),
        ];
        for change in changes {
            let world = world();
            world.mirror.add(&action("o/c@v1"), &world.from()).expect("added");
            let (at, _) = world
                .mirror
                .find(&action("o/c@v1"))
                .expect("found")
                .expect("there");
            change(&at);
            let refused = world.mirror.find(&action("o/c@v1"));
            assert!(matches!(refused, Err(MirrorError::Changed { .. })), "{refused:?}");
            world
                .mirror
                .add(&action("o/c@v1"), &world.from())
                .expect("added again");
            assert!(world.mirror.find(&action("o/c@v1")).expect("found").is_some());
        }
    }

    #[test]
    fn a_ref_of_a_clone_is_copied_whatever_is_checked_out() {
        let world = world();
        world.git(&["init", "-q", "-b", "main"]);
        world.git(&["add", "."]);
        world.git(&["commit", "-qm", "one"]);
        world.git(&["tag", "v1"]);
        let commit = world.git(&["rev-parse", "HEAD"]);
        fs::write(world.from().join("run.sh"), "later").expect("written");
        let added = world.mirror.add(&action("o/c@v1"), &world.from()).expect("added");
        assert_eq!(added.commit.as_deref(), Some(commit.as_str()));
        let (at, _) = world
            .mirror
            .find(&action("o/c@v1"))
            .expect("found")
            .expect("there");
        assert_eq!(
            fs::read_to_string(at.join("run.sh")).expect("there"),
            "from/run.sh"
        );
        let missing = world.mirror.add(&action("o/c@v9"), &world.from());
        assert!(matches!(missing, Err(MirrorError::NoRef { .. })), "{missing:?}");
        assert_eq!(world.mirror.list().expect("listed").len(), 1);
    }

    #[test]
    fn links_that_lead_out_and_what_is_no_action_are_refused() {
        for (link, fine) in [
            ("/etc/passwd", false),
            ("../../x", false),
            ("../action.yml", true),
            ("sub/../../x", false),
            ("../../../x", false),
            (".", true),
        ] {
            let world = world();
            symlink(link, world.from().join("sub/link")).expect("linked");
            assert_eq!(
                world.mirror.add(&action("o/c@v1"), &world.from()).is_ok(),
                fine,
                "{link}"
            );
        }
        let world = world();
        let empty = world.folder.path().join("empty");
        fs::create_dir(&empty).expect("made");
        assert!(matches!(
            world.mirror.add(&action("o/c@v1"), &empty),
            Err(MirrorError::NoAction { .. })
        ));
        assert_eq!(list(&world.mirror.root.join("new")).expect("listed").len(), 0);
    }
}
