//! `RUN`: a container of the layers so far, made and started as `run` does it, and what it has written.
//!
//! The settings of its image are the stage's so far, without what concerns containers of the finished image: their
//! command, ports, and volumes, which would keep what the step writes.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use build::config::Settings;
use build::instruction::{Instruction, Run};

use super::aside::Aside;
use super::attend::Attendance;
use super::chain::Chain;
use super::coordinate::cancelled;
use super::layer;
use super::mounts::{self, Mounts};
use super::stage::Worker;
use crate::commit::every_mount_point;
use crate::container::start;
use crate::containers::Containers;
use crate::create::create_step;
use crate::create::options::{Options, StorageFlags};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::terminal::Signals;

/// Where a step finds a heredoc that is a program.
const SCRIPTS: &str = "/dev/pipes";

/// Name of the machine that steps see: the same in each build.
const HOSTNAME: &str = "build";

/// `RUN`, out of the cache or in a container.
///
/// # Errors
/// What kept it from starting, or that its exit code was not 0.
pub(super) fn step(worker: &mut Worker<'_>, instruction: &Instruction, run: &Run) -> Result<()> {
    let (args, script) = words(worker, run);
    let network = run.network.as_ref().map(|word| worker.expand(word)).transpose()?;
    let network = network.filter(|name| name != "default").or(worker.plan.request.network.clone());
    let security = run.security.as_ref().map(|word| worker.expand(word)).transpose()?;
    let privileged = security.as_deref() == Some("insecure");
    if privileged && !worker.plan.request.allow_insecure {
        return Err(Failure::new("RUN --security=insecure is not allowed")
            .hint("build with --allow security.insecure, if you trust this Dockerfile as root")
            .into());
    }
    let declared: Vec<(String, String)> = unset(worker, worker.scope.declared());
    let proxies: Vec<(String, String)> = unset(worker, worker.scope.proxies());
    worker.begin_step(&instruction.text)?;
    let mut mounts = Mounts::read(worker, run)?;

    let mut ingredients = worker.ingredients(format!("RUN {}", args.join("\u{1f}")));
    let parts = &mut ingredients.parts;
    for (name, value) in worker.settings.env() {
        parts.insert(format!("ENV {name}"), value);
    }
    for (name, value) in &declared {
        parts.insert(format!("ARG {name}"), value.clone());
    }
    parts.insert("USER".to_owned(), worker.settings.user().to_owned());
    parts.insert("WORKDIR".to_owned(), worker.settings.workdir().to_owned());
    parts.insert("script".to_owned(), script.clone().unwrap_or_default());
    parts.insert("network".to_owned(), network.clone().unwrap_or_default());
    parts.insert("security".to_owned(), privileged.to_string());
    let files = mounts.ingredients(parts);

    let created_by = created_by(&declared, &args, script.as_deref());
    let env = [declared, proxies].concat();
    worker.made(ingredients, files, false, |worker, aside| {
        let mut given = mounts.prepare(worker, aside)?;
        if let (Some(script), Some(name)) = (&script, script_name(run)) {
            given.mounts.push(script_mount(aside, &name, script)?);
        }
        let upper = aside.path().join("upper");
        let (settings, chain) = (worker.settings.clone(), worker.chain.clone());
        let request = worker.plan.request;
        let order = Order {
            chain: &chain,
            settings: &settings,
            args: &args,
            env: [&env[..], &given.env].concat(),
            network: network.as_deref(),
            mounts: given.mounts,
            privileged,
            add_hosts: &request.add_hosts,
            upper: upper.clone(),
        };
        let engine = worker.engine;
        let ran = execute(engine, &order, &mut |bytes| worker.output(bytes))?;
        if ran.code != 0 {
            return Err(failed(&args, &ran));
        }
        layer::tidy(&upper, &ran.mount_points, &chain.lowers(engine)?)?;
        Ok((upper, true))
    })?;
    worker.remember(created_by, false);
    Ok(())
}

/// The words to execute, and the script that they are to find, if it is a file.
fn words(worker: &Worker<'_>, run: &Run) -> (Vec<String>, Option<String>) {
    match &run.script {
        Some(script) if script.content.starts_with("#!") => {
            (vec![format!("{SCRIPTS}/{}", script.name)], Some(script.content.clone()))
        }
        _ => (worker.settings.arguments(&run.command), None),
    }
}

