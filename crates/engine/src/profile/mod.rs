//! Profiles: what a box is given. Owns the text form, the words of its errors, and what a profile comes to on this
//! host; must never hand in a host's path that the factory's owner did not name.
//!
//! A profile may stand in the factory's `gantry.toml` or in a repository's `.gantry.toml`. The second is written by
//! whoever can land a change, so it names no paths of the host; of two with one name the factory's counts.

mod auth;
mod factory_file;
mod handed;
mod overrides;
mod parse;
mod preflight;

pub use auth::{AuthCopy, AuthOutcome, return_auth, take_auth};
pub use factory_file::{FACTORY_FILE, FactoryFile, SecretSource};
pub use handed::{Handed, hand_in};
pub use overrides::Overrides;
pub use parse::{EngineName, HandedKind, HandedMount, PROFILE_KEYS, Profile, ProfileSection, read_profiles};
pub use preflight::{Problem, preflight};
