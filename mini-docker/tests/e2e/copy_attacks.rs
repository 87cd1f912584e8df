//! `cp` with containers and archives that try to reach this machine.

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt;
use std::process::{Command, Stdio};

use testkit::{Outcome, Sandbox, Test};

use crate::copy::{Boxed, listing, ok, shell};
use crate::support::{Docker, finish, stdout, wait_until};

pub const TESTS: &[Test] = &[
    ("cp_unpacks_nothing_outside", cp_unpacks_nothing_outside),
    ("cp_follows_no_link_to_the_host", cp_follows_no_link_to_the_host),
    ("cp_is_not_fooled_by_an_exchange", cp_is_not_fooled_by_an_exchange),
    ("cp_never_sees_the_host_during_a_start", cp_never_sees_the_host_during_a_start),
    ("cp_into_a_folder_of_itself_ends", cp_into_a_folder_of_itself_ends),
];

/// Archives whose names, links and hard links try to leave; unpacked, nothing of this machine has changed.
fn cp_unpacks_nothing_outside(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let host = sandbox.path("host");
    std::fs::create_dir(&host)?;
    std::fs::write(host.join("secret"), "of the host")?;
    let running =
        Boxed::new(&docker, &[], &format!("mkdir /to; ln -s {} /to/made", host.display()))?;
    let before = listing(&host)?;
    let python = r#"
import io, sys, tarfile
host = sys.argv[1]
def entry(name, kind=tarfile.REGTYPE, link='', data=b'evil'):
    info = tarfile.TarInfo(name); info.type = kind; info.linkname = link
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, io.BytesIO(data)
S, H = tarfile.SYMTYPE, tarfile.LNKTYPE
up = '../' * 12 + host.lstrip('/')
cases = {
    'climbs': [entry(up + '/evil')],
    'absolute': [entry(host + '/evil')],
    'link': [entry('out', S, host), entry('out/evil')],
    'link-up': [entry('up', S, up), entry('up/evil')],
    'over-link': [entry('over', S, host + '/secret'), entry('over')],
    'made': [entry('made/evil')],
    'hard-climbs': [entry('hard', H, up + '/secret')],
    'hard-absolute': [entry('hard2', H, host + '/secret')],
    'hard-link': [entry('h', S, host), entry('hard3', H, 'h/secret')],
}
for name, entries in cases.items():
    with tarfile.open(name + '.tar', 'w') as tar:
        for info, data in entries: tar.addfile(info, data)
"#;
    stdout(Command::new("python3").args(["-c", python]).arg(&host).current_dir(&sandbox.dir))?;
    for (name, refused) in [
        ("climbs", "leads out of the destination"),
        ("absolute", ""),
        ("link", ""),
        ("link-up", ""),
        ("over-link", ""),
        ("made", ""),
        ("hard-climbs", "leads out of the destination"),
        ("hard-absolute", "find target of hard link"),
        ("hard-link", "find target of hard link"),
    ] {
        let input = std::fs::File::open(sandbox.path(format!("{name}.tar")))?;
        let ran = finish(docker.command(["cp", "-", "box:/to"]).stdin(input))?;
        assert_eq!(ran.code == 0, refused.is_empty(), "{name}: {ran:?}");
        assert!(ran.stderr.contains(refused), "{name}: {ran:?}");
        assert_eq!(listing(&host)?, before, "{name}");
    }
    drop(running);
    Ok(())
}

fn cp_follows_no_link_to_the_host(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let host = sandbox.path("host");
    std::fs::create_dir(&host)?;
    std::fs::write(host.join("secret"), "of the host")?;
    std::fs::write(sandbox.path("file"), "text")?;
    let (path, up) = (host.display(), "../".repeat(12));
    let made = format!(
        "ln -s {path} /abs; ln -s {up}{path} /up; ln -s {path}/secret /file; ln -s {path}/new /new
         mkdir /dir; ln -s {path}/secret /dir/link; mknod /dir/kmsg c 1 11; mknod /disk b 7 0; mkfifo /pipe
         ln -s /proc/self/root /root-of-ours; ln -s /proc/1/root{path} /magic; ln -s /proc/sys/kernel /switches"
    );
    for running in [true, false] {
        let started = Boxed::new(&docker, &[], &made)?;
        // Or its processes have ended, and its files are there.
        let started = if running {
            Some(started)
        } else {
            ok(docker.ran(["commit", "box", "evil"])?)?;
            drop(started);
            ok(docker.ran(["create", "--name", "box", "--network", "none", "evil", "true"])?)?;
            None
        };
        let before = listing(&host)?;
        let out = sandbox.path("out").display().to_string();
        for from in ["/abs/secret", "/up/secret", "/magic/secret", "/root-of-ours/etc/passwd"] {
            let ran = docker.ran(["cp", "-L", &format!("box:{from}"), &out])?;
            assert_eq!(ran.code, 1, "{from}: {ran:?}");
        }
        // With -L they would lead to a file that the container does not have; without, they are links.
        for from in ["/file", "/dir"] {
            std::fs::remove_dir_all(&out).or_else(|_| std::fs::remove_file(&out)).ok();
            ok(docker.ran(["cp", &format!("box:{from}"), &out])?)?;
            let copied = sandbox.path("out");
            if copied.is_symlink() {
                assert_eq!(std::fs::read_link(&copied)?, host.join("secret"));
            } else {
                let link = format!("-> {path}/secret");
                assert_eq!(listing(&copied)?, BTreeMap::from([("link".to_owned(), link)]));
            }
        }
        assert_eq!(docker.ran(["cp", "-L", "box:/file", &out])?.code, 1);
        // A device is not opened, a fifo is not waited for.
        for from in ["/dir/kmsg", "/disk", "/pipe"] {
            let mut copy = docker
                .command(["cp", &format!("box:{from}"), &out])
                .stderr(Stdio::null())
                .spawn()?;
            wait_until("the copy ends", || Ok(copy.try_wait()?.is_some()))?;
        }
        std::fs::remove_file(&out).ok();
        let file = sandbox.path("file").display().to_string();
        for to in
            ["/abs/x", "/up/x", "/file", "/new", "/magic/x", "/switches/hostname", "/pipe", "/disk"]
        {
            let ran = docker.ran(["cp", &file, &format!("box:{to}")])?;
            assert_eq!(ran.code, 1, "{to}: {ran:?}");
        }
        assert_eq!(listing(&host)?, before);
        match started {
            Some(started) => drop(started),
            None => drop(ok(docker.ran(["rm", "box"])?)?),
        }
    }
    Ok(())
}

