//! Images built from recipes. Must never run a step itself: a [`StepRunner`] does, in a box.

mod builder;
mod copied;
mod copy;
mod pattern;
mod stage;
mod step;

#[cfg(test)]
mod tests;

pub use builder::{BuildError, BuildRequest, Built};
pub use step::{ChangedLayer, LayerPath, RunStep, StepError, StepRunner};
