//! Invented histories for tests, the same for the same seed. Owns their making; must hold every kind of edit whose
//! merge has rules of its own.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use gantry_core::id::CommitId;
use tempfile::TempDir;

use super::GitProgram;

/// Numbers that look random. Source: SplitMix64 by Sebastiano Vigna.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).expect("it fits")
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }
}

/// What a tree holds: mode and content, or for a submodule the name of its commit.
pub(super) type Files = BTreeMap<Vec<u8>, (u32, Vec<u8>)>;

/// A history under way.
pub(super) struct Invented {
    pub(super) directory: TempDir,
    pub(super) dice: Dice,
    stream: Vec<u8>,
    marks: Vec<Files>,
}

const NAMES: [&[u8]; 12] = [
    b"a.txt",
    b"b.txt",
    b"lib.rs",
    b"main.rs",
    b"r\xe9sum\xe9",
    b"quo\"te",
    b"new\nline",
    b"a",
    b"a.b",
    b"data.bin",
    b"readme",
    b"z",
];
const DIRECTORIES: [&[u8]; 7] = [b"", b"", b"src/", b"src/deep/", b"lib/", b"a/", b"docs/"];

impl Invented {
    pub(super) fn new(seed: u64) -> Self {
        let invented = Self {
            directory: TempDir::new().expect("a scratch directory"),
            dice: Dice::new(seed),
            stream: Vec::new(),
            marks: Vec::new(),
        };
        git(
            invented.path(),
            &["init", "--quiet", "--bare", "--initial-branch=main"],
            b"",
        );
        invented
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Invents the first files.
    pub(super) fn files(&mut self) -> Files {
        let mut files = Files::new();
        for _ in 0..14 {
            let name = self.name();
            let content = self.text();
            put(&mut files, name, (0o100_644, content));
        }
        files
    }

    fn name(&mut self) -> Vec<u8> {
        let mut name = self.dice.pick(&DIRECTORIES).to_vec();
        name.extend(*self.dice.pick(&NAMES));
        name
    }

    fn text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..self.dice.roll(30) {
            text.extend(self.line());
        }
        text
    }

    /// Few different lines, so that there are many ways to align them.
    fn line(&mut self) -> Vec<u8> {
        match self.dice.roll(12) {
            0 => b"}\n".to_vec(),
            1 => b"\n".to_vec(),
            2 => b"    x\r\n".to_vec(),
            _ => format!("line {}\n", self.dice.roll(40)).into_bytes(),
        }
    }

    /// Edits files as a commit might.
    pub(super) fn edit(&mut self, files: &mut Files) {
        for _ in 0..=self.dice.roll(3) {
            let paths: Vec<Vec<u8>> = files.keys().cloned().collect();
            if paths.is_empty() {
                let content = self.text();
                put(files, self.name(), (0o100_644, content));
                continue;
            }
            let path = self.dice.pick(&paths).clone();
            match self.dice.roll(30) {
                0 | 1 => {
                    files.remove(&path);
                }
                2 | 3 => {
                    let (name, content) = (self.name(), self.text());
                    put(files, name, (0o100_644, content));
                }
                4 | 5 => {
                    let name = self.name();
                    if let Some(mut file) = files.remove(&path) {
                        if self.dice.roll(2) == 0 && file.0 & 0o170_000 == 0o100_000 {
                            self.edit_text(&mut file.1);
                        }
                        put(files, name, file);
                    }
                }
                6 => self.rename_directory(files, &path),
                7 => {
                    if let Some(file) = files.get_mut(&path)
                        && file.0 & 0o170_000 == 0o100_000
                    {
                        file.0 ^= 0o111;
                    }
                }
                8 => {
                    let to = self.dice.pick(&paths).clone();
                    put(files, path, (0o120_000, to));
                }
                9 => {
                    let id = format!("{:040x}", self.dice.roll(5) + 1);
                    put(files, path, (0o160_000, id.into_bytes()));
                }
                10 => {
                    let mut inside = path.clone();
                    inside.extend(b"/x");
                    let content = self.text();
                    put(files, inside, (0o100_644, content));
                }
                11 => {
                    let content = format!("{}\0binary", self.dice.roll(9)).into_bytes();
                    put(files, path, (0o100_644, content));
                }
                12 => {
                    if let Some((_, content)) = files.get_mut(&path)
                        && content.last() == Some(&b'\n')
                    {
                        content.pop();
                    }
                }
                _ => {
                    if let Some((0o100_644 | 0o100_755, content)) = files.get_mut(&path) {
                        let mut text = std::mem::take(content);
                        self.edit_text(&mut text);
                        files.entry(path).and_modify(|file| file.1 = text);
                    }
                }
            }
        }
    }

