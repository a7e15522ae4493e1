//! Which of the two daemons is spoken to. Owns where they differ in words; what they differ in otherwise is beside the
//! call it matters for.

/// A kind of daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// dockerd.
    Docker,
    /// `podman system service`.
    Podman,
}

impl Flavour {
    /// Returns the name a configuration file uses.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}
