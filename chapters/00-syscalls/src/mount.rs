//! The mount API of Linux 5.2: a mount is made and configured as a file descriptor, and attached last.
//!
//! The old `mount(2)` makes, configures and attaches in one call that names everything by path. Here `fsopen` opens a
//! context for a filesystem type, `fsconfig` sets its options one by one, `fsmount` turns it into a *detached* mount,
//! which `move_mount` gives a place; `open_tree` copies an existing mount (what a bind mount is). Between these calls
//! only descriptors are passed, so no path can be swapped on the way, and a detached mount disappears with its last
//! descriptor: nothing to clean up.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use bitflags::bitflags;
use nix::NixPath;
use nix::errno::Errno;

use crate::{KernelError, check};

bitflags! {
    /// Attributes of one mount (`MOUNT_ATTR_*` of `linux/mount.h`), not of the filesystem below it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Attr: u64 {
        /// No writes through this mount: `EROFS`.
        const RDONLY = 0x01;
        /// Set-user-id bits and file capabilities do not count.
        const NOSUID = 0x02;
        /// Device nodes do not open.
        const NODEV = 0x04;
        /// Nothing executes from here.
        const NOEXEC = 0x08;
        /// Access times are not updated. The default of the kernel, "relatime", is the empty value.
        const NOATIME = 0x10;
        /// Access times are always updated.
        const STRICTATIME = 0x20;
        /// Directories' access times are not updated.
        const NODIRATIME = 0x80;
        /// Owners are mapped through the user namespace of [`SetAttr::idmap`] (Linux 5.12).
        const IDMAP = 0x0010_0000;
        /// Symbolic links are not followed (Linux 5.10).
        const NOSYMFOLLOW = 0x0020_0000;
    }
}

/// The bits of [`Attr`] that hold the access-time mode; to change it, clear all of them first (`mount_setattr(2)`).
pub const ATIME_MASK: u64 = 0x70;

/// How mount events pass between a mount and its copies (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Neither sends nor receives.
    Private,
    /// Receives only.
    Slave,
    /// Sends and receives.
    Shared,
    /// Private, and may not be copied by a bind mount.
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// A filesystem being configured (`fsopen(2)`).
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
    kind: String,
}

/// `fsconfig_command` of `linux/mount.h`.
#[derive(Clone, Copy)]
enum Command {
    SetFlag = 0,
    SetString = 1,
    SetFd = 5,
    Create = 6,
}

impl FsContext {
    /// Opens a context for a filesystem type of /proc/filesystems.
    ///
    /// # Errors
    /// `ENODEV` for an unknown type, `EPERM` without CAP_SYS_ADMIN, `ENOSYS` before Linux 5.2.
    pub fn open(kind: &str) -> Result<Self, KernelError> {
        let name = CString::new(kind).map_err(|_| error("open filesystem", kind, Errno::EINVAL))?;
        // SAFETY: `name` is a C string that outlives the call; 1 is FSOPEN_CLOEXEC.
        let fd = check(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), 1) })
            .map_err(|errno| error("open filesystem", kind, errno))?;
        // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else owns.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd as RawFd) }, kind: kind.to_owned() })
    }

    /// Sets an option with a value, `size` to `64m`.
    ///
    /// # Errors
    /// `EINVAL` for an option the filesystem does not know; the error carries the kernel's own sentence.
    pub fn set_string(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), KernelError> {
        let value = CString::new(value.as_ref())
            .map_err(|_| error("set mount option", key, Errno::EINVAL))?;
        self.configure(Command::SetString, Some(key), value.as_ptr().cast(), 0)
    }

    /// Sets an option without a value, `userxattr`.
    ///
    /// # Errors
    /// As [`set_string`](Self::set_string).
    pub fn set_flag(&self, key: &str) -> Result<(), KernelError> {
        self.configure(Command::SetFlag, Some(key), std::ptr::null(), 0)
    }

    /// Sets an option whose value is an open file, an overlay's `lowerdir+` for instance (Linux 6.13).
    ///
    /// # Errors
    /// As [`set_string`](Self::set_string).
    pub fn set_fd(&self, key: &str, value: BorrowedFd<'_>) -> Result<(), KernelError> {
        self.configure(Command::SetFd, Some(key), std::ptr::null(), value.as_raw_fd())
    }

    /// Creates the filesystem and returns it as a detached mount (`fsconfig` CREATE, then `fsmount(2)`).
    ///
    /// # Errors
    /// What mounting that filesystem reports; the error carries the kernel's own sentence where it gave one.
    pub fn mount(&self, attr: Attr) -> Result<OwnedFd, KernelError> {
        self.configure(Command::Create, None, std::ptr::null(), 0)?;
        // SAFETY: only integers are passed; 1 is FSMOUNT_CLOEXEC.
        let fd = check(unsafe {
            libc::syscall(libc::SYS_fsmount, self.fd.as_raw_fd(), 1, attr.bits() as libc::c_uint)
        })
        .map_err(|errno| error("mount filesystem", &self.kind, errno).with_detail(self.log()))?;
        // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }

    fn configure(
        &self,
        command: Command,
        key: Option<&str>,
        value: *const libc::c_void,
        aux: RawFd,
    ) -> Result<(), KernelError> {
        let name = key.unwrap_or_default();
        let c_key =
            CString::new(name).map_err(|_| error("set mount option", name, Errno::EINVAL))?;
        let key_pointer = if key.is_some() { c_key.as_ptr() } else { std::ptr::null() };
        // SAFETY: key and value are null or C strings that outlive the call; which of them the kernel reads is fixed
        // by the command (fsconfig(2)).
        let returned = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                self.fd.as_raw_fd(),
                command as libc::c_uint,
                key_pointer,
                value,
                aux,
            )
        };
        check(returned).map(drop).map_err(|errno| {
            let failed = match key {
                Some(key) => error("set mount option", format!("{}: {key}", self.kind), errno),
                None => error("create filesystem", &self.kind, errno),
            };
            failed.with_detail(self.log())
        })
    }

    /// The kernel's own sentences about this context: reading the descriptor gives one message at a time.
    fn log(&self) -> String {
        let mut messages = Vec::new();
        let Ok(fd) = self.fd.try_clone() else { return String::new() };
        let mut file = std::fs::File::from(fd);
        let mut buffer = [0; 1024];
        // The kernel keeps at most eight messages (linux/fs_context.h) and answers ENODATA after the last.
        while let Ok(length) = file.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            // Each begins with its severity: "e ", "w " or "i ".
            let text = text.trim();
            messages.push(text.get(2..).unwrap_or(text).to_owned());
        }
        messages.join("; ")
    }
}

