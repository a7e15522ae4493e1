//! The one door to the `git` program. Owns its environment, its time and the size of what it prints; must never
//! start a hook, a helper or a pager, and must never read a person's configuration.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use gantry_core::id::{CommitId, TreeId};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

/// How long one merge may take.
const MERGE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long moving objects between repositories may take.
const TRANSPORT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How much of the program's output is kept; more is an error, as half an answer is none.
const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How much of the end of its complaints is kept.
const COMPLAINT_BYTES_MAX: usize = 4096;

/// Why the `git` program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started.
    #[error("cannot start git")]
    Start {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It ended with another status than one that answers.
    #[error("git {arguments} in {} ended with {status}: {complaint}", repository.display())]
    Failed {
        /// What was asked.
        arguments: String,
        /// Where it was asked.
        repository: PathBuf,
        /// How it ended.
        status: String,
        /// The end of what it wrote to standard error.
        complaint: String,
    },
    /// It was ended because it took too long.
    #[error("git {arguments} in {} took more than {} s and was ended", repository.display(), limit.as_secs())]
    Timeout {
        /// What was asked.
        arguments: String,
        /// Where it was asked.
        repository: PathBuf,
        /// The bound.
        limit: Duration,
    },
    /// It printed more than is kept.
    #[error("git {arguments} in {} printed more than {OUTPUT_BYTES_MAX} bytes", repository.display())]
    TooMuch {
        /// What was asked.
        arguments: String,
        /// Where it was asked.
        repository: PathBuf,
    },
    /// Its answer could not be read.
    #[error("git {arguments} answered {answer:?}, which cannot be read")]
    Answer {
        /// What was asked.
        arguments: String,
        /// The start of the answer.
        answer: String,
    },
}

/// What Git says about merging two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeMerge {
    /// They merge to this tree.
    Clean(TreeId),
    /// They conflict at these paths, sorted.
    Conflict(Vec<Vec<u8>>),
}

/// The `git` program, bound to one repository or work tree.
#[derive(Debug, Clone)]
pub struct GitProgram {
    repository: PathBuf,
}

/// What the program did.
#[derive(Debug)]
pub(super) struct Ran {
    /// Its exit status; `None` if a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) output: Vec<u8>,
    pub(super) complaint: String,
}

impl GitProgram {
    /// Binds the program to the repository or work tree at `repository`.
    #[must_use]
    pub fn at(repository: impl Into<PathBuf>) -> Self {
        Self {
            repository: repository.into(),
        }
    }

