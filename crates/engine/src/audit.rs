//! The proof, from Git alone, that whatever gantry landed was tested as it landed. Reads; never writes.

use std::collections::HashMap;

use gantry_adapters::git::FileAt;
use gantry_core::id::{BuildId, ChangeId, CommitId};
use gantry_core::queue::change::{Change, ChangeState, LandedBy};
use gantry_core::repository::Repository;

use crate::forge::Forge;
use crate::gate::Gate;
use crate::journal::{Entry, Verdict};
use crate::line::LineError;

/// A landing that cannot be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The commit.
    pub commit: Option<CommitId>,
    /// The build that is said to have tested it.
    pub build: Option<BuildId>,
    /// The change that is said to have landed.
    pub change: Option<ChangeId>,
    /// What does not hold.
    pub text: String,
}

/// What the audit saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Where the target is.
    pub tip: Option<CommitId>,
    /// Landings proven: the commit, and the build whose checks passed on it.
    pub landings: Vec<(CommitId, BuildId)>,
    /// Commits that somebody else put on the target.
    pub pushed: Vec<CommitId>,
    /// Landed changes of the database that were proven.
    pub changes: usize,
    /// What does not hold; empty if all is well.
    pub faults: Vec<Fault>,
}

/// Checks the target's history since gantry began, and every landing the database tells of.
///
/// Errors: [`LineError`] if the repository cannot be read; what does not hold is in [`Audit::faults`].
pub fn audit<F: Forge>(
    forge: &mut F,
    repository: &Repository,
    landed: &[Change],
) -> Result<Audit, LineError> {
    let mut audit = Audit::default();
    let mut verdicts: HashMap<String, Verdict> = HashMap::new();
    let mut builds: HashMap<u64, Verdict> = HashMap::new();
    let mut start: Option<CommitId> = None;
    let mut unreadable = Vec::new();
    forge.read_journal(&mut |text| {
        match serde_json::from_str(text) {
            Ok(Entry::Verdict(verdict)) if verdict.ending == "passed" => {
                // A control run of a landed commit says nothing of how it landed.
                let known = verdicts
                    .entry(verdict.candidate.clone())
                    .or_insert_with(|| verdict.clone());
                if known.members.is_empty() {
                    *known = verdict.clone();
                }
                builds.insert(verdict.build, verdict);
            }
            // Newest first: the last one seen is where the factory began.
            Ok(Entry::Init { tip, .. }) => start = tip.parse().ok(),
            Ok(_) => {}
            Err(error) => unreadable.push(error.to_string()),
        }
        true
    })?;
    for error in unreadable {
        audit
            .faults
            .push(fault(format!("a journal entry cannot be read: {error}")));
    }
    if start.is_none() {
        audit
            .faults
            .push(fault("the journal does not say where the factory began".into()));
    }
    let Some(tip) = forge.tip()? else {
        return Err(LineError::TargetGone(repository.target.to_string()));
    };
    audit.tip = Some(tip);
    walk(forge, &mut audit, &verdicts, tip, start)?;
    for change in landed {
        check_change(forge, &mut audit, &builds, tip, change)?;
    }
    Ok(audit)
}

fn fault(text: String) -> Fault {
    Fault {
        commit: None,
        build: None,
        change: None,
        text,
    }
}

/// Goes down the target's first parents; a passing verdict on a commit covers everything down to its base.
fn walk<F: Forge>(
    forge: &mut F,
    audit: &mut Audit,
    verdicts: &HashMap<String, Verdict>,
    tip: CommitId,
    start: Option<CommitId>,
) -> Result<(), LineError> {
    let mut next = Some(tip);
    while let Some(commit) = next {
        if Some(commit) == start {
            return Ok(());
        }
        let Some(verdict) = verdicts.get(&commit.to_string()) else {
            audit.pushed.push(commit);
            next = forge.first_parent(commit)?;
            continue;
        };
        let build = BuildId::new(verdict.build);
        if let Some(text) = flaw(forge, verdict, commit)? {
            audit.faults.push(Fault {
                commit: Some(commit),
                build: Some(build),
                change: None,
                text,
            });
        } else if verdict.members.is_empty() {
            audit.pushed.push(commit);
        } else {
            audit.landings.push((commit, build));
        }
        let base: Option<CommitId> = verdict.base.parse().ok();
        next = match base {
            Some(base) if base != commit && forge.is_ancestor(base, commit)? => Some(base),
            _ => forge.first_parent(commit)?,
        };
    }
    Ok(())
}

/// Says what is wrong with a verdict, if anything is.
fn flaw<F: Forge>(forge: &mut F, verdict: &Verdict, commit: CommitId) -> Result<Option<String>, LineError> {
    let Some((candidate, tree)) = verdict.tested() else {
        return Ok(Some("the verdict's commit or tree cannot be read".into()));
    };
    let is = forge.tree_of(commit)?;
    if candidate != commit || is != tree {
        return Ok(Some(format!("the tested tree is {tree}, the landed one {is}")));
    }
    let Ok(base) = verdict.base.parse::<CommitId>() else {
        return Ok(Some("the verdict's base cannot be read".into()));
    };
    if !forge.is_ancestor(base, commit)? {
        return Ok(Some(format!(
            "the tested commit does not descend from its base {}",
            base.short()
        )));
    }
    if gate_of(forge, base)?.as_ref() == Some(&verdict.gate) {
        return Ok(None);
    }
    Ok(Some(format!(
        "the checks that ran are not those of the base {}",
        base.short()
    )))
}

/// Returns what a verdict on this base has to name its checks by; `None` if it has no gate.
fn gate_of<F: Forge>(forge: &mut F, base: CommitId) -> Result<Option<String>, LineError> {
    let FileAt::File { id, bytes } = forge.gate_file(base)? else {
        return Ok(None);
    };
    // One that an earlier program could read named no workflows.
    let Ok(gate) = Gate::parse(&bytes) else {
        return Ok(Some(id));
    };
    Ok(Some(forge.gate_workflows(base, &gate)?.digest_of_gate(&id)))
}

fn check_change<F: Forge>(
    forge: &mut F,
    audit: &mut Audit,
    builds: &HashMap<u64, Verdict>,
    tip: CommitId,
    change: &Change,
) -> Result<(), LineError> {
    let ChangeState::Landed(LandedBy::Build { build, commit }) = &change.state else {
        return Ok(());
    };
    let text = match builds.get(&build.number()) {
        None => Some(format!("{build} has no passing verdict in the journal")),
        Some(verdict) => {
            let member = verdict.members.iter().find(|m| m.change == change.id.number());
            match member {
                None => Some(format!("{build} did not test it")),
                Some(member) if member.commit != commit.to_string() => {
                    Some(format!("{build} tested it as {}, not as {commit}", member.commit))
                }
                Some(member) if member.head != change.head.to_string() => Some(format!(
                    "{build} tested its head {}, not {}",
                    member.head, change.head
                )),
                Some(_) if !forge.is_ancestor(*commit, tip)? => Some(format!(
                    "{} is not on the target any more: somebody took it off",
                    commit.short()
                )),
                Some(_) => None,
            }
        }
    };
    match text {
        None => audit.changes += 1,
        Some(text) => audit.faults.push(Fault {
            commit: Some(*commit),
            build: Some(*build),
            change: Some(change.id),
            text,
        }),
    }
    Ok(())
}
