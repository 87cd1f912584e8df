//! What a user reads when something fails: one line, a hint, and Docker's exit code.

use std::fmt;
use std::io::Write;

use nix::errno::Errno;
use syscalls::KernelError;

/// Exit codes as Docker's.
pub mod code {
    /// mini-docker itself failed.
    pub const RUNTIME: u8 = 125;
    /// The command exists but cannot be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// The command does not exist.
    pub const NOT_FOUND: u8 = 127;
    /// Any other command than `run` failed.
    pub const OTHER: u8 = 1;
}

/// A failure with its hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One line: what was being done, on what, what went wrong.
    pub message: String,
    /// What to do next. Several lines are several hints.
    pub hint: Option<String>,
    /// Exit code, if it is not the command's usual one.
    pub code: Option<u8>,
    /// Lines to show before it: the place in a file, the last words of a program.
    pub before: Vec<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: None, before: Vec::new() }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds lines to show before the message.
    #[must_use]
    pub fn before(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.before.extend(lines);
        self
    }

    /// Sets the exit code.
    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Writes a line on standard error. If that is closed or full there is nobody to tell, and what is left to do is done
/// all the same: `eprintln!` would panic.
pub fn tell(text: &str) {
    ask(&format!("{text}\n"));
}

/// As [`tell`], without an end of the line: a question.
pub fn ask(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).ok();
}

/// Asks a question and reads a line: anything but a yes is a no.
///
/// # Errors
/// If standard input cannot be read.
pub fn confirmed(question: &str) -> std::io::Result<bool> {
    ask(question);
    let mut answer = String::new();
    if std::io::stdin().read_line(&mut answer)? == 0 {
        // Nobody has typed the end of this line.
        ask("\n");
    }
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Prints an error as `mini-docker: MESSAGE` and `hint: ...`, and returns its exit code.
pub fn report(error: &anyhow::Error, usual_code: u8) -> u8 {
    let failure = explain(error);
    let hints = failure.hint.iter().flat_map(|hint| hint.lines());
    let hints: String = hints.map(|line| format!("\nhint: {line}")).collect();
    let message = crate::format::sanitized(&failure.message);
    let before = failure.before.iter().map(|line| crate::format::sanitized(line) + "\n");
    let before: String = before.collect();
    tell(&format!("{before}mini-docker: {message}{hints}"));
    failure.code.unwrap_or(usual_code)
}

/// Says what went wrong beside what was asked for, which goes on.
pub fn warn(error: &anyhow::Error) {
    tell(&format!("mini-docker: warning: {}", explain(error).message));
}

/// Turns an error and what it knows into one line, a hint and an exit code.
pub fn explain(error: &anyhow::Error) -> Failure {
    let mut message = String::new();
    for (index, cause) in error.chain().enumerate() {
        let text = cause.to_string();
        // thiserror's `#[from]` wrappers may repeat what they carry.
        if index > 0 && message.contains(&text) {
            continue;
        }
        if index > 0 {
            message.push_str(": ");
        }
        message.push_str(&text);
    }
    let (message, own_hint) = split_hint(&message.replace('\n', " "));
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Failure { message, ..failure.clone() };
    }
    let (mut hint, mut code) = (own_hint, None);
    if let Some(kernel) = error.chain().find_map(kernel_error) {
        code = exec_code(kernel);
        hint = hint.or(hint_for(kernel).map(str::to_owned));
    } else if let Some(hinted) = error.chain().find_map(hint_of_chapter) {
        hint = Some(hinted);
    } else if let Some(io) = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>())
    {
        let errno = io.raw_os_error().map(Errno::from_raw);
        hint = hint.or(errno.and_then(hint_for_errno).map(str::to_owned));
    }
    Failure { message, hint, code, before: Vec::new() }
}