    /// Prepares a command that starts `git` with a scrubbed environment and no hooks, in its own process group.
    ///
    /// The caller owns the process: its standard streams, its time and its end.
    #[must_use]
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        #[expect(
            clippy::disallowed_methods,
            reason = "this module is the one door to the git program"
        )]
        let mut command = Command::new("git");
        command.env_clear();
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        command
            .env("PATH", path)
            .env("HOME", "/nonexistent")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C")
            // `safe.directory` counts only from the environment or the command line of a trusted caller.
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .current_dir(&self.repository)
            .process_group(0);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(arguments);
        command
    }

    /// Returns the version as the program tells it, like `2.39.5`.
    ///
    /// Errors: [`ProgramError`].
    pub fn version(&self) -> Result<String, ProgramError> {
        let output = self.succeed(&["version"], &[], MERGE_TIMEOUT)?;
        let text = String::from_utf8_lossy(&output);
        let version = text
            .strip_prefix("git version ")
            .and_then(|rest| rest.split_whitespace().next());
        version.map(str::to_owned).ok_or_else(|| ProgramError::Answer {
            arguments: "version".to_owned(),
            answer: text.chars().take(200).collect(),
        })
    }

    /// Asks Git what merging `theirs` into `ours` gives; the resulting tree is written, no ref moves.
    ///
    /// Errors: [`ProgramError`]; a conflict is no error.
    pub fn merge_tree(&self, ours: CommitId, theirs: CommitId) -> Result<TreeMerge, ProgramError> {
        let (ours, theirs) = (ours.to_string(), theirs.to_string());
        let arguments = ["merge-tree", "--write-tree", "-z", "--name-only", &ours, &theirs];
        let ran = self.run(&arguments, &[], MERGE_TIMEOUT)?;
        // A missing object ends with status 128 or, after a lookup that Git only reports, with complaints.
        if !matches!(ran.code, Some(0 | 1)) || ran.complaint.contains("fatal:") || ran.output.is_empty() {
            return Err(self.failed(&arguments, &ran));
        }
        let unreadable = || ProgramError::Answer {
            arguments: arguments.join(" "),
            answer: String::from_utf8_lossy(&ran.output).chars().take(200).collect(),
        };
        let mut fields = ran.output.split(|byte| *byte == 0);
        let tree = fields
            .next()
            .and_then(|field| std::str::from_utf8(field).ok())
            .and_then(|text| text.trim().parse::<TreeId>().ok())
            .ok_or_else(unreadable)?;
        if ran.code == Some(0) {
            return Ok(TreeMerge::Clean(tree));
        }
        let mut paths: Vec<Vec<u8>> = fields
            .take_while(|field| !field.is_empty())
            .map(|field| plain_path(field, [&ours, &theirs]).to_vec())
            .collect();
        paths.sort();
        paths.dedup();
        Ok(TreeMerge::Conflict(paths))
    }

    /// Makes a bare copy of the repository at `from`, without its hooks or configuration.
    ///
    /// Errors: [`ProgramError`].
    pub fn clone_bare(from: &Path, to: &Path) -> Result<(), ProgramError> {
        let program = Self::at(Path::new("/"));
        let arguments: [&OsStr; 8] = [
            "clone".as_ref(),
            "--quiet".as_ref(),
            "--bare".as_ref(),
            "--no-hardlinks".as_ref(),
            "--template=".as_ref(),
            "--".as_ref(),
            from.as_os_str(),
            to.as_os_str(),
        ];
        program.succeed(&arguments, &[], TRANSPORT_TIMEOUT).map(|_| ())
    }

    /// Fetches `refspecs` from `remote`, a path or an address; nothing else is brought along.
    ///
    /// Errors: [`ProgramError`].
    pub fn fetch(&self, remote: &OsStr, refspecs: &[String]) -> Result<(), ProgramError> {
        let mut arguments: Vec<&OsStr> = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
        ]
        .iter()
        .map(OsStr::new)
        .collect();
        arguments.extend([OsStr::new("--"), remote]);
        arguments.extend(refspecs.iter().map(OsStr::new));
        self.succeed(&arguments, &[], TRANSPORT_TIMEOUT).map(|_| ())
    }

    /// Takes in a pack that anybody may have made: every object is checked, and everything `commit` needs must be
    /// there afterwards. No reference is made.
    ///
    /// Errors: [`ProgramError`].
    pub(crate) fn take_pack(&self, pack: &[u8], commit: CommitId) -> Result<(), ProgramError> {
        let take = ["index-pack", "--stdin", "--strict", "--fix-thin"];
        self.succeed(&take, pack, TRANSPORT_TIMEOUT)?;
        let name = commit.to_string();
        let whole = [
            "rev-list",
            "--objects",
            "--quiet",
            name.as_str(),
            "--not",
            "--all",
        ];
        self.succeed(&whole, &[], TRANSPORT_TIMEOUT).map(drop)
    }

    /// Runs to the end and returns the output of a success.
    pub(super) fn succeed<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        input: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, ProgramError> {
        let ran = self.run(arguments, input, limit)?;
        if ran.code == Some(0) {
            return Ok(ran.output);
        }
        Err(self.failed(arguments, &ran))
    }

    /// Runs to the end, whatever the status.
    pub(super) fn run<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        input: &[u8],
        limit: Duration,
    ) -> Result<Ran, ProgramError> {
        let mut child = self
            .command(arguments)
            .stdin(if input.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| ProgramError::Start { source })?;
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (ended, output, complaint) = std::thread::scope(|scope| {
            if let Some(mut stdin) = streams.0 {
                // A program that does not read its input answers with its status.
                scope.spawn(move || stdin.write_all(input).is_ok());
            }
            let output = scope.spawn(move || read_capped(streams.1, OUTPUT_BYTES_MAX));
            let complaint = scope.spawn(move || read_tail(streams.2));
            let ended = end_within(&mut child, limit);
            (ended, output.join(), complaint.join())
        });
        let repository = self.repository.clone();
        let arguments = || shown(arguments);
        let code = match ended {
            Ended::Itself(code) => code,
            Ended::Late => {
                return Err(ProgramError::Timeout {
                    arguments: arguments(),
                    repository,
                    limit,
                });
            }
            Ended::Unknown(source) => return Err(ProgramError::Start { source }),
        };
        match output {
            Ok(Ok(Some(output))) => Ok(Ran {
                code,
                output,
                complaint: complaint.unwrap_or_default(),
            }),
            Ok(Ok(None)) => Err(ProgramError::TooMuch {
                arguments: arguments(),
                repository,
            }),
            Ok(Err(source)) => Err(ProgramError::Start { source }),
            Err(_) => Err(ProgramError::Start {
                source: std::io::Error::other("the reader of git's output ended early"),
            }),
        }
    }

    pub(super) fn failed<S: AsRef<OsStr>>(&self, arguments: &[S], ran: &Ran) -> ProgramError {
        ProgramError::Failed {
            arguments: shown(arguments),
            repository: self.repository.clone(),
            status: ran
                .code
                .map_or_else(|| "a signal".to_owned(), |code| format!("status {code}")),
            complaint: ran.complaint.trim_end().to_owned(),
        }
    }
}

