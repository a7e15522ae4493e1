//! Brings files into a box. Owns how a file that is too large for one write arrives in parts; must never leave a part
//! behind where the file should be.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use gantry_adapters::engine::{Sandbox, SandboxControl, SandboxError};
use gantry_core::limits::DELIVERY_PART_BYTES_MAX;

use super::shell::{ShellError, ask};

/// Why a file did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// What was to be delivered cannot be read.
    #[error("cannot read what {path} should hold")]
    Read {
        /// The path in the box.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The box did not take it.
    #[error("the box did not take {path}")]
    Box {
        /// The path in the box.
        path: String,
        /// What it said.
        #[source]
        source: SandboxError,
    },
    /// A large file's parts could not be joined.
    #[error("the parts of {path} could not be joined")]
    Join {
        /// The path in the box.
        path: String,
        /// What the box said.
        #[source]
        source: ShellError,
    },
}

/// Writes a file of any size into a box.
///
/// Errors: [`DeliverError`].
pub fn deliver_file(
    sandbox: &dyn Sandbox,
    control: &SandboxControl,
    at: &Path,
    content: &mut dyn Read,
    mode: u32,
) -> Result<u64, DeliverError> {
    let path = || at.display().to_string();
    let take = |source| DeliverError::Box { path: path(), source };
    let (first, last) = read_part(content).map_err(|source| DeliverError::Read { path: path(), source })?;
    sandbox.put_file(at, &first, mode).map_err(take)?;
    let mut total = first.len() as u64;
    if last {
        return Ok(total);
    }
    let part_at = PathBuf::from({
        let mut name = OsString::from(at);
        name.push(".part");
        name
    });
    loop {
        let (part, last) =
            read_part(content).map_err(|source| DeliverError::Read { path: path(), source })?;
        sandbox.put_file(&part_at, &part, mode).map_err(take)?;
        join(sandbox, control, &part_at, at)?;
        total += part.len() as u64;
        if last {
            return Ok(total);
        }
    }
}

/// Reads up to one part, and says whether it was the last.
fn read_part(content: &mut dyn Read) -> io::Result<(Vec<u8>, bool)> {
    let mut part = Vec::new();
    content
        .take(DELIVERY_PART_BYTES_MAX as u64)
        .read_to_end(&mut part)?;
    let last = part.len() < DELIVERY_PART_BYTES_MAX;
    Ok((part, last))
}

fn join(
    sandbox: &dyn Sandbox,
    control: &SandboxControl,
    part: &Path,
    whole: &Path,
) -> Result<(), DeliverError> {
    let failed = |source| DeliverError::Join {
        path: whole.display().to_string(),
        source,
    };
    let (Some(part), Some(whole_text)) = (part.to_str(), whole.to_str()) else {
        return Err(failed(ShellError::Failed {
            command: "cat".to_owned(),
            code: 1,
            text: "a file this large needs a name in UTF-8".to_owned(),
        }));
    };
    let line = "cat -- \"$1\" >> \"$2\" && rm -f -- \"$1\"";
    let asked = ask(
        sandbox,
        control,
        &["/bin/sh", "-c", line, "sh", part, whole_text],
        &[],
        Path::new("/"),
    )
    .map_err(failed)?;
    if asked.code != 0 {
        return Err(failed(ShellError::Failed {
            command: "cat".to_owned(),
            code: asked.code,
            text: asked.text,
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_box::FakeBox;

    #[test]
    fn a_file_larger_than_one_part_arrives_whole() {
        let sandbox = FakeBox::new();
        let bytes: Vec<u8> = (0..=250_u8)
            .cycle()
            .take(DELIVERY_PART_BYTES_MAX + 1000)
            .collect();
        let at = sandbox.workspace().join("a 'file'");
        let count = deliver_file(&sandbox, &SandboxControl::default(), &at, &mut &bytes[..], 0o640);
        assert_eq!(count.expect("it arrives"), bytes.len() as u64);
        assert!(std::fs::read(sandbox.workspace().join("a 'file'")).expect("it is there") == bytes);
        assert_eq!(
            std::fs::read_dir(sandbox.workspace()).expect("a folder").count(),
            1
        );
    }
}
