//! Capabilities by number, as the kernel has them: bit masks of 64 (capabilities(7)). Names are
//! chapter 07's.

use nix::errno::Errno;

use crate::check;

/// `_LINUX_CAPABILITY_VERSION_3`: two structures of 32 bits each.
const VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`, `linux/capability.h`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`: one half of the three sets.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The three sets that one call of capset(2) sets together. Bit n is capability n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sets {
    /// What counts when the kernel asks now.
    pub effective: u64,
    /// What may be made effective.
    pub permitted: u64,
    /// What survives an exec of a file that has it in its own inheritable set.
    pub inheritable: u64,
}

/// The calling thread's sets (`capget(2)`).
///
/// # Errors
/// None that a Linux of this century gives.
pub fn get() -> Result<Sets, Errno> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 reads one header and writes two data structures, which these are.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Sets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// Sets the calling thread's three sets at once (`capset(2)`).
///
/// # Errors
/// `EPERM` if permitted would grow, effective exceeds permitted, or inheritable exceeds what it may
/// be.
pub fn set(sets: Sets) -> Result<(), Errno> {
    let mut header = Header { version: VERSION, pid: 0 };
    let half = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 reads one header and two data structures, which these are.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) }).map(drop)
}

fn prctl(
    option: libc::c_int,
    argument: libc::c_ulong,
    second: libc::c_ulong,
) -> Result<i64, Errno> {
    let unused: libc::c_ulong = 0;
    // SAFETY: the options used below take integers only; unused arguments must be zero.
    check(unsafe { libc::prctl(option, argument, second, unused, unused) }.into())
}

/// Whether a capability is in the bounding set (`PR_CAPBSET_READ`).
///
/// # Errors
/// `EINVAL` if the running kernel does not know that number.
pub fn in_bounding(capability: u8) -> Result<bool, Errno> {
    prctl(libc::PR_CAPBSET_READ, capability.into(), 0).map(|answer| answer == 1)
}

/// Takes a capability out of the bounding set, for good (`PR_CAPBSET_DROP`).
///
/// # Errors
/// `EPERM` without CAP_SETPCAP, `EINVAL` if the running kernel does not know that number.
pub fn drop_bounding(capability: u8) -> Result<(), Errno> {
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).map(drop)
}

/// Empties the ambient set (`PR_CAP_AMBIENT_CLEAR_ALL`, Linux 4.3).
///
/// # Errors
/// `EINVAL` before Linux 4.3.
pub fn clear_ambient() -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0).map(drop)
}

/// Puts a capability into the ambient set, so that a program without file capabilities keeps it for
/// a user who is not root (`PR_CAP_AMBIENT_RAISE`, Linux 4.3).
///
/// # Errors
/// `EPERM` unless it is both permitted and inheritable.
pub fn raise_ambient(capability: u8) -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, capability.into())
        .map(drop)
}