/// Settings that keep other people's programs from starting, whatever the repository's configuration says.
const SETTINGS: [&str; 12] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.pager=cat",
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "credential.helper=",
    "submodule.recurse=false",
    "advice.detachedHead=false",
];

/// Takes off the `~<commit>` with which Git names a file that a directory stands in the way of.
fn plain_path<'a>(path: &'a [u8], sides: [&str; 2]) -> &'a [u8] {
    for side in sides {
        let mark = format!("~{side}");
        let Some(at) = path.len().checked_sub(mark.len()) else {
            continue;
        };
        // A second clash gets a number too, as in `~<commit>_0`.
        let numbered = path
            .iter()
            .rposition(|byte| *byte == b'_')
            .filter(|end| *end >= mark.len() && path[end + 1..].iter().all(u8::is_ascii_digit));
        for (from, to) in [
            (Some(at), path.len()),
            (numbered.map(|end| end - mark.len()), numbered.unwrap_or(0)),
        ] {
            if let Some(from) = from
                && &path[from..to] == mark.as_bytes()
            {
                return &path[..from];
            }
        }
    }
    path
}

fn shown<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let words: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy()).collect();
    words.join(" ")
}

enum Ended {
    Itself(Option<i32>),
    Late,
    Unknown(std::io::Error),
}

/// Waits for the end of a child, and ends its whole group in any case.
fn end_within(child: &mut Child, limit: Duration) -> Ended {
    let pid = Pid::from_raw(child.id().cast_signed());
    let (told, tells) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The child stays unreaped, so its number cannot name another process before the group is ended.
            let waited = loop {
                match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                    Err(nix::Error::EINTR) => {}
                    other => break other,
                }
            };
            // Nobody listens any more if the time was up.
            let _ = told.send(waited.is_ok());
        });
        let late = tells.recv_timeout(limit).is_err();
        // The group may be gone already; what is left of it must not outlive the answer.
        let _ = killpg(pid, Signal::SIGKILL);
        match child.wait() {
            Ok(_) if late => Ended::Late,
            Ok(status) => Ended::Itself(status.code()),
            Err(source) => Ended::Unknown(source),
        }
    })
}

/// Reads to the end; `None` if there was more than `limit`, the rest of which is read and dropped.
fn read_capped(stream: Option<impl Read>, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    let Some(mut stream) = stream else {
        return Ok(Some(Vec::new()));
    };
    let mut kept = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    stream.by_ref().take(bound).read_to_end(&mut kept)?;
    if kept.len() <= limit {
        return Ok(Some(kept));
    }
    std::io::copy(&mut stream, &mut std::io::sink())?;
    Ok(None)
}

/// Keeps the end of what a stream holds.
fn read_tail(stream: Option<impl Read>) -> String {
    let Some(mut stream) = stream else {
        return String::new();
    };
    let mut tail = Vec::new();
    let mut buffer = [0; 4096];
    // A complaint that cannot be read leaves the status, which decides.
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        tail.extend_from_slice(&buffer[..count]);
        let excess = tail.len().saturating_sub(COMPLAINT_BYTES_MAX);
        tail.drain(..excess);
    }
    String::from_utf8_lossy(&tail).into_owned()
}

#[cfg(test)]
mod tests;
