//! Any other program: a script, an agent gantry does not know. Owns how its plain output, or JSON lines mapped by the
//! lane, become events.

mod launch;
mod mapping;
mod stream;

pub(crate) use launch::plan_launch;
pub use mapping::{CommandOutput, LineMapping};
pub(crate) use stream::CommandStream;
