//! Health checks: what a monitor finds out, and what it does then.

use serde_json::Value;
use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Result, wait_until};

pub const TESTS: &[Test] = &[
    ("a_check_makes_healthy_and_unhealthy", a_check_makes_healthy_and_unhealthy),
    ("a_check_has_its_time", a_check_has_its_time),
    ("a_check_that_cannot_run_has_failed", a_check_that_cannot_run_has_failed),
    ("failures_in_the_start_period_do_not_count", failures_in_the_start_period_do_not_count),
    ("an_image_has_a_check", an_image_has_a_check),
    ("a_paused_container_is_not_checked", a_paused_container_is_not_checked),
    ("a_check_ends_with_its_container", a_check_ends_with_its_container),
    ("unhealthy_can_restart", unhealthy_can_restart),
    ("unhealthy_can_stop_and_kill", unhealthy_can_stop_and_kill),
    ("health_flags_that_are_wrong", health_flags_that_are_wrong),
];

/// Ends at once when it is told to.
const SERVICE: &str = "trap 'exit 3' TERM; while :; do sleep 0.1; done";

fn run(docker: &Docker, flags: &[&str], script: &str) -> Outcome {
    let run = ["run", "-d", "--name", "box", "--network", "none"];
    let ran = docker.ran(run.iter().chain(flags).chain(&["busybox", "sh", "-c", script]))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(())
}

fn remove(docker: &Docker) -> Outcome {
    let ran = docker.ran(["rm", "-f", "box"])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(())
}

fn inside(docker: &Docker, script: &str) -> Result<String> {
    let ran = docker.ran(["exec", "box", "sh", "-c", script])?;
    assert_eq!(ran.code, 0, "{ran:?}");
    Ok(ran.stdout)
}

