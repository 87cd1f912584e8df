//! Standard streams: a container writes to them, and to nothing else of the host's behind them.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Ran, Result, finish};

pub const TESTS: &[Test] = &[
    ("the_hosts_null_device_stays_the_hosts", the_hosts_null_device_stays_the_hosts),
    ("a_container_without_input_has_its_own_null", a_container_without_input_has_its_own_null),
    ("what_lies_in_the_null_devices_place_is_refused", what_lies_in_its_place_is_refused),
    ("a_script_as_input_is_read_and_nothing_else", a_script_as_input_is_read_and_nothing_else),
    ("a_directory_as_input_is_refused", a_directory_as_input_is_refused),
    ("a_log_file_only_grows", a_log_file_only_grows),
    ("lines_in_one_log_keep_their_order", lines_in_one_log_keep_their_order),
    ("a_named_fifo_keeps_owner_and_mode", a_named_fifo_keeps_owner_and_mode),
    ("a_pipe_is_handed_in_itself", a_pipe_is_handed_in_itself),
    ("much_input_from_a_file_arrives", much_input_from_a_file_arrives),
    ("input_that_cannot_be_read_ends", input_that_cannot_be_read_ends),
    ("a_full_disk_ends_the_output", a_full_disk_ends_the_output),
    ("a_process_that_is_left_writing_does_not_keep_us", a_writer_that_is_left_does_not_keep_us),
    ("a_slow_nonblocking_reader_loses_nothing", a_slow_nonblocking_reader_loses_nothing),
    ("a_full_standard_error_is_no_crash", a_full_standard_error_is_no_crash),
];

/// `run --rm -i busybox sh -c SCRIPT` with these streams of the host.
fn sh(
    docker: &Docker,
    script: &str,
    stdin: impl Into<Stdio>,
    stdout: impl Into<Stdio>,
) -> Result<Ran> {
    let mut command = docker.command(["run", "--rm", "--network", "none", "-i", "busybox", "sh"]);
    let mut child =
        command.args(["-c", script]).stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn()?;
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text)?;
    }
    let ended = child.wait_with_output()?;
    Ok(Ran {
        code: ended.status.code().unwrap_or(-1),
        stdout: text,
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    })
}

/// Owner, group, mode and size: what a container must not change.
fn facts(path: &Path) -> Result<(u32, u32, u32, u64)> {
    let found = std::fs::metadata(path)?;
    Ok((found.uid(), found.gid(), found.mode(), found.len()))
}

/// A container's attempt to take over what is behind its three streams.
const TAKE_OVER: &str = "for n in 0 1 2; do chown 1000:1000 /proc/self/fd/$n; \
                         chmod 640 /proc/self/fd/$n; done; true";

/// Puts a node of our own over the host's null device, so that an attack that succeeds harms nobody.
fn cover_null(sandbox: &Sandbox) -> Result<PathBuf> {
    let node = sandbox.path("null");
    mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))?;
    std::fs::set_permissions(&node, Permissions::from_mode(0o666))?;
    mount(Some(&node), "/dev/null", None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(node)
}

fn the_hosts_null_device_stays_the_hosts(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let node = cover_null(sandbox)?;
    let before = facts(&node)?;
    assert_eq!(before.2 & 0o777, 0o666);
    for flags in [&["run", "--rm"][..], &["run", "--rm", "-i"], &["run", "--rm", "-u", "7"]] {
        let mut command = docker.command(flags);
        command.args(["--network", "none", "busybox", "sh", "-c", TAKE_OVER]);
        let null = || OpenOptions::new().read(true).write(true).open("/dev/null");
        let status = command.stdin(null()?).stdout(null()?).stderr(null()?).status()?;
        assert_eq!(status.code(), Some(0), "{flags:?}");
        assert_eq!(facts(&node)?, before, "{flags:?}");
    }
    Ok(())
}

fn a_container_without_input_has_its_own_null(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "stat -L -c '%F %t:%T' /proc/self/fd/0; \
                  test $(stat -L -c %d:%i /proc/self/fd/0) = $(stat -c %d:%i /dev/null) && \
                  echo same; cat; echo more >&0 && echo written";
    let ran = docker.sh(&[], script)?;
    assert_eq!(ran.stdout, "character special file 1:3\nsame\nwritten\n", "{ran:?}");
    Ok(())
}

fn what_lies_in_its_place_is_refused(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let trap = sandbox.path("trap");
    std::fs::write(&trap, "untouched")?;
    let ran = docker.sh(&["-v", &format!("{}:/dev/null", trap.display())], "echo reached >&0")?;
    assert_eq!(ran.code, 125, "{ran:?}");
    assert!(ran.stderr.contains("open null device `/dev/null`"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&trap)?, "untouched");
    Ok(())
}

