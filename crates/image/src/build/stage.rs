//! What a stage has become so far: its layers, its configuration, and the variables its words may use.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::format::{ConfigDocument, History};
use crate::recipe::{Action, KeyHash, expand, expand_words};

use super::step::{LayerPath, RunStep};

/// The search path of an image that sets none. Source: Docker's default.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage while it is built.
#[derive(Debug, Clone)]
pub(super) struct StageState {
    pub(super) on_host: bool,
    pub(super) layers: Vec<Digest>,
    pub(super) config: ConfigDocument,
    /// Says all that happened so far.
    pub(super) key: Digest,
    /// `ARG`s in sight.
    pub(super) arguments: BTreeMap<String, String>,
}

impl StageState {
    /// Returns a stage on nothing, or on the host.
    pub(super) fn empty(on_host: bool) -> Self {
        let mut key = KeyHash::new(if on_host { "host" } else { "scratch" });
        key.part(b"");
        let mut config = ConfigDocument::plain(Vec::new(), "");
        if on_host {
            config
                .config
                .labels
                .insert("gantry.base".to_owned(), "host".to_owned());
        }
        Self {
            on_host,
            layers: Vec::new(),
            config,
            key: key.finish(),
            arguments: BTreeMap::new(),
        }
    }

    /// Returns a stage on an image.
    pub(super) fn on_image(digest: Digest, config: ConfigDocument) -> Self {
        let mut key = KeyHash::new("image");
        key.part(digest.to_string().as_bytes());
        let on_host = config
            .config
            .labels
            .get("gantry.base")
            .is_some_and(|base| base == "host");
        Self {
            on_host,
            layers: config.diff_ids().to_vec(),
            config,
            key: key.finish(),
            arguments: BTreeMap::new(),
        }
    }

    /// Returns the value of a variable: the environment wins over arguments.
    pub(super) fn lookup(&self, name: &str) -> Option<String> {
        let of_environment = self.config.config.env.iter().rev().find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then(|| value.to_owned())
        });
        of_environment.or_else(|| self.arguments.get(name).cloned())
    }

    pub(super) fn expand(&self, word: &str) -> Result<String, String> {
        expand(word, &|name| self.lookup(name), '\\')
    }

    fn set_environment(&mut self, key: &str, value: &str) {
        let pair = format!("{key}={value}");
        let prefix = format!("{key}=");
        match self
            .config
            .config
            .env
            .iter_mut()
            .find(|pair| pair.starts_with(&prefix))
        {
            Some(earlier) => *earlier = pair,
            None => self.config.config.env.push(pair),
        }
    }

    /// Returns a path below the working directory as an absolute one.
    pub(super) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let folder = self.folder();
        format!("{}/{path}", folder.trim_end_matches('/'))
    }

    /// Returns the working directory.
    pub(super) fn folder(&self) -> String {
        let folder = &self.config.config.working_dir;
        if folder.is_empty() {
            "/".to_owned()
        } else {
            folder.clone()
        }
    }

    /// Takes a step in that changes the configuration alone; `false` for one that needs more.
    pub(super) fn configure(&mut self, action: &Action) -> Result<bool, String> {
        match action {
            Action::Env(pairs) => {
                // All values are those before the step.
                let expanded: Vec<(String, String)> = (pairs.iter())
                    .map(|(key, value)| Ok((self.expand(key)?, self.expand(value)?)))
                    .collect::<Result<_, String>>()?;
                for (key, value) in expanded {
                    self.set_environment(&key, &value);
                }
            }
            Action::Label(pairs) => {
                for (key, value) in pairs {
                    let (key, value) = (self.expand(key)?, self.expand(value)?);
                    self.config.config.labels.insert(key, value);
                }
            }
            Action::User(user) => self.config.config.user = self.expand(user)?,
            Action::Shell(words) => self.config.config.shell = Some(words.clone()),
            Action::Expose(ports) => {
                for port in ports {
                    for port in expand_words(port, &|name| self.lookup(name), '\\')? {
                        let port = if port.contains('/') {
                            port
                        } else {
                            format!("{port}/tcp")
                        };
                        self.config
                            .config
                            .exposed_ports
                            .insert(port, serde_json::Map::new());
                    }
                }
            }
            Action::Entrypoint(words) => {
                self.config.config.entrypoint = Some(words.clone());
                // The base's command was for its own entry point.
                self.config.config.cmd = None;
            }
            Action::Command(words) => self.config.config.cmd = Some(words.clone()),
            Action::Argument(..)
            | Action::Folder(_)
            | Action::Copy(_)
            | Action::RunLine(_)
            | Action::RunWords(_) => {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns what to run for a step.
    pub(super) fn run_step(&self, action: &Action, text: &str) -> Option<RunStep> {
        let words = match action {
            Action::RunWords(words) => words.clone(),
            Action::RunLine(line) => {
                let plain = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
                let mut words = self.config.config.shell.clone().unwrap_or_else(plain);
                words.push(line.clone());
                words
            }
            _ => return None,
        };
        let mut environment = self.arguments.clone();
        environment.insert("PATH".to_owned(), PATH.to_owned());
        for pair in &self.config.config.env {
            if let Some((key, value)) = pair.split_once('=') {
                environment.insert(key.to_owned(), value.to_owned());
            }
        }
        Some(RunStep {
            words,
            environment: environment.into_iter().collect(),
            folder: self.folder(),
            user: self.config.config.user.clone(),
            text: text.to_owned(),
        })
    }

    /// Returns the key of a step that runs.
    pub(super) fn step_key(&self, step: &RunStep) -> Digest {
        let mut key = KeyHash::new("run");
        key.part(self.key.to_string().as_bytes());
        key.parts(step.words.iter().map(String::as_str));
        key.parts(
            step.environment
                .iter()
                .flat_map(|(name, value)| [name.as_str(), value.as_str()]),
        );
        key.part(step.folder.as_bytes()).part(step.user.as_bytes());
        key.finish()
    }

    /// Puts a layer on top.
    pub(super) fn add_layer(&mut self, layer: Digest, text: &str, key: Digest) {
        self.layers.push(layer);
        self.config.add_layer(layer);
        self.remember(text, false);
        self.key = key;
    }

    /// Writes a step that made no layer into the history.
    pub(super) fn remember(&mut self, text: &str, empty_layer: bool) {
        self.config.history.push(History {
            created_by: Some(text.to_owned()),
            empty_layer,
            ..History::default()
        });
        let mut key = KeyHash::new("step");
        key.part(self.key.to_string().as_bytes()).part(text.as_bytes());
        self.key = key.finish();
    }

    /// Returns the lowers of an overlay, the lowest first.
    pub(super) fn lowers(&self, tree: impl Fn(Digest) -> PathBuf) -> Vec<LayerPath> {
        let host = self.on_host.then_some(LayerPath::Host);
        host.into_iter()
            .chain(self.layers.iter().map(|layer| LayerPath::Tree(tree(*layer))))
            .collect()
    }
}
