//! Moves caches between a box and the store, with the box's own `tar`, which alone knows times and hard links. Owns the
//! checks on both ways: what comes out is rewritten entry by entry, and so is what goes in.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use gantry_adapters::engine::{
    ExecEnding, ExecSpec, FileVisitor, Found, FoundKind, Sandbox, SandboxControl, SandboxError,
};
use gantry_core::limits::{BOX_CHORE_TIMEOUT, BOX_GRACE, CACHE_ENTRY_BYTES_MAX, SEARCH_FILES_MAX};
use gantry_core::time::Timestamp;

use super::archive::{ArchiveError, Bases, Packed, pack, unpack};
use super::key::{CacheKey, CacheVersion};
use super::scope::CacheAccess;
use super::store::{CacheEntry, CacheError, CacheStore, DATA, Hit, Published, disk, make_unique};
use crate::digest;
use crate::files::{DeliverError, PatternError, Patterns, ShellError, ask, deliver_file};

/// How hard zstd tries: the level that saves and restores fastest for what builds keep.
const ZSTD_LEVEL: i32 = 3;

/// What is cached, and in which box.
pub struct CacheSpec<'a> {
    /// The box.
    pub sandbox: &'a dyn Sandbox,
    /// Ends the chore early.
    pub control: &'a SandboxControl,
    /// The environment of the box's commands.
    pub env: &'a [(String, String)],
    /// Where its parts belong.
    pub bases: &'a Bases,
    /// A directory for temporary files in the box; absolute.
    pub temp: &'a Path,
    /// The `path` input.
    pub paths: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// What became of a save.
#[derive(Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is kept.
    Kept(CacheEntry, Packed),
    /// The scope has an entry of this key already.
    Already,
    /// The paths mean nothing that is there.
    Nothing,
}

/// What was restored.
#[derive(Debug, PartialEq, Eq)]
pub struct Restored {
    /// From what.
    pub hit: Hit,
    /// How much.
    pub packed: Packed,
}

/// Why a cache was not moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The `path` input.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The store.
    #[error(transparent)]
    Store(#[from] CacheError),
    /// What is in it.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The box.
    #[error("cannot look for the cache's paths in the box")]
    Box(#[source] SandboxError),
    /// The box did not take it.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// The box's `tar`.
    #[error("tar in the box failed ({ending}): {text}")]
    Tar {
        /// How it ended.
        ending: String,
        /// What it said.
        text: String,
    },
    /// A path that cannot be given to a command.
    #[error("{0} is not UTF-8: name a directory above it")]
    NotText(String),
    /// The data is not what was kept.
    #[error("the cache {key} has the digest {found}, not {wanted}: it was changed after it was kept")]
    Changed {
        /// Its key.
        key: CacheKey,
        /// What it has.
        found: String,
        /// What it should have.
        wanted: String,
    },
}

/// Collects what patterns mean, and nothing below it.
struct Roots<'a> {
    patterns: &'a Patterns,
    start: PathBuf,
    found: Vec<PathBuf>,
    seen: usize,
}

impl Roots<'_> {
    fn at(&self, found: &Found) -> PathBuf {
        if found.path.as_os_str().is_empty() {
            self.start.clone()
        } else {
            self.start.join(&found.path)
        }
    }
}

impl FileVisitor for Roots<'_> {
    fn enter(&mut self, directory: &Found) -> bool {
        let at = self.at(directory);
        !self.patterns.matches(&at, true) && self.patterns.may_match_below(&at)
    }

    fn visit(&mut self, found: &Found, _content: &mut dyn Read) -> io::Result<()> {
        self.seen += 1;
        if self.seen > SEARCH_FILES_MAX {
            return Err(io::Error::other(
                "the patterns lead to too many files; name a smaller part",
            ));
        }
        let at = self.at(found);
        if self.patterns.matches(&at, found.kind == FoundKind::Directory) {
            self.found.push(at);
        }
        Ok(())
    }
}

