//! The Agent Client Protocol, version 1, from the client's side. Owns the frames gantry sends and reads, and the order
//! they come in; opens no stream.
//!
//! The types of the crate `agent-client-protocol-schema` are not used: it switches `serde_json/preserve_order` on for the
//! whole program, brings a handful of crates for macros, and reads a frame whole or not at all, where gantry wants what
//! it knows of a frame and a count of the rest. Source: <https://agentclientprotocol.com/protocol/schema>, and that crate
//! at 1.20.

mod client;
mod frame;
mod launch;
mod update;

pub(crate) use client::AcpClient;
pub use client::PermissionPolicy;
pub(crate) use launch::plan_launch;
