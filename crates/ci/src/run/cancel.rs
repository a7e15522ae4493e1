//! Asking for the end of many things at once: a run, its jobs, their commands. Owns who is told; must never decide what
//! ending means.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gantry_adapters::engine::SandboxControl;

type Told = Box<dyn Fn() + Send>;

/// A mark that can be set once, and tells all who asked to be told.
#[derive(Clone, Default)]
pub(super) struct Cancel(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    cancelled: bool,
    next: u64,
    told: BTreeMap<u64, Told>,
}

/// Is told until it is dropped.
#[must_use]
pub(super) struct Attached {
    cancel: Cancel,
    key: u64,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let told = self.cancel.state().told.remove(&self.key);
        // What it holds may attach or detach when it is dropped: not under the lock.
        drop(told);
    }
}

impl Cancel {
    fn state(&self) -> MutexGuard<'_, State> {
        // Plain values: a panic elsewhere cannot leave them half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the mark and tells everybody, once.
    pub(super) fn cancel(&self) {
        let told = {
            let mut state = self.state();
            state.cancelled = true;
            std::mem::take(&mut state.told)
        };
        for tell in told.values() {
            tell();
        }
    }

    /// Tells whether the mark is set.
    pub(super) fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// Calls `tell` once the mark is set, at once if it is.
    pub(super) fn attach(&self, tell: impl Fn() + Send + 'static) -> Attached {
        let mut state = self.state();
        let key = state.next;
        state.next += 1;
        if state.cancelled {
            drop(state);
            tell();
        } else {
            state.told.insert(key, Box::new(tell));
        }
        Attached {
            cancel: self.clone(),
            key,
        }
    }

    /// Makes a mark that is set with this one, and may be set alone.
    pub(super) fn child(&self) -> (Cancel, Attached) {
        let child = Cancel::default();
        let told = child.clone();
        let attached = self.attach(move || told.cancel());
        (child, attached)
    }

    /// Ends a box's command with the mark.
    pub(super) fn attach_control(&self, control: &SandboxControl) -> Attached {
        let control = control.clone();
        self.attach(move || control.cancel())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reaches_what_hangs_below_it_and_nothing_above() {
        let run = Cancel::default();
        let (job, _job_attached) = run.child();
        let (other, _other_attached) = run.child();
        let control = SandboxControl::default();
        let _attached = job.attach_control(&control);
        job.cancel();
        assert!(control.is_cancelled() && job.is_cancelled());
        assert!(!run.is_cancelled() && !other.is_cancelled());
        run.cancel();
        assert!(other.is_cancelled());
    }

    #[test]
    fn who_comes_late_is_told_at_once_and_who_left_is_not() {
        let run = Cancel::default();
        let left = SandboxControl::default();
        drop(run.attach_control(&left));
        run.cancel();
        assert!(!left.is_cancelled());
        let late = SandboxControl::default();
        let _attached = run.attach_control(&late);
        assert!(late.is_cancelled());
    }
}
