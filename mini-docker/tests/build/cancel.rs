//! Builds that do not come to their end: nothing of them stays but the steps that they have finished.

use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{Outcome, Sandbox, Test};

use crate::room::{Going, built, command, context, ends, leftovers, run};
use crate::support::{Docker, Result, wait_until};

pub const TESTS: &[Test] = &[
    ("ctrl_c_during_run", |sandbox| during_run(sandbox, Signal::SIGINT, 130)),
    ("ctrl_c_at_any_time", ctrl_c_at_any_time),
    ("sigterm_during_run", |sandbox| during_run(sandbox, Signal::SIGTERM, 143)),
    ("ctrl_c_during_copy", ctrl_c_during_copy),
    ("ctrl_c_while_stages_wait", ctrl_c_while_stages_wait),
    ("the_command_is_killed", the_command_is_killed),
    ("a_worker_is_killed", a_worker_is_killed),
];

/// Sleeps in such a way that a child of the shell is there too.
const LONG: &str = "RUN echo be\"\"gun; sleep 1000 & sleep 1001";

/// What is left in the end; some of it takes the kernel a moment.
fn nothing_is_left(docker: &Docker) -> Result<()> {
    let last = std::cell::RefCell::new(String::new());
    wait_until("nothing is left", || {
        let left = leftovers(docker)?;
        *last.borrow_mut() = format!("{left:#?}");
        Ok(left.is_empty())
    })
    .map_err(|error| format!("{error}: {}", last.borrow()).into())
}

fn during_run(sandbox: &Sandbox, signal: Signal, code: i32) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = format!(
        "FROM busybox\nRUN echo one > /one\nRUN echo two > /two\n{LONG}\nRUN echo four > /four\n"
    );
    let dir = context(sandbox, "context", &[("Dockerfile", &text)]);
    let mut going = Going::start(&mut command(&docker, &["-t", "x"], &dir))?;
    going.until("begun")?;
    going.signal(signal);
    let ran = going.end()?;
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.stderr.contains("mini-docker: the build was cancelled\nhint: "), "{}", ran.stderr);
    nothing_is_left(&docker)?;
    assert_ne!(docker.ran(["image", "inspect", "x"])?.code, 0, "no image");
    std::fs::write(dir.join("Dockerfile"), text.replace(LONG, "RUN echo three > /three"))?;
    let next = built(&docker, &["-t", "x"], &dir)?;
    assert_eq!(ends(&next), ["CACHED", "CACHED", "DONE", "DONE"], "{next}");
    assert_eq!(
        run(&docker, "x", &["cat", "/one", "/two", "/three", "/four"])?,
        "one\ntwo\nthree\nfour\n"
    );
    Ok(())
}

/// Also while a container is being made or taken away, and between two steps.
fn ctrl_c_at_any_time(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = format!(
        "FROM busybox\nCOPY Dockerfile /d\n{}WORKDIR /w\n{LONG}\n",
        "RUN echo x >> /x\n".repeat(4)
    );
    let dir = context(sandbox, "context", &[("Dockerfile", &text)]);
    for delay in 0..40 {
        let mut going = Going::start(&mut command(&docker, &["--no-cache"], &dir))?;
        going.until("#1 [")?;
        std::thread::sleep(Duration::from_millis(delay * 8));
        going.signal(Signal::SIGINT);
        let ran = going.end()?;
        assert_eq!(ran.code, 130, "{delay}: {ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{delay}: {ran:?}");
        // Not later: the command has waited for its workers.
        let left = leftovers(&docker)?;
        assert!(left.is_empty(), "{delay}: {left:#?}");
    }
    Ok(())
}

/// A file with nothing in it takes no space, and to read it takes a while.
fn ctrl_c_during_copy(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let dir = context(
        sandbox,
        "context",
        &[("Dockerfile", "FROM busybox\nRUN echo one > /one\nCOPY large /large\n")],
    );
    let large = std::fs::File::create(dir.join("large"))?;
    large.set_len(64 << 30)?;
    let mut going = Going::start(&mut command(&docker, &["-t", "x"], &dir))?;
    going.until("COPY large")?;
    std::thread::sleep(Duration::from_millis(100));
    going.signal(Signal::SIGINT);
    let ran = going.end()?;
    assert_eq!(ran.code, 130, "{ran:?}");
    nothing_is_left(&docker)?;
    large.set_len(5)?;
    let next = built(&docker, &["-t", "x"], &dir)?;
    assert_eq!(ends(&next), ["CACHED", "DONE"], "{next}");
    assert_eq!(run(&docker, "x", &["cat", "/large"])?, "\0\0\0\0\0");
    Ok(())
}

fn ctrl_c_while_stages_wait(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = format!(
        "FROM busybox AS a\n{LONG}\nFROM busybox AS b\n{LONG}\nFROM busybox\nCOPY --from=a / /\nCOPY --from=b / /\n"
    );
    let dir = context(sandbox, "context", &[("Dockerfile", &text)]);
    let mut going = Going::start(&mut command(&docker, &[], &dir))?;
    going.until("#1 0")?;
    going.until("#2 0")?;
    going.signal(Signal::SIGINT);
    let ran = going.end()?;
    assert_eq!(ran.code, 130, "{ran:?}");
    nothing_is_left(&docker)
}

fn the_command_is_killed(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = format!("FROM busybox\nRUN echo one > /one\n{LONG}\n");
    let dir = context(sandbox, "context", &[("Dockerfile", &text)]);
    let mut going = Going::start(&mut command(&docker, &["-t", "x"], &dir))?;
    going.until("begun")?;
    going.signal(Signal::SIGKILL);
    assert_eq!(going.end()?.code, 1009);
    wait_until("no process is left", || Ok(docker.footprint()?.processes.is_empty()))?;
    std::fs::write(dir.join("Dockerfile"), text.replace(LONG, "RUN echo three > /three"))?;
    let next = built(&docker, &["-t", "x"], &dir)?;
    assert_eq!(ends(&next), ["CACHED", "DONE"], "{next}");
    nothing_is_left(&docker)?;
    assert_eq!(run(&docker, "x", &["cat", "/one", "/three"])?, "one\nthree\n");
    Ok(())
}

fn a_worker_is_killed(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let text = format!("FROM busybox\nRUN echo one > /one\n{LONG}\n");
    let dir = context(sandbox, "context", &[("Dockerfile", &text)]);
    let mut going = Going::start(&mut command(&docker, &["-t", "x"], &dir))?;
    going.until("begun")?;
    let children = format!("/proc/{0}/task/{0}/children", going.child.id());
    let worker: i32 = std::fs::read_to_string(children)?.trim().parse()?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker), Signal::SIGKILL)?;
    let ran = going.end()?;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("the worker of stage 0 was killed"), "{ran:?}");
    wait_until("no process is left", || Ok(docker.footprint()?.processes.is_empty()))?;
    std::fs::write(dir.join("Dockerfile"), text.replace(LONG, "RUN echo three > /three"))?;
    let next = built(&docker, &["-t", "x"], &dir)?;
    assert_eq!(ends(&next), ["CACHED", "DONE"], "{next}");
    nothing_is_left(&docker)
}
