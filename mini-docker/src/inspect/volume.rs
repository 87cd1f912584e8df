//! A volume in Docker's shape.

use serde_json::{Value, json};
use volumes::Volume;

/// Describes a volume.
pub fn volume(volume: &Volume) -> Value {
    let map = |map: &std::collections::BTreeMap<String, String>| {
        if map.is_empty() { Value::Null } else { json!(map) }
    };
    json!({
        "CreatedAt": volume.created,
        "Driver": "local",
        "Labels": map(&volume.labels),
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": map(&volume.options),
        "Scope": "local",
    })
}
