//! What a run would refuse, before anything of it starts. Owns asking the run's own means; what each feature's state is
//! stands in `gantry_workflow::support`.

use std::collections::BTreeSet;
use std::path::Path;

use gantry_workflow::model::{
    ActionFile, ActionRuns, JobKind, RemoteRef, Step, StepKind, UsesRef, WorkflowFile, WorkflowRef,
};
use gantry_workflow::support::{Known, Unsupported, check, check_action};

use super::request::{Containers, RunRequest};
use crate::action::{find_action, known_actions};

/// Lists what a workflow uses that this run would not honour, the mirrored actions it uses included.
///
/// Shape: what has no effect is listed, too; see [`Unsupported::verdict`].
/// Errors: the mirror cannot be read, in a sentence.
pub fn check_workflow(request: &RunRequest<'_>, file: &WorkflowFile) -> Result<Vec<Unsupported>, String> {
    let mut look = Look {
        request,
        known: known_of(request),
        seen: BTreeSet::new(),
        actions: Vec::new(),
    };
    for job in &file.jobs {
        match &job.kind {
            JobKind::Steps(steps_job) => look.steps(&steps_job.steps)?,
            JobKind::Call(call) => {
                if let WorkflowRef::Remote(remote) = &call.uses.value {
                    look.workflow(remote)?;
                }
            }
        }
    }
    let mut found = check(file, &look.known);
    found.extend(
        look.actions
            .iter()
            .flat_map(|action| check_action(action, &look.known)),
    );
    Ok(found)
}

fn known_of(request: &RunRequest<'_>) -> Known {
    let containers = match &request.images.containers {
        Containers::ByEngine => true,
        Containers::Known(known) => !known.is_empty(),
    };
    Known {
        built_in_actions: known_actions().map(str::to_ascii_lowercase).collect(),
        mirrored: BTreeSet::new(),
        labels: request
            .images
            .labels
            .iter()
            .map(|(label, _)| label.to_ascii_lowercase())
            .collect(),
        // Whether an image has them shows in the step that asks for one.
        shells: ["python", "pwsh"].map(str::to_owned).into(),
        containers,
        docker_actions: false,
    }
}

struct Look<'a> {
    request: &'a RunRequest<'a>,
    known: Known,
    seen: BTreeSet<String>,
    actions: Vec<ActionFile>,
}

impl Look<'_> {
    fn steps(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            match &step.kind {
                StepKind::Uses(uses) => {
                    if let UsesRef::Remote(remote) = &uses.uses.value {
                        self.action(remote)?;
                    }
                }
                StepKind::Parallel(inner) => self.steps(inner)?,
                StepKind::Run(_) | StepKind::Wait(_) | StepKind::WaitAll | StepKind::Cancel(_) => {}
            }
        }
        Ok(())
    }

    fn key(remote: &RemoteRef) -> String {
        let path = if remote.path.is_empty() {
            String::new()
        } else {
            format!("/{}", remote.path.to_ascii_lowercase())
        };
        format!("{}{path}@{}", remote.repository_key(), remote.reference)
    }

    fn text(&self, remote: &RemoteRef, names: &[&str]) -> Result<Option<(String, String)>, String> {
        let parts = self
            .request
            .library
            .repository(&remote.owner, &remote.repository, &remote.reference)?;
        let Some(parts) = parts else { return Ok(None) };
        let wanted = |name: &&str| {
            parts
                .iter()
                .find(|part| part.path == Path::new(&remote.path).join(name))
        };
        let found = names.iter().find_map(wanted);
        Ok(found.map(|part| {
            let shown = format!("{remote}/{}", part.path.display());
            (shown, String::from_utf8_lossy(&part.bytes).into_owned())
        }))
    }

    fn action(&mut self, remote: &RemoteRef) -> Result<(), String> {
        let key = Self::key(remote);
        let is_built_in = find_action(&super::uses::name_of(remote), &remote.reference);
        if matches!(is_built_in, Ok(Some(_))) || !self.seen.insert(key.clone()) {
            return Ok(());
        }
        if is_built_in.is_err() {
            // The name is built in and this version of it is not.
            self.known
                .built_in_actions
                .remove(&super::uses::name_of(remote).to_ascii_lowercase());
        }
        let Some((shown, text)) = self.text(remote, &["action.yml", "action.yaml"])? else {
            return Ok(());
        };
        self.known.mirrored.insert(key);
        // A file that is not valid is told, with all that is wrong, by the step that uses it.
        let Ok(action) = ActionFile::parse(&shown, &text) else {
            return Ok(());
        };
        if let ActionRuns::Composite { steps } = &action.runs {
            self.steps(steps)?;
        }
        self.actions.push(action);
        Ok(())
    }

    fn workflow(&mut self, remote: &RemoteRef) -> Result<(), String> {
        if self.text(remote, &[""])?.is_some() {
            self.known.mirrored.insert(Self::key(remote));
        }
        Ok(())
    }
}
