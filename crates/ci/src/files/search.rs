//! Looks for files in a box by patterns. Owns how links are followed and what is left out; reads only through the
//! box's own interface, and must never touch a path of the host.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use gantry_adapters::engine::{FileVisitor, Found, FoundKind, Sandbox, SandboxError};
use gantry_core::limits::{SEARCH_FILES_MAX, SEARCH_LINKS_DEPTH_MAX, SEARCH_LINKS_MAX};

use super::Patterns;

/// A file that was found.
#[derive(Debug)]
pub struct BoxFile<'a> {
    /// Its path as the patterns name it; absolute.
    pub path: &'a Path,
    /// Its permission bits.
    pub mode: u32,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What a search saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// How many files it handed on.
    pub files: usize,
    /// Links that lead nowhere, or back to where they are; left out.
    pub broken: Vec<PathBuf>,
    /// Devices, sockets and pipes; left out.
    pub special: Vec<PathBuf>,
}

/// Why a search ended early.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The box does not answer.
    #[error("cannot look for files in the box")]
    Box(#[source] SandboxError),
    /// There is too much to look at.
    #[error(
        "the patterns lead to more than {SEARCH_FILES_MAX} files and directories or {SEARCH_LINKS_MAX} links; name a smaller part"
    )]
    TooMany,
    /// Whoever takes the files gave up.
    #[error("cannot take {path} out of the box")]
    Take {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Takes one file; the reader gives its bytes.
pub type TakeFile<'a> = dyn FnMut(&BoxFile<'_>, &mut dyn Read) -> io::Result<()> + 'a;

/// Shows every file that the patterns mean, following links inside the box as the official actions do.
///
/// Without `hidden`, what begins with a dot is left out, and everything below it. What is not there is not an error.
///
/// Errors: [`SearchError`].
pub fn search(
    sandbox: &dyn Sandbox,
    patterns: &Patterns,
    hidden: bool,
    take: &mut TakeFile<'_>,
) -> Result<Searched, SearchError> {
    let mut looking = Looking {
        patterns,
        hidden,
        take,
        searched: Searched::default(),
        seen: 0,
        links_seen: 0,
        start: Start::default(),
        links: VecDeque::new(),
        failed: None,
    };
    let mut starts: VecDeque<Start> = patterns.search_paths().into_iter().map(Start::at).collect();
    while let Some(start) = starts.pop_front() {
        looking.start = start;
        let visited = sandbox.visit_files(&looking.start.path.clone(), &mut looking);
        if let Some(error) = looking.failed.take() {
            return Err(error);
        }
        match visited {
            Ok(()) => {}
            Err(SandboxError::Path { .. }) if looking.start.followed.is_empty() => {}
            Err(SandboxError::Path { .. }) => looking.searched.broken.push(looking.start.path.clone()),
            Err(error) => return Err(SearchError::Box(error)),
        }
        starts.extend(looking.links.drain(..));
    }
    Ok(looking.searched)
}

/// Where a visit begins.
#[derive(Debug, Clone, Default)]
struct Start {
    /// As the patterns name it.
    path: PathBuf,
    /// Where that is once its links are followed, as far as their texts say.
    real: PathBuf,
    /// Where the links led that were followed to get here.
    followed: Vec<PathBuf>,
}

impl Start {
    fn at(path: PathBuf) -> Self {
        Self {
            real: path.clone(),
            path,
            followed: Vec::new(),
        }
    }
}

struct Looking<'a, 'b> {
    patterns: &'a Patterns,
    hidden: bool,
    take: &'a mut TakeFile<'b>,
    searched: Searched,
    seen: usize,
    links_seen: usize,
    start: Start,
    links: VecDeque<Start>,
    failed: Option<SearchError>,
}

fn below(base: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        base.to_owned()
    } else {
        base.join(path)
    }
}

/// Takes `.` and `..` out of a path by its text.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            _ => {}
        }
    }
    plain
}

impl Looking<'_, '_> {
    fn is_left_out(&self, path: &Path) -> bool {
        !self.hidden
            && path
                .file_name()
                .is_some_and(|name| name.as_bytes().starts_with(b"."))
    }

    fn count(&mut self) -> io::Result<()> {
        self.seen += 1;
        if self.seen > SEARCH_FILES_MAX {
            self.failed = Some(SearchError::TooMany);
            return Err(io::Error::other("too many files"));
        }
        Ok(())
    }

    fn follow(&mut self, path: PathBuf, found: &Path, text: &Path) -> io::Result<()> {
        // Directories that all link to one another are reached in more ways than anybody could look at.
        self.links_seen += 1;
        if self.links_seen > SEARCH_LINKS_MAX {
            self.failed = Some(SearchError::TooMany);
            return Err(io::Error::other("too many links"));
        }
        let real_link = below(&self.start.real, found);
        let target = plain(&real_link.parent().unwrap_or(Path::new("/")).join(text));
        let goes_round = real_link.starts_with(&target)
            || self
                .start
                .followed
                .iter()
                .any(|earlier| *earlier == target || earlier.starts_with(&target));
        if goes_round || self.start.followed.len() >= SEARCH_LINKS_DEPTH_MAX {
            self.searched.broken.push(path);
            return Ok(());
        }
        let mut followed = self.start.followed.clone();
        followed.push(target.clone());
        self.links.push_back(Start {
            path,
            real: target,
            followed,
        });
        Ok(())
    }
}

