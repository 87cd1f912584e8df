//! The container's terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use nix::sched::CloneFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use rootfs::{Plan, Size};
use syscalls::clone::{CloneArgs, Cloned, clone3};
use testkit::{Outcome, Sandbox};

use crate::support::{self, NAMESPACES, SETUP_FAILED, directory, process, random, shell};

pub(crate) fn has_its_size_before_exec(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    // A console in the image is not used.
    std::os::unix::fs::symlink("/etc/passwd", root.join("dev/console"))?;
    let rows = 20 + (random() % 80) as u16;
    let cols = 80 + (random() % 80) as u16;
    let mut plan = Plan { terminal: Some(Size { rows, cols }), ..Plan::default() };
    let detached = rootfs::bind(directory(&root)?.as_fd(), false)?;
    let script = "stty size; tty; stat -c %t:%T /dev/console /dev/pts/0; ls -1 /dev/pts; \
                  echo by console > /dev/console; echo by tty > /dev/tty; \
                  test $(cat /proc/self/stat | cut -d' ' -f6) = $$ && echo leader";
    let ran = process(NAMESPACES, || {
        let entered = support::enter(detached, &mut plan)?;
        let (master, slave) = (entered.terminal.unwrap(), entered.slave.unwrap());
        let child = match clone3(&CloneArgs { namespaces: CloneFlags::empty(), cgroup: None })? {
            Cloned::Child => {
                let error = match rootfs::make_controlling(slave) {
                    Ok(()) => support::exec(script),
                    Err(error) => error.into(),
                };
                println!("{error}");
                std::process::exit(SETUP_FAILED)
            }
            Cloned::Parent { pid, .. } => pid,
        };
        drop(slave);
        let mut text = Vec::new();
        // A terminal whose other side is closed ends with EIO, not with end of file.
        File::from(master).read_to_end(&mut text).ok();
        print!("{}", String::from_utf8_lossy(&text).replace('\r', ""));
        match waitpid(child, None)? {
            WaitStatus::Exited(_, status) => Ok(status),
            other => Err(format!("{other:?}").into()),
        }
    })?;
    // Major 136 (0x88): the first terminal of a devpts.
    let expected =
        format!("{rows} {cols}\n/dev/pts/0\n88:0\n88:0\n0\nptmx\nby console\nby tty\nleader\n");
    assert_eq!(ran.ok()?, expected);
    Ok(())
}

pub(crate) fn needs_a_devpts(sandbox: &Sandbox) -> Outcome {
    let root = sandbox.busybox_rootfs("root")?;
    let mut plan = Plan { terminal: Some(Size { rows: 1, cols: 1 }), ..Plan::default() };
    plan.mounts.retain(|mount| !mount.target.ends_with("pts"));
    let ran = shell(&root, &mut plan, "true")?;
    assert_eq!(
        ran.output.trim(),
        "create terminal: No such device (ENODEV): the container has no devpts of its own on /dev/pts"
    );
    Ok(())
}
