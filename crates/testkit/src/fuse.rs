//! The death of the process by script: every call into the outside world counts, and at a given one it dies.

use std::cell::Cell;
use std::panic::resume_unwind;

/// What a death by script unwinds with.
#[derive(Debug)]
pub(crate) struct Death;

/// Before or after the effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The effect does not happen.
    Before,
    /// The effect happens, and nobody hears of it.
    After,
}

/// Counts effects and dies at one of them.
#[derive(Debug, Default)]
pub struct Fuse {
    count: Cell<u64>,
    blow: Cell<Option<(u64, Moment)>>,
}

impl Fuse {
    /// Dies at the effect with this number, counted from the first of the world.
    pub fn arm(&self, at: u64, moment: Moment) {
        self.blow.set(Some((at, moment)));
    }

    /// Dies no more.
    pub fn disarm(&self) {
        self.blow.set(None);
    }

    /// How many effects were asked for so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// Performs an effect, unless it is the one to die at.
    pub(crate) fn effect<T>(&self, perform: impl FnOnce() -> T) -> T {
        let number = self.count.get() + 1;
        self.count.set(number);
        if self.blow.get() == Some((number, Moment::Before)) {
            self.die();
        }
        let done = perform();
        if self.blow.get() == Some((number, Moment::After)) {
            self.die();
        }
        done
    }

    fn die(&self) -> ! {
        self.blow.set(None);
        // Not `panic!`: a death by script is no news for the panic hook.
        resume_unwind(Box::new(Death))
    }
}