fn record(docker: &Docker) -> Result<Value> {
    let id = std::fs::read_to_string(docker.root.join("names/box"))?;
    let path = docker.root.join("containers").join(id).join("record.json");
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn health(docker: &Docker) -> Result<Value> {
    Ok(record(docker)?["health"].clone())
}

fn wait_for(docker: &Docker, status: &str) -> Result<Value> {
    let mut found = Value::Null;
    wait_until(&format!("it is {status}"), || {
        found = health(docker)?;
        Ok(found["status"] == status)
    })
    .map_err(|error| format!("{error}: {found}"))?;
    Ok(found)
}

/// Its last check.
fn last(health: &Value) -> &Value {
    health["log"].as_array().and_then(|log| log.last()).unwrap_or(&Value::Null)
}

fn a_check_makes_healthy_and_unhealthy(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // It is the container's: user, environment, folder, and it says what it finds on both streams.
    let check = "echo $(id -u) $A $PWD; echo wrong >&2; test -e /tmp/well";
    let flags = ["--health-cmd", check, "--health-interval", "200ms", "--health-retries", "2"];
    let more = ["-u", "7", "-e", "A=1", "-w", "/etc"];
    run(&docker, &[&flags[..], &more].concat(), SERVICE)?;
    assert_eq!(record(&docker)?["health_check"]["retries"], 2);
    let found = wait_for(&docker, "unhealthy")?;
    assert!(found["failing_streak"].as_u64().unwrap() >= 2, "{found}");
    assert_eq!(last(&found)["code"], 1);
    assert_eq!(last(&found)["output"], "7 1 /etc\nwrong\n");
    assert_eq!(docker.ran(["exec", "-u", "0", "box", "touch", "/tmp/well"])?.code, 0);
    let found = wait_for(&docker, "healthy")?;
    assert_eq!((&found["failing_streak"], &last(&found)["code"]), (&0.into(), &0.into()));
    wait_until("five checks are remembered", || {
        Ok(health(&docker)?["log"].as_array().unwrap().iter().all(|probe| probe["code"] == 0))
    })?;
    assert_eq!(health(&docker)?["log"].as_array().unwrap().len(), 5);
    // Nothing is done about it.
    assert_eq!(record(&docker)?["restarts"], 0);
    remove(&docker)
}

fn a_check_has_its_time(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // With a child that would hold its output open.
    let check = "echo begun; yes | head -c 9000; sleep 4721 & sleep 4722";
    let flags = ["--health-cmd", check, "--health-interval", "100ms", "--health-timeout", "400ms"];
    run(&docker, &[&flags[..], &["--health-retries", "1"]].concat(), SERVICE)?;
    let found = wait_for(&docker, "unhealthy")?;
    assert_eq!(last(&found)["code"], -1);
    let output = last(&found)["output"].as_str().unwrap();
    let kept =
        output.strip_prefix("Health check exceeded timeout (400ms): begun\n").unwrap_or(output);
    assert_eq!(kept.trim_start_matches("y\n"), "...", "{output}");
    assert_eq!(kept.len(), 4096 - 6 + 3);
    // What it has started ends with it: there is never more than one.
    wait_until("there were more", || Ok(health(&docker)?["failing_streak"].as_u64() >= Some(3)))?;
    let processes = inside(&docker, "ps -o args")?;
    assert!(
        processes.lines().filter(|line| line.trim() == "sleep 4721").count() <= 1,
        "{processes}"
    );
    remove(&docker)
}

fn a_check_that_cannot_run_has_failed(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let flags = ["--health-cmd", "true", "--health-interval", "100ms", "--health-retries", "1"];
    run(&docker, &flags, SERVICE)?;
    wait_for(&docker, "healthy")?;
    // The shell of the check, and that of nobody else.
    inside(&docker, "busybox rm /bin/sh; busybox echo gone")?;
    let found = wait_for(&docker, "unhealthy")?;
    assert_eq!(last(&found)["code"], -1, "{found}");
    assert!(last(&found)["output"].as_str().unwrap().contains("exec `/bin/sh`"), "{found}");
    remove(&docker)
}

fn failures_in_the_start_period_do_not_count(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let flags =
        ["--health-cmd", "test -e /well", "--health-retries", "1", "--health-interval", "1h"];
    let start = ["--health-start-period", "1h", "--health-start-interval", "100ms"];
    run(&docker, &[&flags[..], &start].concat(), SERVICE)?;
    wait_until("there were checks", || Ok(health(&docker)?["log"].as_array().unwrap().len() >= 3))?;
    let found = health(&docker)?;
    assert_eq!((&found["status"], &found["failing_streak"]), (&"starting".into(), &0.into()));
    inside(&docker, "touch /well")?;
    wait_for(&docker, "healthy")?;
    // From now on the interval is the long one.
    let checks = |docker: &Docker| {
        Ok::<_, Box<dyn std::error::Error>>(last(&health(docker)?)["start"].clone())
    };
    let before = checks(&docker)?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(checks(&docker)?, before);
    remove(&docker)
}

fn an_image_has_a_check(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let flags = ["--health-cmd", "echo from the image", "--health-interval", "100ms"];
    let create = ["create", "--name", "box"];
    let ran = docker.ran(create.iter().chain(&flags).chain(&["busybox", "sh", "-c", SERVICE]))?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        docker
            .ran([
                "commit",
                "-c",
                &format!("CMD [\"sh\", \"-c\", \"{SERVICE}\"]"),
                "box",
                "checked"
            ])?
            .code,
        0
    );
    remove(&docker)?;
    let start = |flags: &[&str]| {
        let run = ["run", "-d", "--name", "box", "--network", "none"];
        let ran = docker.ran(run.iter().chain(flags).chain(&["checked"]))?;
        assert_eq!(ran.code, 0, "{ran:?}");
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    start(&[])?;
    let found = wait_for(&docker, "healthy")?;
    assert_eq!(last(&found)["output"], "from the image\n");
    remove(&docker)?;
    start(&["--health-cmd", "exit 4", "--health-retries", "1"])?;
    assert_eq!(last(&wait_for(&docker, "unhealthy")?)["code"], 4);
    remove(&docker)?;
    start(&["--no-healthcheck"])?;
    assert_eq!(record(&docker)?["health_check"], Value::Null);
    assert_eq!(health(&docker)?, Value::Null);
    remove(&docker)
}

fn a_paused_container_is_not_checked(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let flags = ["--health-cmd", "true", "--health-interval", "50ms", "--health-timeout", "200ms"];
    run(&docker, &flags, SERVICE)?;
    wait_for(&docker, "healthy")?;
    let id = std::fs::read_to_string(docker.root.join("names/box"))?;
    let engine = std::fs::read_to_string(docker.root.join("id"))?;
    let path = format!("mini-docker-{engine}/{id}");
    let cgroup = cgroups::Cgroup::open(&cgroups::Hierarchies::detect()?, &path)?;
    cgroup.freeze()?;
    // One may have been frozen while it ran; it had its time then.
    std::thread::sleep(std::time::Duration::from_millis(400));
    let first = health(&docker);
    std::thread::sleep(std::time::Duration::from_millis(800));
    let second = health(&docker);
    cgroup.thaw()?;
    let (first, second) = (first?, second?);
    assert_eq!(first, second);
    wait_until("checks go on", || Ok(last(&health(&docker)?) != last(&second)))?;
    assert!(health(&docker)?["log"].as_array().unwrap().iter().all(|probe| probe["code"] == 0));
    remove(&docker)
}

fn a_check_ends_with_its_container(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let flags = ["--health-cmd", "touch /begun; sleep 4723", "--health-interval", "50ms"];
    let action = ["--health-retries", "1", "--on-unhealthy", "restart"];
    for pid in [&[][..], &["--pid", "host"]] {
        run(
            &docker,
            &[&flags[..], &action, pid].concat(),
            "trap 'exit 3' TERM; echo $$ > /pid; while :; do sleep 0.1; done",
        )?;
        wait_until("a check runs", || Ok(docker.ran(["exec", "box", "cat", "/begun"])?.code == 0))?;
        inside(&docker, "kill $(cat /pid)")?;
        // That the check was ended says nothing of the container's health.
        wait_until("it has ended", || Ok(record(&docker)?["status"]["state"] == "exited"))?;
        assert_eq!(record(&docker)?["status"]["code"], 3);
        let found = health(&docker)?;
        assert_eq!(
            (&found["status"], found["log"].as_array().unwrap().len()),
            (&"starting".into(), 0)
        );
        remove(&docker)?;
        // And by force.
        run(&docker, &[&flags[..], pid].concat(), SERVICE)?;
        wait_until("a check runs", || Ok(docker.ran(["exec", "box", "cat", "/begun"])?.code == 0))?;
        remove(&docker)?;
        let left = std::process::Command::new("pgrep").args(["-f", "^sleep 4723"]).output()?;
        assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    }
    Ok(())
}

fn unhealthy_can_restart(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // The first life is sick, the second is well: what was written stays.
    let script = format!("echo life >> /lives; {SERVICE}");
    let check = "test $(wc -l < /lives) -ge 2";
    let flags = ["--health-cmd", check, "--health-interval", "100ms", "--health-retries", "2"];
    run(&docker, &[&flags[..], &["--on-unhealthy", "restart"]].concat(), &script)?;
    let found = wait_for(&docker, "healthy")?;
    assert_eq!(found["failing_streak"], 0);
    assert_eq!(inside(&docker, "cat /lives")?, "life\nlife\n");
    let record = record(&docker)?;
    assert_eq!((&record["restarts"], &record["status"]["state"]), (&1.into(), &"running".into()));
    remove(&docker)?;
    // One that does not listen is killed when it has had its time.
    let script = "echo life >> /lives; trap '' TERM; while :; do sleep 0.1; done";
    run(
        &docker,
        &[&flags[..], &["--on-unhealthy", "restart", "--stop-timeout", "1"]].concat(),
        script,
    )?;
    wait_for(&docker, "healthy")?;
    assert_eq!(inside(&docker, "cat /lives")?, "life\nlife\n");
    remove(&docker)
}

fn unhealthy_can_stop_and_kill(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let flags = ["--health-cmd", "false", "--health-interval", "100ms", "--health-retries", "1"];
    for (action, code, halted, policy) in [("stop", 3, true, "always"), ("kill", 137, false, "no")]
    {
        run(
            &docker,
            &[&flags[..], &["--on-unhealthy", action, "--restart", policy]].concat(),
            SERVICE,
        )?;
        wait_until("it has ended", || Ok(record(&docker)?["status"]["state"] == "exited"))?;
        let record = record(&docker)?;
        assert_eq!(
            (&record["status"]["code"], &record["halted"]),
            (&code.into(), &halted.into()),
            "{action}"
        );
        assert_eq!(record["health"]["status"], "unhealthy");
        assert_eq!(record["restarts"], 0);
        remove(&docker)?;
    }
    // What is killed comes back if the policy says so.
    run(
        &docker,
        &[&flags[..], &["--on-unhealthy", "kill", "--restart", "on-failure:1"]].concat(),
        SERVICE,
    )?;
    wait_until("it has ended twice", || {
        let record = record(&docker)?;
        Ok(record["status"]["state"] == "exited" && record["restarts"] == 1)
    })?;
    remove(&docker)
}

fn health_flags_that_are_wrong(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let mut text = String::new();
    for flags in [
        &["--health-cmd", "true", "--health-interval", "5"][..],
        &["--health-cmd", "true", "--health-timeout=-1s"],
        &["--health-cmd", "true", "--health-start-period", "10us"],
        &["--health-cmd", "true", "--no-healthcheck"],
        &["--health-interval", "5s"],
        &["--health-cmd", "true", "--on-unhealthy", "reboot"],
        &["--on-unhealthy", "restart"],
        &["--rm", "--health-cmd", "true", "--on-unhealthy", "restart"],
    ] {
        let arguments = [&["create"], flags, &["busybox"]].concat();
        text.push_str(&crate::support::transcript(&docker, sandbox, &arguments)?);
    }
    insta::assert_snapshot!(text);
    assert_eq!(docker.ran(["ps", "-aq"])?.stdout, "");
    Ok(())
}
