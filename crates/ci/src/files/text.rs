//! Reads a text file out of a box. Owns its bound; must never hand on half a file.

use std::io::{self, Read};
use std::path::Path;

use gantry_adapters::engine::{FileVisitor, Found, FoundKind, Sandbox, SandboxError};
use gantry_core::limits::BOX_CHORE_OUTPUT_BYTES_MAX;

#[derive(Default)]
struct Text(Option<Vec<u8>>);

impl FileVisitor for Text {
    fn enter(&mut self, _directory: &Found) -> bool {
        false
    }

    fn visit(&mut self, found: &Found, content: &mut dyn Read) -> io::Result<()> {
        if matches!(found.kind, FoundKind::File { .. }) && found.path.as_os_str().is_empty() {
            let mut bytes = Vec::new();
            content
                .take(BOX_CHORE_OUTPUT_BYTES_MAX as u64 + 1)
                .read_to_end(&mut bytes)?;
            if bytes.len() > BOX_CHORE_OUTPUT_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.0 = Some(bytes);
        }
        Ok(())
    }
}

/// Returns a text file of a box; `None` if there is no file. What is not UTF-8 in it is replaced.
///
/// Errors: [`SandboxError`].
pub fn read_text(sandbox: &dyn Sandbox, at: &Path) -> Result<Option<String>, SandboxError> {
    let mut text = Text::default();
    match sandbox.visit_files(at, &mut text) {
        Ok(()) => Ok(text.0.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
        Err(SandboxError::Path { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_box::FakeBox;

    #[test]
    fn a_file_is_read_and_nothing_else_is() {
        let sandbox = FakeBox::new();
        let at = sandbox.workspace().join("a");
        sandbox.put_file(&at, b"text\xff", 0o644).expect("written");
        assert_eq!(
            read_text(&sandbox, &at).expect("read").as_deref(),
            Some("text\u{fffd}")
        );
        assert_eq!(read_text(&sandbox, &sandbox.workspace()).expect("read"), None);
        assert_eq!(
            read_text(&sandbox, &sandbox.workspace().join("b")).expect("read"),
            None
        );
        sandbox
            .put_file(&at, &vec![b'x'; BOX_CHORE_OUTPUT_BYTES_MAX + 1], 0o644)
            .expect("written");
        assert!(read_text(&sandbox, &at).is_err());
    }
}
