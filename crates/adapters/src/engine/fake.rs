//! A scripted engine for tests: no process, no clock, no disk. Owns the record of what was asked.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{
    EngineUnavailable, ExecEnding, ExecReport, ExecSpec, FileVisitor, Found, FoundKind, OpenError, Output,
    ReapError, Sandbox, SandboxControl, SandboxEngine, SandboxError, SandboxReceipt, SandboxSpec,
};

type Script = dyn Fn(&SandboxSpec, &ExecSpec, &mut Output<'_>, &SandboxControl) -> ExecEnding + Send + Sync;

/// An engine whose commands end as a script says.
pub struct FakeEngine {
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    opened: Mutex<Vec<SandboxSpec>>,
}

impl std::fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeEngine").finish_non_exhaustive()
    }
}

impl FakeEngine {
    /// Makes an engine; `script` is called for every command, on the caller's thread, may write output and may block
    /// on the control.
    pub fn new(
        script: impl Fn(&SandboxSpec, &ExecSpec, &mut Output<'_>, &SandboxControl) -> ExecEnding
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                script: Box::new(script),
                opened: Mutex::default(),
            }),
        }
    }

    /// Returns every box asked for so far, oldest first.
    #[must_use]
    pub fn opened(&self) -> Vec<SandboxSpec> {
        lock(&self.shared.opened).clone()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is one step: a panic elsewhere cannot leave it half done.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SandboxEngine for FakeEngine {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn probe(&self) -> Result<Vec<String>, EngineUnavailable> {
        Ok(Vec::new())
    }

    fn open(&self, spec: &SandboxSpec, control: &SandboxControl) -> Result<Box<dyn Sandbox>, OpenError> {
        lock(&self.shared.opened).push(spec.clone());
        if control.is_cancelled() {
            return Err(OpenError::Cancelled);
        }
        Ok(Box::new(FakeSandbox {
            shared: Arc::clone(&self.shared),
            spec: spec.clone(),
            files: Mutex::default(),
        }))
    }

    fn reap(&self) -> Result<usize, ReapError> {
        Ok(0)
    }
}

/// A box whose only files are those put into it.
struct FakeSandbox {
    shared: Arc<Shared>,
    spec: SandboxSpec,
    files: Mutex<BTreeMap<PathBuf, (Vec<u8>, u32)>>,
}

impl Sandbox for FakeSandbox {
    fn exec(&self, spec: &ExecSpec, output: &mut Output<'_>, control: &SandboxControl) -> ExecReport {
        let ending = if control.is_cancelled() {
            ExecEnding::Cancelled
        } else {
            (self.shared.script)(&self.spec, spec, output, control)
        };
        ExecReport {
            ending,
            duration: Duration::from_secs(1),
        }
    }

    fn put_file(&self, at: &Path, bytes: &[u8], mode: u32) -> Result<(), SandboxError> {
        lock(&self.files).insert(at.to_owned(), (bytes.to_vec(), mode));
        Ok(())
    }

    fn visit_files(&self, at: &Path, visitor: &mut dyn FileVisitor) -> Result<(), SandboxError> {
        let files = lock(&self.files).clone();
        let mut any = false;
        for (path, (bytes, mode)) in &files {
            let Ok(below) = path.strip_prefix(at) else {
                continue;
            };
            any = true;
            let found = Found {
                path: below.to_owned(),
                mode: *mode,
                kind: FoundKind::File {
                    bytes: bytes.len() as u64,
                },
            };
            visitor
                .visit(&found, &mut io::Cursor::new(bytes))
                .map_err(|source| SandboxError::System {
                    doing: format!("read {}", at.display()),
                    source,
                })?;
        }
        if any {
            return Ok(());
        }
        Err(SandboxError::Path {
            path: at.display().to_string(),
            why: "it is not there".to_owned(),
        })
    }

    fn changed_root(&self) -> Option<PathBuf> {
        None
    }

    fn freeze(&self, _frozen: bool) -> Result<(), SandboxError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> SandboxReceipt {
        SandboxReceipt {
            engine: "fake".to_owned(),
            ..SandboxReceipt::default()
        }
    }
}
