//! Who is with a container: waits for its end, gives it another name, sits before it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rexpect::session::{PtySession, spawn_command};
use testkit::{Outcome, Sandbox, Test};

use crate::act::{TRAP, assert_ran, detached, ready, state, told};
use crate::support::{Docker, Result, finish, wait_until};

pub const TESTS: &[Test] = &[
    ("wait_prints_exit_codes", wait_prints_exit_codes),
    ("wait_hears_of_ends_without_a_monitor", wait_hears_of_ends_without_a_monitor),
    ("a_container_gets_another_name", a_container_gets_another_name),
    ("a_rename_that_was_killed_leaves_no_name_behind", killed_renames),
    ("attach_is_before_the_container", attach_is_before_the_container),
    ("a_user_leaves_and_comes_back", a_user_leaves_and_comes_back),
];

fn wait_prints_exit_codes(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script = "while ! test -e /common/go; do sleep 0.05; done; exit";
    let common = ["-v", "common:/common"];
    detached(&docker, "kept", &common, &format!("{script} 3"))?;
    detached(&docker, "removed", &["-v", "common:/common", "--rm"], &format!("{script} 4"))?;
    assert_eq!(docker.ran(["create", "--name", "new", "busybox"])?.code, 0);
    let waits = docker.command(["wait", "kept", "new", "nosuch", "removed"]);
    let waits = spawn(waits)?;
    let again = spawn(docker.command(["container", "wait", "removed"]))?;
    // A file by which one would be heard of without a monitor is there when it has begun.
    for name in ["kept", "removed"] {
        let id = std::fs::read_to_string(docker.root.join("names").join(name))?;
        let file = docker.run_root.join("containers").join(id).join("exit-code");
        wait_until("somebody waits", || Ok(file.exists()))?;
    }
    std::fs::write(docker.root.join("volumes/common/_data/go"), "")?;
    let output = waits.wait_with_output()?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3\n0\n4\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such container: nosuch"));
    // It may have come too late for a container that is removed.
    let output = again.wait_with_output()?;
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(answer == "4\n" || output.status.code() == Some(1), "{output:?}");
    // It has ended long ago.
    assert_ran(&docker.ran(["wait", "kept"])?, 0, "3\n", "");
    assert_eq!(docker.ran(["rm", "kept", "new"])?.code, 0);
    Ok(())
}

fn spawn(mut command: Command) -> Result<std::process::Child> {
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn wait_hears_of_ends_without_a_monitor(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let run = ["run", "--rm", "--name", "own", "--network", "none", "busybox", "sh", "-c"];
    for (supervisor_dies, code) in [(false, "5\n"), (true, "137\n")] {
        let mut command = docker.command(run);
        let mut child = spawn({
            command.arg("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done");
            command
        })?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line)?;
        assert_eq!(line, "ready\n");
        let id = std::fs::read_to_string(docker.root.join("names/own"))?;
        let waits: Vec<_> =
            (0..3).map(|_| spawn(docker.command(["wait", "own"]))).collect::<Result<_>>()?;
        let file = docker.run_root.join("containers").join(id).join("exit-code");
        wait_until("somebody waits", || Ok(file.exists()))?;
        // The others, too, have found it by now, or will say that it is gone.
        std::thread::sleep(Duration::from_millis(300));
        let signal = if supervisor_dies { Signal::SIGKILL } else { Signal::SIGTERM };
        kill(Pid::from_raw(child.id() as i32), signal)?;
        child.wait()?;
        let mut codes = Vec::new();
        for wait in waits {
            let output = wait.wait_with_output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text == code || output.status.code() == Some(1), "{output:?}");
            codes.push(text);
        }
        assert!(codes.iter().any(|text| text == code), "{codes:?}");
        assert_eq!(docker.ran(["ps", "-aq"])?.stdout, "");
    }
    Ok(())
}

