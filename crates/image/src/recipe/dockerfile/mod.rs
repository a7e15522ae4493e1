//! `Dockerfile`s: text in, stages out. What is not in the documented subset is refused by name and line. Source: Docker's
//! "Dockerfile reference".

mod expand;
mod lines;
mod parse;

pub(crate) use expand::{expand, expand_words};
pub use parse::parse_dockerfile;
