//! The steps in which an image was made.

use anyhow::{Context, Result};
use images::Image;
use jiff::Timestamp;
use serde_json::Value;

use crate::engine::Engine;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The image's id at the topmost step; the images in between are not kept.
    pub id: Option<String>,
    /// When, if the config tells.
    pub created: Option<Timestamp>,
    /// The command or the Dockerfile instruction, with tabs as spaces.
    pub created_by: String,
    /// Bytes that its layer takes unpacked; 0 if it made none.
    pub size: u64,
    /// What the builder remarks.
    pub comment: String,
}

/// The steps of an image, last one first. Layers that the config's history does not mention are listed too.
///
/// # Errors
/// If its config cannot be read.
pub fn history(engine: &Engine, image: &Image) -> Result<Vec<Step>> {
    let raw = engine.images()?.config_json(image)?;
    let raw: Value = serde_json::from_slice(&raw).context("read the image's config")?;
    let layers = engine.layers()?;
    let sizes: Vec<u64> = image
        .layers
        .iter()
        .map(|layer| {
            let unpacked = layer.diff_id.parse().ok().and_then(|id| layers.size(&id).ok());
            unpacked.unwrap_or(layer.size)
        })
        .collect();
    let mut steps = steps(&raw, &sizes);
    if let Some(top) = steps.first_mut() {
        top.id = Some(image.id.clone());
    }
    Ok(steps)
}

fn steps(raw: &Value, sizes: &[u64]) -> Vec<Step> {
    let time = |of: &Value| of["created"].as_str().and_then(|time| time.parse().ok());
    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let mut sizes = sizes.iter().copied();
    let mut steps: Vec<Step> = Vec::new();
    for step in raw["history"].as_array().into_iter().flatten() {
        let empty = step["empty_layer"].as_bool().unwrap_or_default();
        steps.push(Step {
            id: None,
            created: time(step),
            created_by: text(step, "created_by").replace('\t', " "),
            size: if empty { 0 } else { sizes.next().unwrap_or_default() },
            comment: text(step, "comment"),
        });
    }
    steps.extend(sizes.map(|size| Step {
        id: None,
        created: time(raw),
        created_by: String::new(),
        size,
        comment: String::new(),
    }));
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn layers_go_with_the_steps_that_made_them() {
        let time = "2024-01-02T03:04:05Z";
        let config = json!({ "created": time, "history": [
            { "created": time, "created_by": "ADD\tfile", "comment": "c" },
            { "created_by": "CMD", "empty_layer": true },
            { "created_by": "RUN" },
        ]});
        let told: Vec<(String, u64, String)> = steps(&config, &[7, 8, 9])
            .into_iter()
            .map(|step| (step.created_by, step.size, step.comment))
            .collect();
        let expected = [("", 9, ""), ("RUN", 8, ""), ("CMD", 0, ""), ("ADD file", 7, "c")];
        assert_eq!(told, expected.map(|(by, size, text)| (by.to_owned(), size, text.to_owned())));
        // Too many steps: they have no layer.
        assert_eq!(steps(&config, &[]).iter().map(|step| step.size).sum::<u64>(), 0);
        // No history at all.
        let steps = steps(&json!({ "created": time }), &[1, 2]);
        assert_eq!(steps.iter().map(|step| step.size).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(steps[0].created, time.parse().ok());
    }
}
