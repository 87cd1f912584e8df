//! A container in Docker's shape: what its record, its image's config and its OCI spec know.

mod config;
mod host;
mod network;
mod size;
mod state;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::image;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::log;
use crate::record::{MountRecord, Record};
use crate::state::Looker;
pub(crate) use config::configured;
pub use size::sizes;

/// Describes a container; with `size` also how much it has written (`SizeRw`) and how large all its files are
/// (`SizeRootFs`), in bytes.
///
/// # Errors
/// If its spec cannot be read.
pub fn container(engine: &Engine, record: &Record, size: bool) -> Result<Value> {
    let containers = Containers::new(engine);
    let spec = containers.load_spec(&record.id)?;
    let looker = Looker::new(engine);
    let looked = looker.look(record.clone());
    let record = looked.as_ref().unwrap_or(record);
    let (path, args) = match record.command.split_first() {
        Some((path, args)) => (path.as_str(), args),
        None => ("", &[][..]),
    };
    let own = containers.run_dir(&record.id);
    let log = record.log.enabled.then(|| log::path(&containers.dir(&record.id), &record.id));
    let mut object = json!({
        "Id": record.id,
        "Created": record.created.to_string(),
        "Path": path,
        "Args": args,
        "State": state::state(record, looker.state(record)),
        "Image": record.image_id.clone().unwrap_or_default(),
        "ResolvConfPath": own.join("resolv.conf"),
        "HostnamePath": own.join("hostname"),
        "HostsPath": own.join("hosts"),
        "LogPath": log.unwrap_or_default(),
        "Name": format!("/{}", record.name),
        "RestartCount": record.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
    });
    object["HostConfig"] = host::host_config(record, &spec);
    object["GraphDriver"] = json!({ "Data": folders(engine, record)?, "Name": "overlay2" });
    if size {
        let (own, all) = sizes(engine, record);
        object["SizeRw"] = own.into();
        object["SizeRootFs"] = all.into();
    }
    object["Mounts"] = record.mounts.iter().map(|mount| one_mount(engine, mount)).collect();
    object["Config"] = config::config(engine, record, &spec);
    object["NetworkSettings"] = network::network(record);
    Ok(object)
}

/// Where its files are: its own folder, and the folders of its image below it, topmost first.
fn folders(engine: &Engine, record: &Record) -> Result<Map<String, Value>> {
    let diff_ids: Vec<&str> = record.layers.iter().map(String::as_str).collect();
    let mut folders = Map::new();
    if diff_ids.is_empty() {
        return Ok(folders);
    }
    let own = Containers::new(engine).dir(&record.id);
    let lower = image::folders(&engine.layers()?, &diff_ids);
    let lowers: Vec<&str> =
        ["UpperDir", "LowerDir"].iter().filter_map(|key| lower.get(*key)?.as_str()).collect();
    folders.insert("LowerDir".to_owned(), lowers.join(":").into());
    folders.insert("UpperDir".to_owned(), json!(own.join("upper")));
    folders.insert("WorkDir".to_owned(), json!(own.join("work")));
    Ok(folders)
}

fn one_mount(engine: &Engine, mount: &MountRecord) -> Value {
    let volume = mount.volume.as_ref();
    let place = volume.and_then(|name| Some(engine.volumes().ok()?.get(name).ok()?.mountpoint));
    let source = place.or_else(|| mount.source.clone()).unwrap_or_default();
    let mut object = Map::new();
    object.insert("Type".to_owned(), mount.kind.clone().into());
    if let Some(name) = volume {
        object.insert("Name".to_owned(), name.clone().into());
    }
    object.insert("Source".to_owned(), json!(source));
    object.insert("Destination".to_owned(), json!(mount.target));
    if volume.is_some() {
        object.insert("Driver".to_owned(), "local".into());
    }
    object.insert("Mode".to_owned(), if mount.read_only { "ro" } else { "" }.into());
    object.insert("RW".to_owned(), (!mount.read_only).into());
    let usual = if mount.kind == "bind" { "rprivate" } else { "" };
    let propagation = mount.propagation.clone().unwrap_or_else(|| usual.to_owned());
    object.insert("Propagation".to_owned(), propagation.into());
    object.into()
}
