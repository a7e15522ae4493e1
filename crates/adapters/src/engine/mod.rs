//! Box engines. Owns nothing itself: it declares the interface, the real engine and the scripted one.

mod check;
/// Containers of a daemon: docker and podman.
pub mod container;
mod control;
mod evidence;
mod fake;
/// Linux namespaces, without a daemon.
pub mod native;
mod output;
mod receipt;
mod sandbox;

pub use check::{CheckHooks, CheckReport, CheckSpec, NoHooks, SandboxEnding, run_check, run_check_in};
pub use container::{ContainerEngine, ContainerSettings};
pub use control::SandboxControl;
pub use evidence::choose_evidence;
pub use fake::FakeEngine;
pub use native::NativeEngine;
pub use output::OutputLog;
pub use receipt::{FilesWritten, SandboxReceipt, Usage};
pub use sandbox::{
    BoxUser, EngineUnavailable, ExecEnding, ExecReport, ExecSpec, FileVisitor, Found, FoundKind, HostPort,
    Image, Limits, Mount, MountKind, Network, OpenError, Output, ReapError, RootLayer, Sandbox,
    SandboxEngine, SandboxError, SandboxSpec, ServiceSpec, Workspace,
};
