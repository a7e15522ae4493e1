//! What the tests of the runner share: boxes that are folders of the host, and one way to run workflows in them.

pub mod host_engine;
pub mod proof;
pub mod world;
