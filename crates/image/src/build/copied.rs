//! The steps of a build that bring files in: `COPY`, and a `WORKDIR` that is not there yet. Must never read outside of
//! the context, a stage or an image.

use std::fs::File;
use std::io::{self, BufWriter};

use super::builder::{Build, BuildError, stage_named};
use super::copy::{Copier, find, join, real_path};
use super::pattern::Ignore;
use super::stage::StageState;
use crate::digest::{Digest, Hashing};
use crate::layer::stack::Stack;
use crate::recipe::{CopySource, CopyStep, KeyHash, Step};
use crate::scan::scan_tree;

impl Build<'_> {
    /// Makes the working directory where it is missing.
    pub(super) fn folder(&mut self, state: &mut StageState, step: &Step) -> Result<(), BuildError> {
        let failed = |source| BuildError::Context {
            path: state.folder().into(),
            source,
        };
        let stack = self.stack(state).map_err(failed)?;
        let path = real_path(&stack, &state.folder()).map_err(failed)?;
        if stack.resolve(&path).map_err(failed)?.is_some() {
            state.remember(&step.text, true);
            return Ok(());
        }
        self.layer_of(state, step, None, |copier| copier.ensure_folder(&path))
    }

    pub(super) fn copy(
        &mut self,
        state: &mut StageState,
        step: &Step,
        copy: &CopyStep,
    ) -> Result<(), BuildError> {
        let (from, ignore) = self.source(state, step, copy)?;
        let expand = |word: &str| state.expand(word).map_err(|problem| self.fail(step, problem));
        let failed = |source| self.scratch(self.request.context, source);
        let target = expand(&copy.target)?;
        let into = target.ends_with('/') || target == "." || copy.sources.len() > 1;
        let stack = self.stack(state).map_err(failed)?;
        let to = real_path(&stack, &state.absolute(&target)).map_err(failed)?;
        let is_folder = stack
            .resolve(&to)
            .map_err(failed)?
            .is_some_and(|node| node.kind() == rustix::fs::FileType::Directory);
        let mut sources = Vec::new();
        let mut inline = Vec::new();
        for source in &copy.sources {
            match source {
                CopySource::Inline(name, text, expands) => {
                    let text = if *expands {
                        expand_text(state, text).map_err(|problem| self.fail(step, problem))?
                    } else {
                        text.clone()
                    };
                    inline.push((name.clone(), text));
                }
                CopySource::Path(word) => {
                    let word = expand(word)?;
                    let found = find(&from, word.as_bytes(), &ignore).map_err(failed)?;
                    if found.is_empty() {
                        return Err(self.fail(
                            step,
                            format!("{word} is not there, or .dockerignore leaves it out"),
                        ));
                    }
                    sources.extend(found);
                }
            }
        }
        let into = into || is_folder || sources.len() + inline.len() > 1;
        self.layer_of(state, step, copy.mode, |copier| {
            for source in &sources {
                let name = crate::beneath::split(&source.path).1;
                let is_file = source.node.kind() != rustix::fs::FileType::Directory;
                let to = if into && is_file {
                    join(&to, name)
                } else {
                    to.clone()
                };
                copier.copy(source, &to, &ignore)?;
            }
            for (name, text) in &inline {
                let to = if into {
                    join(&to, name.as_bytes())
                } else {
                    to.clone()
                };
                copier.inline(&to, text.as_bytes())?;
            }
            Ok(())
        })
    }

    /// Opens where a copy comes from.
    fn source(
        &self,
        state: &StageState,
        step: &Step,
        copy: &CopyStep,
    ) -> Result<(Stack, Ignore), BuildError> {
        let failed = |source| BuildError::Context {
            path: self.request.context.to_owned(),
            source,
        };
        let Some(from) = &copy.from else {
            let ignore = match self.context_file(".dockerignore") {
                Ok(bytes) => Ignore::parse(&bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ignore::default(),
                Err(error) => return Err(failed(error)),
            };
            return Ok((Stack::open(&[self.request.context]).map_err(failed)?, ignore));
        };
        let from = state.expand(from).map_err(|problem| self.fail(step, problem))?;
        if let Some(number) = stage_named(&self.request.recipe.stages[..self.stages.len()], &from, true) {
            let other = self.stages[number].as_ref();
            let other = other.ok_or_else(|| self.fail(step, "write --from without variables"))?;
            return Ok((self.stack(other).map_err(failed)?, Ignore::default()));
        }
        let trees = self.store.layer_trees(self.store.resolve(&from)?)?;
        Ok((Stack::open(&trees).map_err(failed)?, Ignore::default()))
    }

    /// Makes a layer whose tar is its own key: the same files give the same layer.
    fn layer_of(
        &mut self,
        state: &mut StageState,
        step: &Step,
        mode: Option<u32>,
        fill: impl FnOnce(&mut Copier<'_, Hashing<BufWriter<File>>>) -> io::Result<()>,
    ) -> Result<(), BuildError> {
        let path = self.transaction.folder().join("step.tar");
        let written = || -> io::Result<Digest> {
            let stack = self.stack(state)?;
            let target = Hashing::new(BufWriter::with_capacity(256 * 1024, File::create(&path)?));
            let mut copier = Copier::new(target, &stack, mode);
            fill(&mut copier)?;
            Ok(copier.finish()?.finish().0)
        };
        let layer = written().map_err(|source| BuildError::Context {
            path: self.request.context.to_owned(),
            source,
        })?;
        if self.transaction.reuse_layer(layer)? {
            // It may have come with an image that nobody looked through.
            let found = scan_tree(&self.transaction.layer_tree(layer), self.request.named_secret)?;
            if !found.is_empty() {
                return Err(BuildError::Secrets(found));
            }
            self.cached_count += 1;
        } else {
            self.new_layer(&path)?;
            self.run_count += 1;
        }
        let mut key = KeyHash::new("layer");
        key.part(state.key.to_string().as_bytes())
            .part(layer.to_string().as_bytes());
        state.add_layer(layer, &step.text, key.finish());
        Ok(())
    }
}

/// Puts variables into a text whose quotes are its own.
fn expand_text(state: &StageState, text: &str) -> Result<String, String> {
    let quoted: String = text
        .chars()
        .flat_map(|next| {
            if matches!(next, '"' | '\'') {
                vec!['\\', next]
            } else {
                vec![next]
            }
        })
        .collect();
    state.expand(&quoted)
}
