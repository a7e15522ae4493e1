//! The processes that write and show files of a box. Owns both: they enter the box as its root and end, so every
//! path and link means what it means in there, and nothing of the box runs.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Component, Path};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use super::entry::{Stage, inner_uid};
use super::exec::{become_box_root, enter};
use super::message::Message;
use super::status::{Status, tell};

/// Tags of what is asked and shown.
pub(super) mod tag {
    pub(in super::super) const PATH: u8 = b'@';
    pub(in super::super) const DIRECTORY: u8 = b'd';
    pub(in super::super) const FILE: u8 = b'f';
    pub(in super::super) const LINK: u8 = b'l';
    pub(in super::super) const OTHER: u8 = b'o';
    pub(in super::super) const END: u8 = b'.';
    pub(in super::super) const WRONG: u8 = b'!';
}
/// What the engine answers to a directory it wants to see.
pub(super) const GO_IN: u8 = b'y';
/// The most bytes of a file's content in one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Writes a file: its path and mode come first on standard input, then its content.
pub(super) fn put(stage: &Stage) -> Result<i32, String> {
    enter(stage)?;
    // Opened behind the door: entering closes what it does not know.
    let mut input = stdin_file()?;
    let order = Message::read(&mut input).map_err(|source| format!("cannot read the order: {source}"))?;
    let record = order.0.first().ok_or("there is nothing to write")?;
    let at = Path::new(&record.first);
    let mode = record
        .second
        .to_str()
        .and_then(|mode| u32::from_str_radix(mode, 8).ok());
    let mode = mode.ok_or("the mode is not one")?;
    become_box_root(stage)?;
    let written = write_file(stage, at, mode, &mut input);
    tell(&match written {
        Ok(()) => Status::Done,
        Err(source) => Status::trouble(source.to_string()),
    });
    Ok(0)
}

fn write_file(stage: &Stage, at: &Path, mode: u32, input: &mut impl Read) -> io::Result<()> {
    let owner = Some(inner_uid(stage.user));
    let parent = at.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut made = std::path::PathBuf::new();
    for part in parent.components() {
        made.push(part);
        if matches!(part, Component::Normal(_)) && fs::metadata(&made).is_err() {
            DirBuilder::new().mode(0o755).create(&made)?;
            chown(&made, owner, owner)?;
        }
    }
    if fs::symlink_metadata(at).is_ok_and(|found| !found.is_dir()) {
        fs::remove_file(at)?;
    }
    let mut options = File::options();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(O_NOFOLLOW);
    let mut file = options.open(at)?;
    io::copy(input, &mut file)?;
    chown(at, owner, owner)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Shows what is at and below a path, asking before it goes into a directory.
pub(super) fn visit(stage: &Stage) -> Result<i32, String> {
    enter(stage)?;
    let mut input = stdin_file()?;
    let order = Message::read(&mut input).map_err(|source| format!("cannot read the order: {source}"))?;
    become_box_root(stage)?;
    let output = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| format!("cannot use standard output: {source}"))?;
    let mut show = Show {
        input,
        output: io::BufWriter::new(File::from(output)),
    };
    let start = Path::new(order.first(tag::PATH).unwrap_or_default()).to_owned();
    let shown = fs::canonicalize(&start).and_then(|start| show.all(&start));
    let last = match &shown {
        Ok(()) => (tag::END, String::new()),
        Err(source) => (tag::WRONG, source.to_string()),
    };
    let mut message = Message::default();
    message.push(last.0, "", last.1);
    message
        .write(&mut show.output)
        .and_then(|()| show.output.flush())
        .map_err(|source| format!("cannot show files: {source}"))?;
    Ok(0)
}

struct Show {
    input: File,
    output: io::BufWriter<File>,
}

impl Show {
    fn all(&mut self, start: &Path) -> io::Result<()> {
        let mut open = vec![(start.to_owned(), std::path::PathBuf::new())];
        while let Some((at, path)) = open.pop() {
            let metadata = match fs::symlink_metadata(&at) {
                Ok(metadata) => metadata,
                // The box goes on; what went away meanwhile is not there.
                Err(source) if source.kind() == io::ErrorKind::NotFound && !path.as_os_str().is_empty() => {
                    continue;
                }
                Err(source) => return Err(source),
            };
            let kind = metadata.file_type();
            let mode = metadata.permissions().mode() & 0o7777;
            if kind.is_dir() {
                self.tell(tag::DIRECTORY, &path, &mode.to_string())?;
                self.output.flush()?;
                let mut answer = [0];
                self.input.read_exact(&mut answer)?;
                if answer[0] == GO_IN {
                    let mut names: Vec<_> = fs::read_dir(&at)?
                        .flatten()
                        .map(|entry| entry.file_name())
                        .collect();
                    names.sort_by(|a, b| b.as_bytes().cmp(a.as_bytes()));
                    open.extend(names.into_iter().map(|name| (at.join(&name), path.join(&name))));
                }
            } else if kind.is_file() {
                self.file(&at, &path, mode)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(&at)?;
                let mut message = Message::default();
                message.push(tag::LINK, &path, mode.to_string());
                message.push(tag::LINK, target, "");
                message.write(&mut self.output)?;
            } else {
                self.tell(tag::OTHER, &path, &mode.to_string())?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, tag: u8, path: &Path, second: &str) -> io::Result<()> {
        let mut message = Message::default();
        message.push(tag, path, second);
        message.write(&mut self.output)
    }

    /// Shows a file in pieces, each behind its length, a piece of none last: it may change while it is read.
    fn file(&mut self, at: &Path, path: &Path, mode: u32) -> io::Result<()> {
        let mut file = File::options()
            .read(true)
            .custom_flags(O_NOFOLLOW | O_NONBLOCK)
            .open(at)?;
        let length = file.metadata()?.len();
        self.tell(tag::FILE, path, &format!("{mode} {length}"))?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut left = length;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let count = file.read(&mut piece[..want])?;
            if count == 0 {
                break;
            }
            left -= count as u64;
            self.output
                .write_all(&u32::try_from(count).unwrap_or(0).to_le_bytes())?;
            self.output.write_all(&piece[..count])?;
        }
        self.output.write_all(&0_u32.to_le_bytes())
    }
}

fn stdin_file() -> Result<File, String> {
    super::exec::clone_stdin().map(File::from)
}
