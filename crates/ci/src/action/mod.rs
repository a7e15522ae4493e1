//! Built-in versions of the actions most workflows use, for boxes without a network. Declares its parts only.

mod artifacts;
mod cached;
mod call;
mod checkout;
mod dependencies;
mod inputs;
mod install_tool;
mod matcher;
mod rust_cache;
mod rust_toolchain;
mod setup_go;
mod setup_java;
mod setup_node;
mod setup_pnpm;
mod setup_python;
mod setup_uv;
mod table;
#[cfg(test)]
mod tests;
mod toolchain;

pub use call::{
    ActionCall, ActionError, ActionOutcome, Log, LogLevel, Matcher, PostStep, PostWhen, RunStores,
};
pub use checkout::{Materialise, Materialised, NoSource, Source, SourceError, Submodules};
pub use inputs::{InputError, InputSpec, Inputs};
pub use table::{NativeAction, VersionRefused, find_action, known_actions, run_action};
