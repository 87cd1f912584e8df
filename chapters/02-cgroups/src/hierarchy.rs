//! Which cgroup trees are mounted, and which controller lives in which.

use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, access};
use syscalls::During;

use crate::{Error, Version};

/// Where systemd, OpenRC and every container runtime mount cgroups.
const STANDARD: &str = "/sys/fs/cgroup";

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// CPU time: quota and weight.
    Cpu,
    /// CPU time used. A controller of its own on v1, always there on v2.
    Cpuacct,
    /// Which CPUs and memory nodes.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Number of tasks.
    Pids,
    /// Block devices; called `blkio` on v1.
    Io,
    /// Device nodes. On v2 not a controller but an eBPF program, always possible.
    Devices,
    /// Stopping all processes. Always there on v2 (Linux 5.2).
    Freezer,
}

impl Controller {
    /// All of them, in the order in which v1 hierarchies are joined.
    pub const ALL: [Self; 8] = [
        Self::Freezer,
        Self::Pids,
        Self::Memory,
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Io,
        Self::Devices,
    ];

    /// Name on v1.
    pub fn v1_name(self) -> &'static str {
        match self {
            Self::Io => "blkio",
            Self::Cpuacct => "cpuacct",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            other => other.name(),
        }
    }

    /// Name in `cgroup.controllers` of v2; `None` for what v2 always has.
    pub fn v2_name(self) -> Option<&'static str> {
        match self {
            Self::Cpuacct | Self::Devices | Self::Freezer => None,
            other => Some(other.name()),
        }
    }

    /// Name for people: that of v2.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Io => "io",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
        }
    }

    /// The error for a limit whose controller is in no hierarchy.
    pub(crate) fn missing(self) -> Error {
        let hint = match self {
            Self::Memory => "look at /proc/cgroups; some boards need the kernel parameter \
                             `cgroup_enable=memory`"
                .to_owned(),
            other => format!(
                "`{}` must be in /sys/fs/cgroup/cgroup.controllers (v2) or have a hierarchy of its \
                 own (v1); inside a container or a user's session the outer one must hand it down",
                other.name()
            ),
        };
        Error::MissingController { controller: self.name(), hint }
    }
}

/// How a host has arranged its hierarchies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only v2.
    Unified,
    /// v2 is mounted, but some or all controllers are in v1 hierarchies.
    Hybrid,
    /// Only v1.
    Legacy,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unified => "unified (v2)",
            Self::Hybrid => "hybrid (v1 and v2)",
            Self::Legacy => "legacy (v1)",
        })
    }
}

/// One mounted tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its interface.
    pub version: Version,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Below which directory cgroups are made: the mount point if we may write there, else our own cgroup.
    pub parent: PathBuf,
    /// The controllers that are used in this tree.
    pub controllers: Vec<Controller>,
}

/// The trees of this host, v2 first. A controller is in at most one of them.
///
/// v2 comes first because a process can be born in it: it is the first to be made and, when a process is left, the
/// first to say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchies {
    pub(crate) list: Vec<Hierarchy>,
}

