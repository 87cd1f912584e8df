//! The runtime's own binary, out of the container's reach.

use std::ffi::CString;
use std::os::fd::AsFd;

use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::execveat;
use syscalls::mount::{Attr, SetAttr, clone_tree, set_attr};
use syscalls::{During, KernelError};

const SELF: &str = "/proc/self/exe";

/// Makes sure that this process runs from a read-only mount, executing its own binary once more if it does not.
///
/// Between clone3 and exec the child still *is* the runtime: its /proc/PID/exe leads to the host's binary. An image
/// whose command is `/proc/self/exe`, or a script that begins with `#!/proc/self/exe`, or a program whose loader is that
/// path, makes it stay the runtime, inside: then another process of the container may change mode and contents of the
/// host's file through /proc (CVE-2019-5736). So the binary is executed from a copy of its mount that has no place and is
/// read-only: every change through it is EROFS, whatever capabilities the container has.
///
/// Returns if that is so; otherwise the process starts anew, with the same arguments and environment. To be called first
/// in `main`: with one thread and nothing open. Costs one exec of a static program and no copy of the file.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `ENOENT` without /proc, and those of open_tree(2), mount_setattr(2) (Linux 5.12),
/// execveat(2).
pub fn run_from_read_only_mount() -> Result<(), KernelError> {
    let flags = statvfs(SELF).during("look at own binary", SELF)?.flags();
    if flags.contains(FsFlags::ST_RDONLY) {
        return Ok(());
    }
    let binary = open(SELF, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .during("open own binary", SELF)?;
    let copy = clone_tree(binary.as_fd(), "", false).during("copy the mount of", SELF)?;
    let change = SetAttr { set: Attr::RDONLY, ..SetAttr::default() };
    set_attr(copy.as_fd(), false, &change).during("make read-only", SELF)?;
    let strings = |texts: &mut dyn Iterator<Item = Vec<u8>>| {
        // Neither arguments nor environment can hold a zero byte: they came in as C strings.
        texts.filter_map(|text| CString::new(text).ok()).collect::<Vec<_>>()
    };
    use std::os::unix::ffi::OsStringExt;
    let arguments = strings(&mut std::env::args_os().map(OsStringExt::into_vec));
    let environment = strings(
        &mut std::env::vars_os()
            .map(|(name, value)| [name.into_vec(), b"=".to_vec(), value.into_vec()].concat()),
    );
    match execveat(&copy, c"", &arguments, &environment, AtFlags::AT_EMPTY_PATH) {
        Err(errno) => Err(errno).during("execute own binary", SELF),
        Ok(never) => match never {},
    }
}