impl CacheSpec<'_> {
    fn patterns(&self, descendants: bool) -> Result<Patterns, PatternError> {
        Patterns::parse(
            self.paths,
            &self.bases.workspace,
            self.bases.home.as_deref(),
            descendants,
        )
    }

    fn roots(&self) -> Result<Vec<PathBuf>, TransferError> {
        let patterns = self.patterns(false)?;
        let mut roots = Roots {
            patterns: &patterns,
            start: PathBuf::new(),
            found: Vec::new(),
            seen: 0,
        };
        for start in patterns.search_paths() {
            roots.start = start;
            match self.sandbox.visit_files(&roots.start.clone(), &mut roots) {
                Ok(()) | Err(SandboxError::Path { .. }) => {}
                Err(error) => return Err(TransferError::Box(error)),
            }
        }
        Ok(roots.found)
    }

    /// Has the box's `tar` write the roots to a file of the host.
    fn take(&self, roots: &[PathBuf], into: &Path) -> Result<(), TransferError> {
        let errors = self.temp.join("gantry-cache.err");
        let errors = errors
            .to_str()
            .ok_or_else(|| TransferError::NotText(errors.display().to_string()))?;
        let line = "mkdir -p -- \"${0%/*}\" && tar -cf - -C / -- \"$@\" 2>\"$0\"";
        let mut command: Vec<String> = ["/bin/sh", "-c", line, errors].map(str::to_owned).to_vec();
        for root in roots {
            let relative = root.strip_prefix("/").unwrap_or(root);
            let word = relative
                .to_str()
                .ok_or_else(|| TransferError::NotText(root.display().to_string()))?;
            command.push(word.to_owned());
        }
        let spec = ExecSpec {
            command,
            env: self.env.to_vec(),
            directory: PathBuf::from("/"),
            timeout: BOX_CHORE_TIMEOUT,
            grace: BOX_GRACE,
        };
        let mut file = BufWriter::new(File::create(into).map_err(disk("make", into))?);
        let mut total = 0;
        let mut output = |chunk: &[u8]| {
            total += chunk.len() as u64;
            // The headers of many small files are more than the files: twice the bound is surely too much.
            if total > 2 * CACHE_ENTRY_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            file.write_all(chunk)
        };
        let report = self.sandbox.exec(&spec, &mut output, self.control);
        file.flush().map_err(disk("write", into))?;
        if report.ending == (ExecEnding::Exited { code: 0 }) {
            return Ok(());
        }
        // What it said is wanted only to explain; its end is the error.
        let text = ask(
            self.sandbox,
            self.control,
            &["/bin/sh", "-c", "cat \"$0\"; rm -f \"$0\"", errors],
            self.env,
            Path::new("/"),
        );
        let text = text
            .map(|asked| asked.text.trim().to_owned())
            .unwrap_or_else(|error| error.to_string());
        Err(TransferError::Tar {
            ending: crate::files::ended(&report.ending),
            text,
        })
    }
}

/// Keeps what the paths mean under a key of the run's own scope. To be called only if the job went well.
///
/// Errors: [`TransferError`]; then nothing is kept.
pub fn save_cache(
    store: &CacheStore,
    access: &CacheAccess,
    key: &CacheKey,
    spec: &CacheSpec<'_>,
) -> Result<Saved, TransferError> {
    let version = CacheVersion::of_paths(spec.paths);
    if store.holds(access.writes(), key, &version) {
        return Ok(Saved::Already);
    }
    let roots = spec.roots()?;
    if roots.is_empty() {
        return Ok(Saved::Nothing);
    }
    let begun = store.begin(access, key, &version)?;
    let raw = begun.folder().join("raw.tar");
    spec.take(&roots, &raw)?;
    let data = begun.folder().join(DATA);
    let from = BufReader::new(File::open(&raw).map_err(disk("read", &raw))?);
    let to = File::create(&data).map_err(disk("make", &data))?;
    let mut to = zstd::Encoder::new(to, ZSTD_LEVEL).map_err(ArchiveError::Copy)?;
    let whole = spec.patterns(true)?;
    let packed = pack(from, &mut to, spec.bases, &|path, is_directory| {
        whole.matches(path, is_directory)
    })?;
    to.finish().map_err(ArchiveError::Copy)?;
    fs::remove_file(&raw).map_err(disk("remove", &raw))?;
    match begun.describe(spec.now)?.publish()? {
        (entry, Published::New) => Ok(Saved::Kept(entry, packed)),
        (_, Published::Already) => Ok(Saved::Already),
    }
}

