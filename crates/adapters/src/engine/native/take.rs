//! Commits on their way out of a box. Owns the door: the box packs what it made, the host checks every object and
//! takes it in; no hook, filter, setting or reference of the box is ever read on the host.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_core::id::CommitId;
use gantry_core::limits::BOX_GRACE;

use crate::engine::{ExecEnding, ExecSpec, Sandbox, SandboxControl};
use crate::git::{GitProgram, ProgramError};

/// How long a box may take to pack its commits.
const PACKED_WITHIN: Duration = Duration::from_secs(600);
/// The most bytes of commits taken from one box.
const PACK_BYTES_MAX: usize = 1 << 30;
/// The longest answer to which commit a name is.
const NAME_BYTES_MAX: usize = 16 * 1024;

/// Why a commit was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The box has no such commit or cannot pack it; what its own git said.
    #[error("the box does not hand {reference} out: {why}")]
    Box {
        /// What was asked for.
        reference: String,
        /// What was said.
        why: String,
    },
    /// What it handed out is no good.
    #[error("what the box handed out for {reference} is refused")]
    Refused {
        /// What was asked for.
        reference: String,
        /// What the host's git said.
        #[source]
        source: ProgramError,
    },
}

/// Takes the commit a reference of a box's repository names, and what it is made of, into a repository of the host.
/// `known` is a commit both have: what it reaches is not packed.
///
/// Shape: no reference is made; pin the commit before anything collects it.
/// Errors: [`TakeError`].
pub fn take_commit(
    sandbox: &dyn Sandbox,
    workspace_at: &Path,
    reference: &str,
    known: Option<CommitId>,
    to: &Path,
) -> Result<CommitId, TakeError> {
    let failed = |why: String| TakeError::Box {
        reference: reference.to_owned(),
        why,
    };
    let run = |arguments: &[&str], bytes_max: usize| {
        let exec = ExecSpec {
            command: arguments.iter().map(|text| (*text).to_owned()).collect(),
            env: Vec::new(),
            directory: workspace_at.to_owned(),
            timeout: PACKED_WITHIN,
            grace: BOX_GRACE,
        };
        let mut said = Vec::new();
        let report = sandbox.exec(
            &exec,
            &mut |bytes| {
                if said.len() + bytes.len() > bytes_max {
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"));
                }
                said.extend_from_slice(bytes);
                Ok(())
            },
            &SandboxControl::default(),
        );
        match report.ending {
            ExecEnding::Exited { code: 0 } => Ok(said),
            ending => Err(failed(format!(
                "{ending:?} {}",
                String::from_utf8_lossy(&said).trim()
            ))),
        }
    };
    let name = format!("{reference}^{{commit}}");
    let said = run(
        &["git", "rev-parse", "--verify", "--end-of-options", &name],
        NAME_BYTES_MAX,
    )?;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    // The box's git may have warned before.
    let last = said.lines().last().unwrap_or_default();
    let commit: CommitId = last
        .parse()
        .map_err(|_| failed(format!("it says {said:?}, which is no commit")))?;
    let mut wanted = commit.to_string();
    if let Some(known) = known {
        wanted.push_str(&format!("\n^{known}"));
    }
    let line = "printf '%s\\n' \"$1\" | git pack-objects --revs --stdout -q 2>/dev/null";
    let pack = run(&["/bin/sh", "-c", line, "sh", &wanted], PACK_BYTES_MAX)?;
    let refused = |source| TakeError::Refused {
        reference: reference.to_owned(),
        source,
    };
    GitProgram::at(PathBuf::from(to))
        .take_pack(&pack, commit)
        .map_err(refused)?;
    Ok(commit)
}
