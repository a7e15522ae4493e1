//! What a step says to its runner: commands in its output, files it writes, patterns that turn its output into
//! annotations. Owns the syntax and what it means; must never act on it, and never fail on junk.

mod annotation;
mod file;
mod line;
mod matcher;
mod reader;
mod syntax;

pub use annotation::{Annotation, AnnotationLevel};
pub use file::{
    FileCommandError, FileCommandProblem, NameUse, SUMMARY_BYTES_MAX, SummaryUse, decode_command_file,
    env_name_use, parse_env_file, parse_path_file, put_path_first, summary_use,
};
pub use line::{LINE_BYTES_MAX, LineSplitter, Piece};
pub use matcher::{MATCHERS_MAX, Matcher, MatcherError, Matchers, parse_matchers};
pub use reader::{CommandOptions, CommandProblem, CommandReader, LineOutcome, MatcherName, StepCommand};
pub use syntax::escape_data;
