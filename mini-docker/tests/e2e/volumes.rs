//! Data that outlives containers.

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, transcript};

pub const TESTS: &[Test] = &[
    ("a_volume_is_filled_kept_and_protected", a_volume_is_filled_kept_and_protected),
    ("a_folder_of_the_host_is_seen_and_written", a_folder_of_the_host_is_seen_and_written),
    ("volumes_are_listed_and_pruned_by_filters", volumes_are_listed_and_pruned_by_filters),
    ("volumes_from_another_container", volumes_from_another_container),
    ("another_containers_volume_is_the_same_mount", another_containers_volume_is_the_same_mount),
    ("a_volume_with_a_name_is_the_users", a_volume_with_a_name_is_the_users),
    ("a_subpath_stays_in_its_volume", a_subpath_stays_in_its_volume),
    ("a_target_that_is_a_link_stays_inside", a_target_that_is_a_link_stays_inside),
];

fn a_volume_is_filled_kept_and_protected(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let filled = docker.sh(&["-v", "conf:/etc"], "ls /etc/passwd; echo kept > /etc/note")?;
    assert_eq!(filled.stdout, "/etc/passwd\n", "{filled:?}");
    assert_eq!(
        docker.sh(&["-v", "conf:/x:ro"], "cat /x/note; ls /x")?.stdout,
        "kept\ngroup\nhostname\nhosts\nnote\npasswd\nresolv.conf\n"
    );
    let empty = docker.sh(&["-v", "bare:/etc:nocopy"], "ls /etc")?;
    assert_eq!(empty.stdout, "hostname\nhosts\nresolv.conf\n");
    assert_eq!(
        docker
            .ran([
                "run",
                "--name",
                "user",
                "--network",
                "none",
                "-v",
                "conf:/x",
                "busybox",
                "true"
            ])?
            .code,
        0
    );
    let mut text = String::new();
    for arguments in [
        &["volume", "ls"][..],
        &["volume", "inspect", "conf"],
        &["volume", "rm", "conf"],
        &["volume", "rm", "bare"],
        &["rm", "user"],
        &["volume", "rm", "conf"],
        &["volume", "create", "--label", "a=b", "named"],
        &["volume", "prune", "-f"],
        &["volume", "prune", "-f", "-a"],
        &["volume", "ls"],
    ] {
        text.push_str(&transcript(&docker, sandbox, arguments)?);
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{12,64}", "[ID]");
    settings.add_filter(r#""CreatedAt": ".*""#, r#""CreatedAt": "[TIME]""#);
    // What a folder takes is the file system's business.
    settings.add_filter("space: [0-9.]+k?B", "space: [SIZE]");
    settings.bind(|| insta::assert_snapshot!(text));
    Ok(())
}

fn a_folder_of_the_host_is_seen_and_written(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let folder = sandbox.path("shared");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("in"), "from outside\n")?;
    let volume = format!("{}:/mnt/here", folder.display());
    let ran = docker.sh(&["-v", &volume], "cat /mnt/here/in; echo from inside > /mnt/here/out")?;
    assert_eq!(ran.stdout, "from outside\n");
    assert_eq!(std::fs::read_to_string(folder.join("out"))?, "from inside\n");
    let read_only = format!("type=bind,source={},target=/mnt/here,readonly", folder.display());
    let ran = docker.sh(&["--mount", &read_only], "echo > /mnt/here/no")?;
    assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
    let file = format!("{}:/etc/motd:ro", folder.join("in").display());
    assert_eq!(docker.sh(&["-v", &file], "cat /etc/motd")?.stdout, "from outside\n");
    let made = sandbox.path("made/by/v");
    let volume = format!("{}:/x", made.display());
    assert_eq!(docker.sh(&["-v", &volume], "true")?.code, 0);
    assert!(made.is_dir());
    Ok(())
}

fn volumes_from_another_container(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let first = [
        "run",
        "--name",
        "first",
        "--network",
        "none",
        "-v",
        "/data",
        "busybox",
        "sh",
        "-c",
        "echo 1 > /data/f",
    ];
    assert_eq!(docker.ran(first)?.code, 0);
    assert_eq!(
        docker.sh(&["--volumes-from", "first"], "cat /data/f; echo 2 > /data/f")?.stdout,
        "1\n"
    );
    let ran = docker.sh(&["--volumes-from", "first:ro"], "cat /data/f; echo 3 > /data/f")?;
    assert!(ran.stdout == "2\n" && ran.stderr.contains("Read-only"), "{ran:?}");
    assert_eq!(docker.ran(["volume", "ls", "-q"])?.stdout.lines().count(), 1);
    assert_eq!(docker.ran(["rm", "-v", "first"])?.code, 0);
    assert_eq!(docker.ran(["volume", "ls", "-q"])?.stdout, "");
    Ok(())
}

/// What `--volumes-from` gives is what the other container has, not what its words would mean to `-v`.
fn another_containers_volume_is_the_same_mount(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let made =
        docker.sh(&["-v", "data:/d"], "mkdir /d/open; echo 1 > /d/open/f; echo 2 > /d/secret")?;
    assert_eq!(made.code, 0, "{made:?}");
    let odd = sandbox.path("a:b");
    std::fs::create_dir(&odd)?;
    std::fs::write(odd.join("f"), "odd\n")?;
    let shared = sandbox.path("shared");
    std::fs::create_dir(&shared)?;
    for arguments in [&["-t", "tmpfs", "none"][..], &["--make-shared"]] {
        let status = std::process::Command::new("mount").args(arguments).arg(&shared).status()?;
        assert!(status.success());
    }
    let bind = format!("type=bind,source={},target=/odd", odd.display());
    let slave =
        format!("type=bind,source={},target=/slave,bind-propagation=rslave", shared.display());
    let created = docker.ran([
        "create",
        "--name=first",
        "--mount=type=volume,source=data,target=/part,volume-subpath=open",
        "--mount=type=volume,source=bare,target=/etc,volume-nocopy",
        &format!("--mount={bind}"),
        &format!("--mount={slave}"),
        "busybox",
    ])?;
    assert_eq!(created.code, 0, "{created:?}");
    let script = "ls /part; cat /odd/f; ls /etc; grep ' /slave ' /proc/self/mountinfo | grep -o master; true";
    let ran = docker.sh(&["--volumes-from", "first"], script)?;
    assert_eq!(ran.stdout, "f\nodd\nhostname\nhosts\nresolv.conf\nmaster\n", "{ran:?}");
    // And once more, from the one that has it from the first.
    let again = ["create", "--name=second", "--volumes-from=first", "busybox"];
    assert_eq!(docker.ran(again)?.code, 0);
    assert_eq!(docker.sh(&["--volumes-from", "second:ro"], script)?.stdout, ran.stdout);
    Ok(())
}

fn a_volume_with_a_name_is_the_users(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let volumes =
        || Ok::<_, Box<dyn std::error::Error>>(docker.ran(["volume", "ls", "-q"])?.stdout);
    // Made without a name; but from then on the user names it.
    let made = docker.ran(["volume", "create"])?.stdout;
    let name = made.trim();
    assert_eq!(docker.sh(&["-v", &format!("{name}:/d")], "echo 1 > /d/f")?.code, 0);
    assert_eq!(volumes()?, made);
    assert_eq!(docker.sh(&["-v", &format!("{name}:/d")], "cat /d/f")?.stdout, "1\n");
    assert_eq!(docker.ran(["volume", "rm", name])?.code, 0);
    // An anonymous one goes with the last container that has it, whichever that is.
    for arguments in [
        &["create", "--name=first", "-v", "/d", "busybox"][..],
        &["create", "--name=second", "--volumes-from=first", "busybox"],
    ] {
        assert_eq!(docker.ran(arguments)?.code, 0);
    }
    assert_eq!(docker.sh(&["--volumes-from", "second"], "true")?.code, 0);
    assert_eq!(volumes()?.lines().count(), 1);
    assert_eq!(docker.ran(["rm", "-v", "first"])?.code, 0);
    assert_eq!(volumes()?.lines().count(), 1);
    assert_eq!(docker.ran(["rm", "-v", "second"])?.code, 0);
    assert_eq!(volumes()?, "");
    Ok(())
}

fn a_subpath_stays_in_its_volume(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let outside = sandbox.path("outside");
    std::fs::create_dir(&outside)?;
    std::fs::write(outside.join("secret"), "secret\n")?;
    let script = format!(
        "mkdir /d/sub; echo in > /d/sub/f; ln -s /sub /d/inner; ln -s {} /d/out; ln -s / /d/top; echo x > /d/file",
        outside.display()
    );
    assert_eq!(docker.sh(&["-v", "data:/d"], &script)?.code, 0);
    let mount = |path: &str| {
        let mount = format!("--mount=type=volume,source=data,target=/m,volume-subpath={path}");
        docker.sh(&[&mount], "ls /m; cat /m/f /m 2>/dev/null; true")
    };
    assert_eq!(mount("sub")?.stdout, "f\nin\n");
    assert_eq!(mount("inner")?.stdout, "f\nin\n");
    assert_eq!(mount("file")?.stdout, "/m\nx\n");
    assert_eq!(mount("top")?.stdout, "file\ninner\nout\nsub\ntop\n");
    let ran = mount("out")?;
    assert_eq!((ran.code, ran.stdout.as_str()), (125, ""), "{ran:?}");
    assert!(ran.stderr.contains("open volume subpath `out`"), "{ran:?}");
    Ok(())
}

fn a_target_that_is_a_link_stays_inside(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let outside = sandbox.path("outside");
    std::fs::create_dir(&outside)?;
    let link =
        format!("ln -s {} /link; ln -s ../../../../..{} /up", outside.display(), outside.display());
    let made = ["run", "--name", "hostile", "--network", "none", "busybox", "sh", "-c", &link];
    assert_eq!(docker.ran(made)?.code, 0);
    // The same files again, with a volume on the link.
    let tar = sandbox.path("hostile.tar");
    let rootfs = sandbox.path("busybox");
    for (name, target) in [
        ("link", outside.clone()),
        ("up", std::path::Path::new("../../../../..").join(outside.strip_prefix("/")?)),
    ] {
        std::os::unix::fs::symlink(target, rootfs.join(name))?;
    }
    let status = std::process::Command::new("tar")
        .arg("-C")
        .arg(&rootfs)
        .arg("-cf")
        .arg(&tar)
        .arg(".")
        .status()?;
    assert!(status.success());
    assert_eq!(docker.ran(["import", tar.to_str().unwrap(), "hostile"])?.code, 0);
    for target in ["/link", "/up", "/link/deeper"] {
        let volume = format!("vol:{target}");
        let run = ["run", "--rm", "--network", "none", "-v", &volume, "hostile", "sh", "-c"];
        let ran =
            docker.ran(run.iter().chain(&[&*format!("echo x > {target}/file && echo ok")]))?;
        assert_eq!(ran.stdout, "ok\n", "{target}: {ran:?}");
        assert_eq!(std::fs::read_dir(&outside)?.count(), 0, "{target} led out");
    }
    Ok(())
}

fn volumes_are_listed_and_pruned_by_filters(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    for (name, label) in [("one", "a=1"), ("two", "a=2"), ("used", "b")] {
        assert_eq!(docker.ran(["volume", "create", "--label", label, name])?.code, 0);
    }
    let flags = ["create", "--network=none", "--name=box", "-v=used:/data", "busybox"];
    assert_eq!(docker.ran(flags)?.code, 0);
    for (filters, expected) in [
        (&[][..], "one two used "),
        (&["name=o"], "one two "),
        (&["name=^o"], "one "),
        (&["name=one", "name=used"], "one used "),
        (&["label=a"], "one two "),
        (&["label=a", "label=a=2"], "two "),
        (&["dangling=true"], "one two "),
        (&["dangling=0"], "used "),
        (&["driver=local"], "one two used "),
        (&["driver=nfs"], ""),
    ] {
        let filters = filters.iter().flat_map(|filter| ["-f", filter]);
        let ran = docker.ran(["volume", "ls", "-q"].into_iter().chain(filters))?;
        assert_eq!((ran.code, ran.stdout.replace('\n', " ")), (0, expected.to_owned()), "{ran:?}");
    }
    for (verb, filter) in [
        ("ls", "colour=red"),
        ("ls", "dangling=perhaps"),
        ("ls", "name=["),
        ("prune", "until=1h"),
        ("prune", "all=perhaps"),
    ] {
        let ran = docker.ran(["volume", verb, "--filter", filter])?;
        assert!(ran.code == 1 && ran.stderr.contains("invalid filter"), "{filter}: {ran:?}");
    }
    // They have names: without `all` none goes.
    for (filters, left) in [
        (&["label=a=1"][..], "one two used "),
        (&["all=1", "label!=a=1"], "one used "),
        (&["all=true"], "used "),
    ] {
        let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
        let ran = docker.ran(["volume", "prune", "-f"].into_iter().chain(filters))?;
        assert_eq!(ran.code, 0, "{ran:?}");
        let ran = docker.ran(["volume", "ls", "-q"])?;
        assert_eq!(ran.stdout.replace('\n', " "), left);
    }
    Ok(())
}
