//! Kernel parameters of the container (sysctl(8)): those that belong to one of its namespaces, and no others.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use syscalls::mount::{Attr, FsContext};
use syscalls::{During, KernelError, step};

/// The namespace a parameter belongs to. Without a new namespace of that kind, the host's value would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// `kernel.shm*`, `kernel.msg*`, `kernel.sem`, `fs.mqueue.*`.
    Ipc,
    /// `net.*`.
    Net,
    /// `kernel.domainname`. `kernel.hostname` has its own flag, so it is refused here.
    Uts,
}

/// Tells to which namespace a parameter belongs; none means that it is the machine's, and may not be set.
///
/// The name has dots, or slashes as a path below /proc/sys; the first of them decides, as for sysctl(8):
/// `net/ipv4/conf/eth0.100/forwarding` names the link `eth0.100`.
pub fn namespace(name: &str) -> Option<Namespace> {
    let path = path(name)?;
    let mut parts = path.iter().filter_map(|part| part.to_str());
    match (parts.next()?, parts.next()?, parts.next()) {
        ("net", _, _) => Some(Namespace::Net),
        ("fs", "mqueue", Some(_)) => Some(Namespace::Ipc),
        ("kernel", "sem" | "shm_rmid_forced", None) => Some(Namespace::Ipc),
        ("kernel", "shmall" | "shmmax" | "shmmni" | "shm_next_id", None) => Some(Namespace::Ipc),
        ("kernel", "msgmax" | "msgmnb" | "msgmni" | "msg_next_id", None) => Some(Namespace::Ipc),
        ("kernel", "sem_next_id", None) => Some(Namespace::Ipc),
        ("kernel", "domainname", None) => Some(Namespace::Uts),
        _ => None,
    }
}

/// The path below /proc/sys. None for a name that is no plain path.
fn path(name: &str) -> Option<PathBuf> {
    let separator = name.chars().find(|char| matches!(char, '.' | '/'))?;
    let parts: Vec<String> = name
        .split(separator)
        // In a name with dots, a slash stands for a dot in one part, and the other way round.
        .map(|part| if separator == '.' { part.replace('/', ".") } else { part.to_owned() })
        .collect();
    let plain = |part: &String| !part.is_empty() && part != "." && part != "..";
    parts.iter().all(plain).then(|| parts.iter().collect())
}

/// Writes parameters through a new procfs that is never attached anywhere: no image, no volume and no other container
/// has a name in it.
pub(crate) fn write_all(parameters: &[(String, String)]) -> Result<(), KernelError> {
    if parameters.is_empty() {
        return Ok(());
    }
    let context = step!("fsopen", "\"proc\"", FsContext::open("proc"))?;
    let attr = Attr::NOSUID | Attr::NODEV | Attr::NOEXEC;
    let proc = step!("fsmount", ("proc, {attr:?}"), context.mount(attr))?;
    parameters.iter().try_for_each(|(name, value)| write_one(proc.as_fd(), name, value))
}

fn write_one(proc: BorrowedFd<'_>, name: &str, value: &str) -> Result<(), KernelError> {
    let refused = || {
        KernelError::new("set kernel parameter", name, Errno::EINVAL)
            .with_detail("it belongs to the whole machine, not to one container")
    };
    namespace(name).ok_or_else(refused)?;
    let path = PathBuf::from("sys").join(path(name).ok_or_else(refused)?);
    let how = OpenHow::new().flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_XDEV
            | ResolveFlag::RESOLVE_NO_SYMLINKS,
    );
    let fd = step!("openat2", ("proc, {path:?}, O_WRONLY"), openat2(proc, &path, how))
        .during("set kernel parameter", name)?;
    let mut file = File::from(fd);
    step!("write", ("{path:?}, {value:?}"), file.write_all(value.as_bytes()))
        .during("set kernel parameter", format!("{name}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parameters_of_a_namespace() {
        use Namespace::{Ipc, Net, Uts};
        let table = [
            ("net.ipv4.ip_forward", Some(Net)),
            ("net/ipv4/conf/eth0.100/forwarding", Some(Net)),
            ("net.ipv4.conf.eth0/100.forwarding", Some(Net)),
            ("kernel.shmmax", Some(Ipc)),
            ("kernel.shm_rmid_forced", Some(Ipc)),
            ("kernel.msgmax", Some(Ipc)),
            ("kernel.sem", Some(Ipc)),
            ("fs.mqueue.msg_max", Some(Ipc)),
            ("kernel.domainname", Some(Uts)),
            ("kernel.hostname", None),
            ("kernel.core_pattern", None),
            ("kernel.sched_rt_runtime_us", None),
            ("vm.swappiness", None),
            ("fs.file-max", None),
            ("fs.mqueue", None),
            ("net", None),
            ("", None),
            ("net/../kernel/core_pattern", None),
            ("net..core_pattern", None),
            ("/net/core", None),
        ];
        for (name, expected) in table {
            assert_eq!(namespace(name), expected, "{name}");
        }
    }

    #[test]
    fn the_first_separator_decides() {
        assert_eq!(path("net/conf/eth0.1/x"), Some("net/conf/eth0.1/x".into()));
        assert_eq!(path("net.conf.eth0/1.x"), Some("net/conf/eth0.1/x".into()));
    }
}