impl Hierarchies {
    /// Looks at the standard places with a dozen statfs(2) calls; only if nothing is there it reads mountinfo, which on
    /// a host with a thousand mounts costs milliseconds.
    ///
    /// New cgroups go below the mount point: inside a container that is the container's own cgroup (its namespace or
    /// its bind mount begins there), on a host it is the root, as Docker's `cgroupfs` driver has it, so that any later
    /// command finds them again, from whatever session it is called. Where the mount point is not ours to write (a
    /// user's delegated session) they go below the caller's own cgroup instead.
    ///
    /// # Errors
    /// [`Error::NotMounted`]; a failure to read /proc/self/mountinfo, /proc/self/cgroup or `cgroup.controllers`.
    pub fn detect() -> Result<Self, Error> {
        let mut found = standard_places(Path::new(STANDARD));
        if found.is_empty() {
            found = Self::from_mountinfo(&slurp("/proc/self/mountinfo")?, &own_cgroup()?)?.list;
        }
        let mut own = None;
        for hierarchy in &mut found {
            if access(&hierarchy.mount, AccessFlags::W_OK) == Err(nix::errno::Errno::EACCES) {
                let own = match &own {
                    Some(text) => text,
                    None => own.insert(own_cgroup()?),
                };
                hierarchy.parent = hierarchy.mount.join(own_path(own, hierarchy).unwrap_or(""));
            } else {
                hierarchy.parent.clone_from(&hierarchy.mount);
            }
        }
        let mut all = Self { list: found };
        if let Some(v2) = all.list.iter().position(|one| one.version == Version::V2) {
            let offered = slurp(all.list[v2].parent.join("cgroup.controllers"))?;
            all.hand_out(v2, &offered);
        }
        Ok(all)
    }

    /// Finds the hierarchies from the texts of /proc/self/mountinfo (proc_pid_mountinfo(5)) and /proc/self/cgroup
    /// (cgroups(7)). The parent is our own cgroup as seen through the mount. v2 gets the controllers that are always
    /// there; which others it has only `cgroup.controllers` tells.
    ///
    /// # Errors
    /// [`Error::NotMounted`] if no line names a cgroup filesystem with a controller.
    pub fn from_mountinfo(mountinfo: &str, proc_self_cgroup: &str) -> Result<Self, Error> {
        let mut all = Self { list: Vec::new() };
        for line in mountinfo.lines() {
            let Some((mut hierarchy, root)) = parse_mount(line) else { continue };
            hierarchy.controllers.retain(|controller| all.home(*controller).is_none());
            let again = hierarchy.version == Version::V2 && all.v2().is_some();
            if again || (hierarchy.version == Version::V1 && hierarchy.controllers.is_empty()) {
                continue;
            }
            let own = own_path(proc_self_cgroup, &hierarchy).unwrap_or("");
            // A bind mount shows only what is below `root`; a path that is not below it cannot be reached.
            let root = root.trim_matches('/');
            let visible = Path::new(own).strip_prefix(root).unwrap_or(Path::new(""));
            hierarchy.parent = hierarchy.mount.join(visible);
            all.list.push(hierarchy);
        }
        if all.list.is_empty() {
            return Err(Error::NotMounted);
        }
        if let Some(v2) = all.list.iter().position(|one| one.version == Version::V2) {
            all.hand_out(v2, "");
        }
        all.list.sort_by_key(|one| one.version == Version::V1);
        Ok(all)
    }

    /// Gives v2 what it offers (the text of `cgroup.controllers`) and always has, as far as v1 does not have it.
    fn hand_out(&mut self, v2: usize, offered: &str) {
        let taken: Vec<Controller> = self
            .list
            .iter()
            .filter(|one| one.version == Version::V1)
            .flat_map(|one| one.controllers.clone())
            .collect();
        self.list[v2].controllers = Controller::ALL
            .into_iter()
            .filter(|controller| !taken.contains(controller))
            .filter(|controller| {
                controller
                    .v2_name()
                    .is_none_or(|name| offered.split_whitespace().any(|word| word == name))
            })
            .collect();
    }

    /// How the host has arranged them.
    pub fn mode(&self) -> Mode {
        match (self.v2(), self.list.iter().any(|one| one.version == Version::V1)) {
            (Some(_), false) => Mode::Unified,
            (Some(_), true) => Mode::Hybrid,
            (None, _) => Mode::Legacy,
        }
    }

    /// Names of the controllers that can be used, v2's names, for `info`.
    pub fn controllers(&self) -> Vec<String> {
        Controller::ALL
            .into_iter()
            .filter(|controller| self.home(*controller).is_some())
            .map(|controller| controller.name().to_owned())
            .collect()
    }

