//! Real boxes on this machine: what a check can do, what it cannot, and what is left of it.

mod contract;
mod daemon;
mod endings;
mod hostile;
mod isolation;
mod layers;
mod leftovers;
mod poison;
mod workspace;
mod world;
