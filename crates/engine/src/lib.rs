//! The loop of the factory.