/// CVE-2018-15664: what was looked at is exchanged before it is used.
fn cp_is_not_fooled_by_an_exchange(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let host = sandbox.path("host");
    std::fs::create_dir(&host)?;
    std::fs::write(host.join("file"), "of the host")?;
    std::fs::write(sandbox.path("new"), "new")?;
    let path = host.display();
    // A folder, then a link to the host's folder; a file, then a link to the host's file, then a fifo.
    let exchange = format!(
        "mkdir -p /a/folder /a/real; echo inside > /a/real/file
         (while :; do mkdir /a/folder; echo inside > /a/folder/file; rm -r /a/folder; ln -s {path} /a/folder; rm /a/folder; done) 2> /dev/null &
         (while :; do ln -sf {path}/file /a/real/file; rm /a/real/file; mkfifo /a/real/file; rm /a/real/file; echo inside > /a/real/file; done) 2> /dev/null &"
    );
    let running = Boxed::new(&docker, &[], &exchange)?;
    let before = listing(&host)?;
    let (new, out) = (sandbox.path("new").display().to_string(), sandbox.path("out"));
    let to = out.display().to_string();
    let (mut copied, mut refused) = (0, 0);
    let began = std::time::Instant::now();
    let mut rounds = 0;
    while rounds < 15 || ((copied == 0 || refused == 0) && began.elapsed().as_secs() < 60) {
        rounds += 1;
        for from in ["box:/a/folder/file", "box:/a/real/file", "box:/a"] {
            std::fs::remove_dir_all(&out).or_else(|_| std::fs::remove_file(&out)).ok();
            let mut copy = docker.command(["cp", from, &to]).stderr(Stdio::null()).spawn()?;
            wait_until("the copy ends", || Ok(copy.try_wait()?.is_some()))?;
            *(if copy.wait()?.success() { &mut copied } else { &mut refused }) += 1;
            let texts = if out.is_dir() { listing(&out)? } else { BTreeMap::new() };
            assert!(!texts.values().any(|text| text == "of the host"), "{from}: {texts:?}");
            let kind = std::fs::symlink_metadata(&out).ok().map(|found| found.file_type());
            if kind.is_some_and(|kind| kind.is_file() && !kind.is_fifo()) {
                assert_ne!(std::fs::read_to_string(&out)?, "of the host", "{from}");
            }
        }
        for into in ["box:/a/folder/file", "box:/a/folder", "box:/a/real/file"] {
            let mut copy = docker.command(["cp", &new, into]).stderr(Stdio::null()).spawn()?;
            wait_until("the copy ends", || Ok(copy.try_wait()?.is_some()))?;
        }
        assert_eq!(listing(&host)?, before);
    }
    assert!(copied > 0 && refused > 0, "both states were met: {copied}, {refused}");
    drop(running);
    Ok(())
}

/// A first process has the host's files for a moment, until it has a root of its own.
fn cp_never_sees_the_host_during_a_start(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let host = sandbox.path("secret");
    std::fs::write(&host, "of the host")?;
    let path = host.display().to_string();
    let new = sandbox.path("evil").display().to_string();
    for _ in 0..15 {
        let run = ["run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000"];
        let mut run = docker.command(run).stdout(Stdio::null()).spawn()?;
        while run.try_wait()?.is_none() {
            let ran = docker.ran(["cp", &format!("box:{path}"), "-"])?;
            assert_ne!(ran.code, 0, "the host's file was copied");
            let ran = docker.ran(["cp", &path, &format!("box:{new}")])?;
            assert_ne!(ran.code, 0, "{ran:?}");
        }
        assert!(!sandbox.path("evil").exists());
        ok(docker.ran(["rm", "-f", "box"])?)?;
    }
    Ok(())
}

fn cp_into_a_folder_of_itself_ends(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    shell("mkdir -p bind/sub; echo text > bind/file", &sandbox.dir)?;
    let bind = sandbox.path("bind").display().to_string();
    let running = Boxed::new(&docker, &["-v", &format!("{bind}:/bind")], "true")?;
    for (from, to) in [
        (bind.clone(), "box:/bind".to_owned()),
        (bind.clone(), "box:/bind/sub".to_owned()),
        (format!("{bind}/."), "box:/bind/sub/new".to_owned()),
        (format!("{bind}/."), "box:/bind".to_owned()),
        ("box:/bind".to_owned(), format!("{bind}/sub")),
    ] {
        let ran = docker.ran(["cp", &from, &to])?;
        assert_eq!(ran.code, 1, "{from} {to}: {ran:?}");
        let words = ["into itself", "are the same directory"];
        assert!(words.iter().any(|words| ran.stderr.contains(words)), "{from} {to}: {ran:?}");
    }
    assert_eq!(std::fs::read_to_string(sandbox.path("bind/file"))?, "text\n");
    drop(running);
    Ok(())
}
