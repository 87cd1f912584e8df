//! A service that prints much: whoever reads along misses nothing, however often the log rotates meanwhile.

use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Outcome, Sandbox, Test};

use crate::Host;
use crate::support::Result;

pub const TESTS: &[Test] = &[("a_counter_without_a_gap", a_counter_without_a_gap)];

const LINES: usize = 100_000;

/// Reads numbered lines up to the last one. Returns the first.
fn numbers(from: ChildStdout, first: Option<usize>) -> Result<usize> {
    let mut lines = BufReader::new(from).lines();
    let mut number = || -> Result<Option<usize>> {
        let Some(line) = lines.next().transpose()? else { return Ok(None) };
        let number = line.strip_prefix("line ").and_then(|rest| rest.parse().ok());
        Ok(Some(number.ok_or_else(|| format!("not a line of the counter: {line:?}"))?))
    };
    let begin = number()?.ok_or("no line at all")?;
    if first.is_some_and(|first| first != begin) {
        return Err(format!("the first line is {begin}").into());
    }
    let mut expected = begin;
    while let Some(next) = number()? {
        expected += 1;
        if next != expected {
            return Err(format!("after line {} comes line {next}", expected - 1).into());
        }
    }
    if expected != LINES - 1 {
        return Err(format!("the last line is {expected}").into());
    }
    Ok(begin)
}

fn a_counter_without_a_gap(sandbox: &Sandbox) -> Outcome {
    let host = Host::with_busybox(sandbox)?;
    let gate = sandbox.path("gate");
    std::fs::create_dir(&gate)?;
    let script = format!(
        "echo line 0; until [ -e /gate/open ]; do sleep 0.02; done; \
         i=1; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done"
    );
    let mount = format!("{}:/gate:ro", gate.display());
    let log = ["--log-opt", "max-size=200k", "--log-opt", "max-file=3"];
    let run = [
        &["run", "-d", "--name", "counter", "--network", "none", "-v", &mount][..],
        &log,
        &["busybox", "sh", "-c", &script],
    ]
    .concat();
    let id = host.done(&run)?;
    // Four who read along, each from the first line; one stands still for a while, longer than three files last.
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut child =
            host.docker.command(["logs", "-f", "counter"]).stdout(Stdio::piped()).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        assert_eq!(line, "line 0\n");
        assert!(stdout.buffer().is_empty(), "more than there can be");
        readers.push((child, stdout.into_inner()));
    }
    let still = Pid::from_raw(readers[0].0.id() as i32);
    kill(still, Signal::SIGSTOP)?;
    std::fs::write(gate.join("open"), "")?;
    let threads: Vec<_> = readers
        .into_iter()
        .map(|(mut child, stdout)| {
            std::thread::spawn(move || {
                let outcome = numbers(stdout, Some(1)).map_err(|error| error.to_string());
                if outcome.is_err() {
                    child.kill().ok();
                }
                (outcome, child.wait().ok().and_then(|status| status.code()))
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    kill(still, Signal::SIGCONT)?;
    for (number, thread) in threads.into_iter().enumerate() {
        let (outcome, code) = thread.join().map_err(|_| "a reader panicked")?;
        assert_eq!((outcome, code), (Ok(1), Some(0)), "reader {number}");
    }
    assert_eq!(host.done(&["wait", "counter"])?, "0");
    // What is kept is the end, without a gap, in as many files and as large ones as were asked for.
    let mut child = host.docker.command(["logs", "counter"]).stdout(Stdio::piped()).spawn()?;
    let begin = numbers(child.stdout.take().unwrap(), None)?;
    assert!(child.wait()?.success());
    assert!(begin > LINES / 2 && begin < LINES - 1000, "{begin}");
    let folder = host.docker.root.join("containers").join(&id);
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&format!("{id}-json.log")) {
            sizes.push(entry.metadata()?.len());
        }
    }
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 200 * 1024 + 100), "{sizes:?}");
    let tail = host.done(&["logs", "--tail", "2", "counter"])?;
    assert_eq!(tail, format!("line {}\nline {}", LINES - 2, LINES - 1));
    Ok(())
}