fn a_container_gets_another_name(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    ready(&docker, "old", &[], TRAP)?;
    assert_eq!(docker.ran(["create", "--name", "other", "busybox"])?.code, 0);
    let mut text = told(
        &docker,
        sandbox,
        &[
            &["rename", "old", "new"],
            &["rename", "old", "newer"],
            &["rename", "new", "other"],
            &["rename", "new", "new"],
            &["rename", "new", "not/a name"],
            &["container", "rename", "new", "newest"],
            &["stop", "newest"],
            &["wait", "newest"],
        ],
    )?;
    // The names that it had are free.
    for name in ["old", "new"] {
        assert_eq!(docker.ran(["create", "--name", name, "busybox"])?.code, 0, "{name}");
    }
    text += &told(&docker, sandbox, &[&["rm", "old", "new", "newest", "other"]])?;
    assert_eq!(std::fs::read_dir(docker.root.join("names"))?.count(), 0);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[SHORT ID]");
    settings.bind(|| insta::assert_snapshot!(text));
    // Of many who want one name one gets it.
    let names: Vec<String> = (0..10).map(|number| format!("c{number}")).collect();
    for name in &names {
        assert_eq!(docker.ran(["create", "--name", name, "busybox"])?.code, 0);
    }
    let children: Vec<_> = names
        .iter()
        .map(|name| spawn(docker.command(["rename", name, "wanted"])))
        .collect::<Result<_>>()?;
    let mut winners = 0;
    for child in children {
        winners += usize::from(child.wait_with_output()?.status.success());
    }
    assert_eq!(winners, 1);
    assert_eq!(docker.ran(["ps", "-aq"])?.stdout.lines().count(), 10);
    assert_eq!(std::fs::read_dir(docker.root.join("names"))?.count(), 10);
    Ok(())
}

fn killed_renames(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    assert_eq!(docker.ran(["create", "--name", "old", "busybox"])?.code, 0);
    let names = docker.root.join("names");
    let id = std::fs::read_to_string(names.join("old"))?;
    // What is there between the two steps, before and after the record was written: another name for the same id.
    std::fs::write(names.join("left"), &id)?;
    assert!(docker.ran(["start", "left"])?.stderr.contains("no such container: left"));
    assert_eq!(docker.ran(["create", "--name", "left", "busybox"])?.code, 0);
    assert_ne!(std::fs::read_to_string(names.join("left"))?, id);
    // And whoever tries once more succeeds.
    std::fs::write(names.join("next"), &id)?;
    assert_eq!(docker.ran(["rename", "old", "next"])?.code, 0);
    assert_eq!(docker.ran(["rm", "next", "left"])?.code, 0);
    assert_eq!(std::fs::read_dir(names)?.count(), 0);
    Ok(())
}

fn attach_is_before_the_container(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let script =
        "trap 'echo bye; exit 7' USR1; : > /shared/ready; while :; do echo tick; sleep 0.05; done";
    ready(&docker, "talks", &[], script)?;
    let mut child = spawn(docker.command(["attach", "talks"]))?;
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line)?;
    assert_eq!(line, "tick\n");
    // A signal of the user's is the container's.
    kill(Pid::from_raw(child.id() as i32), Signal::SIGUSR1)?;
    let mut rest = String::new();
    output.read_to_string(&mut rest)?;
    assert!(rest.ends_with("bye\n"), "{rest}");
    assert_eq!(child.wait()?.code(), Some(7));
    // Unless it shall not be.
    assert_eq!(docker.ran(["start", "talks"])?.code, 0);
    let mut child = spawn(docker.command(["container", "attach", "--sig-proxy=false", "talks"]))?;
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line)?;
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM)?;
    assert_eq!(child.wait()?.code(), Some(143));
    assert_eq!(state(&docker, "talks")?, "running");
    assert_eq!(docker.ran(["rm", "-f", "talks"])?.code, 0);

    // What is typed is read, and the end of it ends nobody who is not alone.
    ready(&docker, "reads", &["-i"], ": > /shared/ready; read line; echo got $line; exit 4")?;
    let mut command = docker.command(["attach", "reads"]);
    command.stdin(std::fs::File::open(file_with(sandbox, "words\n")?)?);
    assert_ran(&finish(&mut command)?, 4, "got words\n", "");
    let text = told(
        &docker,
        sandbox,
        &[&["attach", "reads"], &["attach", "nosuch"], &["attach", "--detach-keys", "zz", "reads"]],
    )?;
    insta::assert_snapshot!(text);
    assert_eq!(docker.ran(["rm", "reads"])?.code, 0);
    Ok(())
}

