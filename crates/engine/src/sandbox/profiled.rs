//! A box with its profile while it lives: opened with what is handed in, closed with what is taken back. Owns that
//! credentials come back before the box goes, and that the receipt is whole.

use std::path::PathBuf;
use std::time::Duration;

use gantry_adapters::clock;
use gantry_adapters::engine::{ExecEnding, ExecReport, ExecSpec, OpenError, Sandbox, SandboxControl};
use gantry_core::limits::BOX_GRACE;
use gantry_core::mask::Secrets;
use gantry_core::queue::build::Trouble;

use super::caches::Caches;
use super::kept_log::KeptLog;
use super::plan::BoxPlan;
use super::receipt::{LogForm, Receipt};
use crate::profile::Handed;

/// One command in a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Further variables.
    pub env: Vec<(String, String)>,
    /// Where; `None` is the workspace.
    pub directory: Option<PathBuf>,
    /// Wall time.
    pub timeout: Duration,
}

/// A box that lives.
pub struct ProfiledSandbox {
    sandbox: Box<dyn Sandbox>,
    handed: Handed,
    caches: Option<Caches>,
    secrets: Secrets,
    workspace_at: PathBuf,
    receipt: Receipt,
}

impl std::fmt::Debug for ProfiledSandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProfiledSandbox")
            .field("name", &self.receipt.name)
            .finish_non_exhaustive()
    }
}

impl ProfiledSandbox {
    /// Opens a box and hands in what its profile says.
    ///
    /// Errors: [`OpenError`]; nothing of the box is left then.
    pub fn open(plan: BoxPlan, control: &SandboxControl) -> Result<Self, OpenError> {
        let mut receipt = Receipt::begin(&plan.spec, &plan.image, clock::now().as_millis());
        plan.engine.name().clone_into(&mut receipt.engine);
        for (at, _, _) in &plan.handed.files {
            receipt.mounts.push(super::receipt::MountForm {
                kind: "file".to_owned(),
                host: String::new(),
                at: at.display().to_string(),
            });
        }
        let sandbox = plan.engine.open(&plan.spec, control)?;
        if let Err(error) = plan.handed.write_files(&*sandbox) {
            let left = sandbox.close().leftover.unwrap_or_default();
            let why = format!("{} {left}", crate::line::chain(&error));
            return Err(OpenError::Trouble(
                Trouble::CouldNotStart,
                why.trim_end().to_owned(),
            ));
        }
        Ok(Self {
            sandbox,
            handed: plan.handed,
            caches: plan.caches,
            secrets: plan.secrets,
            workspace_at: plan.spec.workspace_at,
            receipt,
        })
    }

    /// Returns the box itself.
    #[must_use]
    pub fn sandbox(&self) -> &dyn Sandbox {
        &*self.sandbox
    }

    /// Returns what nothing that leaves the box may hold.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Notes the command the box was made for, and says what it comes to in this box.
    pub fn begin(&mut self, command: &Command) -> ExecSpec {
        self.receipt.command.clone_from(&command.argv);
        self.exec_spec(command)
    }

    /// Notes how that command ended.
    pub fn end(&mut self, report: &ExecReport) {
        self.receipt.ending = ending_words(&report.ending);
    }

    /// Says what a command comes to in this box.
    #[must_use]
    pub fn exec_spec(&self, command: &Command) -> ExecSpec {
        ExecSpec {
            command: command.argv.clone(),
            env: command.env.clone(),
            directory: command
                .directory
                .clone()
                .unwrap_or_else(|| self.workspace_at.clone()),
            timeout: command.timeout,
            grace: BOX_GRACE,
        }
    }

    /// Takes credentials back, ends the box, and returns its receipt, masked.
    #[must_use]
    pub fn close(mut self, log: Option<&KeptLog>) -> Receipt {
        let notes = self.handed.take_back(&*self.sandbox);
        self.receipt.notes.extend(notes);
        if let Some(caches) = self.caches.as_ref().filter(|_| self.receipt.ending == "exited 0") {
            self.receipt.notes.extend(caches.publish(&*self.sandbox));
        }
        let told = self.sandbox.close();
        self.receipt.finish(told, clock::now().as_millis());
        if let Some(log) = log {
            match log.finish().and_then(|()| LogForm::of(log.path())) {
                Ok(form) => self.receipt.log = Some(form),
                Err(error) => self
                    .receipt
                    .notes
                    .push(format!("the log cannot be read: {error}")),
            }
        }
        self.receipt.masked(&self.secrets)
    }
}

/// Puts an ending into a receipt's words.
pub(super) fn ending_words(ending: &ExecEnding) -> String {
    match ending {
        ExecEnding::Exited { code } => format!("exited {code}"),
        ExecEnding::Signalled { signal } => format!("signalled {signal}"),
        ExecEnding::OutOfMemory => "out_of_memory".to_owned(),
        ExecEnding::TimedOut => "timed_out".to_owned(),
        ExecEnding::Cancelled => "cancelled".to_owned(),
        ExecEnding::Trouble(trouble, why) => format!("trouble {}: {why}", trouble.as_str()),
    }
}
