//! What is wrong with workflow files, and what in them would not be honoured, before anything runs.

use std::collections::BTreeSet;

use gantry_ci::action::known_actions;
use gantry_workflow::model::WorkflowFile;
use gantry_workflow::support::{Known, Unsupported, Verdict, check};

use super::files::FoundWorkflow;
use crate::profile::EngineName;

/// What looking at workflow files came to.
#[derive(Debug, Default)]
pub struct Look {
    /// Those that read.
    pub files: Vec<WorkflowFile>,
    /// `file (Line: 3, Col: 5): message`, one for each fault of those that do not.
    pub faults: Vec<String>,
    /// What of the others would not be honoured.
    pub unsupported: Vec<Unsupported>,
}

impl Look {
    /// Returns a line for everything that keeps the files of these names from running.
    #[must_use]
    pub fn refusals(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let refused = self
            .unsupported
            .iter()
            .filter(|found| found.verdict == Verdict::Refused);
        let lines = refused
            .filter(|found| is_meant(&found.file))
            .map(ToString::to_string);
        let faults = self.faults.iter().filter(|fault| {
            let file = fault.split(" (").next().unwrap_or(fault);
            is_meant(file)
        });
        faults.cloned().chain(lines).collect()
    }
}

/// Reads the files and looks at what they use.
#[must_use]
pub fn look_at(found: &[FoundWorkflow], known: &Known) -> Look {
    let mut look = Look::default();
    for workflow in found {
        match WorkflowFile::parse(&workflow.path, &workflow.text) {
            Ok(file) => {
                look.unsupported.extend(check(&file, known));
                look.files.push(file);
            }
            Err(diagnostics) => look.faults.extend(diagnostics.iter().map(ToString::to_string)),
        }
    }
    look
}

/// Says what boxes of an engine offer to workflows. `mirrored` is what the local mirror has; `images` says
/// whether any image has a name here.
#[must_use]
pub fn known(engine: EngineName, mirrored: BTreeSet<String>, images: bool) -> Known {
    Known {
        built_in_actions: known_actions().map(str::to_ascii_lowercase).collect(),
        mirrored,
        labels: ["ubuntu-*", "self-hosted", "linux", "x64"]
            .map(str::to_owned)
            .to_vec(),
        shells: ["python", "python3"].map(str::to_owned).into_iter().collect(),
        containers: images || engine != EngineName::Native,
        docker_actions: false,
    }
}
