//! `keyctl(2)`: keys are not namespaced, so a container gets a session keyring of its own.

use nix::errno::Errno;

use crate::check;

/// `KEYCTL_JOIN_SESSION_KEYRING` of `linux/keyctl.h`.
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;

/// Gives the process a new, anonymous session keyring, so that keys of the caller's session are not
/// visible.
///
/// # Errors
/// `ENOSYS` if the kernel has no keyrings, `EDQUOT` if the user has too many keys, `EPERM` where a
/// seccomp filter of an outer container refuses the call.
pub fn join_new_session() -> Result<(), Errno> {
    // SAFETY: a null name asks for an anonymous keyring; no other memory is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    })
    .map(drop)
}

/// The serial number of the session keyring (`KEYCTL_GET_KEYRING_ID`), without making one.
///
/// # Errors
/// `ENOKEY` if there is none, `ENOSYS` if the kernel has no keyrings, `EPERM` under a filter.
pub fn session() -> Result<i32, Errno> {
    const KEYCTL_GET_KEYRING_ID: libc::c_long = 0;
    const KEY_SPEC_SESSION_KEYRING: libc::c_long = -3;
    let create: libc::c_long = 0;
    // SAFETY: only integers are passed.
    let serial = check(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, create)
    })?;
    Ok(serial as i32)
}
