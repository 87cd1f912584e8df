//! `stats` and `top`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rexpect::session::{PtyReplSession, spawn_bash};
use serde_json::{Value, json};
use testkit::{Outcome, Sandbox};

use super::{Frozen, created, remove, snapshot, started};
use crate::support::{Docker, Result, transcript, wait_until};

pub fn stats_measure(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    started(
        &docker,
        &["--name", "busy", "-m", "64m"],
        "ping 172.17.0.1 > /dev/null & sleep 1000 & while :; do :; done",
    )?;
    started(&docker, &["--name", "idle", "--network", "none"], "exec sleep 1000")?;
    created(&docker, &["--name", "new", "--network", "none"], &["true"])?;
    let stats = |arguments: &[&str]| -> Result<Vec<Value>> {
        let fixed = ["stats", "--no-stream", "--format", "json"];
        let ran = docker.ran(fixed.iter().chain(arguments))?;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        Ok(ran.stdout.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?)
    };
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let percent = |row: &Value, key: &str| -> Result<f64> {
        Ok(text(row, key).strip_suffix('%').unwrap().parse()?)
    };
    wait_until("packets have gone", || Ok(!text(&stats(&["busy"])?[0], "NetIO").contains("0B")))?;
    let rows = stats(&[])?;
    let names: Vec<String> = rows.iter().map(|row| text(row, "Name")).collect();
    assert_eq!(names, ["idle", "busy"]);
    let (idle, busy) = (&rows[0], &rows[1]);
    let (used, idles) = (percent(busy, "CPUPerc")?, percent(idle, "CPUPerc")?);
    assert!(used > 1.0 && used > idles, "{used} against {idles}");
    assert!(text(busy, "MemUsage").ends_with(" / 64MiB"), "{busy}");
    assert!(percent(busy, "MemPerc")? > 0.0 && percent(idle, "MemPerc")? < 50.0, "{rows:?}");
    assert_eq!((text(busy, "PIDs"), text(idle, "PIDs")), ("3".to_owned(), "1".to_owned()));
    assert_eq!(text(idle, "NetIO"), "0B / 0B");
    // Without a limit it is the machine's memory.
    let total = std::fs::read_to_string("/proc/meminfo")?;
    let total = total.lines().next().unwrap().split_whitespace().nth(1).unwrap();
    let gib = total.parse::<f64>()? / 1024.0 / 1024.0;
    assert!(text(idle, "MemUsage").ends_with(&format!(" / {gib:.2}GiB")), "{idle} {gib}");
    let all = stats(&["-a"])?;
    assert_eq!(all.len(), 3);
    assert_eq!(
        all[0],
        json!({
            "BlockIO": "0B / 0B", "CPUPerc": "0.00%", "Container": all[0]["Container"], "ID": all[0]["ID"],
            "MemPerc": "0.00%", "MemUsage": "0B / 0B", "Name": "new", "NetIO": "0B / 0B", "PIDs": "0",
        })
    );
    let commands: &[&[&str]] = &[
        &["stats", "--no-stream", "new"],
        &[
            "stats",
            "--no-stream",
            "--no-trunc",
            "--format",
            "table {{.ID}}\\t{{.Container}}\\t{{.PIDs}}",
            "new",
        ],
        &["stats", "--no-stream", "nosuch"],
        &["stats", "--no-stream", "--format", "{{.Nope}}"],
        &["container", "stats", "--no-stream", "--format", "{{.Name}}: {{.MemUsage}}", "new"],
    ];
    let mut text = String::new();
    for command in commands {
        text.push_str(&transcript(&docker, sandbox, command)?);
    }
    snapshot("stats", &text);
    // All columns and all fields of one that runs; what is measured is another number each time.
    let mut text = String::new();
    for command in [
        &["stats", "--no-stream", "busy"][..],
        &["stats", "--no-stream", "-a"],
        &["stats", "--no-stream", "--format", "json", "busy"],
        &["stats", "--no-stream", "--format", "{{json .MemUsage}} {{upper .Name}}", "busy"],
    ] {
        text.push_str(&transcript(&docker, sandbox, command)?);
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"[0-9.]+%", "[PERCENT]");
    settings.add_filter(r"[0-9.]+([kMGT]|[KMGT]i)?B\b", "[SIZE]");
    settings.bind(|| snapshot("stats_of_what_runs", &text));
    remove(&docker, &["busy", "idle", "new"])
}

