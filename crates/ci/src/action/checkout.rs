//! `actions/checkout`: the workspace already is the commit, so what is left is to bring it into the state asked for and
//! to say what it is. Owns what of a checkout needs a source outside of the box; must never report a commit that is not
//! checked out.

use std::path::{Path, PathBuf};

use gantry_adapters::engine::{Sandbox, SandboxControl};

use super::call::{ActionCall, ActionError, ActionOutcome, PostWhen};
use super::dependencies::state;
use super::inputs::{InputSpec, default, input};

/// Which submodules are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submodules {
    /// None.
    No,
    /// Those of the repository.
    Direct,
    /// Theirs as well.
    Recursive,
}

/// What has to come from outside of the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Materialise {
    /// `owner/name`; `None` is the repository of the run.
    pub repository: Option<String>,
    /// A branch, tag or commit; `None` is the run's commit, or another repository's default branch.
    pub reference: Option<String>,
    /// Where to, in the box; absolute.
    pub at: PathBuf,
    /// How many commits of history; 0 is all, with every branch and tag.
    pub depth: u32,
    /// Whether tags come along.
    pub tags: bool,
    /// Whether large files are files instead of pointers.
    pub lfs: bool,
    /// Which submodules.
    pub submodules: Submodules,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Materialised {
    /// The commit that is checked out now.
    pub commit: String,
}

/// Why nothing came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot check out {what}: {why}")]
pub struct SourceError {
    /// What was asked for.
    pub what: String,
    /// Why it cannot be had, and what would help.
    pub why: String,
}

/// Brings other commits and repositories of the same forge into a box, from what the host has of them.
pub trait Source: Sync {
    /// Makes a directory of the box the wanted checkout, with a Git directory of its own.
    ///
    /// Errors: [`SourceError`], for what the host does not have.
    fn materialise(
        &self,
        wanted: &Materialise,
        sandbox: &dyn Sandbox,
        control: &SandboxControl,
    ) -> Result<Materialised, SourceError>;
}

/// A host that has nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSource;

impl Source for NoSource {
    fn materialise(
        &self,
        wanted: &Materialise,
        _sandbox: &dyn Sandbox,
        _control: &SandboxControl,
    ) -> Result<Materialised, SourceError> {
        let repository = wanted.repository.as_deref().unwrap_or("this repository");
        let reference = wanted.reference.as_deref().unwrap_or("its usual commit");
        Err(SourceError {
            what: format!("{reference} of {repository} at {}", wanted.at.display()),
            why: "only the run's own commit is here, and nothing is downloaded".to_owned(),
        })
    }
}

pub(super) const INPUTS: &[InputSpec] = &[
    input("repository"),
    input("ref"),
    input("token"),
    input("ssh-key"),
    input("ssh-known-hosts"),
    default("ssh-strict", "true"),
    default("ssh-user", "git"),
    default("persist-credentials", "true"),
    input("path"),
    default("clean", "true"),
    input("filter"),
    input("sparse-checkout"),
    default("sparse-checkout-cone-mode", "true"),
    default("fetch-depth", "1"),
    default("fetch-tags", "false"),
    default("show-progress", "true"),
    input("reference"),
    default("lfs", "false"),
    default("submodules", "false"),
    default("set-safe-directory", "true"),
    input("github-server-url"),
    input("allow-unsafe-pr-checkout"),
];

const SAFE: &str = "SAFE_DIRECTORY";

struct Plan {
    at: PathBuf,
    materialise: Option<Materialise>,
    clean: bool,
    sparse: Vec<String>,
    cone: bool,
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn submodules(text: &str) -> Result<Submodules, ActionError> {
    match text.to_lowercase().as_str() {
        "" | "false" => Ok(Submodules::No),
        "true" => Ok(Submodules::Direct),
        "recursive" => Ok(Submodules::Recursive),
        other => Err(ActionError::Failed(format!(
            "the input submodules is '{other}'; it may be true, recursive or false"
        ))),
    }
}

impl Plan {
    fn make(call: &ActionCall<'_>) -> Result<Self, ActionError> {
        let inputs = &call.inputs;
        let own = call.var("GITHUB_REPOSITORY").unwrap_or_default();
        let repository = Some(inputs.get("repository")).filter(|name| !name.is_empty());
        if let Some(name) = repository
            && (name.split('/').count() != 2 || name.split('/').any(str::is_empty))
        {
            return Err(ActionError::Failed(format!(
                "Invalid repository '{name}'. Expected format {{owner}}/{{repo}}."
            )));
        }
        let other = repository
            .filter(|name| !name.eq_ignore_ascii_case(own))
            .map(str::to_owned);
        let at = below_workspace(call.workspace, inputs.get("path"))?;
        let (sha, full) = (
            call.var("GITHUB_SHA").unwrap_or_default(),
            call.var("GITHUB_REF").unwrap_or_default(),
        );
        let reference = Some(inputs.get("ref")).filter(|text| !text.is_empty());
        let is_own = reference.is_none_or(|text| {
            text.eq_ignore_ascii_case(sha)
                || text == full
                || ["refs/heads/", "refs/tags/"]
                    .iter()
                    .any(|prefix| full.strip_prefix(prefix) == Some(text))
        });
        let depth = inputs.number("fetch-depth", 1)?;
        let (lfs, tags) = (inputs.is("lfs")?, inputs.is("fetch-tags")?);
        let submodules = submodules(inputs.get("submodules"))?;
        let elsewhere = at != call.workspace || other.is_some() || !is_own;
        let materialise = Materialise {
            reference: reference
                .map(str::to_owned)
                .or_else(|| other.is_none().then(|| sha.to_owned())),
            repository: other,
            at: at.clone(),
            depth,
            tags,
            lfs,
            submodules,
        };
        let more = elsewhere || lfs || submodules != Submodules::No;
        Ok(Self {
            at,
            materialise: more.then_some(materialise),
            clean: inputs.is("clean")?,
            sparse: inputs.lines("sparse-checkout").map(str::to_owned).collect(),
            cone: inputs.is("sparse-checkout-cone-mode")?,
        })
    }
}

fn below_workspace(workspace: &Path, path: &str) -> Result<PathBuf, ActionError> {
    let mut at = workspace.to_owned();
    for part in Path::new(path).components() {
        match part {
            std::path::Component::Normal(name) => at.push(name),
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                at.pop();
            }
            _ => at = PathBuf::from("/"),
        }
    }
    if at.starts_with(workspace) {
        return Ok(at);
    }
    Err(ActionError::Failed(format!(
        "Repository path '{}' is not under '{}'",
        at.display(),
        workspace.display()
    )))
}

