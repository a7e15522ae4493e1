//! A lost database, made anew from the refs of a repository. Only ever adds changes that are not there.

use std::collections::{BTreeMap, BTreeSet};

use gantry_core::event::{Fact, FactKind};
use gantry_core::id::ChangeId;
use gantry_core::repository::Repository;
use gantry_core::time::Timestamp;
use gantry_store::{NewChange, Saved, Store};

use crate::forge::Forge;
use crate::journal::{CHANGES, Entry, Offer};
use crate::line::LineError;

/// Takes over every change the refs tell of and the database does not know. Returns how many.
///
/// Errors: [`LineError`]; what was taken over before stays. A note that cannot be read is told in a fact.
pub fn rebuild<F: Forge>(
    store: &mut Store,
    repository: &Repository,
    forge: &mut F,
    now: Timestamp,
) -> Result<usize, LineError> {
    let mut offers: BTreeMap<ChangeId, Offer> = BTreeMap::new();
    let mut ends: BTreeMap<ChangeId, Timestamp> = BTreeMap::new();
    let mut unreadable = Vec::new();
    let mut builds = Vec::new();
    forge.read_journal(&mut |text| {
        match serde_json::from_str(text) {
            // Newest first: the first word on a change is the last one.
            Ok(Entry::Ended { change, offer, at_ms }) => {
                let id = ChangeId::new(change);
                offers.entry(id).or_insert(offer);
                ends.entry(id).or_insert(Timestamp::from_millis(at_ms));
            }
            Ok(Entry::Verdict(verdict)) => match verdict.restore(repository.id) {
                Some(build) => builds.push(build),
                None => unreadable.push(format!("the verdict of build {}", verdict.build)),
            },
            Ok(Entry::Start | Entry::Init { .. }) => {}
            Err(error) => unreadable.push(format!("a journal entry: {error}")),
        }
        true
    })?;
    for (name, note) in forge.own_refs(CHANGES)? {
        let Some(id) = name
            .strip_prefix(CHANGES)
            .and_then(|text| text.parse::<ChangeId>().ok())
        else {
            continue;
        };
        let text = match forge.read_note(note) {
            Ok(text) => text,
            Err(error) => {
                unreadable.push(format!("{name}: {error}"));
                continue;
            }
        };
        match serde_json::from_str::<Offer>(&text) {
            // An ending in the journal outranks the ref of a living change: taking that away was cut short.
            Ok(offer) => {
                offers.entry(id).or_insert(offer);
            }
            Err(error) => unreadable.push(format!("{name}: {error}")),
        }
    }
    for build in &builds {
        store.restore_build(build)?;
    }
    let mut lost = Vec::new();
    for (id, offer) in offers {
        match store.load_change(id)? {
            Some(known) if known.repository != repository.id => unreadable.push(format!(
                "{id}: another repository has a change of that number; offer it again"
            )),
            Some(_) => {}
            None => match offer.restore(id, repository.id) {
                Ok(change) => lost.push((id, change)),
                Err(field) => unreadable.push(format!("{id}: its {field} cannot be read")),
            },
        }
    }
    let taken = lost.len();
    for (id, mut change) in prerequisites_first(lost) {
        // Prerequisites that were lost for good cannot be named by a row.
        change
            .after
            .retain(|after| matches!(store.load_change(*after), Ok(Some(_))));
        let mut stored = store.insert_change(change)?;
        // A row begins with its offer; when an ended change ended is in the journal.
        if let Some(at) = ends.get(&id).filter(|_| stored.state.is_terminal()) {
            stored.since = *at;
            let saved = store.save_changes(&[stored], &[])?;
            debug_assert_eq!(saved, Saved::Saved, "it was stored in this call");
        }
    }
    if taken > 0 || !unreadable.is_empty() {
        let fact = Fact {
            at: now,
            kind: FactKind::Rebuilt,
            repository: repository.id,
            change: None,
            build: None,
            text: format!(
                "{taken} changes were taken over from the refs of {}",
                repository.path
            ),
            evidence: unreadable,
        };
        store.save_repository(repository, &[fact])?;
    }
    Ok(taken)
}

/// Puts every change behind those it waits for, which may have higher numbers: each row is whole when it is written,
/// so that a death in between leaves nothing half taken over.
fn prerequisites_first(mut left: Vec<(ChangeId, NewChange)>) -> Vec<(ChangeId, NewChange)> {
    let mut ordered = Vec::with_capacity(left.len());
    let mut waiting: BTreeSet<ChangeId> = left.iter().map(|(id, _)| *id).collect();
    while !left.is_empty() {
        let before = left.len();
        let mut blocked = Vec::new();
        for (id, change) in left {
            if change.after.iter().any(|after| waiting.contains(after)) {
                blocked.push((id, change));
            } else {
                waiting.remove(&id);
                ordered.push((id, change));
            }
        }
        left = blocked;
        // A circle was refused when it was offered; should refs hold one all the same, it is broken here.
        if left.len() == before {
            waiting.clear();
        }
    }
    ordered
}
