//! How the tests of this workspace meet the real kernel.
//!
//! A test file says `harness = false` in Cargo.toml and has a `main`:
//!
//! ```no_run
//! use testkit::{Outcome, Sandbox};
//!
//! fn sees_only_itself(_sandbox: &Sandbox) -> Outcome {
//!     Ok(())
//! }
//!
//! fn main() {
//!     testkit::main(&[("sees_only_itself", sees_only_itself)]);
//! }
//! ```
//!
//! Each test runs in a process of its own with one thread (clone3 and unshare ask for that), in a private mount and
//! network namespace with loopback up, and a temporary folder. After it, the harness looks for what was left behind:
//! processes, mounts on the host, cgroups named after the sandbox; anything found fails the test.

pub mod console;
mod leaks;
pub mod registry;

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sched::CloneFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use syscalls::clone::{CloneArgs, Cloned, clone3};

/// What a test returns: `Ok`, a failure, or [`skip`].
pub type Outcome = Result<(), Box<dyn Error>>;

/// A test: its name and what it does.
pub type Test = (&'static str, fn(&Sandbox) -> Outcome);

/// What a test may use and must leave clean.
#[derive(Debug)]
pub struct Sandbox {
    /// An empty folder on the disk of /tmp (or `TMPDIR`), removed afterwards.
    pub dir: PathBuf,
    /// A name nobody else uses, for cgroups, hostnames, links: `mdt-` and digits.
    pub name: String,
}

impl Sandbox {
    /// A path inside the temporary folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// A root file system made of the static busybox (Debian: busybox-static) with all its applets as links.
    ///
    /// # Errors
    /// Skips if there is no static busybox on this machine.
    pub fn busybox_rootfs(&self, name: &str) -> Result<PathBuf, Box<dyn Error>> {
        let root = self.path(name);
        for dir in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox"))
            .or_else(|_| skip("needs /bin/busybox, static (Debian: busybox-static)"))?;
        let applets = Command::new("/bin/busybox").arg("--list").output()?;
        for applet in String::from_utf8(applets.stdout)?.lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        std::fs::write(root.join("etc/group"), "root:x:0:\n")?;
        Ok(root)
    }
}

/// Why a test could not run here.
#[derive(Debug)]
struct Skipped(String);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SKIP: {}", self.0)
    }
}

impl Error for Skipped {}

/// Ends a test as skipped. With `MINI_DOCKER_NO_SKIP` set (as `make test` does), a skip is a failure.
///
/// # Errors
/// Always: that is how it leaves the test.
pub fn skip<T>(reason: impl Into<String>) -> Result<T, Box<dyn Error>> {
    Err(Box::new(Skipped(reason.into())))
}

const FAILED: i32 = 1;
const SKIPPED: i32 = 77;

/// Runs the tests as the command line asks (`--list`, `--exact`, a filter: what cargo and nextest pass).
pub fn main(tests: &[Test]) {
    let mut arguments = Arguments::from_args();
    // One thread: the main one. clone3 refuses to copy a process with more.
    arguments.test_threads = Some(1);
    let trials = tests
        .iter()
        .map(|&(name, test)| Trial::ignorable_test(name, move || run(name, test)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// Runs one test in a process of its own and looks at what it left.
fn run(name: &str, test: fn(&Sandbox) -> Outcome) -> Result<Completion, Failed> {
    let folder = tempfile::Builder::new().prefix("mini-docker-test-").tempdir()?;
    let unique = format!("mdt-{}-{:04x}", std::process::id(), fastrand(folder.path()));
    let sandbox = Sandbox { dir: folder.path().canonicalize()?, name: unique };
    // Orphans of the test come to us, so that they can be seen and ended.
    nix::sys::prctl::set_child_subreaper(true)?;
    let before = leaks::Snapshot::take()?;
    std::io::stdout().flush()?;
    let namespaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    let cloned = match clone3(&CloneArgs { namespaces, cgroup: None }) {
        Err(nix::errno::Errno::EPERM) => {
            return skipped(name, "needs root: tests make mount and network namespaces");
        }
        other => other?,
    };
    let pid = match cloned {
        Cloned::Child => std::process::exit(child(test, &sandbox)),
        Cloned::Parent { pid, .. } => pid,
    };
    let status = waitpid(pid, None)?;
    let leaks = leaks::after(&before, &sandbox)?;
    match status {
        WaitStatus::Exited(_, 0) if leaks.is_empty() => Ok(Completion::Completed),
        WaitStatus::Exited(_, 0) => Err(format!("left behind: {}", leaks.join("; ")).into()),
        WaitStatus::Exited(_, SKIPPED) => {
            let reason = std::fs::read_to_string(sandbox.path("skip-reason")).unwrap_or_default();
            skipped(name, &reason)
        }
        status => Err(format!("{status:?} {}", leaks.join("; ")).into()),
    }
}

fn skipped(name: &str, reason: &str) -> Result<Completion, Failed> {
    eprintln!("SKIP {name}: {reason}");
    if std::env::var_os("MINI_DOCKER_NO_SKIP").is_some() {
        return Err(format!("skipped, and MINI_DOCKER_NO_SKIP is set: {reason}").into());
    }
    Ok(Completion::ignored_with(reason))
}

/// The test's own process: private propagation, loopback up, then the test.
fn child(test: fn(&Sandbox) -> Outcome, sandbox: &Sandbox) -> i32 {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
        private_namespaces()?;
        test(sandbox)
    }));
    match outcome {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => match error.downcast_ref::<Skipped>() {
            Some(Skipped(reason)) => {
                // The parent reads it; if the folder is gone, the reason is empty and the skip still counts.
                std::fs::write(sandbox.path("skip-reason"), reason).ok();
                SKIPPED
            }
            None => {
                eprintln!("error: {error}");
                let mut source = error.source();
                while let Some(cause) = source {
                    eprintln!("  caused by: {cause}");
                    source = cause.source();
                }
                FAILED
            }
        },
        Err(_panic) => FAILED,
    }
}

fn private_namespaces() -> Outcome {
    use nix::mount::{MsFlags, mount};
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    // /sys shows the network devices of the namespace in which it was mounted; the cgroup mounts below it stay.
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    if !status.is_ok_and(|status| status.success()) {
        return skip("needs ip (Debian: iproute2)");
    }
    Ok(())
}

/// Four hex digits that differ between tests of one process: the random part of the temporary folder's name.
fn fastrand(path: &Path) -> u16 {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.iter().fold(0u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(*byte)))
}

/// Runs a test of a lesson as on a machine with systemd, where every mount is shared: what is mounted in another
/// namespace must not appear in this one.
///
/// # Errors
/// Those of the test.
///
/// # Panics
/// If the mount table has changed.
pub fn where_mounts_are_shared(sandbox: &Sandbox, test: fn(&Sandbox) -> Outcome) -> Outcome {
    use nix::mount::{MsFlags, mount};
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none)?;
    let before = std::fs::read_to_string("/proc/self/mounts")?;
    test(sandbox)?;
    assert_eq!(std::fs::read_to_string("/proc/self/mounts")?, before);
    Ok(())
}

/// The folder of this build's binaries: `target/<triple>/debug`.
pub fn build_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("/proc/self/exe is readable");
    exe.ancestors().nth(2).expect("a test binary lies in target/*/deps").to_owned()
}

/// A built example of the package under test.
///
/// # Errors
/// If it was not built: `cargo test -p PACKAGE` and nextest build it, `--test NAME` alone does not.
pub fn example(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let path = build_dir().join("examples").join(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is not built: cargo build --examples", path.display()).into())
    }
}
