//! What gantry honours of a workflow, said before anything runs.

mod check;
mod feature;
mod known;
mod table;
mod used;

pub use check::{Unsupported, Verdict, check, check_action};
pub use feature::{FEATURES, Feature, FeatureRow, FeatureState};
pub use known::Known;
pub use table::render_table;
pub use used::{features_of_action, features_used};
