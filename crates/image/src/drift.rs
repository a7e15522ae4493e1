//! What is baked into an image against what its inputs say now. Only compares; a build mends it.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::digest::Digest;
use crate::recipe::{Recipe, recipe_key};
use crate::store::{ImageStore, StoreError};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Drift {
    /// It was imported or pulled: nothing is known of its inputs.
    NotBuilt,
    /// The recipe names another base.
    Base {
        /// When it was built.
        was: String,
        /// Now.
        now: String,
    },
    /// The base is of the same name and another image.
    BaseDigest {
        /// When it was built.
        was: Option<Digest>,
        /// Now; nothing if no image has the name any more.
        now: Option<Digest>,
    },
    /// The recipe names a package that is not in the image.
    PackageAdded {
        /// The package.
        package: String,
    },
    /// The image has a package that the recipe does not name any more.
    PackageRemoved {
        /// The package.
        package: String,
    },
    /// A key file has another content.
    FileChanged {
        /// The file.
        path: String,
    },
    /// A key file is new, or was not there.
    FileAdded {
        /// The file.
        path: String,
    },
    /// A key file is gone, or is none any more.
    FileRemoved {
        /// The file.
        path: String,
    },
    /// The recipe has a step that the image was built without.
    StepAdded {
        /// The step.
        step: String,
    },
    /// The image was built with a step that the recipe does not have.
    StepRemoved {
        /// The step.
        step: String,
    },
    /// The same steps in another order, or another default of an argument.
    Recipe,
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// A key file.
    #[error("{path} cannot be read")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImageStore {
    /// Returns every difference between what an image was built from and what `recipe` and its files say now; `read`
    /// gives the content of a key file.
    ///
    /// Shape: empty if a build would give the same.
    /// Errors: [`DriftError`].
    pub fn drift(
        &self,
        digest: Digest,
        recipe: &Recipe,
        read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Vec<Drift>, DriftError> {
        let Some(baked) = self.record(digest)?.inputs else {
            return Ok(vec![Drift::NotBuilt]);
        };
        let mut found = Vec::new();
        let base = recipe.stages.last().map_or("", |stage| stage.base.word());
        if baked.base != base {
            found.push(Drift::Base {
                was: baked.base.clone(),
                now: base.to_owned(),
            });
        } else if baked.base_digest.is_some() {
            let now = match self.resolve(base) {
                Ok(now) => Some(now),
                Err(StoreError::Unknown(_)) => None,
                Err(error) => return Err(error.into()),
            };
            if now != baked.base_digest {
                found.push(Drift::BaseDigest {
                    was: baked.base_digest,
                    now,
                });
            }
        }
        for package in missing(&recipe.packages, &baked.packages) {
            found.push(Drift::PackageAdded { package });
        }
        for package in missing(&baked.packages, &recipe.packages) {
            found.push(Drift::PackageRemoved { package });
        }
        self.files(&baked.files, recipe, read, &mut found)?;
        // The packages of a table are a step, too, and are named one by one above.
        let is_packages = |step: &String| step.starts_with("packages ") || step.starts_with("FROM ");
        let steps = recipe.step_texts();
        found.extend(
            missing(&steps, &baked.steps)
                .into_iter()
                .filter(|step| !is_packages(step))
                .map(|step| Drift::StepAdded { step }),
        );
        found.extend(
            missing(&baked.steps, &steps)
                .into_iter()
                .filter(|step| !is_packages(step))
                .map(|step| Drift::StepRemoved { step }),
        );
        let key = recipe_key(recipe, read).map_err(|source| DriftError::File {
            path: recipe.file.clone(),
            source,
        })?;
        if found.is_empty() && key != baked.recipe_key {
            found.push(Drift::Recipe);
        }
        Ok(found)
    }

    fn files(
        &self,
        baked: &std::collections::BTreeMap<String, Option<Digest>>,
        recipe: &Recipe,
        read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
        found: &mut Vec<Drift>,
    ) -> Result<(), DriftError> {
        for path in &recipe.key_files {
            let now = match read(Path::new(path)) {
                Ok(bytes) => Some(Digest::of(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => {
                    return Err(DriftError::File {
                        path: path.clone(),
                        source,
                    });
                }
            };
            let path = path.clone();
            match (baked.get(&path).copied().flatten(), now) {
                (was, now) if was == now && baked.contains_key(&path) => {}
                (Some(_), Some(_)) => found.push(Drift::FileChanged { path }),
                (Some(_), None) => found.push(Drift::FileRemoved { path }),
                (None, _) => found.push(Drift::FileAdded { path }),
            }
        }
        for path in baked.keys().filter(|path| !recipe.key_files.contains(path)) {
            found.push(Drift::FileRemoved { path: path.clone() });
        }
        Ok(())
    }
}

/// Returns what the first list has and the second has not.
fn missing(of: &[String], other: &[String]) -> Vec<String> {
    of.iter().filter(|one| !other.contains(one)).cloned().collect()
}
