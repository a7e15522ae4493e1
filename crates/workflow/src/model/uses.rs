//! What `uses` may name: actions and reusable workflows. Owns the grammar of these references; must never look one up.

use std::fmt;

/// The action of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UsesRef {
    /// `./path` or `$/path`: in this repository.
    Local {
        /// The folder, without the leading `./`.
        path: String,
    },
    /// `docker://image`.
    Docker {
        /// The image.
        image: String,
    },
    /// `owner/repo[/path]@ref`.
    Remote(RemoteRef),
}

/// `owner/repo[/path]@ref`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteRef {
    /// The owner.
    pub owner: String,
    /// The repository.
    pub repository: String,
    /// The folder or file in it; empty for its root.
    pub path: String,
    /// The branch, tag or commit.
    pub reference: String,
}

/// The workflow a job calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkflowRef {
    /// `./.github/workflows/file.yml`: in this repository, at this commit.
    Local {
        /// The file, without the leading `./`.
        path: String,
    },
    /// `owner/repo/.github/workflows/file.yml@ref`.
    Remote(RemoteRef),
}

impl RemoteRef {
    /// Returns `owner/repo` in lower case, the form to compare by.
    pub fn repository_key(&self) -> String {
        format!("{}/{}", self.owner, self.repository).to_ascii_lowercase()
    }

    fn parse(text: &str) -> Option<RemoteRef> {
        let (name, reference) = text.split_once('@')?;
        if reference.is_empty() || reference.contains('@') {
            return None;
        }
        let mut parts = name.split(['/', '\\']).filter(|part| !part.is_empty());
        let owner = parts.next()?.to_string();
        let repository = parts.next()?.to_string();
        let path = parts.collect::<Vec<_>>().join("/");
        Some(RemoteRef {
            owner,
            repository,
            path,
            reference: reference.to_string(),
        })
    }
}

impl UsesRef {
    /// Reads the `uses` of a step.
    ///
    /// Errors: GitHub's message for text that is none of the forms.
    pub fn parse(text: &str) -> Result<UsesRef, String> {
        if let Some(image) = text.strip_prefix("docker://") {
            return Ok(UsesRef::Docker {
                image: image.to_string(),
            });
        }
        if let Some(path) = local_path(text) {
            return Ok(UsesRef::Local { path });
        }
        RemoteRef::parse(text)
            .map(UsesRef::Remote)
            .ok_or_else(|| format!("Expected format {{org}}/{{repo}}[/path]@ref. Actual '{text}'"))
    }
}

impl WorkflowRef {
    /// Reads the `uses` of a job.
    ///
    /// Errors: GitHub's message for text that is none of the forms.
    pub fn parse(text: &str) -> Result<WorkflowRef, String> {
        let invalid = |why: &str| format!("invalid value workflow reference: {why}");
        if let Some(path) = local_path(text) {
            if path.contains('@') {
                return Err(invalid("cannot specify version when calling local workflows"));
            }
            return Ok(WorkflowRef::Local { path });
        }
        if !text.contains('@') {
            return Err(invalid("no version specified"));
        }
        match RemoteRef::parse(text) {
            Some(remote) if !remote.path.is_empty() => Ok(WorkflowRef::Remote(remote)),
            _ => Err(invalid(
                "references to workflows must be prefixed with format 'owner/repository/' or './'",
            )),
        }
    }
}

/// Returns the path of `./path`, `.\path` or `$/path`.
fn local_path(text: &str) -> Option<String> {
    let rest = ["./", ".\\", "$/"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))?;
    Some(rest.replace('\\', "/").trim_end_matches('/').to_string())
}

impl fmt::Display for RemoteRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.repository)?;
        if !self.path.is_empty() {
            write!(f, "/{}", self.path)?;
        }
        write!(f, "@{}", self.reference)
    }
}

impl fmt::Display for UsesRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsesRef::Local { path } => write!(f, "./{path}"),
            UsesRef::Docker { image } => write!(f, "docker://{image}"),
            UsesRef::Remote(remote) => remote.fmt(f),
        }
    }
}

impl fmt::Display for WorkflowRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkflowRef::Local { path } => write!(f, "./{path}"),
            WorkflowRef::Remote(remote) => remote.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_uses_is_read_and_written_back() {
        for text in [
            "./.github/actions/x",
            "docker://alpine:3.8",
            "actions/checkout@v4",
            "actions/aws/ec2@main",
            "o/r@feature/x",
        ] {
            assert_eq!(
                UsesRef::parse(text).map(|uses| uses.to_string()),
                Ok(text.to_string())
            );
        }
        assert_eq!(UsesRef::parse("$/a"), Ok(UsesRef::Local { path: "a".into() }));
        for text in [
            "$$docker://alpine:3.8",
            "badrepo@invalid",
            "a/b",
            "a/b@",
            "a/b@c@d",
            "",
        ] {
            let message = format!("Expected format {{org}}/{{repo}}[/path]@ref. Actual '{text}'");
            assert_eq!(UsesRef::parse(text), Err(message));
        }
    }

    #[test]
    fn a_called_workflow_is_local_without_a_version_or_remote_with_one() {
        let local = WorkflowRef::Local {
            path: ".github/workflows/a.yml".into(),
        };
        assert_eq!(WorkflowRef::parse("./.github/workflows/a.yml"), Ok(local));
        assert!(matches!(
            WorkflowRef::parse("o/r/.github/workflows/a.yml@v1"),
            Ok(WorkflowRef::Remote(_))
        ));
        for text in ["./a.yml@v1", "o/r/a.yml", "o/r@v1", "x"] {
            assert!(WorkflowRef::parse(text).is_err(), "{text}");
        }
    }
}