fn git(call: &ActionCall<'_>, at: &Path, words: &[&str]) -> Result<String, ActionError> {
    let mut command = vec!["git", "-c", "safe.directory=*"];
    command.extend(words);
    call.tell_in(&command, at)
}

pub(super) fn run(call: &mut ActionCall<'_>) -> Result<ActionOutcome, ActionError> {
    for name in [
        "ssh-key",
        "ssh-known-hosts",
        "github-server-url",
        "filter",
        "reference",
    ] {
        if !call.inputs.get(name).is_empty() {
            call.debug(&format!(
                "the input {name} has no effect: nothing is fetched over a network"
            ));
        }
    }
    let plan = Plan::make(call)?;
    let mut outcome = ActionOutcome::default();
    let text = plan.at.display().to_string();
    if call.inputs.is("set-safe-directory")? && call.home().is_some() {
        git(
            call,
            Path::new("/"),
            &["config", "--global", "--add", "safe.directory", &text],
        )?;
        outcome.save_state(SAFE, &*text);
        outcome.post = Some((PostWhen::Always, forget));
    }
    let materialised = match &plan.materialise {
        Some(wanted) => Some(
            call.stores
                .source
                .materialise(wanted, call.sandbox, call.control)?,
        ),
        None => {
            complete(call, &plan)?;
            None
        }
    };
    if plan.clean && plan.materialise.is_none() {
        git(call, &plan.at, &["clean", "-ffdxq"])?;
        git(call, &plan.at, &["reset", "--hard", "-q", "HEAD"])?;
    }
    if !plan.sparse.is_empty() {
        let mut words = vec![
            "sparse-checkout",
            "set",
            if plan.cone { "--cone" } else { "--no-cone" },
            "--",
        ];
        words.extend(plan.sparse.iter().map(String::as_str));
        git(call, &plan.at, &words)?;
    }
    let commit = git(call, &plan.at, &["rev-parse", "HEAD"])?;
    let wanted = match (&materialised, plan.materialise.is_some()) {
        (Some(come), _) => come.commit.clone(),
        _ => call.var("GITHUB_SHA").unwrap_or(&commit).to_owned(),
    };
    if !is_commit(&commit) || !commit.eq_ignore_ascii_case(&wanted) {
        return Err(ActionError::Failed(format!(
            "{text} is at {commit}, not at {wanted}: a step before moved it"
        )));
    }
    call.say(&format!("{text} is {commit}"));
    let reference = match (call.inputs.get("ref"), call.inputs.get("repository")) {
        ("", "") => call.var("GITHUB_REF").unwrap_or_default().to_owned(),
        (given, _) => given.to_owned(),
    };
    outcome.output("ref", reference);
    outcome.output("commit", commit);
    Ok(outcome)
}

/// Brings history and tags that the workspace does not have yet.
fn complete(call: &ActionCall<'_>, plan: &Plan) -> Result<(), ActionError> {
    let depth = call.inputs.number("fetch-depth", 1)?;
    let tags = call.inputs.is("fetch-tags")?;
    let shallow = depth != 1 && git(call, &plan.at, &["rev-parse", "--is-shallow-repository"])? == "true";
    let tagless = (tags || depth == 0) && git(call, &plan.at, &["tag", "--list"])?.is_empty();
    if !shallow && !tagless {
        return Ok(());
    }
    let wanted = Materialise {
        repository: None,
        reference: call.var("GITHUB_SHA").map(str::to_owned),
        at: plan.at.clone(),
        depth,
        tags: true,
        lfs: false,
        submodules: Submodules::No,
    };
    match call
        .stores
        .source
        .materialise(&wanted, call.sandbox, call.control)
    {
        Ok(_) => Ok(()),
        // A repository that has no tags at all is complete without them.
        Err(_) if !shallow && !tags => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn forget(call: &mut ActionCall<'_>, saved: &[(String, String)]) -> Result<(), ActionError> {
    let at = format!("^{}$", escape(state(saved, SAFE)));
    // The configuration may be gone already, and then there is nothing to forget.
    if let Err(error) = git(
        call,
        Path::new("/"),
        &["config", "--global", "--unset-all", "safe.directory", &at],
    ) {
        call.debug(&format!("safe.directory was not taken back: {error}"));
    }
    Ok(())
}

fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        if !c.is_alphanumeric() && !matches!(c, '/' | '_' | '-') {
            escaped.push('\\');
        }
        escaped.push(c);
        escaped
    })
}
