//! A scripted engine for tests of the queue: no process, no clock, no disk. Owns the record of what was asked.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::SandboxControl;
use super::check::{CheckEngine, CheckReport, CheckSpec, SandboxEnding};
use super::sandbox::{EngineUnavailable, ReapError};

type Script = dyn Fn(&CheckSpec, &SandboxControl) -> CheckReport + Send + Sync;

/// An engine whose boxes end as a script says.
pub struct FakeEngine {
    script: Box<Script>,
    specs: Mutex<Vec<CheckSpec>>,
}

impl std::fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeEngine").finish_non_exhaustive()
    }
}

impl FakeEngine {
    /// Makes an engine; `script` is called for every box, on the caller's thread, and may block on the control.
    pub fn new(script: impl Fn(&CheckSpec, &SandboxControl) -> CheckReport + Send + Sync + 'static) -> Self {
        Self {
            script: Box::new(script),
            specs: Mutex::default(),
        }
    }

    /// Makes a report of a box that ended so, after a second and without output.
    #[must_use]
    pub fn report(ending: SandboxEnding) -> CheckReport {
        CheckReport {
            ending,
            duration: Duration::from_secs(1),
            output_bytes: 0,
            evidence: Vec::new(),
            doomed: false,
            leftover: None,
        }
    }

    /// Returns every box asked for so far, oldest first.
    #[must_use]
    pub fn specs(&self) -> Vec<CheckSpec> {
        self.specs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl CheckEngine for FakeEngine {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn probe(&self) -> Result<(), EngineUnavailable> {
        Ok(())
    }

    fn run(&self, spec: &CheckSpec, control: &SandboxControl) -> CheckReport {
        self.specs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(spec.clone());
        if control.is_cancelled() {
            return Self::report(SandboxEnding::Cancelled);
        }
        let mut report = (self.script)(spec, control);
        report.doomed |= control.is_doomed();
        report
    }

    fn reap(&self) -> Result<usize, ReapError> {
        Ok(0)
    }
}