    /// The tree in which a controller lives.
    pub fn home(&self, controller: Controller) -> Option<&Hierarchy> {
        self.list.iter().find(|one| one.controllers.contains(&controller))
    }

    /// The v2 tree.
    pub fn v2(&self) -> Option<&Hierarchy> {
        self.list.iter().find(|one| one.version == Version::V2)
    }

    /// All trees.
    pub fn iter(&self) -> impl Iterator<Item = &Hierarchy> {
        self.list.iter()
    }
}

/// What is mounted at and directly below `top`.
fn standard_places(top: &Path) -> Vec<Hierarchy> {
    let magic = |path: &Path| statfs(path).map(|fs| fs.filesystem_type());
    let new = |version, mount: PathBuf| Hierarchy {
        version,
        parent: mount.clone(),
        mount,
        controllers: Vec::new(),
    };
    if magic(top) == Ok(CGROUP2_SUPER_MAGIC) {
        return vec![new(Version::V2, top.to_owned())];
    }
    let mut found: Vec<(u64, Hierarchy)> = Vec::new();
    for controller in Controller::ALL {
        let place = top.join(controller.v1_name());
        if magic(&place) != Ok(CGROUP_SUPER_MAGIC) {
            continue;
        }
        // `cpu` and `cpuacct` are often two links to one tree: the same device number.
        let Ok(stat) = nix::sys::stat::stat(&place) else { continue };
        match found.iter_mut().find(|(device, _)| *device == stat.st_dev) {
            Some((_, same)) => same.controllers.push(controller),
            None => {
                let mut hierarchy = new(Version::V1, place);
                hierarchy.controllers.push(controller);
                found.push((stat.st_dev, hierarchy));
            }
        }
    }
    let mut found: Vec<Hierarchy> = found.into_iter().map(|(_, hierarchy)| hierarchy).collect();
    let unified = top.join("unified");
    if magic(&unified) == Ok(CGROUP2_SUPER_MAGIC) {
        found.insert(0, new(Version::V2, unified));
    }
    found
}

/// A line of mountinfo as a hierarchy and the root of the mount in it.
fn parse_mount(line: &str) -> Option<(Hierarchy, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, mount) = (fields.next()?, fields.next()?);
    let mut fields = after.split(' ');
    let version = match fields.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let options = fields.nth(1).unwrap_or_default();
    let named = |controller: &Controller| options.split(',').any(|o| o == controller.v1_name());
    let controllers = match version {
        Version::V1 => Controller::ALL.into_iter().filter(named).collect(),
        Version::V2 => Vec::new(),
    };
    let mount = PathBuf::from(unescape(mount));
    Some((Hierarchy { version, parent: mount.clone(), mount, controllers }, root))
}

/// Our place in a hierarchy, from /proc/self/cgroup: lines `4:cpu,cpuacct:/path`, `0::/path` for v2.
fn own_path<'a>(proc_self_cgroup: &'a str, hierarchy: &Hierarchy) -> Option<&'a str> {
    proc_self_cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        let this = match hierarchy.version {
            Version::V2 => names.is_empty(),
            Version::V1 => {
                let first = hierarchy.controllers.first()?.v1_name();
                names.split(',').any(|name| name == first)
            }
        };
        // `/..` leads out of our cgroup namespace: nothing below the mount.
        let path = path.trim_start_matches('/');
        this.then_some(if path.starts_with("..") { "" } else { path })
    })
}

/// Undoes the octal escapes of mountinfo (space, tab, newline, backslash).
fn unescape(field: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

fn own_cgroup() -> Result<String, Error> {
    slurp("/proc/self/cgroup")
}

fn slurp(path: impl AsRef<Path>) -> Result<String, Error> {
    let path = path.as_ref();
    Ok(std::fs::read_to_string(path).during("read", path.display())?)
}

#[cfg(test)]
#[path = "hierarchy_tests.rs"]
mod tests;
