//! How many boxes live at once. Owns counting; whoever waits is woken by a free slot or by a cancel, never by time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::cancel::Cancel;

/// A number of slots.
#[derive(Clone)]
pub(super) struct Slots(Arc<Shared>);

struct Shared {
    free: Mutex<usize>,
    changed: Condvar,
}

/// A slot that is taken until it is dropped.
pub(super) struct Slot(Slots);

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.0.changed.notify_all();
    }
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Shared {
            free: Mutex::new(count.max(1)),
            changed: Condvar::new(),
        }))
    }

    fn free(&self) -> MutexGuard<'_, usize> {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot; `None` if it is cancelled first.
    pub(super) fn take(&self, cancel: &Cancel) -> Option<Slot> {
        let slots = self.clone();
        let _attached = cancel.attach(move || {
            // The lock orders the wake-up behind the look at the mark, so that none is lost.
            drop(slots.free());
            slots.0.changed.notify_all();
        });
        let mut free = self.free();
        loop {
            if cancel.is_cancelled() {
                return None;
            }
            if *free > 0 {
                *free -= 1;
                return Some(Slot(self.clone()));
            }
            free = self.0.changed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_slot_is_given_when_one_is_free_and_never_once_cancelled() {
        let slots = Slots::new(1);
        let cancel = Cancel::default();
        let first = slots.take(&cancel).expect("it is free");
        thread::scope(|scope| {
            let second = scope.spawn(|| slots.take(&Cancel::default()).is_some());
            let cancelled = scope.spawn(|| slots.take(&cancel).is_none());
            cancel.cancel();
            assert!(cancelled.join().expect("it ends"));
            drop(first);
            assert!(second.join().expect("it ends"));
        });
    }
}
