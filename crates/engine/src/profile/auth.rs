//! Credentials that their program may refresh. Owns the copy that goes into a box and the way back: a refreshed token
//! survives the box, and a box cannot destroy the host's file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gantry_core::limits::AUTH_BYTES_MAX;
use nix::fcntl::{Flock, FlockArg};

/// A credential as it was when it was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthCopy {
    /// The host's file.
    pub host: PathBuf,
    /// Where the box has it.
    pub at: PathBuf,
    /// What was in it.
    pub bytes: Vec<u8>,
}

/// What became of a credential that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthOutcome {
    /// The box left it as it was.
    Unchanged,
    /// The box refreshed it, and the host's file is the new one now.
    Refreshed,
    /// Both sides changed it; the host's was kept, the box's is beside it under `.from-box`.
    KeptHosts,
    /// What came back is no credential of the same kind; the host's was kept.
    Rejected,
}

/// Reads a credential for a box.
///
/// Errors: what the system said; `InvalidData` for something that is no regular file, empty, or too large.
pub fn take_auth(host: &Path, at: &Path) -> io::Result<AuthCopy> {
    let _lock = lock_beside(host)?;
    Ok(AuthCopy {
        host: host.to_owned(),
        at: at.to_owned(),
        bytes: read_regular(host)?,
    })
}

/// Puts a credential that came back from a box in its place, if it was refreshed.
///
/// A credential that was JSON stays JSON: a box that wrote rubbish into it changes nothing. Errors: what the system
/// said; the host's file is whole in any case.
pub fn return_auth(copy: &AuthCopy, returned: &[u8]) -> io::Result<AuthOutcome> {
    if returned == copy.bytes {
        return Ok(AuthOutcome::Unchanged);
    }
    if !is_same_kind(&copy.bytes, returned) {
        return Ok(AuthOutcome::Rejected);
    }
    let _lock = lock_beside(&copy.host)?;
    let now = read_regular(&copy.host)?;
    if now == returned {
        return Ok(AuthOutcome::Refreshed);
    }
    if now != copy.bytes {
        write_beside(&copy.host, ".from-box", returned)?;
        return Ok(AuthOutcome::KeptHosts);
    }
    let partial = write_beside(&copy.host, ".gantry-part", returned)?;
    let owner = fs::metadata(&copy.host)?;
    std::os::unix::fs::chown(&partial, Some(owner.uid()), Some(owner.gid()))?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(owner.mode() & 0o777))?;
    fs::rename(&partial, &copy.host)?;
    Ok(AuthOutcome::Refreshed)
}

/// A refresh changes values: what was a JSON object is one afterwards, with every field it had.
fn is_same_kind(before: &[u8], after: &[u8]) -> bool {
    let object = |bytes: &[u8]| match serde_json::from_slice(bytes) {
        Ok(serde_json::Value::Object(fields)) => Some(fields),
        Ok(_) | Err(_) => None,
    };
    let keeps_fields = match (object(before), object(after)) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(before), Some(after)) => before.keys().all(|key| after.contains_key(key)),
    };
    !after.is_empty() && after.len() as u64 <= AUTH_BYTES_MAX && keeps_fields
}

fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{} {why}", path.display()));
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(wrong("is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(AUTH_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Err(wrong("is empty"));
    }
    if bytes.len() as u64 > AUTH_BYTES_MAX {
        return Err(wrong(&format!("has more than {AUTH_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Waits for everybody else who hands this credential in or takes it back.
fn lock_beside(host: &Path) -> io::Result<Flock<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(beside(host, ".gantry-lock"))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

fn write_beside(host: &Path, suffix: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let path = beside(host, suffix);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(path)
}

fn beside(host: &Path, suffix: &str) -> PathBuf {
    let mut name = host.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host_now: &str, returned: &str, expected: AuthOutcome, host_then: &str) {
        let scratch = tempfile::tempdir().expect("a folder");
        let host = scratch.path().join("auth.json");
        fs::write(&host, "{\"token\":1}").expect("room");
        let copy = take_auth(&host, Path::new("/box/home/auth.json")).expect("readable");
        fs::write(&host, host_now).expect("room");
        let outcome = return_auth(&copy, returned.as_bytes()).expect("no trouble");
        assert_eq!(outcome, expected);
        assert_eq!(fs::read_to_string(&host).expect("the file"), host_then);
        let beside = fs::read_to_string(scratch.path().join("auth.json.from-box"));
        assert_eq!(beside.is_ok(), expected == AuthOutcome::KeptHosts);
    }

    const OLD: &str = "{\"token\":1}";
    const NEW: &str = "{\"token\":2}";

    #[test]
    fn a_refreshed_token_survives_the_box() {
        check(OLD, NEW, AuthOutcome::Refreshed, NEW);
        check(OLD, OLD, AuthOutcome::Unchanged, OLD);
    }

    #[test]
    fn a_box_cannot_destroy_a_credential() {
        for rubbish in ["", "rubbish", "{\"token\":", "[1]", "{}", "{\"other\":1}"] {
            check(OLD, rubbish, AuthOutcome::Rejected, OLD);
        }
    }

    #[test]
    fn of_two_refreshes_the_hosts_counts_and_the_other_is_kept_beside_it() {
        check("{\"token\":3}", NEW, AuthOutcome::KeptHosts, "{\"token\":3}");
        check(NEW, NEW, AuthOutcome::Refreshed, NEW);
    }

    #[test]
    fn what_is_no_credential_is_not_handed_in() {
        let scratch = tempfile::tempdir().expect("a folder");
        let empty = scratch.path().join("empty");
        fs::write(&empty, "").expect("room");
        assert!(take_auth(&empty, Path::new("/a")).is_err());
        assert!(take_auth(scratch.path(), Path::new("/a")).is_err());
        assert!(take_auth(&scratch.path().join("none"), Path::new("/a")).is_err());
    }
}
