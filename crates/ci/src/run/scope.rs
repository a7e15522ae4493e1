//! What the expressions of a step see. Owns the answers of one moment; must never change the leg.

use std::io::{self, Read};
use std::path::Path;

use gantry_adapters::engine::{FileVisitor, Found, FoundKind, Sandbox, SandboxError};
use gantry_workflow::expression::{
    FileHashRequest, FilePatterns, Scope, ScopeError, Status, Value, WorkspaceFiles, hash_files,
};

use super::evaluate::object_of;
use super::frame::{Frame, Standing};
use super::github::StepFields;
use super::leg::Leg;

/// The scope of a step's texts.
pub(super) struct StepScope<'a, 'l> {
    pub(super) leg: &'a Leg<'l>,
    pub(super) frame: &'a Frame<'a>,
    /// `env`.
    pub(super) env: &'a [(String, String)],
    /// What `github` holds of the step.
    pub(super) fields: StepFields<'a>,
}

impl StepScope<'_, '_> {
    fn job_context(&self) -> Value {
        let fields = [
            ("status", Value::from(self.leg.standing().as_str())),
            ("container", self.leg.plan.container.clone()),
            ("services", self.leg.plan.services.clone()),
        ];
        Value::Object(fields.into_iter().collect())
    }
}

impl Scope for StepScope<'_, '_> {
    fn context(&self, name: &str) -> Option<Value> {
        match name {
            "github" => Some(self.leg.plan.github.step_value(&self.fields)),
            "env" => Some(object_of(self.env)),
            "inputs" => Some(self.frame.inputs.clone()),
            "steps" => Some(self.frame.steps_context()),
            "job" => Some(self.job_context()),
            _ => self.leg.plan.contexts.get(name).cloned(),
        }
    }

    fn status(&self, status: Status, _: &[&str]) -> Result<bool, ScopeError> {
        let of_leg = self.leg.standing();
        let standing = match (self.frame.action, of_leg) {
            (None, _) | (Some(_), Standing::Cancelled) => of_leg,
            (Some(_), Standing::Success | Standing::Failure) => self.frame.standing(),
        };
        Ok(match status {
            Status::Success => standing == Standing::Success,
            Status::Failure => standing == Standing::Failure,
            Status::Cancelled => of_leg == Standing::Cancelled,
        })
    }

    fn hash_files(&self, request: &FileHashRequest) -> Result<String, ScopeError> {
        let workspace = &self.leg.plan.workspace;
        let files = BoxFiles {
            sandbox: self.leg.sandbox,
            workspace,
        };
        hash_files(request, workspace, &files).map_err(|error| {
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            ScopeError {
                message: format!("hashFiles() failed: {error}{cause}"),
            }
        })
    }
}

/// The files of the workspace in a box.
struct BoxFiles<'a> {
    sandbox: &'a dyn Sandbox,
    workspace: &'a str,
}

impl WorkspaceFiles for BoxFiles<'_> {
    fn list(&self, patterns: &FilePatterns, follow_symbolic_links: bool) -> io::Result<Vec<String>> {
        let mut listing = Listing {
            patterns,
            files: Vec::new(),
            links: Vec::new(),
        };
        match self.sandbox.visit_files(Path::new(self.workspace), &mut listing) {
            Ok(()) => {}
            // A workspace that is not there has no files.
            Err(SandboxError::Path { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
        let Listing { mut files, links, .. } = listing;
        for link in links {
            match self.kind(&link)? {
                Some(FoundKind::File { .. }) => files.push(link),
                Some(FoundKind::Directory) if follow_symbolic_links => {
                    let message =
                        format!("the link {link} leads to a folder, and those are not followed here");
                    return Err(io::Error::other(message));
                }
                Some(_) | None => {}
            }
        }
        Ok(files)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        let at = format!("{}/{path}", self.workspace);
        let bytes = read_box_file(self.sandbox, Path::new(&at), u64::MAX)
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Box::new(io::Cursor::new(bytes)))
    }
}

impl BoxFiles<'_> {
    /// Tells what a link leads to; `None` if it leads nowhere.
    fn kind(&self, path: &str) -> io::Result<Option<FoundKind>> {
        struct First(Option<FoundKind>);
        impl FileVisitor for First {
            fn enter(&mut self, _: &Found) -> bool {
                false
            }
            fn visit(&mut self, found: &Found, _: &mut dyn Read) -> io::Result<()> {
                self.0.get_or_insert_with(|| found.kind.clone());
                Ok(())
            }
        }
        let mut first = First(None);
        let at = format!("{}/{path}", self.workspace);
        match self.sandbox.visit_files(Path::new(&at), &mut first) {
            Ok(()) => Ok(first.0),
            Err(SandboxError::Path { .. }) => Ok(None),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }
}

struct Listing<'a> {
    patterns: &'a FilePatterns,
    files: Vec<String>,
    links: Vec<String>,
}

impl FileVisitor for Listing<'_> {
    fn enter(&mut self, directory: &Found) -> bool {
        match directory.path.to_str() {
            Some("") => true,
            Some(path) => self.patterns.may_match_below(path),
            None => false,
        }
    }

    fn visit(&mut self, found: &Found, _: &mut dyn Read) -> io::Result<()> {
        // A name that is no text cannot be matched by a pattern, which is text.
        let Some(path) = found.path.to_str() else {
            return Ok(());
        };
        match found.kind {
            FoundKind::File { .. } => self.files.push(path.to_owned()),
            FoundKind::Link(_) if self.patterns.matches(path) => self.links.push(path.to_owned()),
            FoundKind::Link(_) | FoundKind::Directory | FoundKind::Other => {}
        }
        Ok(())
    }
}

/// Reads one file of a box.
///
/// Errors: [`SandboxError::Path`] if there is no such file or it has more than `bytes_max` bytes.
pub(super) fn read_box_file(
    sandbox: &dyn Sandbox,
    at: &Path,
    bytes_max: u64,
) -> Result<Vec<u8>, SandboxError> {
    struct One {
        bytes: Option<Vec<u8>>,
        bytes_max: u64,
        too_long: bool,
    }
    impl FileVisitor for One {
        fn enter(&mut self, _: &Found) -> bool {
            false
        }
        fn visit(&mut self, found: &Found, content: &mut dyn Read) -> io::Result<()> {
            if let FoundKind::File { bytes } = found.kind {
                self.too_long = bytes > self.bytes_max;
                let mut kept = Vec::new();
                if !self.too_long {
                    content.take(self.bytes_max).read_to_end(&mut kept)?;
                }
                self.bytes = Some(kept);
            }
            Ok(())
        }
    }
    let mut one = One {
        bytes: None,
        bytes_max,
        too_long: false,
    };
    sandbox.visit_files(at, &mut one)?;
    let wrong = |why: String| SandboxError::Path {
        path: at.display().to_string(),
        why,
    };
    if one.too_long {
        return Err(wrong(format!("it has more than {bytes_max} bytes")));
    }
    one.bytes.ok_or_else(|| wrong("it is not a file".to_owned()))
}
