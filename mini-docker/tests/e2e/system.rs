//! `update`, `port`, `prune`, `system ...`, `info`, `version`, completion and manual.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Result, stdout, transcript, wait_until};

pub const TESTS: &[Test] = &[
    ("update_changes_kernel_and_spec", update_changes_kernel_and_spec),
    ("update_refuses_what_cannot_be", update_refuses_what_cannot_be),
    ("port_tells_where", port_tells_where),
    ("container_prune_frees_what_it_says", container_prune_frees_what_it_says),
    ("system_prune_frees_what_it_says", system_prune_frees_what_it_says),
    ("df_counts_as_du_does", df_counts_as_du_does),
    ("restart_all_brings_back_what_wants_to_run", restart_all_brings_back_what_wants_to_run),
    ("stop_all_is_polite_and_no_stop_by_the_user", stop_all_is_polite_and_no_stop_by_the_user),
    ("a_boot_brings_back_after_killed_monitors", a_boot_brings_back_after_killed_monitors),
    ("info_and_version_in_the_users_own_words", info_and_version_in_the_users_own_words),
    ("completion_and_manual_show_what_help_shows", completion_and_manual_show_what_help_shows),
    ("bash_completes_what_exists", bash_completes_what_exists),
];

/// What an unwilling program waits for: SIGTERM does not end process 1 unless it says so.
const SLEEP: &str = "trap 'exit 7' TERM; while :; do sleep 0.05; done";

fn record(docker: &Docker, name: &str) -> Result<Value> {
    let id = std::fs::read_to_string(docker.root.join("names").join(name))?;
    Ok(serde_json::from_slice(&std::fs::read(
        docker.root.join("containers").join(id).join("record.json"),
    )?)?)
}

/// The content of a file of a container's cgroup, in whatever hierarchy has it.
fn cgroup_file(docker: &Docker, name: &str, files: &[&str]) -> Result<String> {
    let id = record(docker, name)?["id"].as_str().unwrap().to_owned();
    let engine = std::fs::read_to_string(docker.root.join("id"))?;
    let below = Path::new(&format!("mini-docker-{engine}")).join(id);
    let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
    for entry in std::fs::read_dir("/sys/fs/cgroup")?.flatten() {
        roots.push(entry.path());
    }
    let paths = roots.iter().flat_map(|root| files.iter().map(|file| root.join(&below).join(file)));
    match paths.into_iter().find_map(|path| std::fs::read_to_string(path).ok()) {
        Some(text) => Ok(text.trim().to_owned()),
        None => Err(format!("no {files:?} of {name}").into()),
    }
}

fn run_detached(docker: &Docker, flags: &[&str], script: &str) -> Result<()> {
    let fixed = ["run", "-d", "--network", "none"];
    let ran = docker.ran(fixed.iter().chain(flags).chain(&["busybox", "sh", "-c", script]))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(())
}

