//! The data directory: where everything of one factory is. Owns paths, the lock and the token.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use nix::fcntl::{Flock, FlockArg};

/// One factory's directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

/// Why the directory is not ours: somebody runs in it.
#[derive(Debug)]
pub struct Held {
    holder: String,
    root: PathBuf,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (holder, root) = (self.holder.trim(), self.root.display());
        let who = if holder.is_empty() {
            "which is just starting"
        } else {
            holder
        };
        write!(
            f,
            "another gantry ({who}) runs in {root}; stop it with `gantry down`"
        )
    }
}

impl std::error::Error for Held {}

/// Held while a process owns the directory.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

impl DataDir {
    /// Finds the directory: what was said, else `$GANTRY_HOME`, else the XDG data directory and `gantry`.
    ///
    /// Errors: no place is known at all.
    pub fn find(said: Option<&Path>) -> anyhow::Result<Self> {
        let home = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let root = said
            .map(Path::to_owned)
            .or_else(|| home("GANTRY_HOME"))
            .or_else(|| home("XDG_DATA_HOME").map(|dir| dir.join("gantry")))
            .or_else(|| home("HOME").map(|dir| dir.join(".local/share/gantry")))
            .ok_or_else(|| anyhow!("no data directory is known: give --data-dir, or set GANTRY_HOME"))?;
        let root = std::path::absolute(&root).with_context(|| format!("cannot use {}", root.display()))?;
        Ok(Self { root })
    }

    /// Makes the directory and what has to be in it, readable by its owner only.
    ///
    /// Errors: what the system said, with the path.
    pub fn create(&self) -> anyhow::Result<()> {
        let was_there = self.root.exists();
        for folder in [self.root.clone(), self.repositories(), self.boxes(), self.logs()] {
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        // A folder somebody made before is theirs to open or close; what is secret in it is closed by itself.
        if was_there {
            return Ok(());
        }
        std::fs::set_permissions(&self.root, std::fs::Permissions::from_mode(0o700))
            .with_context(|| format!("cannot close {} to others", self.root.display()))
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("gantry.db")
    }

    /// Repositories that gantry owns.
    pub fn repositories(&self) -> PathBuf {
        self.root.join("repos")
    }

    /// Folders of boxes.
    pub fn boxes(&self) -> PathBuf {
        self.root.join("boxes")
    }

    /// Logs of checks, a folder for each build.
    pub fn logs(&self) -> PathBuf {
        self.root.join("builds")
    }

    /// Boxes that were asked for by hand, a folder for each.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// The socket the commands talk to. Short even if the directory's path is not: sockets have 108 bytes.
    pub fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// The address for remote callers, while a daemon listens.
    pub fn address(&self) -> PathBuf {
        self.root.join("address")
    }

    /// The daemon's own log when it runs in the background.
    pub fn daemon_log(&self) -> PathBuf {
        self.root.join("daemon.log")
    }

    /// Takes the lock, or says who holds it.
    ///
    /// Errors: another process holds it (named with its number), or the file cannot be opened.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.root.join("lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut locked = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => locked,
            Err((mut file, _)) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                return Err(Held {
                    holder,
                    root: self.root.clone(),
                }
                .into());
            }
        };
        locked.set_len(0)?;
        locked.rewind()?;
        writeln!(locked, "process {}", std::process::id())?;
        Ok(Lock { _file: locked })
    }

    /// Returns the token of remote callers, made at the first call.
    ///
    /// Errors: what the system said, with the path.
    pub fn token(&self) -> anyhow::Result<String> {
        let path = self.root.join("token");
        if let Ok(token) = std::fs::read_to_string(&path)
            && token.trim().len() >= 32
        {
            return Ok(token.trim().to_owned());
        }
        let mut bytes = [0; 32];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut bytes))
            .context("cannot read /dev/urandom")?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(file, "{token}").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_of_a_lock_is_told_who_holds_it() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let data = DataDir::find(Some(folder.path())).expect("a path");
        let held = data.lock().expect("free");
        let refused = data.lock().expect_err("held").to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(held);
        data.lock().expect("free again");
    }

    #[test]
    fn the_token_is_made_once_and_is_for_its_owner_only() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let data = DataDir::find(Some(folder.path())).expect("a path");
        let token = data.token().expect("made");
        assert_eq!(data.token().expect("read"), token);
        let mode = std::fs::metadata(folder.path().join("token"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
