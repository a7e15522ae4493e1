//! Box engines. Owns nothing itself: it declares the interface, the real engine and the scripted one.

mod control;
mod evidence;
mod fake;
/// Linux namespaces, without a daemon.
pub mod native;
mod output;
mod sandbox;

pub use control::SandboxControl;
pub use fake::FakeEngine;
pub use native::NativeEngine;
pub use sandbox::{
    EngineUnavailable, Network, ReapError, SandboxEnding, SandboxEngine, SandboxReport, SandboxSpec,
};