fn update_changes_kernel_and_spec(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    run_detached(&docker, &["--name", "web", "-m", "64m", "--pids-limit", "50"], SLEEP)?;
    let memory = ["memory.max", "memory.limit_in_bytes"];
    assert_eq!(cgroup_file(&docker, "web", &memory)?, "67108864");
    let update = [
        "update",
        "-m",
        "32m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "40",
        "--restart",
        "always",
        "web",
    ];
    let ran = docker.ran(update)?;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "web\n", ""));
    assert_eq!(cgroup_file(&docker, "web", &memory)?, "33554432");
    assert_eq!(cgroup_file(&docker, "web", &["pids.max"])?, "40");
    let cpu = cgroup_file(&docker, "web", &["cpu.max", "cpu.cfs_quota_us"])?;
    assert!(cpu == "50000" || cpu == "50000 100000", "{cpu}");
    assert_eq!(record(&docker, "web")?["restart"], "always");
    let asked = || {
        let format = "{{.HostConfig.NanoCpus}} {{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}}";
        stdout(&mut docker.command(["inspect", "-f", format, "web"]))
    };
    assert_eq!(asked()?, "500000000 0 0\n");
    docker.ran(["update", "--cpu-period", "50000", "--cpu-quota", "20000", "web"])?;
    assert_eq!(asked()?, "0 50000 20000\n");
    // The next process has the same limits: what was changed is in the spec.
    docker.ran(["update", "--cpu-shares", "512", "web"])?;
    let id = record(&docker, "web")?["id"].as_str().unwrap().to_owned();
    let pid = record(&docker, "web")?["status"]["pid"].as_i64().unwrap();
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status()?.success());
    wait_until("it runs again", || {
        let now = record(&docker, "web")?["status"]["pid"].as_i64();
        Ok(now.is_some_and(|now| now != pid) && cgroup_file(&docker, "web", &memory).is_ok())
    })?;
    assert_eq!(cgroup_file(&docker, "web", &memory)?, "33554432");
    assert_eq!(cgroup_file(&docker, "web", &["pids.max"])?, "40");
    let config = std::fs::read(docker.root.join("containers").join(&id).join("config.json"))?;
    let config: Value = serde_json::from_slice(&config)?;
    assert_eq!(config["linux"]["resources"]["cpu"]["shares"], 512);
    assert_eq!(config["linux"]["resources"]["memory"]["limit"], 32 << 20);
    assert_eq!(config["linux"]["resources"]["pids"]["limit"], 40);
    // Without a limit again.
    assert_eq!(docker.ran(["update", "--pids-limit", "-1", "web"])?.code, 0);
    assert_eq!(cgroup_file(&docker, "web", &["pids.max"])?, "max");
    docker.ran(["rm", "-f", "web"])?;
    Ok(())
}

