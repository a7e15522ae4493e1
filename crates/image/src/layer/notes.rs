//! What of an archive was left out of the unpacked layer, and why. Counts everything, names the first few.

use gantry_core::limits::IMAGE_NOTES_MAX;
use serde::{Deserialize, Serialize};

/// Why something was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// A device node: boxes have devices of their own.
    Device,
    /// Set-user-id, set-group-id bits: no program of an image gains rights.
    SetId,
    /// An extended attribute outside of `user.`, or one that steers the overlay.
    Attribute,
    /// A kind of entry that no file system has.
    UnknownKind,
}

/// One thing that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Why.
    pub kind: NoteKind,
    /// The path in the layer; what is not UTF-8 in it is replaced.
    pub path: String,
}

/// All that was left out of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Notes {
    /// The first of them.
    pub first: Vec<Note>,
    /// How many there are.
    pub count: u64,
}

impl Notes {
    pub(crate) fn add(&mut self, kind: NoteKind, path: &[u8]) {
        self.count += 1;
        if self.first.len() < IMAGE_NOTES_MAX {
            let path = String::from_utf8_lossy(path).into_owned();
            self.first.push(Note { kind, path });
        }
    }
}
