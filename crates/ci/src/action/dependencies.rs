//! The caches that `setup-*` actions keep of what package managers download. Owns the hash of lock files and the way
//! from restore to save; a cache that does not work is a warning, as with the official ones, and never a hit.

use std::path::Path;

use super::call::{ActionCall, ActionError, ActionOutcome, PostWhen};
use crate::cache::{CacheKey, Restored, Saved, restore_cache, save_cache};
use crate::digest::Running;
use crate::files::{Patterns, search};

const PATHS: &str = "CACHE_PATHS";
const KEY: &str = "CACHE_KEY";
const MATCHED: &str = "CACHE_RESULT";

impl ActionCall<'_> {
    /// Returns the digest of the files that patterns mean; `None` if they mean none.
    pub(super) fn hash_files(&self, patterns: &str) -> Result<Option<String>, ActionError> {
        let patterns = Patterns::parse(patterns, self.workspace, self.home().as_deref(), true)?;
        let mut each: Vec<(std::path::PathBuf, String)> = Vec::new();
        search(self.sandbox, &patterns, true, &mut |file, content| {
            let mut running = Running::default();
            let mut chunk = vec![0; 64 * 1024];
            loop {
                match content.read(&mut chunk)? {
                    0 => break,
                    count => running.take(&chunk[..count]),
                }
            }
            each.push((file.path.to_owned(), running.finish()));
            Ok(())
        })?;
        each.sort();
        let mut whole = Running::default();
        each.iter().for_each(|(_, digest)| whole.take(digest.as_bytes()));
        Ok((!each.is_empty()).then(|| whole.finish()))
    }

    /// Restores a cache of dependencies, says so in `cache-hit`, and has the post step save it.
    pub(super) fn restore_dependencies(
        &mut self,
        outcome: &mut ActionOutcome,
        paths: &str,
        key: &str,
        restore_keys: &[String],
    ) -> Result<bool, ActionError> {
        self.find_dependencies(outcome, paths, (key, restore_keys), false)
    }

    /// The same, or only a look whether there is one.
    pub(super) fn find_dependencies(
        &mut self,
        outcome: &mut ActionOutcome,
        paths: &str,
        keys: (&str, &[String]),
        lookup: bool,
    ) -> Result<bool, ActionError> {
        let key = CacheKey::parse(keys.0)?;
        let others = keys
            .1
            .iter()
            .map(|text| CacheKey::parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        let stores = self.stores;
        let restored = self.with_cache(paths, |spec| {
            restore_cache(stores.caches, stores.access, (&key, &others), spec, lookup)
        });
        let matched = match restored {
            Ok(Some(Restored { hit, packed })) => {
                self.say(&format!(
                    "Cache restored from key: {} ({} files)",
                    hit.entry.key, packed.entries
                ));
                Some(hit)
            }
            Ok(None) => {
                self.say(&format!("Cache not found for keys: {key}"));
                None
            }
            Err(error) => {
                self.warn(&format!("the cache was not restored: {}", chain(&error)));
                None
            }
        };
        let exact = matched.as_ref().is_some_and(|hit| hit.exact);
        outcome.save_state(PATHS, paths);
        outcome.save_state(KEY, key.as_str());
        outcome.save_state(
            MATCHED,
            matched.map_or(String::new(), |hit| hit.entry.key.to_string()),
        );
        outcome.post = Some((PostWhen::Success, save_dependencies));
        Ok(exact)
    }
}

/// Returns an error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Returns a value of the state.
pub(super) fn state<'s>(state: &'s [(String, String)], name: &str) -> &'s str {
    state
        .iter()
        .rev()
        .find(|(other, _)| other == name)
        .map_or("", |(_, value)| value.as_str())
}

/// Saves what was restored, unless it was exactly this.
pub(super) fn save_dependencies(
    call: &mut ActionCall<'_>,
    saved: &[(String, String)],
) -> Result<(), ActionError> {
    let (paths, key, matched) = (state(saved, PATHS), state(saved, KEY), state(saved, MATCHED));
    if key.is_empty() {
        return Ok(());
    }
    if key == matched {
        call.say(&format!(
            "Cache hit occurred on the primary key {key}, not saving cache."
        ));
        return Ok(());
    }
    save_now(call, paths, &CacheKey::parse(key)?);
    Ok(())
}

/// Saves a cache; what goes wrong is a warning, as with the official actions.
pub(super) fn save_now(call: &mut ActionCall<'_>, paths: &str, key: &CacheKey) {
    let stores = call.stores;
    match call.with_cache(paths, |spec| save_cache(stores.caches, stores.access, key, spec)) {
        Ok(Saved::Kept(entry, packed)) => {
            let text = format!("Cache saved with key: {key} ({} files, {} bytes)", packed.entries, entry.size_bytes);
            call.say(&text);
            if packed.left_out > 0 {
                call.warn(&format!("{} devices, sockets or pipes are not in the cache", packed.left_out));
            }
        }
        Ok(Saved::Already) => call.say(&format!("the cache {key} is there already, not saving cache.")),
        Ok(Saved::Nothing) => call.warn(
            "Path Validation Error: Path(s) specified in the action for caching do(es) not exist, hence no cache is being saved.",
        ),
        Err(error) => call.warn(&format!("Failed to save: {}", chain(&error))),
    }
}

/// Joins paths to a `path` input.
pub(super) fn lines(paths: &[&Path]) -> String {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join("\n")
}
