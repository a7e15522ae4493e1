//! Recipes: what an image is built from, from three kinds of text. Must never run or read anything.

mod devcontainer;
mod dockerfile;
mod error;
mod key;
mod section;
mod stages;

pub use devcontainer::{Devcontainer, parse_devcontainer};
pub use dockerfile::parse_dockerfile;
pub(crate) use dockerfile::{expand, expand_words};
pub use error::RecipeError;
pub(crate) use key::KeyHash;
pub use key::recipe_key;
pub use section::ImageSection;
pub use stages::{Action, Base, CopySource, CopyStep, Recipe, Stage, Step};
