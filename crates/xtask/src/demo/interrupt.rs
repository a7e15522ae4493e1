//! What an interrupt leaves: nothing. Owns the signals while the demo plays: the factory is stopped and the scratch
//! directory removed before the program ends.

use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use super::factory::stop;

/// How a shell shows that an interrupt ended a program.
const INTERRUPTED: i32 = 130;

/// From now on an interrupt stops the factory whose data directory is `data`, and removes `scratch` unless it is to
/// be kept. Call it before any other thread is there. The thread it starts ends with the program.
///
/// Errors: the system refuses to block the signals.
pub fn guard(program: &Path, data: PathBuf, scratch: &Path, keep: bool) -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGHUP);
    // Programs that are started do not inherit this: the standard library gives each child an empty mask.
    signals.thread_block()?;
    let (program, scratch) = (program.to_owned(), scratch.to_owned());
    thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            if signals.wait().is_err() {
                return;
            }
            let started = data.join("lock").exists();
            if started && let Err(error) = stop(&program, &data) {
                eprintln!(
                    "the factory in {} could not be stopped: {error:#}",
                    data.display()
                );
            }
            if !keep && let Err(error) = std::fs::remove_dir_all(&scratch) {
                eprintln!("{} could not be removed: {error}", scratch.display());
            }
            std::process::exit(INTERRUPTED);
        })?;
    Ok(())
}
