//! Files in a box: which ones a pattern means, and how they come out and go in. Declares its parts only.

mod deliver;
mod pattern;
mod search;
mod shell;
mod text;

pub use deliver::{DeliverError, deliver_file};
pub(crate) use pattern::name_matches;
pub use pattern::{PatternError, Patterns};
pub use search::{BoxFile, SearchError, Searched, search};
pub(crate) use shell::ended;
pub use shell::{Asked, ShellError, ask, quote};
pub use text::read_text;
