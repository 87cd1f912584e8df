//! Joins layers to one tree: the overlay filesystem.
//!
//! Reading, the kernel takes each name from the topmost layer that has it; a whiteout ends the
//! search. Writing, it first copies the file from its layer to the container's own *upper* folder.
//! The layers are never changed, so any number of containers can share them, in the page cache too.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::statfs;
use syscalls::mount::{Attr, FsContext};
use syscalls::{During, KernelError, step};

use crate::compat;

/// Most lower layers of one overlay (`OVL_MAX_STACK`, `fs/overlayfs/params.h`).
pub const MAX_LOWERS: usize = 500;

/// Of equal folders the topmost one alone, in their order: a layer may be twice in an image (two steps of a build that
/// change nothing), and the kernel takes a folder once (`ELOOP`). What a lower copy could show, the one above it shows
/// already.
pub fn distinct<P: AsRef<Path>>(lowers: Vec<P>) -> Vec<P> {
    let mut seen = HashSet::new();
    lowers.into_iter().filter(|lower| seen.insert(lower.as_ref().to_owned())).collect()
}

/// Makes an overlay of `lowers`, **topmost first**, as a detached mount. Without `upper` and `work`
/// it is read-only.
///
/// `work` must be an empty folder on the same filesystem as `upper`. The layers must not be changed
/// while the mount exists. The kernel wants one lower layer with an upper folder, and two without.
///
/// # Errors `E2BIG` for more than [`MAX_LOWERS`] layers. `ELOOP` for a folder that is there twice:
/// see [`distinct`]. `EINVAL` with the kernel's own sentence
/// for folders it cannot use, `upper` on another overlay for instance: ask [`can_hold_upper`]
/// before. `EPERM` without CAP_SYS_ADMIN.
pub fn overlay<P: AsRef<Path>>(
    lowers: &[P],
    upper: Option<&Path>,
    work: Option<&Path>,
) -> Result<OwnedFd, KernelError> {
    stack(lowers, upper, work, false)
}

/// As [`overlay`], for an upper folder that is used once and thrown away, or copied, before the
/// next power cut: nothing waits for the disk, neither fsync(2) in the tree nor the unmount, which
/// otherwise writes out *everything* that the upper folder's filesystem has pending (`volatile`,
/// Linux 5.10; an older kernel does without). The same `work` cannot be used twice.
///
/// # Errors
/// As [`overlay`].
pub fn fleeting_overlay<P: AsRef<Path>>(
    lowers: &[P],
    upper: &Path,
    work: &Path,
) -> Result<OwnedFd, KernelError> {
    match stack(lowers, Some(upper), Some(work), true) {
        // A real EINVAL is found again, with the same words.
        Err(error) if error.errno == Errno::EINVAL => {
            compat::waiting_for_the_disk(lowers, upper, work)
        }
        other => other,
    }
}

fn stack<P: AsRef<Path>>(
    lowers: &[P],
    upper: Option<&Path>,
    work: Option<&Path>,
    volatile: bool,
) -> Result<OwnedFd, KernelError> {
    if lowers.len() > MAX_LOWERS {
        let detail = format!("the kernel joins at most {MAX_LOWERS}");
        return Err(Errno::E2BIG)
            .during("stack layers", lowers.len())
            .map_err(|e| e.with_detail(detail));
    }
    let lowers: Vec<&Path> = lowers.iter().map(AsRef::as_ref).collect();
    match layer_by_layer(&lowers, upper, work, volatile) {
        // Linux before 6.7 knows no `lowerdir+`. A real EINVAL is found again, with the same words.
        Err(error) if error.errno == Errno::EINVAL && !lowers.is_empty() => {
            compat::one_option(&lowers, upper, work, volatile)
        }
        other => other,
    }
}

/// Each layer is an option of its own (`lowerdir+`, Linux 6.7).
fn layer_by_layer(
    lowers: &[&Path],
    upper: Option<&Path>,
    work: Option<&Path>,
    volatile: bool,
) -> Result<OwnedFd, KernelError> {
    let context = begin()?;
    let mut opened = Vec::new();
    for lower in lowers {
        set_path(&context, "lowerdir+", lower, &mut opened)?;
    }
    finish(&context, upper, work, volatile, opened)
}

/// Opens the context.
pub(crate) fn begin() -> Result<FsContext, KernelError> {
    step!("fsopen", "\"overlay\", FSOPEN_CLOEXEC", FsContext::open("overlay"))
}

/// Sets what remains and makes the mount; `opened` must live until then.
pub(crate) fn finish(
    context: &FsContext,
    upper: Option<&Path>,
    work: Option<&Path>,
    volatile: bool,
    mut opened: Vec<OwnedFd>,
) -> Result<OwnedFd, KernelError> {
    for (key, path) in [("upperdir", upper), ("workdir", work)] {
        if let Some(path) = path {
            set_path(context, key, path, &mut opened)?;
        }
    }
    for (key, value) in OPTIONS {
        step!("fsconfig", ("SET_STRING, {key:?}, {value:?}"), context.set_string(key, value))?;
    }
    if volatile {
        step!("fsconfig", "SET_FLAG, \"volatile\"", context.set_flag("volatile"))?;
    }
    if in_user_namespace() {
        // The attributes trusted.* are for root of the whole machine only (Linux 5.11).
        step!("fsconfig", "SET_FLAG, \"userxattr\"", context.set_flag("userxattr"))?;
    }
    let mount = step!("fsmount", "overlay", context.mount(Attr::empty()));
    drop(opened);
    mount
}

