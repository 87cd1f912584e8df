//! `Config`: the image's, with what the user has changed.

use oci_spec::runtime::Spec;
use serde_json::{Map, Value, json};

use super::super::config as in_dockers_shape;
use crate::engine::Engine;
use crate::record::{HealthCheck, Record};

/// The image's `config` object with what flags changed in it. Without an image, or if it was removed by force, only
/// what flags said.
pub(crate) fn configured(engine: &Engine, record: &Record) -> Map<String, Value> {
    let mut config = of_image(engine, record).unwrap_or_default();
    for (key, value) in &record.config {
        config.insert(key.clone(), value.clone());
    }
    config
}

fn of_image(engine: &Engine, record: &Record) -> Option<Map<String, Value>> {
    let id = record.image_id.as_deref()?;
    let store = engine.images().ok()?;
    // By name it is one look; by id every image may have to be looked at.
    let named = record.image.as_deref().and_then(|name| store.resolve(name).ok());
    let image = named.filter(|image| image.id == id).or_else(|| store.resolve(id).ok())?;
    let mut raw: Value = serde_json::from_slice(&store.config_json(&image).ok()?).ok()?;
    match raw["config"].take() {
        Value::Object(config) => Some(config),
        _ => None,
    }
}

/// `Config` of a container.
pub(super) fn config(engine: &Engine, record: &Record, spec: &Spec) -> Value {
    let process = spec.process().as_ref();
    let mut config = configured(engine, record);
    let mut set = |key: &str, value: Value| drop(config.insert(key.to_owned(), value));
    set("Hostname", json!(spec.hostname().clone().unwrap_or_default()));
    set("Domainname", json!(spec.domainname().clone().unwrap_or_default()));
    set("User", json!(record.user));
    set("Tty", json!(record.terminal));
    set("OpenStdin", json!(record.interactive));
    // As Docker's client asks: who is there at the first start gives the input, and takes it away.
    let before = !record.asked.background;
    set("StdinOnce", json!(record.interactive && before));
    set("AttachStdin", json!(record.interactive && before));
    set("AttachStdout", json!(before));
    set("AttachStderr", json!(before));
    set("Image", json!(record.image.clone().unwrap_or_default()));
    let workdir = process.map(|process| process.cwd().to_string_lossy().into_owned());
    set("WorkingDir", json!(workdir.filter(|dir| dir != "/").unwrap_or_default()));
    set("Labels", json!(record.labels));
    set("StopSignal", json!(record.stop_signal));
    set("StopTimeout", json!(record.stop_timeout));
    set("MacAddress", json!(record.network.mac));
    set("Healthcheck", record.health_check.as_ref().map_or(Value::Null, health_check));
    // Of a folder, or of an image that is gone, what is executed is all that is known.
    if !config.contains_key("Cmd") && !config.contains_key("Entrypoint") {
        config.insert("Cmd".to_owned(), json!(record.command));
    }
    if !config.contains_key("Env") {
        let env = process.and_then(|process| process.env().clone()).unwrap_or_default();
        // What every container gets anew is none of its settings.
        let own = |variable: &String| {
            !["HOSTNAME=", "HOME=", "TERM="].iter().any(|name| variable.starts_with(name))
        };
        config.insert("Env".to_owned(), env.into_iter().filter(own).collect());
    }
    in_dockers_shape(&Value::Object(config))
}

/// As in an image's config: times in nanoseconds.
fn health_check(check: &HealthCheck) -> Value {
    let nanoseconds = |milliseconds: u64| milliseconds.saturating_mul(1_000_000);
    json!({
        "Test": check.test,
        "Interval": nanoseconds(check.interval),
        "Timeout": nanoseconds(check.timeout),
        "StartPeriod": nanoseconds(check.start_period),
        "StartInterval": nanoseconds(check.start_interval),
        "Retries": check.retries,
    })
}