fn a_script_as_input_is_read_and_nothing_else(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let file = sandbox.path("script");
    std::fs::write(&file, "echo from the script\n")?;
    std::fs::set_permissions(&file, Permissions::from_mode(0o400))?;
    let before = facts(&file)?;
    let attack = "echo overwritten >/proc/self/fd/0; : >/proc/self/fd/0; chmod 777 /proc/self/fd/0; \
                  chown 1000 /proc/self/fd/0; dd if=/dev/zero of=/dev/stdin bs=4 count=1; true";
    let ran = sh(&docker, attack, File::open(&file)?, Stdio::piped())?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(facts(&file)?, before, "{ran:?}");
    assert_eq!(std::fs::read_to_string(&file)?, "echo from the script\n");
    // And as input it is what it was.
    let ran = sh(&docker, "sh", File::open(&file)?, Stdio::piped())?;
    assert_eq!(ran.stdout, "from the script\n", "{ran:?}");
    Ok(())
}

fn a_directory_as_input_is_refused(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let before = docker.footprint()?;
    let ran = sh(&docker, "ls /proc/self/fd/0/", File::open("/")?, Stdio::piped())?;
    assert_eq!((ran.code, ran.stdout.as_str()), (125, ""), "{ran:?}");
    assert_eq!(
        ran.stderr,
        "mini-docker: standard input is a directory (EISDIR)\n\
         hint: redirect a file or a pipe; a folder is given with -v\n"
    );
    docker.footprint()?.same_as(&before)?;
    // As output, and without -i, where nothing is read.
    let ran = sh(&docker, "ls /proc/self/fd/1/", Stdio::null(), File::open("/")?)?;
    assert_eq!(ran.code, 125, "{ran:?}");
    let mut plain = docker.command(["run", "--rm", "--network", "none", "busybox", "true"]);
    assert_eq!(finish(plain.stdin(File::open("/")?))?.code, 0);
    Ok(())
}

fn a_log_file_only_grows(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let log = sandbox.path("log");
    std::fs::write(&log, "yesterday\n")?;
    let before = facts(&log)?;
    let attack = "echo one; : >/proc/self/fd/1; : >/proc/self/fd/2; chown 1000 /proc/self/fd/1; \
                  chmod 777 /proc/self/fd/2; echo two >&2";
    let open = || OpenOptions::new().append(true).open(&log);
    let mut command = docker.command(["run", "--rm", "--network", "none", "busybox", "sh", "-c"]);
    let status = command.arg(attack).stdout(open()?).stderr(open()?).status()?;
    assert_eq!(status.code(), Some(0));
    let text = std::fs::read_to_string(&log)?;
    assert_eq!(text, "yesterday\none\ntwo\n");
    let after = facts(&log)?;
    assert_eq!((after.0, after.1, after.2), (before.0, before.1, before.2));
    Ok(())
}

fn lines_in_one_log_keep_their_order(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let log = File::create(sandbox.path("log"))?;
    let script = "for n in $(seq 200); do echo $n; echo $n >&2; done";
    let mut command = docker.command(["run", "--rm", "--network", "none", "busybox", "sh", "-c"]);
    command.arg(script).stdout(log.try_clone()?).stderr(log);
    assert_eq!(command.status()?.code(), Some(0));
    let expected: String = (1..=200).map(|n| format!("{n}\n{n}\n")).collect();
    assert_eq!(std::fs::read_to_string(sandbox.path("log"))?, expected);
    Ok(())
}

fn a_named_fifo_keeps_owner_and_mode(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    cover_null(sandbox)?;
    let fifo = sandbox.path("fifo");
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600))?;
    let mut both = OpenOptions::new().read(true).write(true).open(&fifo)?;
    let before = facts(&fifo)?;
    let script = format!("{TAKE_OVER}; echo through");
    let ran = sh(&docker, &script, Stdio::null(), both.try_clone()?)?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(facts(&fifo)?, before);
    assert!(std::fs::metadata(&fifo)?.file_type().is_fifo());
    let mut line = [0; 8];
    both.read_exact(&mut line)?;
    assert_eq!(&line, b"through\n");
    Ok(())
}

