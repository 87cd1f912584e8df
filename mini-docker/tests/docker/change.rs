//! What is changed while a container runs: `pause`, `unpause`, `rename`, `update`.

use testkit::Outcome;

use crate::script::{OWN_ERROR, Script};
use crate::scripts;
use crate::support::{Result, wait_until};

scripts![pause_and_unpause, rename, update];

fn pause_and_unpause(docker: &mut Script<'_>) -> Outcome {
    docker.server("one", &[])?;
    docker.does(&["pause", "one"])?.code(0).prints("one\n").says("");
    let template = "{{.State.Status}} {{.State.Paused}} {{.State.Running}}";
    docker
        .does(&["inspect", "-f", template, "one"])?
        .prints("paused true true\n")
        .differs("podman", "a paused container is not running");
    docker
        .does(&["ps", "--format", "{{.Names}} {{.State}}"])?
        .prints("one paused\n")
        .differs("podman", "lists what is paused with -a only");
    docker
        .does(&["ps", "-a", "--filter", "status=paused", "--format", "{{.Names}} {{.Status}}"])?
        .expect("that it is up and paused", |ran| {
            ran.stdout.starts_with("one Up ") && ran.stdout.ends_with("(Paused)\n")
        })
        .differs("podman", "its status is the word `Paused`");
    // Nothing goes on in it: the signal waits.
    docker.prepare(&["kill", "-s", "USR1", "one"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(200));
    docker.does(&["logs", "one"])?.prints("out\n");
    docker
        .does(&["pause", "one"])?
        .prints("")
        .complains("already paused")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker
        .does(&["exec", "one", "true"])?
        .complains("paused")
        .differs("podman", "says that it needs a running container")
        .code(1)
        .differs("podman", "255 if no command could be started");
    docker.does(&["unpause", "one"])?.code(0).prints("one\n").says("");
    docker.does(&["ps", "--format", "{{.Names}}"])?.prints("one\n");
    docker.does(&["inspect", "-f", template, "one"])?.prints("running false true\n");
    docker.does(&["exec", "one", "echo", "awake"])?.code(0).prints("awake\n");
    docker
        .does(&["unpause", "one"])?
        .prints("")
        .complains("is not paused")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker.does(&["pause", "nosuch"])?.finds_none();
    docker.does(&["unpause", "nosuch"])?.finds_none();
    docker.prepare(&["stop", "one"])?;
    docker.does(&["pause", "one"])?.complains("not running").code(1).differs("podman", OWN_ERROR);
    // What is paused can be removed by force.
    docker.server("two", &[])?;
    docker.prepare(&["pause", "two"])?;
    docker.does(&["rm", "-f", "two"])?.code(0).prints("two\n");
    Ok(())
}

fn rename(docker: &mut Script<'_>) -> Outcome {
    docker.server("one", &[])?;
    docker.prepare(&["create", "--name", "two", "--network", "none", "busybox"])?;
    docker.does(&["rename", "one", "new"])?.code(0).prints("").says("");
    docker.does(&["ps", "--format", "{{.Names}}"])?.prints("new\n");
    docker.does(&["exec", "new", "echo", "hello"])?.code(0).prints("hello\n");
    docker
        .does(&["exec", "one", "true"])?
        .complains("no such container")
        .expect("a failure", |ran| ran.code != 0);
    docker
        .does(&["rename", "new", "two"])?
        .complains("already in use")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker
        .does(&["rename", "new", "bad name"])?
        .complains("name")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker
        .does(&["rename", "two", "two"])?
        .code(1)
        .differs("podman", "does nothing if both are the same")
        .complains("name")
        .differs("podman", "does nothing if both are the same");
    // The old name is free.
    docker.does(&["create", "--name", "one", "--network", "none", "busybox"])?.code(0);
    docker.does(&["rename", "nosuch", "three"])?.finds_none();
    Ok(())
}

fn update(docker: &mut Script<'_>) -> Outcome {
    let id = docker.server("one", &["-m", "128m"])?;
    let pid = docker.inspect("one", "{{.State.Pid}}")?;
    let limit = || memory_limit(&pid);
    assert_eq!(limit()?, 128 << 20);
    docker
        .does(&["update", "-m", "64m", "--memory-swap", "64m", "one"])?
        .code(0)
        .prints("one\n")
        .differs("podman", "prints the id");
    wait_until("the limit is the new one", || Ok(limit()? == 64 << 20))?;
    docker
        .does(&["inspect", "-f", "{{.HostConfig.Memory}}", &id[..12]])?
        .prints("67108864\n")
        .differs("podman", "tells the limit that it was created with");
    docker
        .does(&["update", "--restart", "on-failure:3", "one"])?
        .code(0)
        .differs("podman", "has no --restart");
    docker
        .does(&[
            "inspect",
            "-f",
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}",
            "one",
        ])?
        .prints("on-failure 3\n")
        .differs("podman", "has no --restart");
    docker.does(&["update", "-m", "64m", "nosuch"])?.finds_none();
    docker
        .does(&["update", "-m", "nosuch", "one"])?
        .expect("a failure", |ran| ran.code != 0)
        .complains("nosuch");
    Ok(())
}

/// What the kernel says of the cgroup of a process, in bytes. cgroups(7): the line of the memory controller, or the one
/// of version 2.
fn memory_limit(pid: &str) -> Result<u64> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = |controller: &str| {
        groups.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(controller))
    };
    let file = match (path("memory:"), path(":")) {
        (Some(path), _) => format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"),
        (None, Some(path)) => format!("/sys/fs/cgroup{path}/memory.max"),
        (None, None) => return Err(format!("no cgroup: {groups}").into()),
    };
    Ok(std::fs::read_to_string(&file)
        .map_err(|error| format!("{file}: {error}"))?
        .trim()
        .parse()?)
}
