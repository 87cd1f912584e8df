//! From an image's config and the user's flags to a container that exists: a record, an OCI runtime spec, a folder.

mod asked;
mod config;
pub mod duration;
mod health;
mod lifecycle;
mod limits;
mod mounts;
mod namespaces;
pub mod options;
mod process;
mod volumes_from;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use oci_spec::image::Config as ImageConfig;
use oci_spec::runtime::{LinuxBuilder, LinuxNamespaceType, Mount, RootBuilder, Spec, SpecBuilder};

use crate::containers::{Containers, Reserved};
use crate::engine::Engine;
use crate::events;
use crate::failure::Failure;
use crate::record::{NetworkRequest, Record, RestartPolicy, Status};
use crate::spec::{is_own, own_sysctls};
pub use lifecycle::parse_restart;
pub(crate) use limits::update as update_limits;
pub use mounts::volume_users;
pub(crate) use mounts::{remove_anonymous, remove_orphans};
pub use namespaces::parse_mac;
use options::Options;
pub(crate) use process::add_variables;

/// A container that exists on disk and is held by this process, but was not started.
#[derive(Debug)]
pub struct Created<'engine> {
    /// Undoes everything unless it is kept.
    pub reserved: Reserved<'engine>,
    /// What is remembered of it.
    pub record: Record,
    /// What it is to be.
    pub spec: Spec,
}

/// Where the container's files come from.
struct Origin {
    image: Option<images::Image>,
    rootfs: Option<PathBuf>,
}

/// Creates a container from an image (or a folder, with `--rootfs`). Nothing is left if it fails.
///
/// # Errors
/// A wrong flag, an image that is not here, a name that is taken; whatever is wrong is found before anything is made.
pub fn create<'engine>(
    engine: &'engine Engine,
    image: &str,
    command: &[String],
    options: &Options,
) -> Result<Created<'engine>> {
    check(options)?;
    let origin = origin(engine, image, options)?;
    create_of(engine, origin, image, command, options)
}

/// As [`create`], of an image that need not be in the store, as long as its layers are unpacked: a step of a build.
/// `name` is what the record calls it.
///
/// # Errors
/// As [`create`].
pub(crate) fn create_step<'engine>(
    engine: &'engine Engine,
    image: images::Image,
    name: &str,
    command: &[String],
    options: &Options,
) -> Result<Created<'engine>> {
    create_of(engine, Origin { image: Some(image), rootfs: None }, name, command, options)
}

