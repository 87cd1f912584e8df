//! The user of a container, looked up in the image's own files.

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use oci_spec::runtime::Spec;
use syscalls::{During, inroot, step};

use crate::failure::Failure;
use crate::record::Record;

/// A user file larger than this is not one.
const MOST_BYTES: u64 = 8 << 20;

/// Fills in user, groups and HOME of the spec's process.
///
/// # Errors
/// If the image knows no such user or group.
pub(crate) fn look_up(root: BorrowedFd<'_>, record: &Record, spec: &mut Spec) -> Result<()> {
    let passwd = read(root, "/etc/passwd")?;
    let group = read(root, "/etc/group")?;
    let resolved =
        security::user::resolve(&record.user, passwd.as_deref(), group.as_deref(), &record.group_add)
            .map_err(|error| {
                Failure::new(error.to_string())
                    .hint("users and groups are looked up in the image's /etc/passwd and /etc/group; a number always works")
            })?;
    let Some(mut process) = spec.process().clone() else { return Ok(()) };
    let mut user = process.user().clone();
    user.set_uid(resolved.uid);
    user.set_gid(resolved.gid);
    user.set_additional_gids((!resolved.groups.is_empty()).then_some(resolved.groups));
    process.set_user(user);
    let mut env = process.env().clone().unwrap_or_default();
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(format!("HOME={}", resolved.home));
    }
    process.set_env(Some(env));
    spec.set_process(Some(process));
    Ok(())
}

/// The numbers of a file's owner, `--chown=user:group`. A number without a group is the group's too; a name's group is
/// that of passwd.
///
/// # Errors
/// If the image knows no such user or group.
pub(crate) fn owner(root: BorrowedFd<'_>, user: &str, group: &str) -> Result<(u32, u32)> {
    let (passwd, groups) = (read(root, "/etc/passwd")?, read(root, "/etc/group")?);
    let group = match group {
        "" if user.bytes().all(|byte| byte.is_ascii_digit()) => user,
        group => group,
    };
    let spec = if group.is_empty() { user.to_owned() } else { format!("{user}:{group}") };
    let resolved = security::user::resolve(&spec, passwd.as_deref(), groups.as_deref(), &[])
        .map_err(|error| {
            Failure::new(error.to_string())
                .hint("names are looked up in the image's /etc/passwd and /etc/group; a number always works")
        })?;
    Ok((resolved.uid, resolved.gid))
}

/// Reads a file of the image, or nothing if it has none. It is data from strangers: no link leads out, a fifo does
/// not block, a monster is cut off.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<Option<String>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
    let opened = step!(
        "openat2",
        ("root, {path:?}, O_RDONLY, RESOLVE_IN_ROOT"),
        inroot::open(root, Path::new(path), flags, Mode::empty())
    );
    let file = match opened {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
        other => File::from(other.during("open", path)?),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
