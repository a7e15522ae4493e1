//! Caches with trust: what an unmerged change wrote is never read by its target's runs. Declares its parts only.

mod archive;
mod evict;
mod key;
mod scope;
mod store;
mod transfer;

pub use archive::{ArchiveError, Bases, Packed};
pub use evict::{Kept, plan_eviction};
pub use key::{CacheKey, CacheVersion, KeyError};
pub use scope::{CacheAccess, Scope};
pub use store::{CacheEntry, CacheError, CacheStore, Hit, Published};
pub(crate) use store::{disk, list, make_unique, sync, write_out};
pub use transfer::{CacheSpec, Restored, Saved, TransferError, restore_cache, save_cache};
