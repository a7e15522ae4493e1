//! Boxes as containers of a docker or podman daemon, over its socket.

mod archive;
mod body;
mod connection;
mod container_engine;
mod container_sandbox;
mod exec;
mod exec_report;
mod facts;
mod files;
mod flavour;
mod image;
mod made;
mod meter;
mod open;
mod owner;
mod probe;
mod reap;
mod service;
mod socket;
mod workspace;

pub use container_engine::{ContainerEngine, ContainerSettings};