fn file_with(sandbox: &Sandbox, text: &str) -> Result<std::path::PathBuf> {
    let path = sandbox.path("typed");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// The host's shell on a terminal.
fn shell(docker: &Docker) -> Result<PtySession> {
    let mut command = Command::new("/bin/busybox");
    command.arg("sh").env("PS1", "host> ");
    command.env("MINI_DOCKER_ROOT", &docker.root).env("MINI_DOCKER_RUN_ROOT", &docker.run_root);
    let mut session = spawn_command(command, Some(10_000))?;
    session.exp_string("host> ")?;
    Ok(session)
}

fn a_user_leaves_and_comes_back(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let binary = env!("CARGO_BIN_EXE_mini-docker");
    let mut session = shell(&docker)?;
    session.send_line("A=$(stty -g); echo sa''ved")?;
    session.exp_string("saved")?;
    session.exp_string("host> ")?;
    let same = |session: &mut PtySession| -> Outcome {
        session.send_line("test \"$A\" = \"$(stty -g)\" && echo sa''me || echo dif''ferent")?;
        let (_, found) = session.exp_regex("same|different")?;
        assert_eq!(found, "same");
        session.exp_string("host> ")?;
        Ok(())
    };
    session.send_line(&format!(
        "{binary} run -it --rm --network none --name room -e PS1='in> ' busybox sh"
    ))?;
    session.exp_string("in> ")?;
    session.send_line("word=kept")?;
    session.exp_string("in> ")?;
    session.send("\x10\x11")?;
    session.flush()?;
    session.exp_string("read escape sequence")?;
    session.exp_string("host> ")?;
    same(&mut session)?;
    session.send_line(&format!("{binary} attach --detach-keys ctrl-x,x room"))?;
    // The shell in the container draws its prompt anew if it sees the change of size; if not, it does for a key.
    session.send_line("echo $word from be''fore")?;
    session.exp_string("kept from before")?;
    session.send("\x18x")?;
    session.flush()?;
    session.exp_string("host> ")?;
    // The command is ended while it has the terminal, and gives it back.
    session.send_line(&format!("{binary} attach room"))?;
    session.send_line("echo pid of the c''lient")?;
    session.exp_string("pid of the client")?;
    kill(Pid::from_raw(attached(&docker)?), Signal::SIGTERM)?;
    session.exp_string("host> ")?;
    same(&mut session)?;
    // The container ends while it is attached.
    session.send_line(&format!("{binary} attach room"))?;
    session.send_line("echo once mo''re")?;
    session.exp_string("once more")?;
    assert_eq!(docker.ran(["kill", "room"])?.code, 0);
    session.exp_string("host> ")?;
    session.send_line("echo code $?")?;
    session.exp_string("code 137")?;
    session.exp_string("host> ")?;
    same(&mut session)?;
    session.send_line("exit")?;
    session.exp_eof()?;
    assert_eq!(docker.ran(["ps", "-aq"])?.stdout, "");
    Ok(())
}

/// The command `attach` of this test.
fn attached(docker: &Docker) -> Result<i32> {
    let root = format!("MINI_DOCKER_ROOT={}", docker.root.display());
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let text = |name: &str| {
            String::from_utf8_lossy(&std::fs::read(entry.path().join(name)).unwrap_or_default())
                .into_owned()
        };
        if text("cmdline").contains("\0attach\0") && text("environ").contains(&root) {
            return Ok(entry.file_name().to_string_lossy().parse()?);
        }
    }
    Err("nobody is attached".into())
}