    fn rename_directory(&mut self, files: &mut Files, path: &[u8]) {
        let Some(end) = path.iter().rposition(|byte| *byte == b'/') else {
            return;
        };
        let (from, to) = (path[..=end].to_vec(), self.dice.pick(&DIRECTORIES).to_vec());
        let inside: Vec<Vec<u8>> = files
            .keys()
            .filter(|name| name.starts_with(&from))
            .cloned()
            .collect();
        for old in inside {
            if let Some(file) = files.remove(&old) {
                put(files, [&to, &old[from.len()..]].concat(), file);
            }
        }
    }

    fn edit_text(&mut self, text: &mut Vec<u8>) {
        let mut lines: Vec<Vec<u8>> = text
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        for _ in 0..=self.dice.roll(2) {
            let at = self.dice.roll(lines.len() + 1);
            match self.dice.roll(3) {
                0 if at < lines.len() => {
                    lines.remove(at);
                }
                1 if at < lines.len() => lines[at] = self.line(),
                _ => lines.insert(at, self.line()),
            }
        }
        *text = lines.concat();
    }

    /// Records a commit; parents are marks.
    pub(super) fn commit(&mut self, branch: &str, files: Files, parents: &[usize]) -> usize {
        let message = format!("commit {}", self.marks.len() + 1);
        self.commit_saying(branch, files, parents, &message)
    }

    /// Records a commit with a message of its own.
    pub(super) fn commit_saying(
        &mut self,
        branch: &str,
        files: Files,
        parents: &[usize],
        message: &str,
    ) -> usize {
        self.marks.push(files.clone());
        let mark = self.marks.len();
        let out = &mut self.stream;
        let seconds = 1_700_000_000 + mark;
        out.extend(format!("commit refs/heads/{branch}\nmark :{mark}\n").into_bytes());
        out.extend(format!("committer Ada <ada@example.org> {seconds} +0000\n").into_bytes());
        out.extend(format!("data {}\n{message}\n", message.len()).into_bytes());
        for (at, parent) in parents.iter().enumerate() {
            let word = if at == 0 { "from" } else { "merge" };
            out.extend(format!("{word} :{parent}\n").into_bytes());
        }
        out.extend(b"deleteall\n");
        for (path, (mode, content)) in files {
            let quoted = quote(&path);
            if mode == 0o160_000 {
                let id = String::from_utf8(content).expect("hexadecimal digits");
                out.extend(format!("M 160000 {id} {quoted}\n").into_bytes());
                continue;
            }
            out.extend(format!("M {mode:o} inline {quoted}\ndata {}\n", content.len()).into_bytes());
            out.extend(content);
            out.push(b'\n');
        }
        mark
    }

    pub(super) fn files_at(&self, mark: usize) -> Files {
        self.marks[mark - 1].clone()
    }

    /// Writes what was recorded and returns the commits, by mark less one.
    pub(super) fn finish(&mut self) -> Vec<CommitId> {
        let marks = self.path().join("marks");
        let export = format!("--export-marks={}", marks.display());
        git(
            self.path(),
            &["fast-import", "--quiet", "--force", &export],
            &self.stream,
        );
        let text = std::fs::read_to_string(marks).expect("marks are written");
        let mut commits: Vec<(usize, CommitId)> = text
            .lines()
            .filter_map(|line| line.strip_prefix(':')?.split_once(' '))
            .map(|(mark, id)| (mark.parse().expect("a number"), id.parse().expect("a commit")))
            .collect();
        commits.sort_unstable();
        commits.into_iter().map(|(_, id)| id).collect()
    }
}

/// Puts a file where it can be: what stood in its way goes.
fn put(files: &mut Files, path: Vec<u8>, file: (u32, Vec<u8>)) {
    let mut prefix = path.clone();
    prefix.push(b'/');
    files.retain(|other, _| {
        let mut other_prefix = other.clone();
        other_prefix.push(b'/');
        !other.starts_with(&prefix) && !path.starts_with(&other_prefix)
    });
    files.insert(path, file);
}

fn quote(path: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' => quoted.push(char::from(*byte)),
            _ => quoted.push_str(&format!("\\{byte:03o}")),
        }
    }
    quoted.push('"');
    quoted
}

/// Runs git on a repository and returns what it printed.
pub(super) fn git(path: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = GitProgram::at(path)
        .command(arguments)
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_NAME", "Carl")
        .env("GIT_COMMITTER_EMAIL", "carl@example.org")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).expect("git reads"));
        child.wait_with_output().expect("git ends")
    });
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    output.stdout
}
