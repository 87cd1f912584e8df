//! Kernels before 6.7, which have no `lowerdir+`: all layers in one option, chosen when `lowerdir+`
//! gives `EINVAL`; and before 5.10, which have no `volatile`.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir};
use syscalls::{During, KernelError, step};

use crate::overlay::{begin, finish, open_dir};

/// The longest value of an option: fsconfig(2) copies 256 bytes with the NUL.
const LONGEST: usize = 255;

/// Mounts with `lowerdir=A:B:C`. The layers are opened, and named by the shortest names there are:
/// their descriptors' numbers, seen from /proc/self/fd. So about 80 layers fit, where their paths
/// would leave room for two.
///
/// # Errors
/// As [`overlay`](crate::overlay()); `E2BIG` for more layers than that.
pub fn one_option(
    lowers: &[&Path],
    upper: Option<&Path>,
    work: Option<&Path>,
    volatile: bool,
) -> Result<OwnedFd, KernelError> {
    // Relative paths are opened before the working directory changes.
    let opened: Vec<OwnedFd> =
        lowers.iter().map(|lower| open_dir(lower)).collect::<Result<_, _>>()?;
    let absolute = |path: Option<&Path>| {
        path.map(std::path::absolute).transpose().during("find working directory", "")
    };
    let (upper, work) = (absolute(upper)?, absolute(work)?);
    let numbers: Vec<String> = opened.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let value = numbers.join(":");
    if value.len() > LONGEST {
        return Err(Errno::E2BIG)
            .during("stack layers", lowers.len())
            .map_err(|error| error.with_detail("Linux before 6.7 takes about 80 of them"));
    }
    let context = begin()?;
    let _here = ChangedDirectory::to("/proc/self/fd")?;
    step!(
        "fsconfig",
        ("SET_STRING, \"lowerdir\", {value:?}"),
        context.set_string("lowerdir", &value)
    )?;
    finish(&context, upper.as_deref(), work.as_deref(), volatile, opened)
}

/// Mounts as if durability had been asked for: slower, and right.
///
/// # Errors
/// As [`overlay`](crate::overlay()).
pub(crate) fn waiting_for_the_disk<P: AsRef<Path>>(
    lowers: &[P],
    upper: &Path,
    work: &Path,
) -> Result<OwnedFd, KernelError> {
    crate::overlay(lowers, Some(upper), Some(work))
}

/// Goes back to the working directory of before.
struct ChangedDirectory(OwnedFd);

impl ChangedDirectory {
    fn to(path: &str) -> Result<Self, KernelError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let before = open(".", flags, Mode::empty()).during("open working directory", ".")?;
        chdir(path).during("change directory", path)?;
        Ok(Self(before))
    }
}

impl Drop for ChangedDirectory {
    fn drop(&mut self) {
        // The directory is open: it is still there, even if its name is not.
        fchdir(&self.0).ok();
    }
}
