//! The daemon's HTTP side and the commands' client. Handlers parse, ask the factory, and render.

mod ask;
mod bounded;
pub mod client;
pub mod dto;
mod error;
mod git_http;
mod router;

pub use ask::{App, Sender};
pub use bounded::Bounded;
pub use router::router;
