//! The whole engine in the virtual world.

mod batches;
mod crash;
mod days;
mod flaky;
mod order;
mod races;
mod speculation;
