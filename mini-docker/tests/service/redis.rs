//! A database: what was written is there after each kind of end.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Outcome, Sandbox, Test};

use crate::Host;
use crate::support::{Result, wait_until};

pub const TESTS: &[Test] = &[("redis_keeps_its_data", redis_keeps_its_data)];

const ADDRESS: &str = "127.0.0.1:16379";

/// Asks in redis's own protocol, in its short form: words on a line, answered by `+word`, `:number`, `-error`, or `$length`
/// and the text on the next line.
fn ask(words: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&ADDRESS.parse()?, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("{words}\r\n").as_bytes())?;
    let mut lines = BufReader::new(stream).lines();
    let mut line = || lines.next().ok_or("no answer")?.map_err(Box::<dyn std::error::Error>::from);
    let first = line()?;
    if first.starts_with('$') { line() } else { Ok(first) }
}

fn wait_for_redis() -> Result<()> {
    wait_until("redis answers", || Ok(ask("PING").is_ok_and(|answer| answer == "+PONG")))
}

fn redis_keeps_its_data(sandbox: &Sandbox) -> Outcome {
    let host = Host::with_services(sandbox)?;
    let server =
        ["redis-server", "--dir", "/data", "--appendonly", "yes", "--appendfsync", "always"];
    let flags =
        ["-v", "db:/data", "-p", "127.0.0.1:16379:6379", "--restart", "always", "-m", "256m"];
    let run = [
        &["run", "-d", "--name", "db"][..],
        &flags,
        &["services"],
        &server,
        &["--protected-mode", "no"],
    ]
    .concat();
    let id = host.done(&run)?;
    wait_for_redis()?;
    assert_eq!(ask("SET who world")?, "+OK");
    let mut starts = 1;
    let mut number = 0;
    let mut still_there = |starts: usize| -> Result<()> {
        wait_for_redis()?;
        number += 1;
        assert_eq!(ask("GET who")?, "world");
        assert_eq!(ask("INCR number")?, format!(":{number}"), "nothing that was answered is lost");
        // Its log tells of every start, whatever came between.
        let log = host.docker.ran(["logs", "db"])?.stdout;
        assert_eq!(log.matches("Ready to accept connections").count(), starts, "{log}");
        assert_eq!(host.done(&["ps", "-q", "--no-trunc"])?, id);
        Ok(())
    };
    still_there(starts)?;

    // Asked to end, by name and through a restart.
    host.done(&["restart", "db"])?;
    starts += 1;
    still_there(starts)?;
    host.done(&["stop", "db"])?;
    assert!(ask("PING").is_err(), "nobody may answer for what is stopped");
    assert_eq!(host.inspect("db", "{{.State.Status}} {{.State.ExitCode}}")?, "exited 0");
    assert!(
        host.docker.ran(["logs", "db"])?.stdout.contains("Redis is now ready to exit, bye bye...")
    );
    host.done(&["start", "db"])?;
    starts += 1;
    still_there(starts)?;

    // Killed by the user: that is no crash, and nothing brings it back.
    host.done(&["kill", "db"])?;
    wait_until("it has ended", || Ok(host.inspect("db", "{{.State.Status}}")? == "exited"))?;
    assert_eq!(host.inspect("db", "{{.State.ExitCode}} {{.RestartCount}}")?, "137 0");
    host.done(&["start", "db"])?;
    starts += 1;
    still_there(starts)?;

    // Crashed, again and again: the policy brings it back.
    for times in 1..=3 {
        let pid = host.inspect("db", "{{.State.Pid}}")?;
        kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL)?;
        wait_until("it was started again", || {
            let now = host.inspect("db", "{{.State.Status}} {{.State.Pid}}")?;
            Ok(now.starts_with("running ") && now != format!("running {pid}"))
        })?;
        starts += 1;
        still_there(starts)?;
        assert_eq!(host.inspect("db", "{{.RestartCount}}")?, times.to_string());
    }

    // A new container, the same volume.
    host.done(&["rm", "-f", "db"])?;
    let again = [
        &["run", "-d", "--name", "db"][..],
        &flags,
        &["services"],
        &server,
        &["--protected-mode", "no"],
    ]
    .concat();
    host.done(&again)?;
    wait_for_redis()?;
    assert_eq!(ask("GET who")?, "world");
    assert_eq!(ask("GET number")?, "7");
    let refused = host.docker.ran(["volume", "rm", "db"])?;
    assert_eq!(refused.code, 1, "{refused:?}");
    host.done(&["rm", "-f", "db"])?;
    host.done(&["volume", "rm", "db"])?;
    Ok(())
}
