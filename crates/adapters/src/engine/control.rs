//! What the owner of a running box may do to it, and be told while it runs. Owns the cancel mark and the
//! doomed call; must never decide how a box ends.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Ender = Box<dyn FnOnce() + Send>;

/// A handle on one box, shared between its owner and its engine.
#[derive(Clone)]
pub struct SandboxControl(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    on_doomed: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    doomed: bool,
    ender: Option<Ender>,
}

impl fmt::Debug for SandboxControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxControl")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl Default for SandboxControl {
    fn default() -> Self {
        Self::new(|| {})
    }
}

impl SandboxControl {
    /// Makes a handle; `on_doomed` is called once, on the engine's thread, when a `fail_fast` pattern is seen.
    pub fn new(on_doomed: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            on_doomed: Box::new(on_doomed),
        }))
    }

    /// Asks for the end of the box, whether it has started or not. Returns at once; may be called again.
    pub fn cancel(&self) {
        let ender = {
            let mut state = self.state();
            state.cancelled = true;
            state.ender.take()
        };
        self.0.changed.notify_all();
        if let Some(end) = ender {
            end();
        }
    }

    /// Says whether somebody asked for the end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// Waits until somebody asks for the end, and says whether that happened within `limit`.
    #[must_use]
    pub fn wait_cancelled(&self, limit: Duration) -> bool {
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.state(), limit, |state| !state.cancelled);
        waited.unwrap_or_else(PoisonError::into_inner).0.cancelled
    }

    /// Tells the owner that the check will fail; only the first call does.
    pub fn doom(&self) {
        let first = !std::mem::replace(&mut self.state().doomed, true);
        if first {
            (self.0.on_doomed)();
        }
    }

    /// Says whether [`Self::doom`] was called.
    #[must_use]
    pub fn is_doomed(&self) -> bool {
        self.state().doomed
    }

    /// Sets what [`Self::cancel`] does to the running box; done at once if the end was asked for before.
    pub fn on_cancel(&self, end: impl FnOnce() + Send + 'static) {
        {
            let mut state = self.state();
            if !state.cancelled {
                state.ender = Some(Box::new(end));
                return;
            }
        }
        end();
    }

    /// Forgets what `on_cancel` set: the box has ended.
    pub(super) fn detach(&self) {
        self.state().ender = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The marks are plain values: a panic elsewhere cannot leave them half written.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_owner_is_told_once_that_a_check_is_doomed() {
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&calls);
        let control = SandboxControl::new(move || {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        control.doom();
        control.clone().doom();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_cancel_before_the_start_still_ends_the_box() {
        let control = SandboxControl::default();
        control.cancel();
        let ended = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&ended);
        control.on_cancel(move || {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(ended.load(Ordering::SeqCst), 1);
        assert!(control.wait_cancelled(Duration::ZERO));
    }
}
