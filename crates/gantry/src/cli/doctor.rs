//! `doctor`: what works on this host, what does not, and what mends it.

use clap::Args;
use gantry_adapters::git::GitProgram;
use gantry_engine::profile::{EngineName, preflight};
use gantry_engine::sandbox::Engines;
use serde_json::{Value, json};

use super::{Common, show};
use crate::exit_code::{Coded, ExitCode};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gantry doctor\n  gantry doctor --json\n\n\
    Makes an empty box with each engine, looks at what every profile hands in, and says what mends what is missing. \
    The exit code is 1 if the engine that checks use by default does not work, or a profile is not whole.")]
pub struct Doctor {}

/// One thing that was looked at.
struct Finding {
    subject: String,
    ok: bool,
    /// Without it nothing runs; otherwise it only would be nice to have.
    needed: bool,
    lines: Vec<String>,
    mend: Option<String>,
}

impl Doctor {
    pub fn run(self, common: &Common) -> Result<ExitCode, Coded> {
        let data = common.data()?;
        data.create()?;
        let mut findings = vec![git()];
        match Engines::load(data.root(), &data.boxes()) {
            Ok(engines) => {
                for (word, name) in EngineName::ALL {
                    findings.push(engine(&engines, word, name));
                }
                findings.extend(profiles(&engines));
            }
            Err(why) => findings.push(Finding {
                subject: "gantry.toml".to_owned(),
                ok: false,
                needed: true,
                lines: vec![why],
                mend: None,
            }),
        }
        findings.push(disk(data.root()));
        let bad = findings.iter().any(|finding| finding.needed && !finding.ok);
        print(common, &findings)?;
        Ok(if bad { ExitCode::No } else { ExitCode::Done })
    }
}

fn git() -> Finding {
    let version = GitProgram::at("/").version();
    Finding {
        subject: "git".to_owned(),
        ok: version.is_ok(),
        needed: true,
        mend: version
            .is_err()
            .then(|| "install Git 2.38 or newer: apt-get install git".to_owned()),
        lines: vec![version.unwrap_or_else(|error| error.to_string())],
    }
}

fn engine(engines: &Engines, word: &str, name: EngineName) -> Finding {
    let needed = name == EngineName::Native;
    let subject = format!("engine {word}");
    let refused = |lines, mend| Finding {
        subject: subject.clone(),
        ok: false,
        needed,
        lines,
        mend,
    };
    match engines.make(name).map(|engine| engine.probe()) {
        Ok(Ok(lines)) => Finding {
            subject,
            ok: true,
            needed,
            lines,
            mend: None,
        },
        Ok(Err(unavailable)) => refused(vec![unavailable.why], Some(unavailable.mend)),
        Err(why) => refused(vec![why], None),
    }
}

fn profiles(engines: &Engines) -> Vec<Finding> {
    let findings = engines.file.profiles.values().map(|profile| {
        let problems = preflight(profile, &engines.file.secrets, false);
        Finding {
            subject: format!("profile {}", profile.name),
            ok: problems.is_empty(),
            needed: true,
            lines: problems
                .iter()
                .map(|problem| format!("{}: {}", problem.subject, problem.text))
                .collect(),
            mend: None,
        }
    });
    findings.collect()
}

/// Less than this is too little to build anything in.
const DISK_BYTES_MIN: u64 = 2 << 30;

fn disk(root: &std::path::Path) -> Finding {
    let subject = "disk".to_owned();
    match nix::sys::statvfs::statvfs(root) {
        Ok(found) => {
            let free = found.blocks_available() * found.fragment_size();
            let ok = free >= DISK_BYTES_MIN;
            Finding {
                subject,
                ok,
                needed: false,
                lines: vec![format!("{} MiB free at {}", free >> 20, root.display())],
                mend: (!ok).then(|| "make room, or move the data directory: gantry --data-dir".to_owned()),
            }
        }
        Err(errno) => Finding {
            subject,
            ok: false,
            needed: false,
            lines: vec![format!("{}: {errno}", root.display())],
            mend: None,
        },
    }
}

fn print(common: &Common, findings: &[Finding]) -> Result<(), Coded> {
    if common.json() {
        let rows: Vec<Value> = findings
            .iter()
            .map(|finding| {
                json!({"subject": finding.subject, "ok": finding.ok, "needed": finding.needed,
                    "said": finding.lines, "mend": finding.mend})
            })
            .collect();
        return show::json(&json!({"findings": rows}));
    }
    for finding in findings {
        let mark = match (finding.ok, finding.needed) {
            (true, _) => "ok ",
            (false, true) => "NO ",
            (false, false) => "-- ",
        };
        show::line(&format!("{mark}{}", finding.subject))?;
        for line in &finding.lines {
            show::line(&format!("     {line}"))?;
        }
        if let Some(mend) = &finding.mend {
            show::line(&format!("     mend: {mend}"))?;
        }
    }
    Ok(())
}