pub fn stats_follow_who_comes_and_goes(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    started(&docker, &["--name", "first", "--network", "none"], "exec sleep 1000")?;
    let stats = ["stats", "--format", "table {{.Name}}"];
    let mut child = docker.command(stats).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut tables = Vec::new();
    // Reads tables until one is as wanted; each begins with its header.
    let mut until = |wanted: &[&str]| -> Result<()> {
        let mut table: Vec<String> = Vec::new();
        for _ in 0..200 {
            let line = lines.next().ok_or("it has ended")??;
            assert!(!line.contains('\u{1b}'), "{line:?} in a pipe");
            if line == "NAME" {
                tables.push(std::mem::take(&mut table));
                if tables.last().is_some_and(|table| table == wanted) {
                    return Ok(());
                }
            } else {
                table.push(line);
            }
        }
        Err(format!("no table with {wanted:?}: {tables:?}").into())
    };
    until(&["first"])?;
    started(&docker, &["--name", "second", "--network", "none"], "exec sleep 1000")?;
    until(&["second", "first"])?;
    remove(&docker, &["first"])?;
    until(&["second"])?;
    drop(lines);
    // Nobody reads any more: that is its end.
    wait_until("it ends with its reader", || Ok(child.try_wait()?.is_some()))
        .inspect_err(|_| drop(child.kill()))?;
    child.wait()?;
    // Those that were named are waited for, and no others.
    let mut child = docker.command(["stats", "second"]).stdout(Stdio::null()).spawn()?;
    remove(&docker, &["second"])?;
    wait_until("it ends with the last", || Ok(child.try_wait()?.is_some()))
        .inspect_err(|_| drop(child.kill()))?;
    assert!(child.wait()?.success());
    Ok(())
}

fn prompt(docker: &Docker) -> Result<PtyReplSession> {
    let mut bash = spawn_bash(Some(20_000))?;
    let roots = [("ROOT", &docker.root), ("RUN_ROOT", &docker.run_root)];
    for (name, path) in roots {
        bash.execute(&format!("export MINI_DOCKER_{name}={}", path.display()), "")?;
    }
    Ok(bash)
}

pub fn stats_end_with_ctrl_c(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    started(&docker, &["--name", "shown", "--network", "none"], "exec sleep 1000")?;
    let mut bash = prompt(&docker)?;
    bash.send_line("before=$(stty -g)")?;
    bash.wait_for_prompt()?;
    bash.send_line(&format!("{} stats", env!("CARGO_BIN_EXE_mini-docker")))?;
    // At once, in place of what was there; then again from the top, without clearing.
    bash.exp_string("\u{1b}[2J\u{1b}[HCONTAINER ID")?;
    bash.exp_string("--")?;
    bash.exp_string("\u{1b}[J")?;
    bash.exp_string("\u{1b}[HCONTAINER ID")?;
    bash.exp_string("PIDS\u{1b}[K")?;
    bash.exp_string("shown")?;
    bash.exp_string("%")?;
    bash.send_control('c')?;
    bash.wait_for_prompt()?;
    bash.send_line("echo code $?; [ \"$before\" = \"$(stty -g)\" ] && echo same terminal")?;
    bash.exp_string("code 130")?;
    bash.exp_string("same terminal")?;
    bash.wait_for_prompt()?;
    bash.send_line("exit")?;
    bash.exp_eof()?;
    remove(&docker, &["shown"])
}

pub fn top_shows_processes(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let id = started(
        &docker,
        &["--name", "box", "--network", "none", "-u", "12345"],
        "sleep 1000 & sleep 2000; true",
    )?;
    created(&docker, &["--name", "new", "--network", "none"], &["true"])?;
    wait_until("three processes", || Ok(docker.ran(["top", "box"])?.stdout.lines().count() == 4))?;
    let commands: &[&[&str]] = &[
        &["top", "box"],
        &["container", "top", "box"],
        &["top", "new"],
        &["top", "nosuch"],
        &["top", "box", "-o", "pid,args"],
        &["top", "box", "-o pid,args"],
        &["top", "box", "-o", "args"],
        &["top", "box", "--nonsense"],
    ];
    let mut text = String::new();
    for command in commands {
        text.push_str(&transcript(&docker, sandbox, command)?);
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b\d\d:\d\d:\d\d\b", "[TIME]");
    settings.add_filter(r"\b\d\d:\d\d\b", "[START]");
    settings.add_filter(r"(?m)^12345 +\d+ +\d+ +\d+ ", "12345 [PID] [PARENT] [C] ");
    settings.add_filter(r"(?m)^\d+ +s", "[PID]  s");
    settings.bind(|| snapshot("top", &text));
    // The same processes as the kernel knows, frozen or not.
    let still = Frozen::new(&docker, &id)?;
    let shown = docker.ran(["top", "box"])?.stdout;
    let pids: Vec<&str> =
        shown.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    let known: Vec<String> = still.0.procs().iter().map(ToString::to_string).collect();
    assert_eq!(pids, known);
    assert_eq!(pids.len(), 3);
    drop(still);
    // A machine without ps has the usual columns all the same.
    let without = |arguments: &[&str]| {
        crate::support::finish(docker.command(arguments).env("PATH", sandbox.path("empty")))
    };
    assert_eq!(without(&["top", "box"])?.stdout.lines().count(), 4);
    let refused = without(&["top", "box", "-o", "pid"])?;
    assert_eq!(refused.code, 1);
    assert_eq!(
        refused.stderr,
        "mini-docker: there is no `ps` on this machine\nhint: leave out the options, or install procps\n"
    );
    remove(&docker, &["box", "new"])
}
