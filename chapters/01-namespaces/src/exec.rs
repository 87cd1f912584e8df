//! The last step: this process becomes the container's program.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::execve;
use syscalls::{KernelError, trace};

use crate::diagnose;

/// Where a program is looked for if the environment has no PATH: Docker's default.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to execute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<CString>,
    /// The environment, each `NAME=value`.
    pub env: Vec<CString>,
}

/// Executes the program; returns only if that failed. `argv[0]` is looked up in the PATH of `env`
/// unless it has a slash.
///
/// The error's step is `exec`, its object `argv[0]`, and its detail says what the errno does not:
/// not found in PATH, loader or interpreter missing (and a `#!` line that ends in a carriage
/// return), built for another architecture, a directory (`EISDIR`, where the kernel says `EACCES`),
/// no permission to execute. For the exit code see [`exit_code`].
pub fn exec(command: &Command) -> KernelError {
    let Some(program) = command.argv.first() else {
        return KernelError::new("exec", "", Errno::EINVAL).with_detail("no program was named");
    };
    let name = program.to_string_lossy();
    if program.to_bytes().contains(&b'/') {
        let errno = attempt(program, command);
        let (errno, detail) = diagnose::explain(path(program), errno);
        return KernelError::new("exec", name, errno).with_detail(detail);
    }
    let search = search_path(&command.env);
    let mut denied = None;
    for candidate in candidates(search, program.to_bytes()) {
        match attempt(&candidate, command) {
            // The file is there, so ENOENT is about its loader or interpreter: searching on would
            // hide that.
            Errno::ENOENT | Errno::ENOTDIR if !path(&candidate).exists() => {}
            // Another folder may have one that we may execute; execvp(3) looks there too.
            Errno::EACCES => denied = denied.or(Some(candidate)),
            errno => return failed(&name, &candidate, errno),
        }
    }
    match denied {
        Some(candidate) => failed(&name, &candidate, Errno::EACCES),
        None => KernelError::new("exec", name, Errno::ENOENT)
            .with_detail(format!("not found in PATH ({})", search.to_string_lossy())),
    }
}

/// What the shell and Docker make of a failed exec: 127 if there is nothing to execute, 126 if
/// there is something that cannot be.
pub fn exit_code(errno: Errno) -> i32 {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => 127,
        _ => 126,
    }
}

fn attempt(file: &CStr, command: &Command) -> Errno {
    // Told before, since it does not return when it succeeds.
    trace::announce(env!("CARGO_PKG_NAME"), "execve", || format!("{file:?}"));
    match execve(file, &command.argv, &command.env) {
        Err(errno) => errno,
        Ok(never) => match never {},
    }
}

fn failed(name: &str, file: &CStr, errno: Errno) -> KernelError {
    let (errno, detail) = diagnose::explain(path(file), errno);
    let place = file.to_string_lossy();
    let detail =
        if detail.is_empty() { format!("`{place}`") } else { format!("`{place}` {detail}") };
    KernelError::new("exec", name, errno).with_detail(detail)
}

fn path(file: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(file.to_bytes()))
}

/// The value of the last `PATH=` (a later variable replaces an earlier one), or the default.
fn search_path(env: &[CString]) -> &OsStr {
    let mut values = env.iter().filter_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    OsStr::from_bytes(values.next_back().unwrap_or(DEFAULT_PATH.as_bytes()))
}

/// `dir/name` for each folder of the search path. An empty folder means the working directory
/// (execvp(3)).
fn candidates(search: &OsStr, name: &[u8]) -> impl Iterator<Item = CString> {
    let folders = if name.is_empty() { &[][..] } else { search.as_bytes() };
    folders.split(|byte| *byte == b':').filter(|_| !name.is_empty()).filter_map(move |folder| {
        let folder = if folder.is_empty() { b"." } else { folder };
        // Neither part has a zero byte: both come out of C strings.
        CString::new([folder, b"/", name].concat()).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(search: &str, name: &str) -> Vec<String> {
        let places = candidates(search.as_ref(), name.as_bytes());
        places.map(|place| place.into_string().unwrap()).collect()
    }

    #[test]
    fn looks_in_each_folder_once() {
        assert_eq!(found("/bin:/usr/bin", "sh"), ["/bin/sh", "/usr/bin/sh"]);
        assert_eq!(found("/bin:", "sh"), ["/bin/sh", "./sh"]);
        assert_eq!(found("/bin", ""), [] as [&str; 0]);
    }

    #[test]
    fn the_last_path_counts() {
        let env = [c"PATH=/a".to_owned(), c"XPATH=/b".to_owned(), c"PATH=/c".to_owned()];
        assert_eq!(search_path(&env), "/c");
        assert_eq!(search_path(&[]), DEFAULT_PATH);
    }

    #[test]
    fn codes_are_the_shells() {
        assert_eq!(exit_code(Errno::ENOENT), 127);
        assert_eq!(exit_code(Errno::EISDIR), 126);
    }
}