impl FileVisitor for Looking<'_, '_> {
    fn enter(&mut self, directory: &Found) -> bool {
        let path = below(&self.start.path, &directory.path);
        !self.is_left_out(&path)
            && (self.patterns.matches(&path, true) || self.patterns.may_match_below(&path))
    }

    fn visit(&mut self, found: &Found, content: &mut dyn Read) -> io::Result<()> {
        self.count()?;
        let path = below(&self.start.path, &found.path);
        if self.is_left_out(&path) {
            return Ok(());
        }
        match &found.kind {
            FoundKind::Directory => {}
            FoundKind::Link(text) => {
                if self.patterns.matches(&path, true) || self.patterns.may_match_below(&path) {
                    self.follow(path, &found.path, text)?;
                }
            }
            FoundKind::Other => {
                if self.patterns.matches(&path, false) {
                    self.searched.special.push(path);
                }
            }
            FoundKind::File { bytes } => {
                if self.patterns.matches(&path, false) {
                    let file = BoxFile {
                        path: &path,
                        mode: found.mode,
                        bytes: *bytes,
                    };
                    if let Err(source) = (self.take)(&file, content) {
                        let path = OsString::from(&path).to_string_lossy().into_owned();
                        self.failed = Some(SearchError::Take { path, source });
                        return Err(io::Error::other("the file was not taken"));
                    }
                    self.searched.files += 1;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::fake_box::FakeBox;

    fn check(text: &str, hidden: bool, make: impl Fn(&Path), expected: &[&str]) -> Searched {
        let sandbox = FakeBox::new();
        make(&sandbox.workspace());
        let patterns = Patterns::parse(text, &sandbox.workspace(), None, true).expect("it is a pattern");
        let mut found = Vec::new();
        let mut take = |file: &BoxFile<'_>, content: &mut dyn Read| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            assert_eq!(bytes.len() as u64, file.bytes);
            found.push(
                file.path
                    .strip_prefix(sandbox.workspace())
                    .expect("below")
                    .display()
                    .to_string(),
            );
            Ok(())
        };
        let searched = search(&sandbox, &patterns, hidden, &mut take).expect("it is searched");
        found.sort();
        assert_eq!(found, expected);
        searched
    }

    fn tree(at: &Path) {
        for path in ["out/a", "out/.b", "out/.c/d", "out/e/f.map", "top"] {
            let path = at.join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            fs::write(&path, "x").expect("written");
        }
    }

    #[test]
    fn hidden_files_are_left_out_unless_asked_for() {
        check("out", false, tree, &["out/a", "out/e/f.map"]);
        check("out", true, tree, &["out/.b", "out/.c/d", "out/a", "out/e/f.map"]);
        check("out/.c", false, tree, &[]);
        check("out/.c/d", false, tree, &["out/.c/d"]);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let searched = check("nothing\nout/*", false, tree, &["out/a", "out/e/f.map"]);
        assert!(searched.broken.is_empty());
    }

    #[test]
    fn links_are_followed_and_circles_are_not() {
        let make = |at: &Path| {
            tree(at);
            symlink("../top", at.join("out/link")).expect("linked");
            symlink("e", at.join("out/directory")).expect("linked");
            symlink("..", at.join("out/e/circle")).expect("linked");
            symlink("nowhere", at.join("out/broken")).expect("linked");
        };
        let searched = check(
            "out",
            false,
            make,
            &["out/a", "out/directory/f.map", "out/e/f.map", "out/link"],
        );
        let broken: Vec<_> = searched
            .broken
            .iter()
            .filter_map(|path| path.file_name())
            .collect();
        assert!(
            broken.contains(&"broken".as_ref()) && broken.contains(&"circle".as_ref()),
            "{broken:?}"
        );
    }

    #[test]
    fn directories_that_all_link_to_one_another_end_the_search() {
        let sandbox = FakeBox::new();
        for from in 0..8 {
            let folder = sandbox.workspace().join(format!("d{from}"));
            fs::create_dir(&folder).expect("made");
            for to in (0..8).filter(|to| *to != from) {
                symlink(format!("../d{to}"), folder.join(format!("l{to}"))).expect("linked");
            }
        }
        let patterns = Patterns::parse(".", &sandbox.workspace(), None, true).expect("a pattern");
        let result = search(&sandbox, &patterns, true, &mut |_, _| Ok(()));
        assert!(matches!(result, Err(SearchError::TooMany)), "{result:?}");
    }

    #[test]
    fn a_link_out_of_the_box_shows_what_is_in_the_box() {
        let outside = tempfile::tempdir().expect("a folder");
        fs::write(outside.path().join("secret"), "x").expect("written");
        let target = outside.path().to_owned();
        check(
            "out",
            false,
            move |at| {
                tree(at);
                symlink(&target, at.join("out/out")).expect("linked");
            },
            &["out/a", "out/e/f.map"],
        );
    }
}