/// Looks for an entry and, unless only asked whether there is one, puts it where it belongs.
///
/// Errors: [`TransferError`].
pub fn restore_cache(
    store: &CacheStore,
    access: &CacheAccess,
    keys: (&CacheKey, &[CacheKey]),
    spec: &CacheSpec<'_>,
    lookup_only: bool,
) -> Result<Option<Restored>, TransferError> {
    let version = CacheVersion::of_paths(spec.paths);
    let Some(hit) = store.find(access, keys.0, keys.1, &version, spec.now)? else {
        return Ok(None);
    };
    if lookup_only {
        return Ok(Some(Restored {
            hit,
            packed: Packed::default(),
        }));
    }
    let data = store.data_at(&hit.entry);
    let (found, _) = digest::of_file(&data).map_err(disk("read", &data))?;
    if found != hit.entry.digest {
        return Err(TransferError::Changed {
            key: hit.entry.key,
            found,
            wanted: hit.entry.digest,
        });
    }
    let scratch = Scratch(make_unique(&store.scratch())?);
    let plain = scratch.0.join("plain.tar");
    let from = File::open(&data).map_err(disk("read", &data))?;
    let from = zstd::Decoder::new(from).map_err(ArchiveError::Copy)?;
    let to = BufWriter::new(File::create(&plain).map_err(disk("make", &plain))?);
    let paths = spec.patterns(false)?.search_paths();
    let packed = unpack(from, to, spec.bases, &|at| {
        paths.iter().any(|path| at.starts_with(path))
    })?;
    put(spec, &plain)?;
    Ok(Some(Restored { hit, packed }))
}

fn put(spec: &CacheSpec<'_>, plain: &Path) -> Result<(), TransferError> {
    let at = spec.temp.join("gantry-cache.tar");
    let word = at
        .to_str()
        .ok_or_else(|| TransferError::NotText(at.display().to_string()))?;
    let mut content = File::open(plain).map_err(disk("read", plain))?;
    deliver_file(spec.sandbox, spec.control, &at, &mut content, 0o600)?;
    let line = "tar -xpof \"$0\" -C /; code=$?; rm -f -- \"$0\"; exit $code";
    let failed = |ending: String, text: String| TransferError::Tar { ending, text };
    let asked = ask(
        spec.sandbox,
        spec.control,
        &["/bin/sh", "-c", line, word],
        spec.env,
        Path::new("/"),
    )
    .map_err(|error: ShellError| failed("no answer".to_owned(), error.to_string()))?;
    if asked.code == 0 {
        return Ok(());
    }
    Err(failed(
        format!("exit code {}", asked.code),
        asked.text.trim().to_owned(),
    ))
}

