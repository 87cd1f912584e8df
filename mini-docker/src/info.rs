//! What this machine can do, and what is stored.

use std::fmt::Write as _;

use anyhow::Result;
use cgroups::Hierarchies;

use crate::containers::Containers;
use crate::engine::Engine;
use crate::record::Status;

/// Facts for `info`, in the order in which they are shown.
#[derive(Debug)]
pub struct Info {
    /// Name and value.
    pub facts: Vec<(&'static str, String)>,
    /// What will not work here, and what to do.
    pub warnings: Vec<String>,
}

/// Looks at the machine and at the stores.
///
/// # Errors
/// If a store cannot be read.
pub fn collect(engine: &Engine) -> Result<Info> {
    let mut warnings = Vec::new();
    let records = Containers::new(engine).list()?;
    let count = |wanted: &dyn Fn(&Status) -> bool| {
        records.iter().filter(|record| wanted(&record.status)).count()
    };
    let running = count(&|status| matches!(status, Status::Running { .. }));
    let created = count(&|status| matches!(status, Status::Created));
    let kernel = nix::sys::utsname::uname()?;
    let (mode, controllers) = match Hierarchies::detect() {
        Ok(hierarchies) => (
            format!("{:?}", hierarchies.mode()).to_lowercase(),
            hierarchies.controllers().join(" "),
        ),
        Err(error) => {
            warnings.push(format!("no control groups: {error}"));
            ("none".to_owned(), String::new())
        }
    };
    for controller in ["cpu", "memory", "pids"] {
        if !controllers.split(' ').any(|name| name == controller) {
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
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .map_or(0, |kibibytes: u64| kibibytes * 1024);
    let network = network_fact(engine);
    let facts = vec![
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Containers", records.len().to_string()),
        (" Running", running.to_string()),
        (" Created", created.to_string()),
        (" Exited", (records.len() - running - created).to_string()),
        ("Images", engine.images()?.list()?.len().to_string()),
        ("Layers", engine.layers()?.ids()?.len().to_string()),
        ("Volumes", engine.volumes()?.list()?.len().to_string()),
        ("Storage", "overlay".to_owned()),
        ("Network", network),
        ("Cgroups", mode),
        (" Controllers", controllers),
        ("Kernel", kernel.release().to_string_lossy().into_owned()),
        ("Architecture", kernel.machine().to_string_lossy().into_owned()),
        ("CPUs", std::thread::available_parallelism().map_or(1, usize::from).to_string()),
        ("Memory", crate::container::human(memory)),
        ("Root", engine.root.display().to_string()),
        ("Run root", engine.run_root.display().to_string()),
    ];
    Ok(Info { facts, warnings })
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