fn create_of<'engine>(
    engine: &'engine Engine,
    origin: Origin,
    image: &str,
    command: &[String],
    options: &Options,
) -> Result<Created<'engine>> {
    let config = origin.image.as_ref().and_then(|image| image.config.config().clone());
    let config = config.unwrap_or_default();
    let args = process::arguments(&config, options.entrypoint.as_deref(), command)?;
    let ports = process::exposed(&config, &options.network)?;
    let network = namespaces::network_request(engine, &options.network, &ports)?;
    let requested = mounts::requested(engine, &config, &options.storage)?;

    let pid_mode = namespaces::pid_mode(engine, &options.isolation)?;
    let stop_signal = stop_signal(&config, options)?;
    let labels = labels(&config, options)?;
    let of_image = origin.image.as_ref().map(|image| image.extensions.clone()).unwrap_or_default();
    let health = health::health_check(&of_image, &options.health, options.rm)?;

    let reserved = Containers::new(engine).reserve(options.name.as_deref())?;
    let id = reserved.id.clone();
    let hostname = match &options.hostname {
        Some(name) => name.clone(),
        None if options.isolation.uts.as_deref() == Some("host") => host_name(),
        None => id[..12].to_owned(),
    };
    let (mut records, mut mounts, mut holds) = (Vec::new(), Vec::new(), Vec::new());
    for resolved in mounts::resolve(engine, &id, requested)? {
        records.push(resolved.record);
        mounts.push(resolved.mount);
        holds.extend(resolved.hold);
    }
    let parts =
        Parts { id: &id, hostname: &hostname, args: &args, network: &network, pid_mode: &pid_mode };
    let finished = spec(engine, &origin, &config, &parts, mounts, options).and_then(|spec| {
        let mut given = config::given(&config, command, &hostname, &records, options)?;
        given.extend(health.given.map(|check| ("Healthcheck".to_owned(), check)));
        if let Some(file) = &options.cidfile {
            write_cidfile(file, &id)?;
        }
        Ok((spec, given))
    });
    if finished.is_err() {
        // A held volume cannot be removed.
        holds.clear();
        mounts::remove_anonymous(engine, &records, &id);
    }
    let (spec, given) = finished?;
    let record = Record {
        name: reserved.name.clone(),
        image: origin.image.as_ref().map(|_| image.to_owned()),
        image_id: origin.image.as_ref().map(|image| image.id.clone()),
        layers: origin.image.iter().flat_map(diff_ids).collect(),
        created: Timestamp::now(),
        auto_remove: options.rm,
        terminal: options.tty,
        interactive: options.interactive,
        init: options.init,
        user: options.user.clone().or(config.user().clone()).unwrap_or_default(),
        group_add: options.group_add.clone(),
        mounts: records,
        config: given,
        asked: asked::asked(options),
        restart: lifecycle::restart_policy(options)?,
        restarts: 0,
        halted: false,
        stop_timeout: options.stop_timeout,
        log: lifecycle::log_options(options)?,
        health_check: health.check,
        health: None,
        failure: None,
        finished_before: None,
        status: Status::Created,
        id,
        command: args,
        stop_signal,
        network,
        pid_mode,
        labels,
    };
    // From here on the record says which volumes and layers are in use. Not for the disk yet: whoever starts it or
    // leaves it for later does that.
    let saved = Containers::new(engine).save(&record, Some(&spec), false);
    drop(holds);
    if saved.is_err() {
        mounts::remove_anonymous(engine, &record.mounts, &record.id);
    }
    saved?;
    events::container(engine, &record, "create", &[]);
    Ok(Created { reserved, record, spec })
}

/// What [`spec`] needs besides image and flags.
struct Parts<'a> {
    id: &'a str,
    hostname: &'a str,
    args: &'a [String],
    network: &'a NetworkRequest,
    pid_mode: &'a str,
}

/// The diff IDs of an image's layers, lowest first.
pub fn diff_ids(image: &images::Image) -> Vec<String> {
    image.layers.iter().map(|layer| layer.diff_id.to_string()).collect()
}

/// Finds what is not supported, and flags that contradict each other.
fn check(options: &Options) -> Result<()> {
    let named = options.hostname.is_some() || options.domainname.is_some();
    if named && options.isolation.uts.as_deref() == Some("host") {
        return Err(Failure::new("conflicting options: hostname and the UTS mode")
            .hint("with --uts host the name is the host's: leave out --hostname and --domainname")
            .into());
    }
    if let Some(mode) =
        options.isolation.userns.as_deref().filter(|mode| !matches!(*mode, "" | "host"))
    {
        return Err(Failure::new(format!("invalid USER mode: {mode}"))
            .hint("--userns host, as it is without the flag: user ids are not mapped yet")
            .into());
    }
    // What is wrong is found before anything is made.
    if lifecycle::restart_policy(options)? != RestartPolicy::No && options.rm {
        return Err(Failure::new("conflicting options: cannot specify both --restart and --rm")
            .hint("what is removed when it ends cannot be started again")
            .into());
    }
    lifecycle::log_options(options).map(drop)
}

fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn origin(engine: &Engine, image: &str, options: &Options) -> Result<Origin> {
    if options.rootfs {
        let folder = Path::new(image).canonicalize().map_err(|error| {
            Failure::new(format!("open root file system `{image}`: {error}"))
                .hint("--rootfs takes a folder that holds /bin, /etc and so on")
        })?;
        if !folder.is_dir() {
            return Err(Failure::new(format!("`{image}` is not a folder"))
                .hint("--rootfs takes a folder that holds /bin, /etc and so on")
                .into());
        }
        return Ok(Origin { image: None, rootfs: Some(folder) });
    }
    let (platform, quiet) = (options.platform.as_ref(), options.quiet);
    let image = crate::transfer::find_or_pull(engine, image, options.pull, platform, quiet)?;
    Ok(Origin { image: Some(image), rootfs: None })
}

fn spec(
    engine: &Engine,
    origin: &Origin,
    config: &ImageConfig,
    parts: &Parts<'_>,
    requested: Vec<Mount>,
    options: &Options,
) -> Result<Spec> {
    let &Parts { id, hostname, args, network, pid_mode } = parts;
    let namespaces = namespaces::namespaces(network, pid_mode, &options.isolation)?;
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces)
        .cgroups_path(format!("{}/{id}", engine.cgroup_parent()))
        .resources(limits::resources(&options.limits, &options.isolation)?)
        .devices(limits::devices(&options.isolation)?)
        .sysctl(limits::sysctls(&options.isolation, network)?)
        .build()?;
    // Which process has the namespaces of another container is known when this one starts.
    let shared =
        |kind| kind == LinuxNamespaceType::Network && network.mode.starts_with("container:");
    own_sysctls(&linux, |kind| is_own(&linux, kind) && !shared(kind))?;
    if options.isolation.privileged {
        linux.set_masked_paths(None);
        linux.set_readonly_paths(None);
    } else {
        let paths = |paths: Vec<PathBuf>| {
            Some(paths.iter().map(|path| path.to_string_lossy().into_owned()).collect())
        };
        linux.set_masked_paths(paths(rootfs::default_masked()));
        linux.set_readonly_paths(paths(rootfs::default_readonly()));
    }
    let root = origin.rootfs.clone().unwrap_or_else(|| PathBuf::from("rootfs"));
    let own_hostname = options.isolation.uts.as_deref() != Some("host");
    let mut spec = SpecBuilder::default()
        .version("1.0.2")
        .root(RootBuilder::default().path(root).readonly(options.read_only).build()?)
        .process(process::process(config, args, hostname, options)?)
        .mounts(mounts::mounts(engine, id, network, requested, options)?)
        .linux(linux)
        .build()?;
    // Set in any case: the builder has a default of its own, `youki`.
    spec.set_hostname(own_hostname.then(|| hostname.to_owned()));
    spec.set_domainname(options.domainname.clone().filter(|_| own_hostname));
    Ok(spec)
}

fn stop_signal(config: &ImageConfig, options: &Options) -> Result<String> {
    let signal = options.stop_signal.clone().or(config.stop_signal().clone());
    let signal = signal.unwrap_or_else(|| "SIGTERM".to_owned());
    crate::terminal::parse_signal(&signal)?;
    Ok(signal)
}

fn labels(config: &ImageConfig, options: &Options) -> Result<BTreeMap<String, String>> {
    let mut labels: BTreeMap<String, String> =
        config.labels().clone().unwrap_or_default().into_iter().collect();
    let mut lines = Vec::new();
    for file in &options.label_file {
        lines.extend(process::lines_of(file)?);
    }
    lines.extend(options.label.iter().cloned());
    for line in lines {
        let (key, value) = line.split_once('=').unwrap_or((&line, ""));
        if key.is_empty() {
            return Err(Failure::new(format!("invalid label `{line}`"))
                .hint("a label is KEY=VALUE")
                .into());
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

fn write_cidfile(file: &Path, id: &str) -> Result<()> {
    use std::io::Write;
    let mut created = std::fs::File::create_new(file).map_err(|error| {
        Failure::new(format!("create id file `{}`: {error}", file.display()))
            .hint("--cidfile wants a file that does not exist yet")
    })?;
    created.write_all(id.as_bytes()).with_context(|| {
        std::fs::remove_file(file).ok();
        format!("write `{}`", file.display())
    })
}
