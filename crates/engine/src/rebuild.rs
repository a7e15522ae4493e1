//! A lost database, made anew from the refs of a repository. Only ever adds changes that are not there.

use std::collections::BTreeMap;

use gantry_core::event::{Fact, FactKind};
use gantry_core::id::ChangeId;
use gantry_core::repository::Repository;
use gantry_core::time::Timestamp;
use gantry_store::{Saved, Store};

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
        match serde_json::from_str::<Offer>(&forge.read_note(note)?) {
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
    let (mut taken, mut waiting) = (0, Vec::new());
    for (id, offer) in offers {
        if let Some(known) = store.load_change(id)? {
            if known.repository != repository.id {
                unreadable.push(format!(
                    "{id}: another repository has a change of that number; offer it again"
                ));
            }
            continue;
        }
        match offer.restore(id, repository.id) {
            Ok(mut change) => {
                let after = std::mem::take(&mut change.after);
                let mut stored = store.insert_change(change)?;
                // A row begins with its offer; when an ended change ended is in the journal.
                if let Some(at) = ends.get(&id).filter(|_| stored.state.is_terminal()) {
                    stored.since = *at;
                    let saved = store.save_changes(std::slice::from_ref(&stored), &[])?;
                    debug_assert_eq!(saved, Saved::Saved, "it was stored in this call");
                    stored.version += 1;
                }
                // A prerequisite may have a higher number: all rows are there before one names another.
                if !after.is_empty() {
                    waiting.push((stored, after));
                }
                taken += 1;
            }
            Err(field) => unreadable.push(format!("{id}: its {field} cannot be read")),
        }
    }
    for (mut change, after) in waiting {
        for id in after {
            // Prerequisites that were lost for good cannot be named by a row.
            if store.load_change(id)?.is_some() {
                change.after.push(id);
            }
        }
        let saved = store.save_changes(&[change], &[])?;
        debug_assert_eq!(saved, Saved::Saved, "it was stored in this call");
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
