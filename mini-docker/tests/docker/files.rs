//! Files of a container: `cp`, `diff`, `export`.

use std::path::Path;
use std::process::{Command, Stdio};

use testkit::Outcome;

use crate::script::{OWN_ERROR, Script};
use crate::scripts;
use crate::support::stdout;

scripts![cp, diff, export];

fn cp(docker: &mut Script<'_>) -> Outcome {
    docker.server("one", &[])?;
    let here = |name: &str| docker.sandbox.path(name).to_string_lossy().into_owned();
    std::fs::write(here("file"), "from the host\n")?;
    std::fs::create_dir_all(here("tree/sub"))?;
    std::fs::write(here("tree/sub/leaf"), "leaf\n")?;
    // Into it: a file to a name, a file into a folder, a folder into one and as one.
    docker.does(&["cp", &here("file"), "one:/tmp/name"])?.code(0).prints("");
    docker.does(&["cp", &here("file"), "one:/tmp"])?.code(0).prints("");
    docker.does(&["cp", &here("tree"), "one:/tmp"])?.code(0).prints("");
    docker.does(&["cp", &here("tree"), "one:/tmp/fresh"])?.code(0).prints("");
    docker.does(&["cp", &here("tree/."), "one:/tmp/"])?.code(0).prints("");
    docker
        .does(&["exec", "one", "sh", "-c", "cd /tmp && find . | sort && cat name"])?
        .prints(".\n./file\n./fresh\n./fresh/sub\n./fresh/sub/leaf\n./name\n./sub\n./sub/leaf\n./tree\n./tree/sub\n./tree/sub/leaf\nfrom the host\n");
    // Out of it.
    docker.prepare(&[
        "exec",
        "one",
        "sh",
        "-c",
        "echo inside > /root/made; ln -s /root/made /tmp/link",
    ])?;
    docker.does(&["cp", "one:/root/made", &here("out")])?.code(0).prints("");
    assert_eq!(std::fs::read_to_string(here("out"))?, "inside\n");
    docker.does(&["cp", "one:/tmp/fresh", &here("copy")])?.code(0).prints("");
    assert_eq!(std::fs::read_to_string(here("copy/sub/leaf"))?, "leaf\n");
    let is_inside =
        |name: &str| std::fs::read_to_string(here(name)).is_ok_and(|text| text == "inside\n");
    docker
        .does(&["cp", "-L", "one:/tmp/link", &here("followed")])?
        .code(0)
        .differs("podman", "has no -L")
        .expect("the file, not the link", |_| is_inside("followed"))
        .differs("podman", "has no -L");
    docker
        .does(&["cp", "one:/tmp/link", &here("link")])?
        .code(0)
        .expect("the link", |_| {
            std::fs::read_link(here("link")).is_ok_and(|to| to == Path::new("/root/made"))
        })
        .differs("podman", "always follows it");
    // As archives.
    let args = ["cp", "one:/tmp/fresh", "-"];
    let mut archive = docker.command(&args).stdout(Stdio::piped()).spawn()?;
    let mut list = Command::new("tar");
    list.arg("-t").stdin(archive.stdout.take().unwrap());
    let listed = stdout(&mut list)?;
    let listed: Vec<&str> = listed.lines().map(|line| line.trim_end_matches('/')).collect();
    assert_eq!(listed, ["fresh", "fresh/sub", "fresh/sub/leaf"]);
    assert!(archive.wait()?.success());
    stdout(
        Command::new("tar").arg("-C").arg(here("tree")).arg("-cf").arg(here("a.tar")).arg("sub"),
    )?;
    let args = ["cp", "-", "one:/root"];
    let mut command = docker.command(&args);
    command.stdin(std::fs::File::open(here("a.tar"))?);
    docker.does_this(&args, command)?.code(0);
    docker.does(&["exec", "one", "cat", "/root/sub/leaf"])?.prints("leaf\n");
    // It need not run.
    docker.prepare(&["stop", "one"])?;
    docker.does(&["cp", &here("file"), "one:/root/late"])?.code(0);
    docker.does(&["cp", "one:/root/late", &here("late")])?.code(0);
    assert_eq!(std::fs::read_to_string(here("late"))?, "from the host\n");
    docker
        .does(&["cp", "one:/nosuch", &here("x")])?
        .complains("/nosuch")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker
        .does(&["cp", &here("nosuch"), "one:/tmp"])?
        .complains("nosuch")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker
        .does(&["cp", &here("file"), "one:/no/such"])?
        .complains("/no")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker
        .does(&["cp", &here("file"), "nosuch:/tmp"])?
        .complains("no such container")
        .differs("podman", "says that it does not exist")
        .code(1)
        .differs("podman", OWN_ERROR);
    docker.does(&["cp", &here("file"), &here("other")])?.expect("a failure", |ran| ran.code != 0);
    Ok(())
}

fn diff(docker: &mut Script<'_>) -> Outcome {
    docker.server("one", &[])?;
    let script =
        "echo x > /root/new; echo y >> /etc/passwd; rm /etc/group; mkdir /opt; echo z > /opt/deep";
    docker.prepare(&["exec", "one", "sh", "-c", script])?;
    docker
        .does(&["diff", "one"])?
        .code(0)
        .says("")
        .prints_line("C /root")
        .prints_line("A /root/new")
        .prints_line("C /etc")
        .prints_line("C /etc/passwd")
        .prints_line("D /etc/group")
        .prints_line("A /opt")
        .prints_line("A /opt/deep")
        .prints_no_line("A /etc/hosts")
        .prints_no_line("A /proc")
        .prints_no_line("C /tmp");
    docker.prepare(&["stop", "one"])?;
    docker.does(&["diff", "one"])?.code(0).prints_line("D /etc/group");
    docker
        .does(&["diff", "nosuch"])?
        .complains("no such container")
        .differs("podman", "knows diff of images, too, and says that no layer is known")
        .code(1)
        .differs("podman", OWN_ERROR);
    Ok(())
}

fn export(docker: &mut Script<'_>) -> Outcome {
    docker.server("one", &["-v", "/data"])?;
    docker.prepare(&[
        "exec",
        "one",
        "sh",
        "-c",
        "echo x > /root/new; rm /etc/group; echo y > /data/in-a-volume",
    ])?;
    let file = docker.sandbox.path("out.tar").to_string_lossy().into_owned();
    docker.does(&["export", "-o", &file, "one"])?.code(0).prints("").says("");
    let listed = stdout(Command::new("tar").args(["-tf", &file]))?;
    let has = |name: &str| listed.lines().any(|line| line.trim_end_matches('/') == name);
    for (name, expected) in [
        ("root/new", true),
        ("etc/passwd", true),
        ("bin/busybox", true),
        ("etc/group", false),
        ("data/in-a-volume", false),
    ] {
        assert_eq!(has(name), expected, "{name}: {listed}");
    }
    // To its standard output, too.
    let mut export = docker.command(&["export", "one"]).stdout(Stdio::piped()).spawn()?;
    let mut cat = Command::new("tar");
    cat.args(["-xO", "-f", "-", "root/new"]).stdin(export.stdout.take().unwrap());
    assert_eq!(stdout(&mut cat)?, "x\n");
    assert!(export.wait()?.success());
    // What comes of it is an image.
    docker.does(&["import", &file, "again"])?.code(0);
    docker
        .does(&["run", "--rm", "--network", "none", "again", "cat", "/root/new"])?
        .code(0)
        .prints("x\n");
    docker.does(&["export", "nosuch"])?.finds_none();
    Ok(())
}
