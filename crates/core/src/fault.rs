//! Who can mend a failure, and whether trying again makes sense. Sorted once, where a failure is stopped.

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller asked for something that cannot be; asking again the same way fails again.
    Caller,
    /// The world is in the way for now (no disk, a lock, a signal); the same step may work later.
    Transient,
    /// It will not work by itself: an operator has to act. The default for what nobody classified.
    Permanent,
    /// An invariant of gantry does not hold.
    Bug,
}

impl Fault {
    /// Says whether the same step may be tried again without anybody acting.
    #[must_use]
    pub const fn may_retry(self) -> bool {
        match self {
            Self::Transient => true,
            Self::Caller | Self::Permanent | Self::Bug => false,
        }
    }
}