fn a_pipe_is_handed_in_itself(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let (stdin, input) = std::io::pipe()?;
    drop(input);
    let (mut output, stdout) = std::io::pipe()?;
    let name = |fd: &dyn AsFd| -> Result<String> {
        Ok(format!("pipe:[{}]", nix::sys::stat::fstat(fd.as_fd())?.st_ino))
    };
    let expected = format!("{}\n{}\n", name(&stdin)?, name(&stdout)?);
    // By the shell itself: the output of $(...) would be another pipe.
    let script = "readlink /proc/$$/fd/0; readlink /proc/$$/fd/1";
    let ran = sh(&docker, script, stdin, stdout)?;
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    assert_eq!((ran.code, text), (0, expected));
    Ok(())
}

fn much_input_from_a_file_arrives(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let file = sandbox.path("much");
    let bytes: Vec<u8> =
        (0..5_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&file, &bytes)?;
    let copy = File::create(sandbox.path("copy"))?;
    let ran = sh(&docker, "cat", File::open(&file)?, copy)?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(std::fs::read(sandbox.path("copy"))? == bytes, "the copy differs");
    // A program that does not read to the end does not keep us.
    let ran = sh(&docker, "head -c 3 | wc -c", File::open(&file)?, Stdio::piped())?;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "3\n"), "{ran:?}");
    Ok(())
}

fn input_that_cannot_be_read_ends(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // Open for writing only: read(2) fails.
    let unreadable = File::create(sandbox.path("unreadable"))?;
    let ran = sh(&docker, "timeout 5 cat; echo code $?", unreadable, Stdio::piped())?;
    assert_eq!(ran.stdout, "code 0\n", "{ran:?}");
    Ok(())
}

fn a_full_disk_ends_the_output(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let full = OpenOptions::new().write(true).open("/dev/full")?;
    let began = Instant::now();
    let ran = sh(&docker, "yes; echo code $? >&2; exit 3", Stdio::null(), full)?;
    assert!(began.elapsed() < Duration::from_secs(5), "{ran:?}");
    let said = "mini-docker: cannot write standard output: No space left on device\n";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{ran:?}");
    assert_eq!(ran.code, 3, "{ran:?}");
    Ok(())
}

fn a_writer_that_is_left_does_not_keep_us(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let fifo = sandbox.path("fifo");
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600))?;
    let mut output = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(&fifo)?;
    for flag in ["--pid=host", "-t"] {
        let mut command = docker.command(["run", "--rm", "--network", "none", "--pid=host", flag]);
        let script = "(trap '' HUP; exec yes leftover) & sleep 0.3; exit 4";
        let mut child = command
            .args(["busybox", "sh", "-c", script])
            .stdout(OpenOptions::new().write(true).open(&fifo)?)
            .stderr(Stdio::null())
            .spawn()?;
        let began = Instant::now();
        let mut some = [0; 4096];
        let mut read = 0;
        // More slowly than it is written: the container's pipe is never empty.
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if began.elapsed() > Duration::from_secs(5) {
                child.kill()?;
                child.wait()?;
                return Err(format!("{flag}: still served after 5 s").into());
            }
            read += output.read(&mut some).unwrap_or(0);
            std::thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(status.code(), Some(4), "{flag}");
        assert!(read > 0, "{flag}");
    }
    Ok(())
}

fn a_slow_nonblocking_reader_loses_nothing(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let (mut output, stdout) = std::io::pipe()?;
    fcntl(&stdout, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // With a terminal, so that the output is carried by us.
    let mut command = docker.command(["run", "--rm", "--network", "none", "-t", "busybox"]);
    let mut child = command.args(["seq", "30000"]).stdout(OwnedFd::from(stdout)).spawn()?;
    drop(command);
    // By now the pipe is full.
    std::thread::sleep(Duration::from_millis(700));
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    assert_eq!(child.wait()?.code(), Some(0));
    let expected: String = (1..=30000).map(|n| format!("{n}\r\n")).collect();
    assert!(text == expected, "{} of {} bytes", text.len(), expected.len());
    Ok(())
}

fn a_full_standard_error_is_no_crash(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let before = docker.footprint()?;
    let full = || OpenOptions::new().write(true).open("/dev/full");
    for (arguments, code) in [
        (&["run", "--rm", "--network", "none", "busybox", "nosuch"][..], 127),
        (&["run", "--rm", "--network", "none", "--explain", "busybox", "true"], 0),
        (
            &[
                "run",
                "--rm",
                "--network",
                "none",
                "-m",
                "8m",
                "busybox",
                "tail",
                "-c",
                "64m",
                "/dev/zero",
            ],
            137,
        ),
        (&["rm", "nosuch"], 1),
        (&["frobnicate"], 1),
    ] {
        let status = docker.command(arguments).stdout(Stdio::null()).stderr(full()?).status()?;
        assert_eq!(status.code(), Some(code), "{arguments:?}");
        docker.footprint()?.same_as(&before)?;
    }
    Ok(())
}
