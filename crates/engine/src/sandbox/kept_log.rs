//! The log of one box on its way out: masked first, then kept within bounds and handed to whoever watches. Owns the
//! order of these three; must never let a byte through that was not masked.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gantry_adapters::engine::OutputLog;
use gantry_core::mask::{Masker, Secrets};

/// A masked, bounded log with watchers.
pub struct KeptLog {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    masker: Masker,
    log: OutputLog,
    watchers: Vec<Box<dyn Write + Send>>,
    masked: Vec<u8>,
    ended: bool,
}

impl std::fmt::Debug for KeptLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptLog")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl KeptLog {
    /// Makes or replaces the log.
    ///
    /// Errors: what the system said.
    pub fn create(path: &Path, bytes_max: u64, secrets: &Secrets) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            state: Mutex::new(State {
                masker: Masker::new(secrets),
                log: OutputLog::create(path, bytes_max)?,
                watchers: Vec::new(),
                masked: Vec::new(),
                ended: false,
            }),
        })
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds output of the box.
    ///
    /// Errors: what the system said about the log; watchers that do not listen are dropped.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        state.masked.clear();
        state.masker.push(bytes, &mut state.masked);
        state.hand_out()
    }

    /// Gives out what the masker still holds and closes the log.
    ///
    /// Errors: what the system said.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        if std::mem::replace(&mut state.ended, true) {
            return Ok(());
        }
        state.masked.clear();
        state.masker.finish(&mut state.masked);
        state.hand_out()?;
        state.watchers.clear();
        state.log.finish()
    }

    /// Adds a watcher: it gets what was kept so far, then everything that comes. A log that ended has none.
    ///
    /// Errors: what the system said about the log, or the watcher's own.
    pub fn watch(&self, mut watcher: Box<dyn Write + Send>) -> io::Result<()> {
        // Under the lock, so that no byte is missed or told twice.
        let mut state = self.state();
        let mut past = std::fs::File::open(&self.path)?;
        io::copy(&mut past, &mut watcher)?;
        if !state.ended {
            state.watchers.push(watcher);
        }
        Ok(())
    }

    /// Returns how many bytes were written, kept or not.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.state().log.written_bytes()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in the middle of a write leaves the log short at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hand_out(&mut self) -> io::Result<()> {
        let masked = &self.masked;
        self.watchers
            .retain_mut(|watcher| watcher.write_all(masked).is_ok());
        self.log.write(masked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn neither_the_log_nor_a_watcher_sees_a_secret_that_came_in_two_pieces() {
        let scratch = tempfile::tempdir().expect("a folder");
        let mut secrets = Secrets::new();
        secrets.insert("TOKEN", b"hunter2-hunter2").expect("room");
        let log = KeptLog::create(&scratch.path().join("log"), 1000, &secrets).expect("a log");
        log.write(b"early hun").expect("room");
        let watcher = Shared::default();
        log.watch(Box::new(watcher.clone())).expect("readable");
        log.write(b"ter2-hunter2 late\n").expect("room");
        log.finish().expect("room");
        let kept = std::fs::read_to_string(log.path()).expect("the log");
        assert_eq!(kept, "early *** late\n");
        assert_eq!(
            watcher.0.lock().expect("no panic").as_slice(),
            b"early *** late\n"
        );
    }
}
