//! The image a box runs on. Owns that it is there: used as it is if the daemon has it, pulled otherwise.

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use super::connection::{CallError, Connection};
use crate::engine::{Image, OpenError, SandboxControl};

/// An image the daemon has.
#[derive(Debug, Clone)]
pub(super) struct LocalImage {
    /// Its digest, which names it whatever its tags are moved to.
    pub(super) id: String,
    /// What it runs by itself.
    pub(super) command: Vec<String>,
}

/// Returns the image, pulled if need be.
///
/// Errors: [`OpenError::Unsupported`] for what a container engine cannot run or no registry has; trouble if the daemon
/// or the registry does not answer.
pub(super) fn ensure_image(
    connection: &Connection,
    image: &Image,
    control: &SandboxControl,
) -> Result<LocalImage, OpenError> {
    let engine = connection.flavour.name();
    let name = match image {
        Image::Named(name) => name,
        Image::Host => {
            return Err(OpenError::Unsupported(format!(
                "the {engine} engine needs an image: name one with image = \"...\""
            )));
        }
        Image::Layers { digest, .. } => {
            return Err(OpenError::Unsupported(format!(
                "the {engine} engine does not run layers of gantry's own store ({digest}): export the image and load it \
                 into {engine}, then name it with image = \"...\""
            )));
        }
    };
    match inspect(connection, name) {
        Ok(found) => return Ok(found),
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error.into()),
    }
    pull(connection, name, control)?;
    Ok(inspect(connection, name)?)
}

fn inspect(connection: &Connection, name: &str) -> Result<LocalImage, CallError> {
    let doing = format!("look at the image {name}");
    let found = connection.call(&doing, connection.docker().inspect_image(name))?;
    let config = found.config.unwrap_or_default();
    let mut command = config.entrypoint.unwrap_or_default();
    command.extend(config.cmd.unwrap_or_default());
    Ok(LocalImage {
        id: found.id.unwrap_or_else(|| name.to_owned()),
        command,
    })
}

fn pull(connection: &Connection, name: &str, control: &SandboxControl) -> Result<(), OpenError> {
    let mut options = CreateImageOptionsBuilder::default().from_image(name);
    // Without a tag every tag would be pulled.
    let last = name.rsplit('/').next().unwrap_or(name);
    if !last.contains(':') && !last.contains('@') {
        options = options.tag("latest");
    }
    let options = options.build();
    let engine = connection.flavour.name();
    connection.wait(async {
        let mut progress = connection.docker().create_image(Some(options), None, None);
        while let Some(step) = progress.next().await {
            if control.is_cancelled() {
                return Err(OpenError::Cancelled);
            }
            let failed = match step {
                Ok(step) => step.error_detail.and_then(|detail| detail.message),
                Err(source) => Some(connection.failed("pull", source).text()),
            };
            let Some(why) = failed else { continue };
            let text = format!(
                "{engine} has no image {name} and cannot pull it ({why}); load it, or `{engine} pull {name}` where a \
                 registry answers"
            );
            let unknown = ["not found", "manifest unknown", "access denied", "denied:"];
            return Err(if unknown.iter().any(|word| why.contains(word)) {
                OpenError::Unsupported(text)
            } else {
                OpenError::Trouble(gantry_core::queue::build::Trouble::CouldNotStart, text)
            });
        }
        Ok(())
    })
}
