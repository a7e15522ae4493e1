//! `actions/cache`, `actions/cache/restore` and `actions/cache/save`. Owns their inputs and outputs; who may read what
//! is decided by the run's access alone.

use gantry_core::limits::CACHE_KEYS_MAX;

use super::call::{ActionCall, ActionError, ActionOutcome, PostWhen};
use super::dependencies::{chain, save_now, state};
use super::inputs::{InputSpec, default, input};
use crate::cache::{CacheKey, restore_cache};

pub(super) const INPUTS: &[InputSpec] = &[
    input("path"),
    input("key"),
    input("restore-keys"),
    input("upload-chunk-size"),
    default("enableCrossOsArchive", "false"),
    default("fail-on-cache-miss", "false"),
    default("lookup-only", "false"),
    default("save-always", "false"),
];

pub(super) const RESTORE_INPUTS: &[InputSpec] = &[
    input("path"),
    input("key"),
    input("restore-keys"),
    default("enableCrossOsArchive", "false"),
    default("fail-on-cache-miss", "false"),
    default("lookup-only", "false"),
];

pub(super) const SAVE_INPUTS: &[InputSpec] = &[
    input("path"),
    input("key"),
    input("upload-chunk-size"),
    default("enableCrossOsArchive", "false"),
];

pub(super) fn run(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    let mut outcome = restore(call)?;
    if call.inputs.is("save-always")? {
        call.warn("save-always does not work as intended and has no effect; use actions/cache/save with `if: always()`");
    }
    if call.inputs.is("lookup-only")? {
        return Ok(outcome);
    }
    outcome.post = Some((PostWhen::Success, save_after));
    Ok(outcome)
}

pub(super) fn restore(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    let paths = call.inputs.required("path")?.to_owned();
    let key = CacheKey::parse(call.inputs.required("key")?)?;
    let others = call
        .inputs
        .lines("restore-keys")
        .map(CacheKey::parse)
        .collect::<Result<Vec<_>, _>>()?;
    if others.len() + 1 > CACHE_KEYS_MAX {
        return Err(ActionError::Failed(format!(
            "Key Validation Error: Keys are limited to a maximum of {CACHE_KEYS_MAX}."
        )));
    }
    let lookup = call.inputs.is("lookup-only")?;
    let stores = call.stores;
    let restored = call.with_cache(&paths, |spec| {
        restore_cache(stores.caches, stores.access, (&key, &others), spec, lookup)
    });
    let mut outcome = ActionOutcome::default();
    outcome.output("cache-primary-key", key.as_str());
    let hit = match restored {
        Ok(restored) => restored.map(|restored| restored.hit),
        Err(error) => {
            call.warn(&format!("the cache was not restored: {}", chain(&error)));
            None
        }
    };
    outcome.save_state("path", &*paths);
    outcome.save_state("key", key.as_str());
    let Some(hit) = hit else {
        if call.inputs.is("fail-on-cache-miss")? {
            return Err(ActionError::Failed(format!(
                "Failed to restore cache entry. Exiting as fail-on-cache-miss is set. Input key: {key}"
            )));
        }
        let keys: Vec<&str> = std::iter::once(&key)
            .chain(&others)
            .map(CacheKey::as_str)
            .collect();
        call.say(&format!("Cache not found for input keys: {}", keys.join(", ")));
        // Empty, not false: GitHub says false only if another key matched.
        outcome.output("cache-hit", "");
        outcome.output("cache-matched-key", "");
        return Ok(outcome);
    };
    outcome.output("cache-hit", hit.exact.to_string());
    outcome.output("cache-matched-key", hit.entry.key.as_str());
    outcome.save_state("matched", hit.entry.key.as_str());
    let words = if lookup {
        "found and can be restored"
    } else {
        "restored"
    };
    call.say(&format!("Cache {words} from key: {}", hit.entry.key));
    Ok(outcome)
}

fn save_after(call: &mut ActionCall<'_>, saved: &[(String, String)]) -> Result<(), ActionError> {
    let (paths, key, matched) = (state(saved, "path"), state(saved, "key"), state(saved, "matched"));
    if key == matched {
        call.say(&format!(
            "Cache hit occurred on the primary key {key}, not saving cache."
        ));
        return Ok(());
    }
    save_now(call, paths, &CacheKey::parse(key)?);
    Ok(())
}

pub(super) fn save(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    let paths = call.inputs.required("path")?.to_owned();
    let key = CacheKey::parse(call.inputs.required("key")?)?;
    save_now(call, &paths, &key);
    Ok(ActionOutcome::default())
}