/// Those that `ENV` has not given another value.
fn unset<'a>(
    worker: &Worker<'_>,
    variables: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<(String, String)> {
    variables
        .filter(|(name, _)| worker.settings.variable(name).is_none())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The line of the history, as Docker writes it: `RUN |1 VERSION=3 /bin/sh -c make`.
fn created_by(declared: &[(String, String)], args: &[String], script: Option<&str>) -> String {
    let mut text = "RUN ".to_owned();
    if !declared.is_empty() {
        text.push_str(&format!("|{} ", declared.len()));
        declared.iter().for_each(|(name, value)| text.push_str(&format!("{name}={value} ")));
    }
    text.push_str(script.unwrap_or(&args.join(" ")));
    text
}

fn script_name(run: &Run) -> Option<String> {
    run.script.as_ref().map(|script| script.name.clone())
}

/// The script as a file that only this step sees: `/dev` is the container's own.
fn script_mount(aside: &Aside, name: &str, script: &str) -> Result<String> {
    let path = aside.path().join("script");
    let write = || -> std::io::Result<()> {
        std::fs::write(&path, script)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
    };
    write().with_context(|| format!("write `{}`", path.display()))?;
    Ok(mounts::bind(&path, &format!("{SCRIPTS}/{name}"), true))
}

fn failed(args: &[String], ran: &Ran) -> anyhow::Error {
    let code = ran.code;
    let failure = Failure::new(format!(
        "process \"{}\" did not complete successfully: exit code: {code}",
        args.join(" ")
    ));
    match (code, ran.oom) {
        (_, true) => failure.hint("it was killed for want of memory"),
        (127, _) => failure.hint("127: the shell has not found a program"),
        (126, _) => failure.hint("126: a program is there and cannot be executed"),
        _ => failure,
    }
    .into()
}

/// What is to be run.
struct Order<'o> {
    chain: &'o Chain,
    settings: &'o Settings,
    args: &'o [String],
    /// Variables besides those of the settings: `ARG`s.
    env: Vec<(String, String)>,
    network: Option<&'o str>,
    /// `--mount` of `run`, in its grammar.
    mounts: Vec<String>,
    privileged: bool,
    add_hosts: &'o [String],
    /// Where the upper folder is to go.
    upper: PathBuf,
}

/// How it ended.
struct Ran {
    code: i32,
    oom: bool,
    /// What the runtime has mounted on, relative to the root.
    mount_points: Vec<PathBuf>,
}

/// Runs it; `tell` gets its output. What it has written is in `order.upper` if its exit code was 0.
///
/// # Errors
/// What kept it from starting.
fn execute(engine: &Engine, order: &Order<'_>, tell: &mut dyn FnMut(&[u8])) -> Result<Ran> {
    // Ended between two steps of a start, a worker would leave half a container. Now it is told where that is safe.
    let signals = Signals::collect()?;
    let image = image(engine, order)?;
    let mut options = Options {
        rm: true,
        quiet: true,
        hostname: Some(HOSTNAME.to_owned()),
        env: order.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        entrypoint: Some(String::new()),
        storage: StorageFlags { mount: order.mounts.clone(), ..StorageFlags::default() },
        ..Options::default()
    };
    options.network.mode = order.network.unwrap_or("bridge").to_owned();
    options.network.add_host = order.add_hosts.to_vec();
    options.isolation.privileged = order.privileged;
    let created = create_step(engine, image, "build", order.args, &options)?;
    let (mut record, mut spec) = (created.record.clone(), created.spec.clone());
    let held = created.reserved.keep();
    let mut attendant = Attendance::new(tell);
    let outcome = start::start(engine, &held, &mut record, &mut spec, &mut attendant, &signals);
    let ran = outcome.and_then(|ended| {
        let mount_points = every_mount_point(engine, &record)?;
        if ended.code == 0 {
            let from = held.dir.join("upper");
            std::fs::rename(&from, &order.upper)
                .with_context(|| format!("move `{}`", from.display()))?;
        }
        for leftover in &ended.leftovers {
            crate::failure::warn(leftover);
        }
        Ok(Ran { code: ended.code, oom: ended.oom, mount_points })
    });
    let removed = Containers::new(engine).remove(&record.id, &record.name, held);
    let ran = ran?;
    removed?;
    match signals.next_end() {
        Some(signal) => Err(cancelled(signal)),
        None => Ok(ran),
    }
}

/// The layers of a container: those so far, or, since an overlay needs one, one with nothing in it.
fn diff_ids(engine: &Engine, chain: &Chain) -> Result<Vec<String>> {
    let ids: Vec<String> = chain.diff_ids().map(str::to_owned).collect();
    if !ids.is_empty() {
        return Ok(ids);
    }
    // The end of a tar and nothing before it (tar(5)).
    let tar = [0; 1024];
    let id = layers::DiffId::of(&tar);
    let store = engine.layers()?;
    if !store.has(&id) {
        store.add(&id, &tar[..])?;
    }
    Ok(vec![id.to_string()])
}

/// The layers so far with the settings so far, as far as they matter to a process.
fn image(engine: &Engine, order: &Order<'_>) -> Result<images::Image> {
    let mut process = order.settings.object().clone();
    // What a container of the image would do is not what this step does; and a volume would keep what it writes.
    for key in ["Cmd", "Entrypoint", "Volumes", "ExposedPorts", "Labels", "Healthcheck", "OnBuild"]
    {
        process.shift_remove(key);
    }
    let host = images::Platform::host();
    let config = serde_json::json!({
        "os": host.os, "architecture": host.architecture, "config": process,
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    let layers = diff_ids(engine, order.chain)?.into_iter().map(|diff_id| images::Layer {
        digest: diff_id.clone(),
        size: 0,
        media_type: String::new(),
        diff_id,
    });
    Ok(images::Image {
        // No image has this id, so none is in use by this container.
        id: format!("sha256:{:064}", 0),
        manifest_digest: String::new(),
        references: Vec::new(),
        repo_digests: Vec::new(),
        config: serde_json::from_value(config).context("settings of a step")?,
        extensions: serde_json::Map::new(),
        layers: layers.collect(),
        created: None,
        size: 0,
    })
}