/// The kernel's answer in an error, also where a chapter's own error carries it.
fn kernel_error<'e>(cause: &'e (dyn std::error::Error + 'static)) -> Option<&'e KernelError> {
    if let Some(error) = cause.downcast_ref::<KernelError>() {
        return Some(error);
    }
    match (
        cause.downcast_ref::<images::Error>(),
        cause.downcast_ref::<layers::Error>(),
        cause.downcast_ref::<layers::UnpackError>(),
        cause.downcast_ref::<network::Error>(),
        cause.downcast_ref::<volumes::Error>(),
        cause.downcast_ref::<cgroups::Error>(),
    ) {
        (Some(images::Error::Kernel(error)), ..)
        | (_, Some(layers::Error::Kernel(error)), ..)
        | (_, _, Some(layers::UnpackError::Kernel(error)), ..)
        | (_, _, _, Some(network::Error::Kernel(error)), ..)
        | (_, _, _, _, Some(volumes::Error::Kernel(error)), _)
        | (.., Some(cgroups::Error::Kernel(error))) => Some(error),
        _ => None,
    }
}

/// Some chapters say what to do in the sentence itself, in parentheses at its end.
fn split_hint(message: &str) -> (String, Option<String>) {
    match message.rsplit_once(" (hint: ") {
        Some((text, hint)) if hint.ends_with(')') => {
            (text.to_owned(), Some(hint[..hint.len() - 1].to_owned()))
        }
        _ => match message.rsplit_once(" hint: ") {
            Some((text, hint)) => (text.to_owned(), Some(hint.to_owned())),
            None => (message.to_owned(), None),
        },
    }
}

/// 126 and 127 for a command that could not be executed, as a shell and Docker have it.
fn exec_code(error: &KernelError) -> Option<u8> {
    (error.step == "exec").then(|| match namespaces::exec::exit_code(error.errno) {
        127 => code::NOT_FOUND,
        _ => code::NOT_EXECUTABLE,
    })
}

/// Hints that the chapters' own errors carry.
fn hint_of_chapter(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(volumes::Error::Invalid(error)) = cause.downcast_ref::<volumes::Error>() {
        return Some(error.hint.clone());
    }
    if let Some(error) = cause.downcast_ref::<volumes::ParseError>() {
        return Some(error.hint.clone());
    }
    if let Some(error) = cause.downcast_ref::<network::ParseError>() {
        return Some(error.hint.clone());
    }
    if let Some(layers::UnpackError::Limit { what: "bytes", .. }) = cause.downcast_ref() {
        return Some(
            "that is what the disk has free, less a reserve: free space, or use another --root"
                .to_owned(),
        );
    }
    cause.downcast_ref::<network::Error>().and_then(network::Error::hint)
}

/// How the steps begin for which the kernel asks for a privilege, in the chapters' words.
const PRIVILEGED: [&str; 31] = [
    "attach",
    "become group",
    "become user",
    "bind",
    "change root",
    "clear",
    "clone3",
    "copy mount",
    "copy the mount",
    "create device",
    "create namespace",
    "create process",
    "detach",
    "drop",
    "enter",
    "fork",
    "join",
    "keep capabilities",
    "load",
    "make mount",
    "make read-only",
    "mask",
    "pivot root",
    "raise",
    "set capabilities",
    "set domain name",
    "set groups",
    "set hostname",
    "set mount",
    "set propagation",
    "stack layers",
];

fn hint_for(error: &KernelError) -> Option<&'static str> {
    match (error.step.as_ref(), error.errno) {
        ("exec", Errno::ENOENT) if error.detail.contains("is there, but") => {
            Some("the file exists, but what it needs to run does not: install that in the image")
        }
        ("exec", Errno::ENOENT) if !error.object.contains('/') => Some(
            "is the command installed in the image? its PATH is searched; a full path may help",
        ),
        ("exec", Errno::ENOENT | Errno::ENOTDIR) => {
            Some("the path is looked up inside the image, not on the host")
        }
        ("exec", Errno::EACCES | Errno::EISDIR) => {
            Some("name a program, with execute permission (chmod +x), not a folder")
        }
        ("exec", Errno::ENOEXEC) => {
            Some("is it built for this machine's architecture? a script needs a #! line")
        }
        ("clone3", Errno::ENOSPC) => {
            Some("no more namespaces: see /proc/sys/user/max_*_namespaces")
        }
        // For a file, EPERM means that it is immutable (chattr(1)).
        (step, Errno::EPERM) if PRIVILEGED.iter().any(|verb| step.starts_with(verb)) => {
            Some("is mini-docker itself confined (a container, seccomp, AppArmor)?")
        }
        (_, errno) => hint_for_errno(errno),
    }
}

fn hint_for_errno(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::ENOSPC => Some("the disk is full: free space, or use another --root"),
        Errno::EDQUOT => Some("a disk quota is used up: free space, or use another --root"),
        Errno::EMFILE | Errno::ENFILE => Some("too many open files: see ulimit -n"),
        Errno::ENOSYS | Errno::ENODEV => {
            Some("this kernel lacks the feature: see `mini-docker info`")
        }
        Errno::EROFS => Some("the state root is read-only: use another --root"),
        Errno::EAGAIN => {
            Some("too many processes: see ulimit -u and the pids limit of this session")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(step: &'static str, errno: Errno) -> Failure {
        explain(&KernelError::new(step, "/x/y", errno).into())
    }

    #[test]
    fn a_failed_exec_has_the_code_of_a_shell() {
        for (errno, code) in [
            (Errno::ENOENT, Some(127)),
            (Errno::ENOTDIR, Some(127)),
            (Errno::EACCES, Some(126)),
            (Errno::ENOEXEC, Some(126)),
        ] {
            assert_eq!(explained("exec", errno).code, code, "{errno}");
        }
        assert_eq!(explained("open file", Errno::ENOENT).code, None);
    }

    #[test]
    fn confinement_is_suspected_only_where_a_privilege_is_needed() {
        for step in ["attach mount", "create process in namespaces", "join namespace", "clone3"] {
            let hint = explained(step, Errno::EPERM).hint.unwrap_or_default();
            assert!(hint.contains("confined"), "{step}: {hint}");
        }
        // An immutable file.
        for step in ["open file", "write file", "remove directory", "rename file", "set mode"] {
            assert_eq!(explained(step, Errno::EPERM).hint, None, "{step}");
        }
        let io = std::io::Error::from_raw_os_error(Errno::EPERM as i32);
        assert_eq!(explain(&io.into()).hint, None);
    }
}
