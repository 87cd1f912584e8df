//! What to build: plain data, made by the caller from the description of a container.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use syscalls::mount::{Attr, Propagation};
use syscalls::tty::Size;

/// Where a mount comes from.
#[derive(Debug)]
pub enum Source {
    /// A file system that is made inside, so that it belongs to the container's new namespaces: proc shows the pid
    /// namespace of the process that makes it, sysfs the network namespace, mqueue the IPC namespace.
    Filesystem {
        /// Type, as in /proc/filesystems.
        kind: String,
        /// Options in order; without a value they are flags.
        options: Vec<(String, Option<String>)>,
    },
    /// A detached mount of a directory or a file, attached as it is: a volume, a cgroup tree, /etc/hosts.
    Detached(OwnedFd),
}

/// One mount of the container.
#[derive(Debug)]
pub struct Mount {
    /// Where, as the container sees it. Links are followed inside the root; what is missing is created.
    pub target: PathBuf,
    /// What.
    pub source: Source,
    /// Attributes to set on this mount. For a detached one they add to those it has.
    pub attr: Attr,
    /// Makes the mount and everything mounted below it read-only.
    pub read_only_recursive: bool,
    /// Propagation of the mount; none leaves a new file system private and a detached mount as it is.
    pub propagation: Option<Propagation>,
    /// Fills a new tmpfs with what the image has at that place.
    pub copy_up: bool,
    /// The source is a file, so a missing target is created as one.
    pub is_file: bool,
}

impl Mount {
    /// A new file system with all defaults.
    pub fn filesystem(
        target: impl Into<PathBuf>,
        kind: &str,
        options: &[(&str, &str)],
        attr: Attr,
    ) -> Self {
        let options = options
            .iter()
            .map(|(key, value)| {
                ((*key).to_owned(), (!value.is_empty()).then(|| (*value).to_owned()))
            })
            .collect();
        let source = Source::Filesystem { kind: kind.to_owned(), options };
        Self { target: target.into(), source, attr, ..Self::empty() }
    }

    /// A detached mount as it is.
    pub fn detached(target: impl Into<PathBuf>, mount: OwnedFd, is_file: bool) -> Self {
        let source = Source::Detached(mount);
        Self { target: target.into(), source, is_file, ..Self::empty() }
    }

    fn empty() -> Self {
        Self {
            target: PathBuf::new(),
            source: Source::Filesystem { kind: String::new(), options: Vec::new() },
            attr: Attr::empty(),
            read_only_recursive: false,
            propagation: None,
            copy_up: false,
            is_file: false,
        }
    }

    /// Whether this is the /dev that we fill: a new tmpfs, not a folder of the host.
    pub(crate) fn is_own_dev(&self) -> bool {
        self.target == Path::new("/dev")
            && matches!(&self.source, Source::Filesystem { kind, .. } if kind == "tmpfs")
    }
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Path in the container; with `private_devices` off, also of the host's node that is bound there.
    pub path: PathBuf,
    /// `c` or `u` (character), `b` (block), `p` (a named pipe).
    pub kind: char,
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Device {
    /// A character device that everybody may read and write.
    fn open_to_all(path: &str, major: u64, minor: u64) -> Self {
        Self { path: path.into(), kind: 'c', major, minor, mode: 0o666, uid: 0, gid: 0 }
    }
}

/// Everything [`enter`](crate::enter) builds around a root.
#[derive(Debug)]
pub struct Plan {
    /// Mounts, in the order in which they are made.
    pub mounts: Vec<Mount>,
    /// Device nodes. Those below /dev exist if the plan has its own /dev, a tmpfs; a /dev of the host that is mounted
    /// whole is left as it is.
    pub devices: Vec<Device>,
    /// Paths that shall not tell anything: files read as empty, directories are empty. Missing ones are passed over.
    pub masked: Vec<PathBuf>,
    /// Paths that shall not be written. Missing ones are passed over.
    pub readonly: Vec<PathBuf>,
    /// Makes the root mount itself read-only, last.
    pub read_only_root: bool,
    /// Makes a terminal of that size; the plan must have a devpts.
    pub terminal: Option<Size>,
    /// Propagation of the root. `Slave`: mounts that appear below the source on the host appear here. `Shared`: like
    /// slave towards the host, shared with namespaces that the container makes. Default private.
    pub root_propagation: Option<Propagation>,
    /// Working directory as the container sees it.
    pub workdir: PathBuf,
    /// Kernel parameters: `net.ipv4.ip_forward` to `1`. Only those of a namespace ([`sysctl`](crate::sysctl)).
    pub sysctls: Vec<(String, String)>,
    /// Device nodes are made (`mknod`). Off in a user namespace, where the kernel forbids that: nodes of the host are
    /// bound instead.
    pub private_devices: bool,
}

impl Default for Plan {
    /// Docker's defaults, with 64 MiB of shared memory.
    fn default() -> Self {
        Self {
            mounts: default_mounts(64 << 20),
            devices: default_devices(),
            masked: default_masked(),
            readonly: default_readonly(),
            read_only_root: false,
            terminal: None,
            root_propagation: None,
            workdir: "/".into(),
            sysctls: Vec::new(),
            private_devices: true,
        }
    }
}

/// The devices every container has (OCI runtime spec, config-linux.md, "Default Devices"). /dev/ptmx is a link into the
/// container's devpts, and /dev/console exists only with a terminal.
pub fn default_devices() -> Vec<Device> {
    vec![
        Device::open_to_all("/dev/null", 1, 3),
        Device::open_to_all("/dev/zero", 1, 5),
        Device::open_to_all("/dev/full", 1, 7),
        Device::open_to_all("/dev/random", 1, 8),
        Device::open_to_all("/dev/urandom", 1, 9),
        Device::open_to_all("/dev/tty", 5, 0),
    ]
}

/// The file systems every container has, as Docker mounts them; `shm_bytes` is the size of /dev/shm. The cgroup tree is
/// added by the caller, who knows which.
pub fn default_mounts(shm_bytes: u64) -> Vec<Mount> {
    let safe = Attr::NOSUID | Attr::NODEV | Attr::NOEXEC;
    let shm_size = shm_bytes.to_string();
    // gid 5 is `tty` in every distribution: a terminal belongs to its user and can be written to through that group.
    let devpts = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    vec![
        Mount::filesystem("/proc", "proc", &[], safe),
        Mount::filesystem(
            "/dev",
            "tmpfs",
            &[("mode", "755"), ("size", "65536k")],
            Attr::NOSUID | Attr::STRICTATIME,
        ),
        Mount::filesystem("/dev/pts", "devpts", &devpts, Attr::NOSUID | Attr::NOEXEC),
        Mount::filesystem("/sys", "sysfs", &[], safe | Attr::RDONLY),
        Mount::filesystem("/dev/mqueue", "mqueue", &[], safe),
        Mount::filesystem("/dev/shm", "tmpfs", &[("mode", "1777"), ("size", &shm_size)], safe),
    ]
}

/// Paths that Docker hides: they tell about the host's hardware, kernel memory or other users' keys.
pub fn default_masked() -> Vec<PathBuf> {
    let fixed = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ];
    // Only machines with such a sensor have the folder, and then each CPU has one.
    let throttle = (0..).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"));
    fixed
        .iter()
        .map(PathBuf::from)
        .chain(throttle.map(PathBuf::from).take_while(|path| path.exists()))
        .collect()
}

/// Paths that Docker makes read-only: a write there would change the host.
pub fn default_readonly() -> Vec<PathBuf> {
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        .iter()
        .map(PathBuf::from)
        .collect()
}
