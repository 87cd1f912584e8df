//! Who is who: the maps of a user namespace (user_namespaces(7), "User and group ID mappings").
//!
//! They are written once, from outside, by a process that may: the *parent*. The child could only
//! map its own id.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

use nix::errno::Errno;
use nix::unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid};
use syscalls::{During, KernelError, step};

use crate::IdMap;

/// The text of a map: one line per range, `inside outside count`.
pub(crate) fn text(map: &[IdMap]) -> String {
    map.iter().fold(String::new(), |mut text, IdMap { inside, outside, count }| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{inside} {outside} {count}");
        text
    })
}

/// Parent: writes both maps of the new user namespace of `pid`.
///
/// A caller without CAP_SETGID in its own namespace may map groups only after it has given up
/// setgroups(2) inside: a process could otherwise leave a group that *denies* it access
/// (CVE-2014-8989). The kernel says `EPERM` then.
pub(crate) fn write(pid: Pid, uids: &[IdMap], gids: &[IdMap]) -> Result<(), KernelError> {
    match put(pid, "gid_map", &text(gids)) {
        Err(error) if error.errno == Errno::EPERM => {
            put(pid, "setgroups", "deny")?;
            put(pid, "gid_map", &text(gids)).map_err(explain)?;
        }
        other => other?,
    }
    put(pid, "uid_map", &text(uids)).map_err(explain)
}

/// A map is one write(2): a second one would be refused.
fn put(pid: Pid, file: &str, text: &str) -> Result<(), KernelError> {
    let path = format!("/proc/{pid}/{file}");
    let shown = text.trim_end();
    step!(
        "write",
        ("{path}, {shown:?}"),
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
    )
    .during("write id map", &path)
}

fn explain(error: KernelError) -> KernelError {
    match error.errno {
        Errno::EPERM => error.with_detail(
            "without privilege, a map may hold one line of one id, your own; \
             ranges need newuidmap(1) and /etc/subuid",
        ),
        Errno::EINVAL => error.with_detail("ranges overlap, are empty, or are too many"),
        _ => error,
    }
}

/// Child: becomes user 0 and group 0 of its new user namespace.
///
/// It has all capabilities there already; but its ids are still those outside, and an exec of
/// anybody but user 0 would take the capabilities away.
pub(crate) fn become_root() -> Result<(), KernelError> {
    match step!("setgroups", "[]", setgroups(&[])) {
        // The parent had to deny it: the groups outside stay, unmapped.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(KernelError::new("clear groups", "", errno)),
    }
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    step!("setresgid", "0, 0, 0", setresgid(gid, gid, gid)).during("become group", 0)?;
    step!("setresuid", "0, 0, 0", setresuid(uid, uid, uid)).during("become user", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_range() {
        let map = [
            IdMap { inside: 0, outside: 1000, count: 1 },
            IdMap { inside: 1, outside: 100_000, count: 65_535 },
        ];
        assert_eq!(text(&map), "0 1000 1\n1 100000 65535\n");
    }
}
