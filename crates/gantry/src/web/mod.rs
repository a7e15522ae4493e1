//! The daemon's HTTP side and the commands' client. Handlers parse, ask the factory, and render.

mod ask;
mod bounded;
pub mod client;
mod dock;
pub mod dto;
mod error;
mod git_http;
mod router;
mod waiting;

pub use ask::{App, Sender};
pub use bounded::Bounded;
pub use router::router;
