//! What the flags change in the image's config: Docker's `Config` of a container, which `commit` writes into an image.

use std::collections::BTreeSet;

use anyhow::Result;
use oci_spec::image::Config as ImageConfig;
use serde_json::{Map, Value, json};

use super::options::Options;
use super::process::{self, DEFAULT_PATH};
use crate::record::MountRecord;

/// The fields of an image's `config` object that the user has given other values. `null` takes one away.
pub(super) fn given(
    image: &ImageConfig,
    command: &[String],
    hostname: &str,
    mounts: &[MountRecord],
    options: &Options,
) -> Result<Map<String, Value>> {
    let mut config = Map::new();
    let mut set = |key: &str, value: Value| drop(config.insert(key.to_owned(), value));
    if let Some(entrypoint) = &options.entrypoint {
        // With another entry point the image's command means nothing.
        set("Cmd", Value::Null);
        set("Entrypoint", if entrypoint.is_empty() { Value::Null } else { json!([entrypoint]) });
    }
    if !command.is_empty() {
        set("Cmd", json!(command));
    }
    let variables = environment(image, hostname, options)?;
    if variables != image.env().clone().unwrap_or_default() {
        set("Env", json!(variables));
    }
    let plain = [
        ("User", &options.user),
        ("WorkingDir", &options.workdir),
        ("StopSignal", &options.stop_signal),
    ];
    for (key, value) in plain {
        if let Some(value) = value {
            set(key, json!(value));
        }
    }
    if !options.label.is_empty() || !options.label_file.is_empty() {
        set("Labels", json!(super::labels(image, options)?));
    }
    let mut ports: BTreeSet<String> =
        process::exposed(image, &options.network)?.into_iter().collect();
    for text in &options.network.publish {
        for port in network::parse_publish(text)? {
            ports.insert(format!("{}/{}", port.container_port, port.protocol));
        }
    }
    let keys = |keys: BTreeSet<String>| keys.into_iter().map(|key| (key, json!({}))).collect();
    if ports.len() > image.exposed_ports().as_ref().map_or(0, Vec::len) {
        set("ExposedPorts", Value::Object(keys(ports)));
    }
    let mut volumes: BTreeSet<String> = image.volumes().iter().flatten().cloned().collect();
    let of_image = volumes.len();
    let anonymous = mounts.iter().filter(|mount| mount.anonymous);
    volumes.extend(anonymous.map(|mount| mount.target.to_string_lossy().into_owned()));
    if volumes.len() > of_image {
        set("Volumes", Value::Object(keys(volumes)));
    }
    Ok(config)
}

/// The image's variables and the user's, in the image's order, without those that each container gets anew.
fn environment(image: &ImageConfig, hostname: &str, options: &Options) -> Result<Vec<String>> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let of_image: Vec<String> = image.env().iter().flatten().map(|own| name(own)).collect();
    let of_user: Vec<String> = options.env.iter().map(|own| name(own)).collect();
    let own = [DEFAULT_PATH.to_owned(), format!("HOSTNAME={hostname}"), "TERM=xterm".to_owned()];
    let mut variables = process::environment(image, hostname, options)?;
    variables.retain(|variable| {
        let name = name(variable);
        !own.contains(variable) || of_image.contains(&name) || of_user.contains(&name)
    });
    // Stable: what is new stays in its order behind them.
    variables.sort_by_key(|variable| {
        of_image.iter().position(|own| *own == name(variable)).unwrap_or(usize::MAX)
    });
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use oci_spec::image::ConfigBuilder;

    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn only_what_was_given_is_kept() {
        let image = ConfigBuilder::default()
            .env(strings(&["B=1", "PATH=/image", "A=1"]))
            .cmd(strings(&["sh"]))
            .exposed_ports(strings(&["80/tcp"]))
            .build()
            .unwrap();
        let config = |command: &[&str], options: &Options| {
            given(&image, &strings(command), "box", &[], options).unwrap()
        };
        assert_eq!(config(&[], &Options { tty: true, ..Options::default() }), Map::new());
        let mut options = Options { env: strings(&["C=3", "A=2"]), ..Options::default() };
        options.network.publish = strings(&["8080:80", "53:53/udp"]);
        let text = json!({
            "Cmd": ["ls", "-l"],
            "Env": ["B=1", "PATH=/image", "A=2", "C=3"],
            "ExposedPorts": {"53/udp": {}, "80/tcp": {}},
        });
        assert_eq!(Value::Object(config(&["ls", "-l"], &options)), text);
    }

    #[test]
    fn another_entry_point_forgets_the_command() {
        let image = ConfigBuilder::default().cmd(strings(&["sh"])).build().unwrap();
        for (entrypoint, command, expected) in [
            ("x", &[][..], json!({"Cmd": null, "Entrypoint": ["x"]})),
            ("x", &["y"], json!({"Cmd": ["y"], "Entrypoint": ["x"]})),
            ("", &["y"], json!({"Cmd": ["y"], "Entrypoint": null})),
        ] {
            let options = Options { entrypoint: Some(entrypoint.to_owned()), ..Options::default() };
            let config = given(&image, &strings(command), "box", &[], &options).unwrap();
            assert_eq!(Value::Object(config), expected);
        }
    }
}
