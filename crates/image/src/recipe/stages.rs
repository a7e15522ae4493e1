//! A recipe as values: stages of steps, each with the line it came from.

use super::error::RecipeError;

/// Everything an image is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The file it came from, as errors name it.
    pub file: String,
    /// `ARG`s before the first stage, with their defaults.
    pub arguments: Vec<(String, Option<String>)>,
    /// In order; the last one is the image. Never empty.
    pub stages: Vec<Stage>,
    /// Packages it names on their own.
    pub packages: Vec<String>,
    /// Files whose content is a part of the key, relative to the context.
    pub key_files: Vec<String>,
}

/// A base and what is done on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The name after `AS`.
    pub name: Option<String>,
    /// What it stands on, before variables are put in.
    pub base: Base,
    /// The line of its `FROM`.
    pub line: usize,
    /// In order.
    pub steps: Vec<Step>,
}

/// What a stage stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// The host's own root, read-only.
    Host,
    /// Nothing.
    Scratch,
    /// A name, a digest, or a name with variables in it.
    Image(String),
    /// A file to import, relative to the context.
    File(String),
}

impl Base {
    /// Reads the word of `[image] base`.
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        match word {
            "host" => Self::Host,
            "scratch" => Self::Scratch,
            path if path.starts_with("./") || path.starts_with('/') => Self::File(path.to_owned()),
            name => Self::Image(name.to_owned()),
        }
    }

    /// Returns the word it was read from.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Host => "host",
            Self::Scratch => "scratch",
            Self::Image(word) | Self::File(word) => word,
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line it begins on.
    pub line: usize,
    /// The step as written.
    pub text: String,
    /// What it does.
    pub action: Action,
}

/// What a step does. Words are as written: variables are put in when the stage's base is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs a line with the stage's shell; the shell puts variables in.
    RunLine(String),
    /// Runs a program with its arguments.
    RunWords(Vec<String>),
    /// Copies files in.
    Copy(CopyStep),
    /// `KEY=VALUE` words.
    Env(Vec<(String, String)>),
    /// A variable of the build, with its default.
    Argument(String, Option<String>),
    /// The working directory.
    Folder(String),
    /// The user of the following steps and of the image.
    User(String),
    /// The shell of lines.
    Shell(Vec<String>),
    /// Free words about the image.
    Label(Vec<(String, String)>),
    /// Ports.
    Expose(Vec<String>),
    /// Words in front of the command.
    Entrypoint(Vec<String>),
    /// The command where the caller gives none.
    Command(Vec<String>),
}

/// Files to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStep {
    /// A stage's name or number, or an image; the context without one.
    pub from: Option<String>,
    /// What to copy, in order. Never empty.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub target: String,
    /// The mode of everything copied, in octal.
    pub mode: Option<u32>,
    /// The owner as written. An image has one owner, so that it is checked and kept in the text only.
    pub owner: Option<String>,
}

/// One source of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path or pattern.
    Path(String),
    /// A file whose content stands in the recipe: its name, and whether variables are put in.
    Inline(String, String, bool),
}

impl Recipe {
    pub(crate) fn fail(&self, line: usize, problem: impl Into<String>) -> RecipeError {
        RecipeError::new(&self.file, line, problem)
    }

    /// Returns every step as text, in order: what `drift` compares.
    #[must_use]
    pub fn step_texts(&self) -> Vec<String> {
        let of_stage = |stage: &Stage| {
            let name = stage
                .name
                .as_ref()
                .map_or(String::new(), |name| format!(" AS {name}"));
            let first = format!("FROM {}{name}", stage.base.word());
            std::iter::once(first)
                .chain(stage.steps.iter().map(|step| step.text.clone()))
                .collect::<Vec<_>>()
        };
        self.stages.iter().flat_map(of_stage).collect()
    }
}
