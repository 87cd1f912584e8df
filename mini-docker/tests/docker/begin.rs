//! How a container begins: `run`, `create`, `start`.

use testkit::Outcome;

use crate::script::{OWN_ERROR, SERVER, Script};
use crate::scripts;

scripts![run, run_in_the_background, create, start];

fn run(docker: &mut Script<'_>) -> Outcome {
    let none = ["run", "--network", "none"];
    let script = "echo out; echo err >&2; exit 3";
    let args = [&none[..], &["--name", "one", "busybox", "sh", "-c", script]].concat();
    docker.does(&args)?.code(3).prints("out\n").says("err\n");
    docker
        .does(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "one"])?
        .prints("exited 3\n");
    // Who has the name?
    docker.does(&args)?.code(125).prints("").complains("already in use");
    let args = [
        &none[..],
        &["--rm", "--name", "two", "busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"],
    ]
    .concat();
    docker.does(&args)?.code(137);
    docker.does(&["ps", "-a", "--format", "{{.Names}}"])?.prints("one\n");
    // The three codes that are not the program's.
    let args = [&none[..], &["--rm", "busybox", "nosuch"]].concat();
    docker.does(&args)?.code(127).complains("nosuch");
    let args = [&none[..], &["--rm", "busybox", "/etc/passwd"]].concat();
    docker.does(&args)?.code(126).complains("permission denied");
    let args = [&none[..], &["--rm", "--nosuch", "busybox", "true"]].concat();
    docker.does(&args)?.code(125).complains("--nosuch");
    docker
        .does(&[
            "run",
            "--rm",
            "-w",
            "/tmp",
            "-e",
            "A=b",
            "-u",
            "7:8",
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            "echo $PWD $A $(id -u) $(id -g)",
        ])?
        .code(0)
        .prints("/tmp b 7 8\n");
    Ok(())
}

fn run_in_the_background(docker: &mut Script<'_>) -> Outcome {
    let run = ["run", "-d", "--network", "none", "--name"];
    let args = [&run[..], &["one", "busybox", "sh", "-c", SERVER]].concat();
    let id = docker.does(&args)?.code(0).says("").prints_id().ran.stdout.trim_end().to_owned();
    docker.does(&["ps", "-q", "--no-trunc"])?.prints(&format!("{id}\n"));
    docker.does(&["ps", "-q"])?.prints(&format!("{}\n", &id[..12]));
    docker
        .does(&["ps", "--format", "{{.Names}} {{.State}}"])?
        .prints("one running\n")
        .differs("podman", "its State is what Docker calls Status");
    docker
        .does(&["inspect", "-f", "{{.State.Running}} {{.State.Status}}", "one"])?
        .prints("true running\n");
    docker.does(&args)?.code(125).complains("already in use");
    // It is gone when it has ended, and its name is free.
    let args = [&run[..], &["two", "--rm", "busybox", "true"]].concat();
    docker.does(&args)?.code(0).prints_id();
    crate::support::wait_until("two is gone", || {
        Ok(docker.prepare(&["ps", "-aq", "--filter", "name=two"])?.is_empty())
    })?;
    // What could not be started is there, and can be looked at.
    let args = [&run[..], &["bad", "busybox", "nosuch"]].concat();
    docker
        .does(&args)?
        .code(127)
        .complains("nosuch")
        .prints_id()
        .differs("podman", "prints no id if the start fails");
    docker
        .does(&["ps", "-a", "--filter", "name=bad", "--format", "{{.Status}}"])?
        .prints("Created\n");
    // The id is also written to a file, which may not be there yet.
    let file = docker.sandbox.path("cid").to_string_lossy().into_owned();
    let args = ["run", "-d", "--network", "none", "--cidfile", &file, "busybox", "true"];
    let id = docker.does(&args)?.code(0).prints_id().ran.stdout.trim_end().to_owned();
    assert_eq!(std::fs::read_to_string(&file)?.trim_end(), id);
    docker.does(&args)?.code(125).complains("cid").complains("file");
    Ok(())
}

fn create(docker: &mut Script<'_>) -> Outcome {
    let args = [
        "create",
        "--name",
        "one",
        "--network",
        "none",
        "-l",
        "who=me",
        "busybox",
        "echo",
        "hello",
    ];
    docker.does(&args)?.code(0).says("").prints_id();
    docker.does(&["ps", "-q"])?.prints("");
    docker.does(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"])?.prints("one Created\n");
    let template = "{{.State.Status}} {{.State.Running}} {{.State.Pid}} {{.State.ExitCode}} {{.Path}} {{.Args}}";
    docker.does(&["inspect", "-f", template, "one"])?.prints("created false 0 0 echo [hello]\n");
    docker.does(&["inspect", "-f", "{{.Config.Labels.who}}", "one"])?.prints("me\n");
    docker.does(&args)?.complains("already in use").code(1).differs("podman", OWN_ERROR);
    docker
        .does(&["create", "nosuch.invalid/image:1"])?
        .expect("a failure", |ran| ran.code != 0)
        .prints("");
    docker.does(&["start", "-a", "one"])?.code(0).prints("hello\n");
    Ok(())
}

fn start(docker: &mut Script<'_>) -> Outcome {
    for (name, script) in
        [("one", SERVER), ("two", "echo out; echo err >&2; exit 3"), ("three", "cat; exit 4")]
    {
        docker.prepare(&[
            "create",
            "-i",
            "--name",
            name,
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            script,
        ])?;
    }
    docker.does(&["start", "one"])?.code(0).prints("one\n").says("");
    docker.does(&["ps", "--format", "{{.Names}}"])?.prints("one\n");
    // It runs already, which is what was wanted.
    let id = docker.inspect("one", "{{.Id}}")?;
    docker
        .does(&["start", &id[..12]])?
        .code(0)
        .prints(&format!("{}\n", &id[..12]))
        .differs("podman", "says nothing of what runs already");
    docker.does(&["start", "-a", "two"])?.code(3).prints("out\n").says("err\n");
    docker.does(&["start", "--attach", "two"])?.code(3).prints("out\n");
    // Its input comes from here.
    let args = ["start", "-a", "-i", "three"];
    let mut command = docker.command(&args);
    let file = docker.sandbox.path("input");
    std::fs::write(&file, "typed\n")?;
    command.stdin(std::fs::File::open(&file)?);
    docker.does_this(&args, command)?.code(4).prints("typed\n");
    docker
        .does(&["start", "-a", "two", "three"])?
        .prints("")
        .expect("a failure", |ran| ran.code != 0);
    docker.does(&["start", "nosuch"])?.finds_none();
    // One that is missing does not keep the others.
    docker
        .does(&["start", "nosuch", "two"])?
        .finds_none()
        .prints("two\n")
        .differs("podman", "looks at all names first, and starts none");
    Ok(())
}
