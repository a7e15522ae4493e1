//! How this program becomes a process of its own for a build or a box: the word that asks for it, its folder, and the order
//! on its standard input.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::PathBuf;

use gantry_core::limits::JOB_ORDER_BYTES_MAX;
use serde::de::DeserializeOwned;

/// Runs `run` with the folder and returns the exit code, if the arguments are this word and a folder; `None` otherwise.
pub(crate) fn run_if_asked(word: &str, run: impl FnOnce(PathBuf) -> Result<(), String>) -> Option<u8> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).take(3).collect();
    let [asked, folder] = arguments.as_slice() else {
        return None;
    };
    if asked.as_os_str() != OsStr::new(word) {
        return None;
    }
    // Out of the starter's session: its terminal's end is not this process's.
    if let Err(error) = nix::unistd::setsid() {
        eprintln!("cannot leave the session: {error}");
    }
    match run(PathBuf::from(folder)) {
        Ok(()) => Some(0),
        Err(why) => {
            eprintln!("{why}");
            Some(1)
        }
    }
}

/// Reads the order from standard input, at most `JOB_ORDER_BYTES_MAX` of it.
///
/// Errors: a sentence.
pub(crate) fn read_order<T: DeserializeOwned>() -> Result<T, String> {
    let mut text = String::new();
    std::io::stdin()
        .take(JOB_ORDER_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot read the order: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("this is no order: {error}"))
}
