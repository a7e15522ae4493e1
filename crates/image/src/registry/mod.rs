//! Images from registries: the only place of this crate that opens a socket.

mod client;
mod pull;
mod reference;

#[cfg(test)]
mod tests;

pub use client::Credentials;
pub use pull::{PullError, PullRequest};
pub use reference::ReferenceError;