/// What must not depend on how a kernel was configured.
const OPTIONS: [(&str, &str); 4] = [
    // A rename of a lower directory would be noted as "look over there, in the lower layers", which
    // a layer tar cannot say; and a layer must not be able to say it to us. mv(1) copies instead,
    // as on two filesystems.
    ("redirect_dir", "nofollow"),
    // Likewise a chmod would leave a file without data in the upper folder, which `diff` would take
    // for an empty one.
    ("metacopy", "off"),
    // It ties an upper folder to the very inodes of its layers: after a copy to another disk
    // nothing would mount.
    ("index", "off"),
    // All layers lie on one filesystem, where inode numbers are right as they are; the high bits
    // that xino would set break 32-bit programs (EOVERFLOW).
    ("xino", "off"),
];

/// The kernel copies at most 255 bytes of an option, and gives `:`, `,` and `\` in paths a meaning
/// that has changed between versions. A path for which that matters is opened, and named by its
/// descriptor.
fn set_path(
    context: &FsContext,
    key: &str,
    path: &Path,
    opened: &mut Vec<OwnedFd>,
) -> Result<(), KernelError> {
    let plain = |path: &[u8]| path.len() < 256 && !path.iter().any(|byte| b":,\\".contains(byte));
    let bytes = path.as_os_str().as_bytes();
    if plain(bytes) {
        return step!(
            "fsconfig",
            ("SET_STRING, {key:?}, {path:?}"),
            context.set_string(key, bytes).map_err(|error| about(error, path))
        );
    }
    let fd = open_dir(path)?;
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    opened.push(fd);
    step!(
        "fsconfig",
        ("SET_STRING, {key:?}, {name:?} (= {path:?})"),
        context.set_string(key, &name).map_err(|error| about(error, path))
    )
}

/// Names the folder as well as the option.
fn about(error: KernelError, path: &Path) -> KernelError {
    let object = format!("{}={}", error.object, path.display());
    KernelError { object, ..error }
}

pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd, KernelError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).during("open layer", path.display())
}

/// Whether this process is in a user namespace other than the first.
pub(crate) fn in_user_namespace() -> bool {
    /// The inode of the first one never changes (`PROC_USER_INIT_INO`, `linux/proc_ns.h`).
    const FIRST: u64 = 0xEFFF_FFFD;
    std::fs::metadata("/proc/self/ns/user").is_ok_and(|namespace| namespace.ino() != FIRST)
}

/// The attribute that marks an opaque directory.
pub(crate) fn opaque_key() -> &'static str {
    if in_user_namespace() { "user.overlay.opaque" } else { "trusted.overlay.opaque" }
}

/// Why a folder cannot be the upper folder of an overlay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It lies on an overlay itself, as the root of every container does.
    #[error("`{0}` is on an overlay filesystem, which cannot be the upper part of another one")]
    Overlay(String),
    /// Its filesystem lacks what overlay asks of an upper folder (extended attributes, whiteouts,
    /// local names).
    #[error("`{path}` is on {filesystem}, which cannot be the upper part of an overlay")]
    Filesystem {
        /// The folder.
        path: String,
        /// The name of its filesystem.
        filesystem: &'static str,
    },
    /// It could not be asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Tells whether overlay can write to `dir`, by the kind of its filesystem (`statfs(2)`).
///
/// # Errors
/// [`Refusal`] with the reason. The remedy is a state folder on a local disk, or a tmpfs.
pub fn can_hold_upper(dir: &Path) -> Result<(), Refusal> {
    let stat = statfs(dir).during("ask for filesystem of", dir.display())?;
    // Numbers of linux/magic.h. FUSE covers virtiofs and sshfs; all remote ones look names up anew,
    // which overlay does not allow above.
    let filesystem = match stat.filesystem_type().0 as u32 {
        0x794c_7630 => return Err(Refusal::Overlay(dir.display().to_string())),
        0x6969 => "NFS",
        0x6573_5546 => "FUSE",
        0x0102_1997 => "9p",
        0xff53_4d42 | 0xfe53_4d42 => "CIFS",
        0x00c3_6400 => "Ceph",
        0x4d44 => "FAT",
        0x2011_bab0 => "exFAT",
        0x5346_544e | 0x7366_746e => "NTFS",
        0x00c0_ffee => "hostfs",
        0x8584_58f6 => "ramfs",
        0xf15f => "eCryptfs",
        0x7371_7368 => "squashfs",
        0xe0f5_e1e2 => "EROFS",
        0x9660 => "ISO 9660",
        _ => return Ok(()),
    };
    Err(Refusal::Filesystem { path: dir.display().to_string(), filesystem })
}