/// A directory of the host that goes when it is not needed any more.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Losing the answer is safe: what stays is cleared at the next start.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;
    use crate::fake_box::FakeBox;

    struct World {
        folder: tempfile::TempDir,
        store: CacheStore,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let store = CacheStore::open(folder.path()).expect("it opens");
        World { folder, store }
    }

    fn with<T>(sandbox: &FakeBox, paths: &str, act: impl FnOnce(&CacheSpec<'_>) -> T) -> T {
        let bases = Bases {
            workspace: sandbox.workspace(),
            home: Some(sandbox.home()),
        };
        act(&CacheSpec {
            sandbox,
            control: &SandboxControl::default(),
            env: &[],
            bases: &bases,
            temp: &sandbox.temp(),
            paths,
            now: Timestamp::from_millis(5),
        })
    }

    fn main() -> CacheAccess {
        CacheAccess::landed("main", "main")
    }

    fn key(text: &str) -> CacheKey {
        CacheKey::parse(text).expect("a key")
    }

    fn save(world: &World, sandbox: &FakeBox, paths: &str) -> Result<Saved, TransferError> {
        with(sandbox, paths, |spec| {
            save_cache(&world.store, &main(), &key("k"), spec)
        })
    }

    fn restore(world: &World, sandbox: &FakeBox, paths: &str) -> Result<Option<Restored>, TransferError> {
        with(sandbox, paths, |spec| {
            restore_cache(&world.store, &main(), (&key("k"), &[]), spec, false)
        })
    }

    #[test]
    fn files_of_any_name_mode_and_link_come_back() {
        let (world, from, to) = (world(), FakeBox::new(), FakeBox::new());
        let odd = std::ffi::OsStr::from_bytes(b"a \xff '\n");
        let here = from.workspace().join("dir");
        from.put_file(&here.join(odd), b"odd", 0o640).expect("written");
        from.put_file(&from.home().join(".tool/bin"), b"#!/bin/sh\n", 0o755)
            .expect("written");
        from.put_file(&here.join("empty/deep").join("x".repeat(200)), b"", 0o600)
            .expect("written");
        symlink("../nowhere", here.join("link")).expect("linked");
        fs::hard_link(here.join(odd), here.join("hard")).expect("linked");
        assert!(matches!(
            save(&world, &from, "dir\n~/.tool").expect("saved"),
            Saved::Kept(..)
        ));
        let restored = restore(&world, &to, "dir\n~/.tool")
            .expect("restored")
            .expect("found");
        assert!(restored.hit.exact);
        let there = to.workspace().join("dir");
        assert_eq!(fs::read(there.join(odd)).expect("there"), b"odd");
        let meta = fs::metadata(there.join(odd)).expect("there");
        assert_eq!((meta.permissions().mode() & 0o7777, meta.nlink()), (0o640, 2));
        let mtime = |at: &Path| fs::metadata(at).expect("there").mtime();
        assert_eq!(mtime(&there.join(odd)), mtime(&here.join(odd)));
        assert_eq!(
            fs::read_link(there.join("link")).expect("there"),
            Path::new("../nowhere")
        );
        assert_eq!(
            fs::metadata(to.home().join(".tool/bin"))
                .expect("there")
                .permissions()
                .mode()
                & 0o777,
            0o755
        );
        assert_eq!(
            fs::read_dir(to.temp()).expect("there").count(),
            0,
            "nothing temporary is left"
        );
        assert_eq!(world.store.clear_unfinished().expect("cleared"), 0);
    }

    #[test]
    fn excluded_paths_are_not_kept() {
        let (world, from, to) = (world(), FakeBox::new(), FakeBox::new());
        for name in ["dir/a", "dir/skip/b", "other"] {
            from.put_file(&from.workspace().join(name), b"x", 0o644)
                .expect("written");
        }
        let paths = "dir\n!dir/skip\nmissing";
        save(&world, &from, paths).expect("saved");
        restore(&world, &to, paths).expect("restored").expect("found");
        assert!(to.workspace().join("dir/a").exists());
        assert!(!to.workspace().join("dir/skip").exists() && !to.workspace().join("other").exists());
    }

    #[test]
    fn nothing_is_kept_of_nothing_or_twice() {
        let (world, sandbox) = (world(), FakeBox::new());
        assert_eq!(
            save(&world, &sandbox, "missing").expect("no error"),
            Saved::Nothing
        );
        sandbox
            .put_file(&sandbox.workspace().join("a"), b"x", 0o644)
            .expect("written");
        assert!(matches!(
            save(&world, &sandbox, "a").expect("saved"),
            Saved::Kept(..)
        ));
        assert_eq!(save(&world, &sandbox, "a").expect("no error"), Saved::Already);
        assert_eq!(restore(&world, &sandbox, "b").expect("no error"), None);
    }

    #[test]
    fn data_that_was_changed_is_refused_at_every_length() {
        let (world, sandbox) = (world(), FakeBox::new());
        sandbox
            .put_file(&sandbox.workspace().join("a"), b"x", 0o644)
            .expect("written");
        save(&world, &sandbox, "a").expect("saved");
        let data = world.store.data_at(&world.store.list().expect("listed")[0]);
        assert!(data.starts_with(world.folder.path()));
        let bytes = fs::read(&data).expect("read");
        fs::remove_file(sandbox.workspace().join("a")).expect("removed");
        for length in 0..bytes.len() {
            fs::write(&data, &bytes[..length]).expect("written");
            let result = restore(&world, &sandbox, "a");
            assert!(matches!(result, Err(TransferError::Changed { .. })), "{length}");
        }
        assert!(!sandbox.workspace().join("a").exists());
    }

    #[test]
    fn a_tar_that_fails_keeps_nothing() {
        let (world, sandbox) = (world(), FakeBox::new());
        sandbox
            .put_file(&sandbox.workspace().join("a"), b"x", 0o644)
            .expect("written");
        sandbox.script("bin/tar", "echo broken >&2; exit 2");
        let env = [(
            "PATH".to_owned(),
            format!("{}:/usr/bin:/bin", sandbox.root().join("bin").display()),
        )];
        let bases = Bases {
            workspace: sandbox.workspace(),
            home: None,
        };
        let spec = CacheSpec {
            sandbox: &sandbox,
            control: &SandboxControl::default(),
            env: &env,
            bases: &bases,
            temp: &sandbox.temp(),
            paths: "a",
            now: Timestamp::from_millis(0),
        };
        let error = save_cache(&world.store, &main(), &key("k"), &spec)
            .expect_err("tar failed")
            .to_string();
        assert_eq!(error, "tar in the box failed (exit code 2): broken");
        assert_eq!(world.store.list().expect("listed"), []);
        assert_eq!(world.store.clear_unfinished().expect("cleared"), 0);
    }
}
