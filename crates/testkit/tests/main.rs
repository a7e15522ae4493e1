//! The whole engine in the virtual world.

mod crash;
mod days;
