//! Pull and push: the registries of chapter 08, with layers unpacked by chapter 04 while they come.

use std::error::Error as StdError;
use std::io::Read;

use anyhow::Result;
use images::{
    Image, Observer, Platform, Pull, PullError, Pulled, Push, PushedImage, Reference, Unpack,
};

use crate::engine::Engine;
use crate::events;
use crate::failure::Failure;
use crate::image;
use crate::progress::Progress;

/// Hands the layers of a pull to the layer store.
struct Unpacker<'e> {
    engine: &'e Engine,
    layers: layers::Store,
}

impl Unpack for Unpacker<'_> {
    fn has(&self, diff_id: &str) -> bool {
        diff_id.parse().is_ok_and(|id| self.layers.has(&id))
    }

    fn unpack(
        &self,
        diff_id: &str,
        tar: &mut (dyn Read + Send),
    ) -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
        self.layers.add_within(&diff_id.parse()?, &mut *tar, &image::room(self.engine)?)?;
        // Somebody else may have been faster; then nothing was read, and the blob has to be checked all the same.
        std::io::copy(tar, &mut std::io::sink())?;
        Ok(())
    }
}

/// Pulls an image, ready to run.
///
/// # Errors
/// Whatever the registry, the image or the disk has against it. The image that had the name before still has it.
pub fn pull(
    engine: &Engine,
    reference: &Reference,
    platform: Option<&Platform>,
    observer: &dyn Observer,
) -> Result<Pulled> {
    image::settle(engine);
    let settings = engine.settings()?;
    let store = engine.images()?;
    let unpacker = Unpacker { engine, layers: engine.layers()? };
    let client = settings.client();
    let pulled = store.pull(&Pull {
        client: &client,
        reference,
        platform,
        workers: settings.downloads,
        unpack: &unpacker,
        observer,
    });
    match pulled {
        Ok(pulled) => {
            // Somebody may have removed a layer between the look at it and the image's name.
            image::unpack(engine, &store, &store.resolve(&pulled.loaded.id)?)?;
            events::image(engine, "pull", &reference.familiar(), &reference.familiar_name());
            Ok(pulled)
        }
        Err(error) => {
            if !matches!(error, PullError::Image(images::Error::Registry(_))) {
                image::sweep_layers(engine).ok();
            }
            // Told as the store's own, so that what is known of it is found.
            Err(match error {
                PullError::Image(error) => error.into(),
                other => other.into(),
            })
        }
    }
}

/// Pushes an image under one of its names.
///
/// # Errors
/// If there is no such image, or the registry refuses.
pub fn push(
    engine: &Engine,
    reference: &Reference,
    observer: &dyn Observer,
) -> Result<PushedImage> {
    let store = engine.images()?;
    let image = store.resolve(&reference.to_string()).map_err(|error| match error {
        images::Error::NotFound(_) => {
            let name = reference.familiar();
            Failure::new(format!("no image has the name {name}"))
                .hint(format!("an image is pushed under its name: mini-docker tag IMAGE {name}"))
        }
        .into(),
        other => anyhow::Error::from(other),
    })?;
    let chosen = |digest: &String| {
        digest.split_once('@').is_some_and(|(name, digest)| {
            name == reference.familiar_name() && digest != image.manifest_digest
        })
    };
    if image.repo_digests.iter().any(chosen) {
        crate::failure::tell(&format!(
            "mini-docker: warning: {} came from an image for several platforms: only {} is pushed",
            reference.familiar(),
            image.platform()
        ));
    }
    let settings = engine.settings()?;
    let client = settings.client();
    let workers = settings.uploads;
    let pushed = store.push(&image, &Push { client: &client, reference, workers, observer })?;
    events::image(engine, "push", &reference.familiar(), &reference.familiar_name());
    Ok(pushed)
}

/// All names of a repository that are here: what `push -a` pushes.
///
/// # Errors
/// If the store cannot be read.
pub fn names_of(engine: &Engine, repository: &Reference) -> Result<Vec<Reference>> {
    let images = engine.images()?.list()?;
    let names = images.into_iter().flat_map(|image| image.references);
    let mut names: Vec<Reference> =
        names.filter(|name| name.name() == repository.name() && name.digest().is_none()).collect();
    names.sort();
    Ok(names)
}

/// All tags of a repository in its registry: what `pull -a` pulls.
///
/// # Errors
/// If the registry does not answer.
pub fn tags_of(engine: &Engine, repository: &Reference) -> Result<Vec<Reference>> {
    let client = engine.settings()?.client();
    let tags = client.registry(repository.registry()).tags(repository.repository())?;
    tags.iter().map(|tag| Ok(repository.with_tag(tag)?)).collect()
}

/// When `run` and `create` pull.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Policy {
    /// If the image is not here
    #[default]
    Missing,
    /// In any case: the name may stand for a newer image
    Always,
    /// Never
    Never,
}

/// Finds the image to make a container from, and pulls it if the policy says so.
///
/// # Errors
/// If it is not here and is not to be pulled, or cannot be.
pub fn find_or_pull(
    engine: &Engine,
    name: &str,
    policy: Policy,
    platform: Option<&Platform>,
    quiet: bool,
) -> Result<Image> {
    let here = image::resolve(engine, name);
    let suits = |image: &Image| platform.is_none_or(|wanted| wanted.runs(&image.platform()));
    match (policy, here) {
        (Policy::Never | Policy::Missing, Ok(image)) if suits(&image) => {
            if let Some(warning) = image.platform_warning().filter(|_| platform.is_none()) {
                crate::failure::tell(&format!("mini-docker: warning: {warning}"));
            }
            return Ok(image);
        }
        (Policy::Never, Ok(image)) => {
            return Err(Failure::new(format!(
                "image {name} is for {}, not for {}",
                image.platform(),
                platform.map_or_else(String::new, Platform::to_string)
            ))
            .into());
        }
        (Policy::Never, Err(error)) => return Err(error),
        // An id cannot be pulled, and neither can a name that is none.
        (_, Err(error)) if !is_pullable(name) => return Err(error),
        (Policy::Missing, Err(error)) if !error.is::<Failure>() => return Err(error),
        (Policy::Missing, Err(_)) => {
            let familiar = Reference::parse(name)?.familiar();
            if !quiet {
                crate::failure::tell(&format!("Unable to find image '{familiar}' locally"));
            }
        }
        (Policy::Always | Policy::Missing, _) => {}
    }
    let reference = Reference::parse(name)?;
    let progress = Progress::of_pull(&reference, crate::progress::Place::Errors, quiet);
    let pulled = pull(engine, &reference, platform, &progress)?;
    progress.pulled(&pulled);
    image::resolve(engine, &pulled.loaded.id)
}

/// Whether a text is a name and not the beginning of an image ID.
fn is_pullable(name: &str) -> bool {
    !name.starts_with("sha256:") && Reference::parse(name).is_ok()
}

/// Warns if the image was made for another machine.
pub fn warn_of_platform(pulled: &Pulled) {
    if let Some(warning) = &pulled.loaded.warning {
        crate::failure::tell(&format!("mini-docker: {warning}"));
    }
}