impl AsFd for FsContext {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn error(step: &'static str, object: impl std::fmt::Display, errno: Errno) -> KernelError {
    KernelError::new(step, object, errno)
}

/// Copies the mount at `path` as a detached mount, with everything mounted below it if `recursive`: a bind mount that
/// has no place yet (`open_tree(2)` with `OPEN_TREE_CLONE`, Linux 5.2).
///
/// `path` is relative to `dir`; the empty path means `dir` itself. A symbolic link at the end is not followed.
///
/// # Errors
/// `ENOENT`, `EPERM` without CAP_SYS_ADMIN, `EINVAL` for an unbindable mount or one of another mount namespace.
pub fn clone_tree<P: NixPath + ?Sized>(
    dir: BorrowedFd<'_>,
    path: &P,
    recursive: bool,
) -> Result<OwnedFd, Errno> {
    let mut flags =
        libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_SYMLINK_NOFOLLOW as u32;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH as u32;
    }
    if recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    let fd = path.with_nix_path(|path| {
        // SAFETY: `path` is a C string that outlives the call; the descriptor is borrowed for it.
        check(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })
    })??;
    // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Attaches a detached mount on top of the file or directory that `target` names (`move_mount(2)`, Linux 5.2).
///
/// Both sides are descriptors: whatever was checked about the target still holds when the mount lands there.
///
/// # Errors
/// `ENOTDIR` if one side is a directory and the other is not, `EINVAL` if the target is no mountable place (a
/// symbolic link, another namespace), `EPERM` without CAP_SYS_ADMIN in the mount namespace.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    const EMPTY_PATHS: u32 = 0x04 | 0x40; // MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    // SAFETY: both paths are the empty C string; the descriptors are borrowed for the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            EMPTY_PATHS,
        )
    })
    .map(drop)
}

/// A change of attributes for [`set_attr`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SetAttr<'fd> {
    /// Attributes to set.
    pub set: Attr,
    /// Attributes to clear; [`ATIME_MASK`] is added when `set` holds an access-time mode.
    pub clear: Attr,
    /// New propagation, if it is to change.
    pub propagation: Option<Propagation>,
    /// The user namespace whose map applies, together with [`Attr::IDMAP`].
    pub idmap: Option<BorrowedFd<'fd>>,
}

/// Layout of `struct mount_attr`, `linux/mount.h`.
#[repr(C)]
struct RawAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes attributes of the mount behind `mount`, and of every mount below it if `recursive`
/// (`mount_setattr(2)`, Linux 5.12).
///
/// With `mount(2)`, "read-only" of a bind mount never reached its submounts; here it does, in one call and for all or
/// none.
///
/// # Errors
/// `EINVAL` for a descriptor that is not the root of a mount, `EBUSY` if a file is open for writing where read-only is
/// asked, `EPERM` for an attribute that a more privileged namespace has locked, `ENOSYS` before Linux 5.12.
pub fn set_attr(mount: BorrowedFd<'_>, recursive: bool, change: &SetAttr<'_>) -> Result<(), Errno> {
    let times = Attr::NOATIME | Attr::STRICTATIME;
    let clear_times = if change.set.intersects(times) { ATIME_MASK } else { 0 };
    let raw = RawAttr {
        attr_set: change.set.bits(),
        attr_clr: change.clear.bits() | clear_times,
        propagation: change.propagation.map_or(0, Propagation::bits),
        userns_fd: change.idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `raw` outlives the call and its size is given; the path is the empty C string.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const raw,
            std::mem::size_of::<RawAttr>(),
        )
    })
    .map(drop)
}
