//! `image build` and `image drift`: from a repository's files to a recipe.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use gantry_adapters::clock;
use gantry_core::limits::GATE_FILE_BYTES_MAX;
use gantry_core::mask::find_secret;
use gantry_engine::gate::{GATE_FILE, Gate};
use gantry_image::{BuildRequest, ImageSection, ImageStore, Recipe, parse_devcontainer, parse_dockerfile};
use serde_json::json;

use super::step::BoxSteps;
use super::{factory_secrets, parse_name, print, resolve};
use crate::cli::{Common, show};
use crate::exit_code::{Coded, ExitCode};

#[derive(Debug, Args)]
pub struct Source {
    /// The repository
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// A Dockerfile or devcontainer.json instead of what the repository has
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where COPY takes its files from [default: the repository, or the file's folder]
    #[arg(long, value_name = "DIR")]
    context: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Build {
    #[command(flatten)]
    source: Source,
    /// The name to give it (again for more)
    #[arg(long)]
    name: Vec<String>,
    /// A build argument (NAME=VALUE)
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    arguments: Vec<String>,
    /// Run every step, whatever the last build has
    #[arg(long)]
    no_cache: bool,
}

/// A recipe, where its files are, and what it brings of its own.
struct Found {
    recipe: Recipe,
    context: PathBuf,
    arguments: Vec<(String, String)>,
    ignored: Vec<String>,
}

impl Source {
    fn find(&self) -> Result<Found, Coded> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                if let Some(section) = image_section(&self.repo)? {
                    return Ok(Found {
                        recipe: section.recipe(),
                        context: self.context.clone().unwrap_or_else(|| self.repo.clone()),
                        arguments: Vec::new(),
                        ignored: Vec::new(),
                    });
                }
                let places = [
                    "Dockerfile",
                    ".devcontainer/devcontainer.json",
                    ".devcontainer.json",
                ];
                let found = places
                    .iter()
                    .map(|name| self.repo.join(name))
                    .find(|path| path.is_file());
                found.ok_or_else(|| {
                    Coded::new(
                        ExitCode::NotFound,
                        format!(
                            "{} has no [image] in {GATE_FILE}, no Dockerfile and no devcontainer.json; name a file with --file",
                            self.repo.display()
                        ),
                    )
                })?
            }
        };
        self.read(&file)
    }

    fn read(&self, file: &Path) -> Result<Found, Coded> {
        let text = read_text(file)?;
        let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
        let usage = |error: gantry_image::RecipeError| Coded::new(ExitCode::Usage, error.to_string());
        let name = file.display().to_string();
        if file.extension().is_none_or(|extension| extension != "json") {
            return Ok(Found {
                recipe: parse_dockerfile(&name, &text).map_err(usage)?,
                context: self.context.clone().unwrap_or(folder),
                arguments: Vec::new(),
                ignored: Vec::new(),
            });
        }
        let container = parse_devcontainer(&name, &text).map_err(usage)?;
        let recipe = match &container.dockerfile {
            None => container.recipe.clone(),
            Some(dockerfile) => {
                let path = folder.join(dockerfile);
                let text = read_text(&path)?;
                container.on(parse_dockerfile(&path.display().to_string(), &text).map_err(usage)?)
            }
        };
        let own = container
            .context
            .as_ref()
            .map_or_else(|| folder.clone(), |context| folder.join(context));
        Ok(Found {
            recipe,
            context: self.context.clone().unwrap_or(own),
            arguments: container.arguments,
            ignored: container.ignored,
        })
    }

    pub fn drift(self, common: &Common, store: &ImageStore, image: &str) -> Result<ExitCode, Coded> {
        let found = self.find()?;
        let digest = resolve(store, image)?;
        let context = found.context.clone();
        let differences = store.drift(digest, &found.recipe, &|path| std::fs::read(context.join(path)))?;
        if common.json() {
            show::json(&json!({"digest": digest.to_string(), "drift": serde_json::to_value(&differences)?}))?;
        } else {
            for difference in &differences {
                show::json_line(&serde_json::to_value(difference)?)?;
            }
            show::line(&format!("{} differences", differences.len()))?;
        }
        Ok(if differences.is_empty() {
            ExitCode::Done
        } else {
            ExitCode::No
        })
    }
}

impl Build {
    pub fn run(self, common: &Common, store: &ImageStore) -> Result<ExitCode, Coded> {
        let found = self.source.find()?;
        for key in &found.ignored {
            eprintln!("gantry: {key} has no effect here");
        }
        let mut arguments: BTreeMap<String, String> = found.arguments.iter().cloned().collect();
        for text in &self.arguments {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| Coded::new(ExitCode::Usage, format!("--arg {text:?}: write NAME=VALUE")))?;
            arguments.insert(name.to_owned(), value.to_owned());
        }
        let secrets = factory_secrets(common)?;
        let named = |bytes: &[u8]| find_secret(&secrets, bytes).map(|finding| finding.name.to_string());
        let request = BuildRequest {
            recipe: &found.recipe,
            context: &found.context,
            names: self
                .name
                .iter()
                .map(|name| parse_name(name))
                .collect::<Result<_, _>>()?,
            arguments,
            cached: !self.no_cache,
            named_secret: &named,
            now: clock::now(),
        };
        let mut steps = BoxSteps::new(common, &secrets)?;
        let built = store.build(&request, &mut steps)?;
        if common.json() {
            print(common, &built)?;
        } else {
            show::line(&format!(
                "{}: {} steps run, {} taken from before",
                built.digest, built.run_count, built.cached_count
            ))?;
        }
        Ok(ExitCode::Done)
    }
}

/// Reads `[image]` of a repository's gate file, if it has one.
fn image_section(repo: &Path) -> Result<Option<ImageSection>, Coded> {
    let path = repo.join(GATE_FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(anyhow::Error::new(error)
                .context(format!("cannot read {}", path.display()))
                .into());
        }
    };
    let usage = |text: String| Coded::new(ExitCode::Usage, text);
    match Gate::parse_image(&bytes).map_err(|error| usage(error.to_string()))? {
        None => Ok(None),
        Some(value) => ImageSection::parse(&value)
            .map(Some)
            .map_err(|error| usage(error.to_string())),
    }
}

fn read_text(path: &Path) -> Result<String, Coded> {
    let length = std::fs::metadata(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .len();
    if length > GATE_FILE_BYTES_MAX as u64 {
        return Err(Coded::new(
            ExitCode::Usage,
            format!("{} is too large for a recipe", path.display()),
        ));
    }
    Ok(std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?)
}
