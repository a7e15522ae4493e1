//! What pid 1 of a box is told to make. Owns its form on the channel.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::message::Message;

/// One thing to do to a box's tree, in the box's own paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A symbolic link.
    Link { target: PathBuf, at: PathBuf },
    /// A host's file or directory for reading.
    ReadOnly { host: PathBuf, at: PathBuf },
    /// A host's file or directory that both write.
    Shared { host: PathBuf, at: PathBuf },
    /// A host's directory below, the box's own changes on top.
    CopyOnWrite { host: PathBuf, at: PathBuf },
    /// A file with this text.
    File { text: OsString, at: PathBuf },
    /// The box's own home and workspace: what comes after it may be mounted inside them.
    Own,
    /// Something shown that nobody in the box may see.
    Hide { at: PathBuf },
}

/// Where what a box writes is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Upper {
    /// In its folder.
    #[default]
    Disk,
    /// In memory, with these options of the file system.
    Memory(String),
}

/// What a box is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Setup {
    /// Directories of the image, the lowest first; none: the root is filled by the steps alone.
    pub(super) layers: Vec<PathBuf>,
    /// Directories of the workspace, the uppermost first; none: it is empty.
    pub(super) workspace: Vec<PathBuf>,
    pub(super) workspace_at: PathBuf,
    pub(super) upper: Upper,
    pub(super) steps: Vec<Step>,
    /// Whether pid 1 opens the port of a proxy and hands it out.
    pub(super) proxy: bool,
    /// Options of the file systems for short-lived files.
    pub(super) temporary: String,
}

impl Setup {
    /// Adds a read-only view of a host's path at the same path.
    pub(super) fn show(&mut self, host: &Path) {
        self.steps.push(Step::ReadOnly {
            host: host.to_owned(),
            at: host.to_owned(),
        });
    }

    pub(super) fn to_message(&self) -> Message {
        let mut message = Message::default();
        for layer in &self.layers {
            message.push(b'l', layer, "");
        }
        for layer in &self.workspace {
            message.push(b'w', layer, "");
        }
        message.push(b'W', &self.workspace_at, "");
        if let Upper::Memory(options) = &self.upper {
            message.push(b'm', options, "");
        }
        if self.proxy {
            message.push(b'p', "", "");
        }
        message.push(b't', &self.temporary, "");
        for step in &self.steps {
            match step {
                Step::Link { target, at } => message.push(b'L', target, at),
                Step::ReadOnly { host, at } => message.push(b'R', host, at),
                Step::Shared { host, at } => message.push(b'S', host, at),
                Step::CopyOnWrite { host, at } => message.push(b'C', host, at),
                Step::File { text, at } => message.push(b'F', text, at),
                Step::Own => message.push(b'O', "", ""),
                Step::Hide { at } => message.push(b'H', "", at),
            }
        }
        message
    }

    /// Reads what [`Self::to_message`] wrote; `None` for anything else.
    pub(super) fn of_message(message: Message) -> Option<Self> {
        let mut setup = Self::default();
        for record in message.0 {
            let (text, first, at) = (
                record.first.clone(),
                PathBuf::from(record.first),
                PathBuf::from(record.second),
            );
            match record.tag {
                b'l' => setup.layers.push(first),
                b'w' => setup.workspace.push(first),
                b'W' => setup.workspace_at = first,
                b'm' => setup.upper = Upper::Memory(text.into_string().ok()?),
                b'p' => setup.proxy = true,
                b't' => setup.temporary = text.into_string().ok()?,
                b'L' => setup.steps.push(Step::Link { target: first, at }),
                b'R' => setup.steps.push(Step::ReadOnly { host: first, at }),
                b'S' => setup.steps.push(Step::Shared { host: first, at }),
                b'C' => setup.steps.push(Step::CopyOnWrite { host: first, at }),
                b'F' => setup.steps.push(Step::File { text, at }),
                b'O' => setup.steps.push(Step::Own),
                b'H' => setup.steps.push(Step::Hide { at }),
                _ => return None,
            }
        }
        Some(setup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_is_read_as_it_was_written() {
        let mut setup = Setup {
            layers: vec!["/a".into(), "/b".into()],
            workspace: vec!["/w".into()],
            workspace_at: "/work".into(),
            upper: Upper::Memory("size=5".into()),
            proxy: true,
            temporary: "size=7".into(),
            ..Setup::default()
        };
        setup.show(Path::new("/usr"));
        let (host, at) = (PathBuf::from("/h\n"), PathBuf::from("/at"));
        setup.steps.extend([
            Step::Link {
                target: host.clone(),
                at: at.clone(),
            },
            Step::Shared {
                host: host.clone(),
                at: at.clone(),
            },
            Step::CopyOnWrite { host, at: at.clone() },
            Step::File {
                text: "x\ny".into(),
                at: at.clone(),
            },
            Step::Own,
            Step::Hide { at },
        ]);
        assert_eq!(Setup::of_message(setup.to_message()), Some(setup));
        let mut wrong = Message::default();
        wrong.push(b'?', "", "");
        assert_eq!(Setup::of_message(wrong), None);
    }
}
