//! The files a step writes for its runner. Owns making them, reading them once after the step, and emptying what was
//! written.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use gantry_adapters::engine::{FileVisitor, Found, FoundKind, Sandbox, SandboxError};
use gantry_core::limits::COMMAND_FILE_BYTES_MAX;
use gantry_workflow::command::{
    FileCommandError, SUMMARY_BYTES_MAX, SummaryUse, decode_command_file, parse_env_file, parse_path_file,
    summary_use,
};

use super::layout::{COMMAND_FILES, StepFolder};
use super::leg::set_pair;
use super::output::Effects;

/// What a step wrote into its files, besides what is in [`Effects`].
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) summary: Option<Vec<u8>>,
    /// Faults to be shown; the step does not fail by them.
    pub(super) said: Vec<String>,
}

/// Makes the empty files of a folder that was not used before.
///
/// Errors: what the box said.
pub(super) fn make_files(sandbox: &dyn Sandbox, folder: &StepFolder) -> Result<(), SandboxError> {
    for (name, _, _) in COMMAND_FILES {
        sandbox.put_file(Path::new(&folder.file(name)), b"", 0o644)?;
    }
    Ok(())
}

/// Reads what a step wrote and leaves the files empty for the next one.
///
/// Shape: what cannot be read fails the step through [`Effects::failure`]; what stands before it counts.
/// Errors: what the box said.
pub(super) fn take_files(
    sandbox: &dyn Sandbox,
    folder: &StepFolder,
    effects: &mut Effects,
) -> Result<Written, SandboxError> {
    let mut found = FilesFound::default();
    match sandbox.visit_files(Path::new(&folder.path), &mut found) {
        Ok(()) => {}
        // The step removed the whole folder: it asked for nothing.
        Err(SandboxError::Path { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut written = Written::default();
    for (name, variable, _) in COMMAND_FILES {
        match found.files.remove(name) {
            Some(File::Empty) => continue,
            Some(File::TooLarge(bytes)) => too_large(name, variable, bytes, effects, &mut written),
            Some(File::Bytes(bytes)) => take_file(name, variable, bytes, effects, &mut written),
            None => {}
        }
        sandbox.put_file(Path::new(&folder.file(name)), b"", 0o644)?;
    }
    Ok(written)
}

fn too_large(name: &str, variable: &str, bytes: u64, effects: &mut Effects, written: &mut Written) {
    if name == "step_summary" {
        if let SummaryUse::TooLarge(message) = summary_use(bytes) {
            written.said.push(message);
        }
        return;
    }
    let message =
        format!("${variable} has {bytes} bytes, more than the {COMMAND_FILE_BYTES_MAX} that are read");
    written.said.push(message.clone());
    effects.failure.get_or_insert(message);
}

fn take_file(name: &str, variable: &str, bytes: Vec<u8>, effects: &mut Effects, written: &mut Written) {
    if name == "step_summary" {
        written.summary = Some(bytes);
        return;
    }
    let text = decode_command_file(&bytes);
    if name == "path" {
        effects.paths.extend(parse_path_file(&text));
        return;
    }
    let pairs = match parse_env_file(&text) {
        Ok(pairs) => pairs,
        Err(FileCommandError { problem, before, .. }) => {
            let first = format!("Unable to process file command '{name}' successfully.");
            written.said.push(first.clone());
            written.said.push(problem.to_string());
            effects
                .failure
                .get_or_insert(format!("{first} {problem} (${variable})"));
            before
        }
    };
    let target = match name {
        "env" => &mut effects.env,
        "state" => &mut effects.saved,
        _ => &mut effects.outputs,
    };
    pairs
        .into_iter()
        .for_each(|(name, value)| set_pair(target, name, value));
}

enum File {
    Empty,
    TooLarge(u64),
    Bytes(Vec<u8>),
}

#[derive(Default)]
struct FilesFound {
    files: BTreeMap<&'static str, File>,
}

impl FileVisitor for FilesFound {
    fn enter(&mut self, directory: &Found) -> bool {
        directory.path.as_os_str().is_empty()
    }

    fn visit(&mut self, found: &Found, content: &mut dyn Read) -> io::Result<()> {
        let known = COMMAND_FILES
            .iter()
            .find(|(name, _, _)| found.path == Path::new(name));
        let (Some((name, _, _)), FoundKind::File { bytes }) = (known, &found.kind) else {
            return Ok(());
        };
        let bytes_max = if *name == "step_summary" {
            SUMMARY_BYTES_MAX
        } else {
            COMMAND_FILE_BYTES_MAX
        };
        let file = if *bytes == 0 {
            File::Empty
        } else if *bytes > bytes_max {
            File::TooLarge(*bytes)
        } else {
            let mut kept = Vec::new();
            content.take(bytes_max).read_to_end(&mut kept)?;
            File::Bytes(kept)
        };
        self.files.insert(name, file);
        Ok(())
    }
}
