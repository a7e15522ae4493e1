//! What a box leaves to be known about it, as JSON beside its log. Owns the form: a field is only ever added. Secrets
//! are not in it: variables are named without their values, and every text went through the masker.

use std::io::Read;
use std::path::Path;

use gantry_adapters::engine::{MountKind, Network, SandboxReceipt, SandboxSpec, Workspace};
use gantry_core::mask::{Secrets, mask_text};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The file of a box's folder that holds its receipt.
pub const RECEIPT: &str = "receipt.json";

/// Returns the name of the receipt of one of several boxes.
#[must_use]
pub fn receipt_name(name: &str) -> String {
    format!("{name}.{RECEIPT}")
}

const CHUNK_BYTES: usize = 64 * 1024;

/// A receipt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// The form's version: 1.
    pub version: u32,
    /// The box: `B31-test`, `box-4`.
    pub name: String,
    /// The engine.
    pub engine: String,
    /// The image's digest or name.
    pub image: String,
    /// The commit in the workspace, if there was one.
    pub commit: Option<String>,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// `kind host at`, each.
    pub mounts: Vec<MountForm>,
    /// Names of the variables that were set, sorted.
    pub environment: Vec<String>,
    /// `none`, `full`, or the places that were allowed.
    pub network: String,
    /// Limits as they were held.
    pub limits: Vec<String>,
    /// When it was opened and closed, milliseconds since 1970.
    pub started_at_ms: i64,
    /// When it was closed.
    pub ended_at_ms: i64,
    /// How the command ended: `exited 0`, `signalled 9`, `timed_out`, `out_of_memory`, `cancelled`, `trouble: why`.
    pub ending: String,
    /// What it used.
    pub usage: UsageForm,
    /// What it wrote.
    pub files: FilesForm,
    /// Hosts it asked for; `null` if its network was full and nobody watched.
    pub hosts: Option<Vec<String>>,
    /// Its log.
    pub log: Option<LogForm>,
    /// Digests of what it handed out: artifacts.
    pub artifacts: Vec<LogForm>,
    /// Remarks: credentials that were refreshed, say.
    pub notes: Vec<String>,
    /// What could not be removed.
    pub leftover: Option<String>,
}

/// Something that was handed in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountForm {
    /// `read-only`, `shared`, `copy-on-write`, `file`.
    pub kind: String,
    /// On the host; empty for a file that was written.
    pub host: String,
    /// In the box.
    pub at: String,
}

/// What was used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsageForm {
    /// Wall time.
    pub wall_ms: u64,
    /// Processor time.
    pub cpu_ms: Option<u64>,
    /// The most memory at once.
    pub memory_peak_bytes: Option<u64>,
    /// The most processes at once.
    pub processes_peak: Option<u64>,
    /// Processes the kernel ended for want of memory.
    pub oom_kills: u64,
    /// Bytes of output, kept or not.
    pub output_bytes: u64,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesForm {
    /// Made or changed.
    pub changed_count: u64,
    /// Taken away.
    pub removed_count: u64,
    /// Bytes of what was written.
    pub bytes: u64,
    /// The first of them.
    pub paths: Vec<String>,
}

/// A file that was handed out, with its digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogForm {
    /// Its path.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// `sha256:` and the digest.
    pub digest: String,
}

impl LogForm {
    /// Reads a file and names its digest.
    ///
    /// Errors: what the system said.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let mut file = std::fs::File::open(path)?;
        let mut hash = Sha256::new();
        let mut bytes = 0;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = file.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            hash.update(&chunk[..count]);
            bytes += count as u64;
        }
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            path: path.display().to_string(),
            bytes,
            digest: format!("sha256:{digest}"),
        })
    }
}

impl Receipt {
    /// Fills in what the specification says.
    #[must_use]
    pub fn begin(spec: &SandboxSpec, image: &str, started_at_ms: i64) -> Self {
        let mut environment: Vec<String> = spec.env.iter().map(|(name, _)| name.clone()).collect();
        environment.sort();
        environment.dedup();
        Self {
            version: 1,
            name: spec.name.clone(),
            image: image.to_owned(),
            commit: match &spec.workspace {
                Workspace::Empty => None,
                Workspace::Commit { commit, .. } => Some(commit.to_string()),
            },
            mounts: spec
                .mounts
                .iter()
                .map(|mount| MountForm {
                    kind: match mount.kind {
                        MountKind::ReadOnly => "read-only",
                        MountKind::Shared => "shared",
                        MountKind::CopyOnWrite => "copy-on-write",
                    }
                    .to_owned(),
                    host: mount.host.display().to_string(),
                    at: mount.at.display().to_string(),
                })
                .collect(),
            environment,
            network: match &spec.network {
                Network::None => "none".to_owned(),
                Network::Full => "full".to_owned(),
                Network::Allow(places) => {
                    let places: Vec<String> =
                        places.iter().map(|p| format!("{}:{}", p.host, p.port)).collect();
                    format!("allow {}", places.join(" "))
                }
            },
            started_at_ms,
            ..Self::default()
        }
    }

    /// Fills in what the engine tells.
    pub fn finish(&mut self, told: SandboxReceipt, ended_at_ms: i64) {
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.ended_at_ms = ended_at_ms;
        self.engine = told.engine;
        if !told.image.is_empty() {
            self.image = told.image;
        }
        self.limits = told.limits;
        self.usage = UsageForm {
            wall_ms: millis(told.usage.wall),
            cpu_ms: told.usage.cpu.map(millis),
            memory_peak_bytes: told.usage.memory_peak_bytes,
            processes_peak: told.usage.processes_peak,
            oom_kills: told.usage.oom_kills,
            output_bytes: told.usage.output_bytes,
        };
        self.files = FilesForm {
            changed_count: told.files.changed_count,
            removed_count: told.files.removed_count,
            bytes: told.files.bytes,
            paths: told
                .files
                .paths
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        };
        self.hosts = told.hosts;
        self.leftover = told.leftover;
    }

    /// Masks every text that may hold something a box or a person wrote.
    #[must_use]
    pub fn masked(mut self, secrets: &Secrets) -> Self {
        let mask = |text: &mut String| *text = mask_text(secrets, text);
        self.command.iter_mut().for_each(mask);
        self.files.paths.iter_mut().for_each(mask);
        self.notes.iter_mut().for_each(mask);
        if let Some(hosts) = &mut self.hosts {
            hosts.iter_mut().for_each(mask);
        }
        mask(&mut self.ending);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_holds_no_secret_wherever_it_stood() {
        let mut secrets = Secrets::new();
        secrets.insert("TOKEN", b"hunter2-hunter2").expect("room");
        let text = || "x hunter2-hunter2 y".to_owned();
        let receipt = Receipt {
            command: vec![text()],
            ending: text(),
            notes: vec![text()],
            hosts: Some(vec![text()]),
            files: FilesForm {
                paths: vec![text()],
                ..FilesForm::default()
            },
            ..Receipt::default()
        };
        let json = serde_json::to_string(&receipt.masked(&secrets)).expect("JSON");
        assert!(!json.contains("hunter2"), "{json}");
        assert_eq!(json.matches("x *** y").count(), 5);
    }

    #[test]
    fn an_older_receipt_is_read_without_what_it_did_not_have() {
        let receipt: Receipt = serde_json::from_str(r#"{"version":1,"name":"box-1"}"#).expect("a receipt");
        assert_eq!(receipt.name, "box-1");
        assert_eq!(receipt.usage, UsageForm::default());
    }
}