fn update_refuses_what_cannot_be(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    docker.ran(["create", "--name", "web", "-m", "64m", "--memory-swap", "64m", "busybox"])?;
    docker.ran(["create", "--name", "brief", "--rm", "busybox"])?;
    let before = std::fs::read(docker.root.join("names").join("web"))?;
    let mut text = String::new();
    for arguments in [
        &["update", "web"][..],
        &["update", "-m", "1m", "web"],
        &["update", "-m", "128m", "web"],
        &["update", "-m", "128m", "--memory-swap", "256m", "web"],
        &["update", "--restart", "sometimes", "web"],
        &["update", "--restart", "always", "brief"],
        &["update", "--cpus", "1000", "web"],
        &["update", "--pids-limit", "5", "nobody", "web"],
        &["container", "update", "--restart", "on-failure:3", "web"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    let cpus = std::thread::available_parallelism()?.to_string();
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&format!(r"\b{cpus}( CPUs|\n)"), "[CPUS]$1");
    settings.bind(|| insta::assert_snapshot!(text));
    let config =
        docker.root.join("containers").join(String::from_utf8(before)?).join("config.json");
    let config: Value = serde_json::from_slice(&std::fs::read(config)?)?;
    let memory = &config["linux"]["resources"]["memory"];
    assert_eq!(
        (memory["limit"].as_i64(), memory["swap"].as_i64()),
        (Some(128 << 20), Some(256 << 20))
    );
    assert_eq!(config["linux"]["resources"]["pids"]["limit"], 5);
    assert_eq!(record(&docker, "web")?["restart"]["on-failure"]["most"], 3);
    Ok(())
}

fn port_tells_where(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run = [
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "18443:443",
        "-p",
        "127.0.0.1:18080:80",
        "-p",
        "18053:53/udp",
    ];
    let ran = docker.ran(run.iter().chain(&["busybox", "sh", "-c", SLEEP]))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut text = String::new();
    for arguments in [
        &["port", "web"][..],
        &["port", "web", "80"],
        &["port", "web", "53/udp"],
        &["container", "port", "web", "53"],
        &["port", "web", "http"],
        &["port", "nobody"],
        &["rm", "-f", "web"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    docker.ran(["create", "--name", "idle", "-p", "18080:80", "busybox"])?;
    for arguments in [&["port", "idle"][..], &["port", "idle", "80"]] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    insta::assert_snapshot!(text);
    Ok(())
}

/// Bytes that du(1) counts below some paths.
fn du(paths: &[PathBuf]) -> Result<u64> {
    let text = stdout(Command::new("du").args(["-c", "-s", "--block-size=1"]).args(paths))?;
    let total = text.lines().last().and_then(|line| line.split_whitespace().next()).unwrap();
    Ok(total.parse()?)
}

/// As `Total reclaimed space` says a number of bytes: three digits.
fn said(bytes: u64) -> String {
    let (value, unit) = match bytes {
        0..1000 => return format!("{bytes}B"),
        1000..999_500 => (bytes as f64 / 1e3, "kB"),
        _ => (bytes as f64 / 1e6, "MB"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    let text = format!("{value:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

fn wrote(docker: &Docker, flags: &[&str], kibibytes: u32) -> Result<()> {
    let script = format!("dd if=/dev/zero of=/big bs=1024 count={kibibytes} 2>/dev/null");
    let fixed = ["run", "--network", "none"];
    let ran = docker.ran(fixed.iter().chain(flags).chain(&["busybox", "sh", "-c", &script]))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(())
}

fn container_prune_frees_what_it_says(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    wrote(&docker, &["--name", "one", "-l", "keep"], 500)?;
    wrote(&docker, &["--name", "two"], 2000)?;
    wrote(&docker, &["--name", "three"], 300)?;
    run_detached(&docker, &["--name", "runs"], SLEEP)?;
    let root = std::slice::from_ref(&docker.root);
    let mut text = String::new();
    let mut step = |arguments: &[&str], is_said: bool| -> Result<()> {
        let before = du(root)?;
        let said_now = transcript(&docker, sandbox, arguments)?;
        let freed = before - du(root)?;
        if is_said {
            let line = format!("Total reclaimed space: {}\n", said(freed));
            assert!(said_now.contains(&line), "{freed} bytes are free: {said_now}");
        }
        text.push_str(&said_now);
        Ok(())
    };
    step(&["container", "prune"], false)?;
    step(&["container", "prune", "-f", "--filter", "dangling=true"], false)?;
    step(&["container", "prune", "-f", "--filter", "until=1h"], true)?;
    step(&["container", "prune", "-f", "--filter", "label!=keep"], true)?;
    step(&["container", "prune", "-f", "--filter", "label=keep"], true)?;
    step(&["container", "prune", "-f"], true)?;
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{64}", "[ID]");
    settings.add_filter("space: [0-9.]+[kM]B", "space: [SIZE]");
    settings.bind(|| insta::assert_snapshot!(text));
    assert_eq!(docker.ran(["ps", "-a", "-q"])?.stdout.lines().count(), 1, "the one that runs");
    docker.ran(["rm", "-f", "runs"])?;
    Ok(())
}

fn system_prune_frees_what_it_says(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    wrote(&docker, &["--name", "one", "-v", "/volume"], 700)?;
    docker.ran(["volume", "create", "named"])?;
    docker.ran(["tag", "busybox", "box:2"])?;
    let mut text = transcript(&docker, sandbox, &["system", "prune", "--volumes"])?;
    let refused = ["system", "prune", "--volumes", "-f", "--filter", "until=1h"];
    text.push_str(&transcript(&docker, sandbox, &refused)?);
    // The anonymous volume is not free before its container has gone.
    for flags in [&["--volumes"][..], &["-a"], &["-a"]] {
        let before = du(std::slice::from_ref(&docker.root))?;
        let arguments = ["system", "prune", "-f"].iter().chain(flags).copied().collect::<Vec<_>>();
        let told = transcript(&docker, sandbox, &arguments)?;
        let freed = before - du(std::slice::from_ref(&docker.root))?;
        let line = format!("Total reclaimed space: {}\n", said(freed));
        assert!(told.contains(&line), "{freed} bytes are free: {told}");
        text.push_str(&told);
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{64}", "[ID]");
    settings.add_filter("space: [0-9.]+[kM]B", "space: [SIZE]");
    settings.bind(|| insta::assert_snapshot!(text));
    assert_eq!(docker.ran(["volume", "ls", "-q"])?.stdout, "named\n");
    assert_eq!(docker.ran(["images", "-q"])?.stdout, "");
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.len() == 64 {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn df_counts_as_du_does(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    wrote(&docker, &["--name", "one"], 600)?;
    // Two images with one layer in common, and one with the same layer under another name.
    docker.ran(["commit", "one", "child"])?;
    docker.ran(["tag", "child", "again:2"])?;
    run_detached(
        &docker,
        &["--name", "runs", "-v", "data:/data"],
        &format!("echo x > /data/file; {SLEEP}"),
    )?;
    docker.ran(["volume", "create", "idle"])?;
    let file = docker.root.join("volumes/data/_data/file");
    wait_until("it has written", || Ok(std::fs::metadata(&file).is_ok_and(|file| file.len() > 0)))?;
    let mut stored = entries(&docker.root.join("images/blobs/sha256"))?;
    stored.extend(entries(&docker.root.join("layers"))?);
    let containers = entries(&docker.root.join("containers"))?;
    let sizes = docker.ran(["system", "df", "--format", "{{.Type}}={{.Size}}"])?.stdout;
    let volumes: u64 = ["data", "idle"]
        .iter()
        .map(|name| du(&[docker.root.join("volumes").join(name)]))
        .sum::<Result<u64>>()?;
    let expected = [
        ("Images", du(&stored)?),
        ("Containers", du(&containers)?),
        ("Local Volumes", volumes),
        ("Build Cache", 0),
    ];
    let expected: String =
        expected.iter().map(|(kind, bytes)| format!("{kind}={}\n", said(*bytes))).collect();
    assert_eq!(sizes, expected);
    let mut text = String::new();
    for arguments in [
        &["system", "df"][..],
        &["system", "df", "-v"],
        &["system", "df", "--format", "{{.Type}}: {{.TotalCount}} {{.Active}}"],
        &["system", "df", "--format", "{{.Nope}}"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    let details = docker.ran(["system", "df", "-v", "--format", "json"])?.stdout;
    let details: Value = serde_json::from_str(&details)?;
    let images = details["Images"].as_array().unwrap();
    assert_eq!(images.len(), 3, "a line for each name");
    assert!(images.iter().all(|image| image["SharedSize"] != "0B"), "{images:?}");
    docker.ran(["rm", "-f", "runs", "one"])?;
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[SHORT ID]");
    settings.add_filter(r"\b[0-9.]+[kM]B\b", "[SIZE]");
    settings.add_filter(r"\([0-9]+%\)", "([PERCENT])");
    settings.add_filter(
        r"(Less than a second|About a minute|[0-9]+ (seconds?|minutes?))( ago)?",
        "[AGO]",
    );
    settings.add_filter(r"(SIZE|CREATED|STATUS|COMMAND|IMAGE ID|CONTAINER ID) +", "$1   ");
    settings.add_filter(r"\[(SIZE|AGO)\] +", "[$1]   ");
    settings.bind(|| insta::assert_snapshot!(text));
    Ok(())
}

fn states(docker: &Docker) -> Result<Vec<(String, String)>> {
    let names = std::fs::read_dir(docker.root.join("names"))?.flatten();
    let mut all = Vec::new();
    for name in names.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        // Not one that is being made.
        if let Ok(record) = record(docker, &name) {
            all.push((name, record["status"]["state"].as_str().unwrap().to_owned()));
        }
    }
    all.sort();
    Ok(all)
}

fn running(docker: &Docker) -> Result<String> {
    let states = states(docker)?;
    let names = states.into_iter().filter(|(_, state)| state == "running").map(|(name, _)| name);
    Ok(names.collect::<Vec<_>>().join(" "))
}

fn restart_all_brings_back_what_wants_to_run(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let folder = sandbox.path("folder");
    std::fs::create_dir(&folder)?;
    let bind = format!("{}:/data", folder.display());
    // Made before the one that it joins could be: it waits for that one all the same.
    run_detached(&docker, &["--name", "always", "--restart", "always"], SLEEP)?;
    run_detached(
        &docker,
        &[
            "--name",
            "broken",
            "--restart",
            "always",
            "--mount",
            &format!("type=bind,source={},target=/data", folder.display()),
        ],
        SLEEP,
    )?;
    run_detached(&docker, &["--name", "never"], SLEEP)?;
    run_detached(&docker, &["--name", "failed", "--restart", "on-failure"], SLEEP)?;
    run_detached(
        &docker,
        &["--name", "unless", "--restart", "unless-stopped", "-v", &bind],
        SLEEP,
    )?;
    let joined =
        ["run", "-d", "--name", "joined", "--restart", "always", "--network", "container:always"];
    let ran = docker.ran(joined.iter().chain(&["busybox", "sh", "-c", SLEEP]))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    docker.ran(["create", "--name", "unborn", "--restart", "always", "busybox"])?;
    let stopped = docker.ran(["system", "stop-all"])?;
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert_eq!(running(&docker)?, "");
    // As if the policy had started it twice, and as if `joined` had been made first.
    let rewrite = |name: &str, key: &str, value: Value| -> Result<()> {
        let mut all = record(&docker, name)?;
        all[key] = value;
        let path =
            docker.root.join("containers").join(all["id"].as_str().unwrap()).join("record.json");
        Ok(std::fs::write(path, serde_json::to_vec(&all)?)?)
    };
    rewrite("always", "restarts", 2.into())?;
    rewrite("joined", "created", "2020-01-01T00:00:00Z".into())?;
    rewrite("unless", "halted", true.into())?;
    std::fs::remove_dir(&folder)?;
    let text = transcript(&docker, sandbox, &["system", "restart-all"])?;
    assert_eq!(running(&docker)?, "always failed joined");
    assert_eq!(record(&docker, "always")?["restarts"], 2, "it was not the user who started it");
    let again = transcript(&docker, sandbox, &["system", "restart-all"])?;
    // Whoever has failed so often as may be stays.
    docker.ran(["system", "stop-all"])?;
    docker.ran(["update", "--restart", "on-failure:2", "failed"])?;
    rewrite("failed", "restarts", 2.into())?;
    docker.ran(["system", "restart-all"])?;
    assert_eq!(running(&docker)?, "always joined");
    for name in ["always", "broken", "never", "failed", "unless", "joined", "unborn"] {
        docker.ran(["rm", "-f", name])?;
    }
    insta::assert_snapshot!(text + &again);
    Ok(())
}

fn stop_all_is_polite_and_no_stop_by_the_user(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    assert_eq!(docker.sh(&[], "true")?.code, 0);
    let before = docker.footprint()?;
    run_detached(&docker, &["--name", "polite", "--restart", "always"], SLEEP)?;
    let other = SLEEP.replace("7' TERM", "8' USR1");
    run_detached(
        &docker,
        &["--name", "other", "--stop-signal", "USR1", "--restart", "unless-stopped"],
        &other,
    )?;
    run_detached(
        &docker,
        &["--name", "deaf", "--stop-timeout", "0"],
        "trap '' TERM; while :; do sleep 0.05; done",
    )?;
    // Without a monitor.
    let run = ["run", "--rm", "--name", "front", "--network", "none", "busybox", "sh", "-c", SLEEP];
    let mut child = docker.command(run).spawn()?;
    wait_until("it runs", || Ok(running(&docker)?.contains("front")))?;
    // The shells have set their traps when they sleep for the first time.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let stopped = docker.ran(["system", "stop-all"])?;
    let mut names: Vec<&str> = stopped.stdout.lines().collect();
    names.sort_unstable();
    assert_eq!((stopped.code, names), (0, vec!["deaf", "front", "other", "polite"]), "{stopped:?}");
    assert_eq!(child.wait()?.code(), Some(7));
    for (name, code) in [("polite", 7), ("other", 8), ("deaf", 137)] {
        let record = record(&docker, name)?;
        assert_eq!(
            (&record["status"]["code"], &record["halted"]),
            (&code.into(), &false.into()),
            "{name}"
        );
    }
    for name in ["polite", "other", "deaf"] {
        assert_eq!(docker.ran(["rm", name])?.code, 0);
    }
    docker.footprint()?.same_as(&before)?;
    Ok(())
}

fn a_boot_brings_back_after_killed_monitors(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    run_detached(&docker, &["--name", "back", "--restart", "unless-stopped"], SLEEP)?;
    run_detached(&docker, &["--name", "waits", "--restart", "always"], "exit 1")?;
    // The pause has become long enough for what follows.
    wait_until("it waits for its next start", || {
        let record = record(&docker, "waits")?;
        Ok(record["status"]["state"] == "restarting" && record["restarts"].as_i64() >= Some(5))
    })?;
    // Both monitors at once, as a power cut would.
    let pids = stdout(Command::new("pgrep").args(["-x", "mini-docker:mon"]))?;
    for pid in pids.lines() {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environ).contains(&*docker.root.to_string_lossy()) {
            assert!(Command::new("kill").args(["-KILL", pid]).status()?.success());
        }
    }
    wait_until("they are gone", || {
        docker.ran(["ps"])?;
        let states = states(&docker)?;
        Ok(states.iter().all(|(_, state)| state == "exited"))
    })?;
    assert_eq!(record(&docker, "back")?["status"]["code"], 137);
    assert_eq!(record(&docker, "waits")?["status"]["code"], 1);
    let ran = docker.ran(["system", "restart-all"])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "back\nwaits\n"), "{ran:?}");
    // Also what is just being started again, or waits for that.
    let stopped = docker.ran(["system", "stop-all"])?;
    assert_eq!((stopped.code, stopped.stdout.as_str()), (0, "waits\nback\n"), "{stopped:?}");
    assert_eq!(running(&docker)?, "");
    let removed = docker.ran(["rm", "back", "waits"])?;
    assert_eq!(removed.code, 0, "{removed:?}");
    Ok(())
}

fn info_and_version_in_the_users_own_words(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    run_detached(&docker, &["--name", "runs"], SLEEP)?;
    docker.ran(["create", "--name", "idle", "busybox"])?;
    let settings_file = sandbox.path("daemon.json");
    std::fs::write(&settings_file, r#"{"registry-mirrors": ["https://mirror.example"]}"#)?;
    let settings_file = settings_file.to_string_lossy().into_owned();
    let mut text = String::new();
    for arguments in [
        &[
            "info",
            "--format",
            "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}} {{.Images}}",
        ][..],
        &[
            "info",
            "-f",
            "{{.Driver}} {{.LoggingDriver}} {{.CgroupDriver}} {{.ServerVersion}} {{.OSType}}",
        ],
        &["--config-file", &settings_file, "info", "-f", "{{json .RegistryConfig.Mirrors}}"],
        &["system", "info", "-f", "{{.Nope}}"],
        &["info", "-f", "{{"],
        &["version"],
        &["version", "--format", "{{.Server.Version}} {{.Client.Version}} {{.Server.Os}}"],
        &["version", "-f", "{{.Nope}}"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    let info = docker.ran(["--config-file", &settings_file, "info"])?.stdout;
    let json: Value = serde_json::from_str(&docker.ran(["info", "--format", "json"])?.stdout)?;
    docker.ran(["rm", "-f", "runs"])?;
    let cpus = std::thread::available_parallelism()?.get();
    assert_eq!(json["NCPU"].as_u64(), Some(cpus as u64));
    assert_eq!(json["DockerRootDir"], docker.root.to_string_lossy().as_ref());
    for line in [
        "\nContainers: 2\n Running: 1\n Paused: 0\n Restarting: 0\n Stopped: 1\nImages: 1\n",
        "\nLogging Driver: json-file\n",
        "\nCgroup Version: ",
        "\nRegistry Mirrors: https://mirror.example\n",
    ] {
        assert!(info.contains(line), "no `{line}` in {info}");
    }
    let kernel = stdout(Command::new("uname").arg("-r"))?;
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&kernel.trim().replace('.', r"\."), "[KERNEL]");
    settings.add_filter("linux/(amd64|arm64)", "linux/[ARCH]");
    settings.bind(|| insta::assert_snapshot!(text));
    Ok(())
}

fn completion_and_manual_show_what_help_shows(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    let folder = sandbox.path("man");
    let ran = docker.ran([Path::new("man"), &folder])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let page = |name: &str| std::fs::read_to_string(folder.join(name));
    let mut texts =
        vec![page("mini-docker.1")?, page("mini-docker-run.1")?, page("mini-docker-pull.1")?];
    for page in
        ["mini-docker-container-update.1", "mini-docker-system-df.1", "mini-docker-image-rm.1"]
    {
        texts.push(std::fs::read_to_string(folder.join(page))?);
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = docker.ran(["completion", shell])?.stdout;
        let path = sandbox.path(shell);
        std::fs::write(&path, &script)?;
        // Those that this machine has must be able to read it.
        if let Ok(output) = Command::new(shell).arg("-n").arg(&path).output() {
            assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
        }
        texts.push(script);
    }
    for text in &texts {
        for hidden in [
            "[=<BOOL>]",
            "disable-content-trust",
            "disable\\-content\\-trust",
            "no-prune",
            "no\\-prune",
        ] {
            assert!(!text.contains(hidden), "`{hidden}` in {}", &text[..200]);
        }
    }
    assert!(
        texts[1].contains("\\-\\-rm\\fR\n") || texts[1].contains("\\-\\-rm\n"),
        "{}",
        &texts[1][..3000]
    );
    assert!(!folder.join("mini-docker-man.1").exists(), "a hidden verb");
    Ok(())
}

fn bash_completes_what_exists(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    stdout(&mut docker.command(["volume", "create", "data"]))?;
    stdout(&mut docker.command(["create", "--network=none", "--name", "idle", "busybox", "true"]))?;
    stdout(&mut docker.command([
        "run",
        "-d",
        "--network=none",
        "--name",
        "busy",
        "busybox",
        "sleep",
        "1000",
    ]))?;
    let script = sandbox.path("bash");
    std::fs::write(&script, stdout(&mut docker.command(["completion", "bash"]))?)?;
    std::fs::write(sandbox.path("a file"), "")?;
    // As bash calls it when somebody presses the key behind that line.
    let complete = |line: &str| {
        let call = "source \"$1\"; COMP_LINE=$2; COMP_POINT=${#2}; _mini_docker 2> /dev/null; \
                    printf '%s|' \"${COMPREPLY[@]}\"";
        let words = ["-c", call, "bash", &script.to_string_lossy(), line].map(str::to_owned);
        stdout(
            Command::new("bash")
                .args(words)
                .current_dir(&sandbox.dir)
                .env("MINI_DOCKER_ROOT", &docker.root)
                .env("MINI_DOCKER_RUN_ROOT", &docker.run_root),
        )
    };
    let program = env!("CARGO_BIN_EXE_mini-docker");
    for (line, expected) in [
        ("system restart", "restart-all|"),
        ("rm ", "busy|idle|"),
        ("rm -f i", "idle|"),
        ("start ", "idle|"),
        ("stop ", "busy|"),
        ("run --rm bus", "busybox|"),
        ("volume rm ", "data|"),
        ("run --network con", "container:busy|container:idle|"),
        // Bash replaces only what is behind the colon.
        ("run --network container:b", "busy|"),
        ("run --restart=un", "unless-stopped|"),
        ("cp i", "idle:|"),
        ("cp idle:/x a", "a file|"),
        // Nobody is there, and nothing is made.
        ("--root /nowhere rm ", "|"),
    ] {
        assert_eq!(complete(&format!("{program} {line}"))?, expected, "{line}");
    }
    assert!(!Path::new("/nowhere").exists());
    stdout(&mut docker.command(["rm", "-f", "busy"]))?;
    Ok(())
}
