//! Small questions to a box: a command, its answer, its end. Owns their bounds; must never read an answer as success
//! that did not come whole.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use gantry_adapters::engine::{ExecEnding, ExecSpec, Sandbox, SandboxControl};
use gantry_core::limits::{BOX_CHORE_OUTPUT_BYTES_MAX, BOX_CHORE_TIMEOUT, BOX_GRACE};

/// What a command in a box answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its exit code.
    pub code: i32,
    /// What it wrote, both outputs together.
    pub text: String,
}

/// Why a command in a box gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShellError {
    /// It did not end by itself.
    #[error("{command} in the box did not end by itself: {ending}")]
    Ended {
        /// The command.
        command: String,
        /// How it ended.
        ending: String,
    },
    /// It ended and said that it failed.
    #[error("{command} in the box failed with {code}: {text}")]
    Failed {
        /// The command.
        command: String,
        /// Its exit code.
        code: i32,
        /// What it wrote.
        text: String,
    },
}

/// Quotes a word for `sh`.
#[must_use]
pub fn quote(word: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// Runs a command in a box and returns what it wrote.
///
/// Errors: [`ShellError::Ended`]; a command that ends with a code other than 0 is an answer.
pub fn ask(
    sandbox: &dyn Sandbox,
    control: &SandboxControl,
    command: &[&str],
    env: &[(String, String)],
    directory: &Path,
) -> Result<Asked, ShellError> {
    let spec = ExecSpec {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        env: env.to_vec(),
        directory: directory.to_owned(),
        timeout: BOX_CHORE_TIMEOUT,
        grace: BOX_GRACE,
    };
    let mut bytes = Vec::new();
    let mut output = |chunk: &[u8]| {
        if bytes.len() + chunk.len() > BOX_CHORE_OUTPUT_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the answer is too long",
            ));
        }
        bytes.extend_from_slice(chunk);
        Ok(())
    };
    let report = sandbox.exec(&spec, &mut output, control);
    match report.ending {
        ExecEnding::Exited { code } => Ok(Asked {
            code,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }),
        other => Err(ShellError::Ended {
            command: command.first().copied().unwrap_or_default().to_owned(),
            ending: ended(&other),
        }),
    }
}

/// Says in words how a command ended.
#[must_use]
pub(crate) fn ended(ending: &ExecEnding) -> String {
    match ending {
        ExecEnding::Exited { code } => format!("exit code {code}"),
        ExecEnding::Signalled { signal } => format!("signal {signal}"),
        ExecEnding::OutOfMemory => "out of memory".to_owned(),
        ExecEnding::TimedOut => "it took too long".to_owned(),
        ExecEnding::Cancelled => "it was cancelled".to_owned(),
        ExecEnding::Trouble(_, why) => why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_box::FakeBox;

    #[test]
    fn an_answer_comes_with_its_code() {
        let sandbox = FakeBox::new();
        let at = &sandbox.workspace();
        let env = [("WORD".to_owned(), "hello".to_owned())];
        let asked = ask(
            &sandbox,
            &SandboxControl::default(),
            &["/bin/sh", "-c", "echo $WORD; exit 3"],
            &env,
            at,
        );
        assert_eq!(
            asked,
            Ok(Asked {
                code: 3,
                text: "hello\n".to_owned()
            })
        );
    }

    #[test]
    fn an_answer_without_end_is_no_answer() {
        let sandbox = FakeBox::new();
        let at = &sandbox.workspace();
        let asked = ask(
            &sandbox,
            &SandboxControl::default(),
            &["/bin/sh", "-c", "head -c 9000000 /dev/zero"],
            &[],
            at,
        );
        assert!(matches!(asked, Err(ShellError::Ended { .. })), "it is refused");
    }

    #[test]
    fn a_quoted_word_stays_one_word() {
        let sandbox = FakeBox::new();
        let word = "a 'b' $c `d` \\ \n e";
        let line = format!(
            "printf %s {}",
            String::from_utf8(quote(word.as_ref())).expect("text")
        );
        let asked = ask(
            &sandbox,
            &SandboxControl::default(),
            &["/bin/sh", "-c", &line],
            &[],
            &sandbox.workspace(),
        );
        assert_eq!(asked.expect("it answers").text, word);
    }
}
