//! How an agent program is started. Owns the words of a request and of a plan, and templates; each adapter fills a plan
//! in its own module. Starts nothing and writes no file.

mod plan;
mod request;
mod template;

pub use plan::{HomeFile, LaunchError, LaunchPlan, Stdin, TranscriptFormat, TranscriptGlob};
pub(crate) use plan::{refuse_odd_bridge, refuse_options};
pub use request::{Brief, LaunchRequest, McpBridge};
pub(crate) use template::{Values, fill};
