//! What this machine can do, and what is stored.

use std::fmt::Write as _;

use anyhow::Result;
use cgroups::{Hierarchies, Mode};
use serde_json::{Map, Value, json};

use crate::containers::Containers;
use crate::engine::Engine;
use crate::record::{Record, Status};

/// Facts for `info`.
#[derive(Debug)]
pub struct Info {
    /// With Docker's names, for `--format`.
    pub fields: Map<String, Value>,
    /// Name and text, in the order in which they are shown. A name that begins with a space belongs to the one before.
    pub facts: Vec<(&'static str, String)>,
    /// What will not work here, and what to do.
    pub warnings: Vec<String>,
}

/// How many containers are in which state.
#[derive(Debug, Default)]
struct Counts {
    running: usize,
    paused: usize,
    restarting: usize,
    stopped: usize,
}

/// Looks at the machine and at the stores.
///
/// # Errors
/// If a store or the settings cannot be read.
pub fn collect(engine: &Engine) -> Result<Info> {
    let mut warnings = Vec::new();
    let records = Containers::new(engine).list()?;
    let kernel = nix::sys::utsname::uname()?;
    let hierarchies = match Hierarchies::detect() {
        Ok(hierarchies) => Some(hierarchies),
        Err(error) => {
            warnings.push(format!("no control groups: {error}"));
            None
        }
    };
    let counts = count(engine, &records, hierarchies.as_ref());
    let mode = hierarchies.as_ref().map(Hierarchies::mode);
    let controllers = hierarchies.as_ref().map(Hierarchies::controllers).unwrap_or_default();
    let has = |name: &str| controllers.iter().any(|controller| controller == name);
    for controller in ["cpu", "memory", "pids"] {
        if !has(controller) {
            warnings.push(format!(
                "no `{controller}` controller: its limits are refused (see cgroup_disable= on the kernel's command line)"
            ));
        }
    }
    if let Err(refusal) = layers::can_hold_upper(&engine.root) {
        warnings.push(format!("images cannot run from {}: {refusal}", engine.root.display()));
    }
    if let Some(reason) = network::forward_blocked() {
        warnings.push(format!("containers may not reach the outside: {reason}"));
    }
    let settings = engine.settings()?.registry;
    let (images, layers) = (engine.images()?.list()?.len(), engine.layers()?.ids()?.len());
    let volumes = engine.volumes()?.list()?.len();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let (memory, system) = (memory(), system());
    let words = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let (release, machine) = (words(kernel.release()), words(kernel.machine()));
    let host = words(kernel.nodename());
    // A hybrid host limits with the old interface.
    let version = if mode == Some(Mode::Unified) { "2" } else { "1" };
    let none_if_empty = |list: &[String]| match list.is_empty() {
        true => "none".to_owned(),
        false => list.join(" "),
    };
    let facts = vec![
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Containers", records.len().to_string()),
        (" Running", counts.running.to_string()),
        (" Paused", counts.paused.to_string()),
        (" Restarting", counts.restarting.to_string()),
        (" Stopped", counts.stopped.to_string()),
        ("Images", images.to_string()),
        ("Layers", layers.to_string()),
        ("Volumes", volumes.to_string()),
        ("Storage Driver", "overlay2".to_owned()),
        ("Logging Driver", "json-file".to_owned()),
        ("Network", network_fact(engine)),
        ("Cgroup Driver", "cgroupfs".to_owned()),
        (
            "Cgroup Version",
            mode.map_or_else(|| "none".to_owned(), |mode| format!("{version} ({})", name_of(mode))),
        ),
        (" Controllers", controllers.join(" ")),
        ("Kernel Version", release.clone()),
        ("Operating System", system.clone()),
        ("OSType", "linux".to_owned()),
        ("Architecture", machine.clone()),
        ("CPUs", cpus.to_string()),
        ("Total Memory", crate::container::human(memory)),
        ("Name", host.clone()),
        ("ID", engine.id.clone()),
        ("Root Dir", engine.root.display().to_string()),
        ("Run Root", engine.run_root.display().to_string()),
        ("Registry Mirrors", none_if_empty(&settings.mirrors)),
        ("Insecure Registries", none_if_empty(&settings.insecure)),
    ];
    let fields = json!({
        "ID": engine.id,
        "Containers": records.len(),
        "ContainersRunning": counts.running,
        "ContainersPaused": counts.paused,
        "ContainersRestarting": counts.restarting,
        "ContainersStopped": counts.stopped,
        "Images": images,
        "Layers": layers,
        "Volumes": volumes,
        "Driver": "overlay2",
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": if mode.is_some() { version } else { "" },
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": null,
            "Log": ["json-file"],
        },
        "MemoryLimit": has("memory"),
        "PidsLimit": has("pids"),
        "CPUShares": has("cpu"),
        "CPUSet": has("cpuset"),
        "KernelVersion": release,
        "OperatingSystem": system,
        "OSType": "linux",
        "Architecture": machine,
        "NCPU": cpus,
        "MemTotal": memory,
        "DockerRootDir": engine.root,
        "RunRoot": engine.run_root,
        "Name": host,
        "RegistryConfig": {
            "InsecureRegistryCIDRs": settings.insecure,
            "Mirrors": settings.mirrors,
        },
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "ClientInfo": { "Version": env!("CARGO_PKG_VERSION"), "Context": "default" },
        "Warnings": warnings,
    });
    let Value::Object(fields) = fields else { anyhow::bail!("an object is an object") };
    Ok(Info { fields, facts, warnings })
}

fn count(engine: &Engine, records: &[Record], hierarchies: Option<&Hierarchies>) -> Counts {
    let stands_still = |record: &Record| {
        let path = format!("{}/{}", engine.cgroup_parent(), record.id);
        let cgroup =
            hierarchies.and_then(|hierarchies| cgroups::Cgroup::open(hierarchies, &path).ok());
        cgroup.is_some_and(|cgroup| cgroup.is_frozen().unwrap_or_default())
    };
    let mut counts = Counts::default();
    for record in records {
        match record.status {
            Status::Running { .. } if stands_still(record) => counts.paused += 1,
            Status::Running { .. } => counts.running += 1,
            Status::Restarting { .. } => counts.restarting += 1,
            Status::Created | Status::Exited { .. } => counts.stopped += 1,
        }
    }
    counts
}

fn name_of(mode: Mode) -> &'static str {
    match mode {
        Mode::Unified => "unified",
        Mode::Hybrid => "hybrid",
        Mode::Legacy => "legacy",
    }
}

/// All of the machine's memory, in bytes.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .map_or(0, |kibibytes: u64| kibibytes * 1024)
}

/// The name of the distribution (os-release(5)).
fn system() -> String {
    let text = std::fs::read_to_string("/etc/os-release")
        .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches(['"', '\'']).to_owned())
}

/// The bridge network, if it was used: looking must not make it.
fn network_fact(engine: &Engine) -> String {
    if !engine.run_root.join("networks").exists() {
        return "bridge (not used yet)".to_owned();
    }
    match engine.networks().and_then(|store| Ok(store.default_bridge()?)) {
        Ok(network) => format!("bridge {} ({})", network.subnet, network.bridge),
        Err(error) => format!("none: {error}"),
    }
}

/// The facts as lines, the warnings after them.
pub fn render(info: &Info) -> String {
    let mut text = String::new();
    for (name, value) in &info.facts {
        writeln!(text, "{name}: {value}").expect("a String takes all");
    }
    for warning in &info.warnings {
        writeln!(text, "WARNING: {warning}").expect("a String takes all");
    }
    text
}
