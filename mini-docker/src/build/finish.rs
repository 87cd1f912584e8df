//! The last step: config, history and names, and the image is there.

use anyhow::Result;
use build::cache::{Cache, Ingredients};
use images::commit::{Derived, History, NewLayer};
use images::{Image, Loaded};

use super::aside::Aside;
use super::chain::Chain;
use super::layer::{self, Press};
use super::plan::Plan;
use super::squash;
use super::talk::{Line, Outcome};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::{events, image};

/// Who has made a layer, for the history.
const COMMENT: &str = "mini-docker.build";

/// Makes the image; returns its id.
///
/// # Errors
/// If a layer or the base has gone meanwhile, or the disk is full. No name is changed then.
pub(super) fn finish(engine: &Engine, plan: &Plan<'_>, outcome: &Outcome) -> Result<String> {
    let store = engine.images()?;
    let base = outcome.chain.image.as_deref().map(|id| base(plan, &store, id)).transpose()?;
    let (chain, lines) = match plan.request.squash && outcome.chain.own.len() > 1 {
        true => squashed(engine, plan, outcome)?,
        false => (outcome.chain.clone(), outcome.history.clone()),
    };
    let layers: Vec<NewLayer> = chain
        .own
        .iter()
        .map(|layer| layer::for_image(engine, &store, layer))
        .collect::<Result<_>>()?;
    let history = lines.into_iter().map(|line| History {
        created: line.created,
        created_by: line.created_by,
        author: outcome.author.clone(),
        comment: COMMENT.to_owned(),
        empty_layer: line.empty,
    });
    let mut tags = plan.request.tags.iter();
    let reference = tags.next();
    let loaded = store.derive(Derived {
        base: base.as_ref(),
        layers,
        history: history.collect(),
        process: outcome.settings.clone(),
        reference,
    })?;
    image::unpack_all(engine, &store, std::slice::from_ref(&loaded))?;
    let built = store.resolve(&loaded.id)?;
    for tag in tags {
        store.tag(&built, tag)?;
    }
    tell(engine, plan, &loaded);
    Ok(loaded.id)
}

/// The image that the build has begun with: somebody may have removed it meanwhile.
fn base(plan: &Plan<'_>, store: &images::Store, id: &str) -> Result<Image> {
    store.resolve(id).map_err(|error| match error {
        images::Error::NotFound(_) => {
            let names = plan.images.iter().filter(|(_, image)| image.id == id);
            let name = names.map(|(name, _)| name.as_str()).next().unwrap_or(id);
            Failure::new(format!("the base image {name} was removed while the build went on"))
                .hint("get it again and build again: finished steps are in the cache")
                .into()
        }
        other => other.into(),
    })
}

fn tell(engine: &Engine, plan: &Plan<'_>, loaded: &Loaded) {
    let names = plan.request.tags.iter().map(images::Reference::familiar);
    let name = names.into_iter().next().unwrap_or_else(|| loaded.id.clone());
    events::image(engine, "build", &loaded.id, &name);
}

/// All of the build's own layers as one: what of them is visible at the end. The base's stay.
fn squashed(engine: &Engine, plan: &Plan<'_>, outcome: &Outcome) -> Result<(Chain, Vec<Line>)> {
    let cache = super::cache(engine)?;
    let mut ingredients =
        Ingredients { instruction: "squash".to_owned(), ..Ingredients::default() };
    ingredients.parent = outcome.chain.id();
    ingredients.parts.insert("base".into(), outcome.chain.below.join(" "));
    let below = Chain { own: Vec::new(), ..outcome.chain.clone() };
    let known = cache.get(&ingredients.key()).and_then(|record| record.layer);
    let layer = match known.filter(|layer| layer::is_here(engine, layer).unwrap_or_default()) {
        Some(layer) => layer,
        None => merge(engine, plan, outcome, &cache, ingredients)?,
    };
    let mut lines = outcome.history.clone();
    lines.iter_mut().for_each(|line| line.empty = true);
    let created = outcome.time;
    lines.push(Line { created_by: "squash".to_owned(), created, empty: false });
    Ok((Chain { own: vec![layer], ..below }, lines))
}

fn merge(
    engine: &Engine,
    plan: &Plan<'_>,
    outcome: &Outcome,
    cache: &Cache,
    ingredients: Ingredients,
) -> Result<build::cache::Layer> {
    let aside = Aside::new(engine)?;
    let upper = aside.folder("upper")?;
    squash::merge(engine, &outcome.chain, &upper, &aside)?;
    let press = Press { engine, cache, epoch: plan.epoch };
    let record = press.press(&upper, ingredients, Default::default(), false)?;
    record.layer.ok_or_else(|| anyhow::anyhow!("a squashed image without a layer"))
}
