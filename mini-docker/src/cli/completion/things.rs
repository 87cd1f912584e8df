//! Names of what exists, for completion. Nothing is made or changed: whoever may not look finds nothing.

use std::path::Path;

use super::words::Things;
use crate::engine::Engine;
use crate::record::Record;
use crate::state::Looker;

/// Names that begin so.
pub(super) fn names(root: &Path, run_root: &Path, things: Things, typed: &str) -> Vec<String> {
    let engine = Engine {
        root: root.to_owned(),
        run_root: run_root.to_owned(),
        // Only cgroups are named after it.
        id: String::new(),
        config_file: None,
    };
    let containers = |wanted: &dyn Fn(&Record) -> bool| -> Vec<String> {
        let all = Looker::new(&engine).list().unwrap_or_default();
        all.into_iter().filter(wanted).map(|record| record.name).collect()
    };
    let names = match things {
        Things::Idle => containers(&|record| !record.is_active()),
        Things::Active => containers(&Record::is_active),
        Things::Containers => containers(&|_| true),
        Things::ContainerPaths => with(containers(&|_| true), "", ":"),
        Things::ContainerNetworks => with(containers(&|_| true), "container:", ""),
        Things::Images => images(&engine),
        Things::Volumes => volumes(&engine),
        Things::VolumeSources => with(volumes(&engine), "", ":"),
    };
    let mut names: Vec<String> = names.into_iter().filter(|name| name.starts_with(typed)).collect();
    names.sort();
    names.dedup();
    names
}

fn with(names: Vec<String>, before: &str, after: &str) -> Vec<String> {
    names.into_iter().map(|name| format!("{before}{name}{after}")).collect()
}

/// As people type them: without the tag if it is `latest`.
fn images(engine: &Engine) -> Vec<String> {
    // To open a store is to make it.
    if !engine.root.join("images").is_dir() {
        return Vec::new();
    }
    let images = engine.images().and_then(|store| Ok(store.list()?)).unwrap_or_default();
    let names = images.iter().flat_map(|image| &image.references).map(|name| name.familiar());
    names.map(|name| name.strip_suffix(":latest").unwrap_or(&name).to_owned()).collect()
}

fn volumes(engine: &Engine) -> Vec<String> {
    if !engine.root.join("volumes").is_dir() {
        return Vec::new();
    }
    let volumes = engine.volumes().and_then(|store| Ok(store.list()?)).unwrap_or_default();
    volumes.into_iter().map(|volume| volume.name).collect()
}
