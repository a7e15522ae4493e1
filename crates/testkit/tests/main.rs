//! The whole engine in the virtual world.

mod days;
