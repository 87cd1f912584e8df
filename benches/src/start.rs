//! One start, up to a rung: the same calls of the chapters in the same order as in `mini-docker`'s
//! `container/start.rs` and `container/child.rs`, each under the condition that the rung includes it.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, ensure};
use cgroups::{Cgroup, Hierarchies, Limits};
use namespaces::exec::Command;
use namespaces::{Child, Kind};
use nix::sched::CloneFlags;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{execve, setsid};
use rootfs::Attr;
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::process::{Exit, Target, exit_now, wait};
use syscalls::{During, KernelError};

use crate::Rung;
use crate::clock::{Clock, Sample};
use crate::stage::{Stage, VOLUME};

/// Starts a container with all that `rung` includes, waits for its end, and takes it away.
///
/// # Errors
/// The step that failed. What was made is removed by the chapters' guards, and with the stage.
pub fn start(stage: &Stage, rung: Rung) -> Result<Sample> {
    if rung == Rung::Process {
        return process(stage);
    }
    let mut clock = Clock::start()?;

    let cgroup = (rung >= Rung::Cgroup).then(|| cgroup(stage)).transpose()?;
    let root = root(stage, rung)?;
    let files = (rung >= Rung::Rootfs).then(|| files(stage, rung, root.as_ref())).transpose()?;

    let setup = Setup {
        cgroup: cgroup.as_ref().map(|(hierarchies, cgroup)| (hierarchies, cgroup.joiner())),
        root: root.zip(files),
        confinement: (rung >= Rung::Security).then(confinement).transpose()?,
        command: command(stage, rung)?,
    };
    let birth = cgroup.as_ref().and_then(|(_, cgroup)| cgroup.clone_fd());
    let mut init = namespaces::spawn(&plan(rung), birth, |child| become_container(child, setup))?;

    let connection = connect(stage, rung, &init)?;
    init.go()?;
    init.wait_exec()?;
    clock.exec_happened();
    let exit = init.wait()?;

    // The way back.
    if let Some((store, network)) = connection {
        store.disconnect(&network, &container_id())?;
    }
    if let Some((_, cgroup)) = cgroup {
        cgroup.remove()?;
    }
    if rung >= Rung::Layers {
        for folder in ["upper", "work"] {
            fs::remove_dir_all(stage.container().join(folder))?;
        }
    }
    let sample = clock.stop()?;
    ensure!(exit == Exit::Code(0), "true: {exit:?}");
    Ok(sample)
}

/// The lowest rung: no chapter, three calls.
fn process(stage: &Stage) -> Result<Sample> {
    let path = CString::new(stage.program.as_os_str().as_bytes())?;
    let clock = Clock::start()?;
    let arguments = CloneArgs { namespaces: CloneFlags::empty(), cgroup: None };
    let pidfd = match clone3(&arguments)? {
        Cloned::Child => {
            execve(&path, &[c"true"], &[] as &[&std::ffi::CStr]).ok();
            exit_now(127)
        }
        Cloned::Parent { pidfd, .. } => pidfd,
    };
    let ended = wait(Target::Process(pidfd.as_fd()), true)?;
    let sample = clock.stop()?;
    ensure!(ended.is_some_and(|(_, exit)| exit == Exit::Code(0)), "true: {ended:?}");
    Ok(sample)
}

fn plan(rung: Rung) -> namespaces::Plan {
    let mut create = vec![Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Pid];
    if rung >= Rung::NetworkNamespace {
        create.push(Kind::Net);
    }
    if rung >= Rung::Cgroup {
        create.push(Kind::Cgroup);
    }
    namespaces::Plan { create, hostname: Some("bench".to_owned()), ..Default::default() }
}

fn cgroup(stage: &Stage) -> Result<(Hierarchies, Cgroup)> {
    let hierarchies = Hierarchies::detect()?;
    let limits = Limits {
        memory: Some(256 << 20),
        pids: Some(100),
        devices: cgroups::default_device_rules(),
        ..Limits::default()
    };
    let cgroup = Cgroup::create(&hierarchies, &stage.cgroup, &limits)?;
    Ok((hierarchies, cgroup))
}

/// The detached mount that becomes `/`.
fn root(stage: &Stage, rung: Rung) -> Result<Option<OwnedFd>> {
    if rung < Rung::Rootfs {
        return Ok(None);
    }
    if rung == Rung::Rootfs {
        return Ok(Some(rootfs::bind(File::open(&stage.folder)?.as_fd(), true)?));
    }
    let store = layers::Store::open(&stage.root.join("layers"))?;
    let lowers: Vec<_> = stage.layers.iter().rev().map(|id| store.path(id)).collect();
    let (upper, work) = (stage.container().join("upper"), stage.container().join("work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    Ok(Some(layers::overlay(&lowers, Some(&upper), Some(&work))?))
}

/// What is mounted in it.
fn files(stage: &Stage, rung: Rung, root: Option<&OwnedFd>) -> Result<rootfs::Plan> {
    let mut plan = rootfs::Plan::default();
    if rung < Rung::Volumes {
        return Ok(plan);
    }
    let bind = volumes::parse_volume(&format!("{}:/mnt", stage.shared.display()))?;
    let bound = volumes::detached(volumes::open_source(&bind)?.as_fd(), &bind)?;
    plan.mounts.push(rootfs::Mount::detached("/mnt", bound, false));

    let named = volumes::parse_volume(&format!("{VOLUME}:/srv"))?;
    let (volume, _hold) = stage.volumes()?.acquire(Some(VOLUME), &[], &[])?;
    let place = volumes::open_volume(&volume)?;
    let root = root.context("volumes need a root")?;
    volumes::populate(place.as_fd(), root.as_fd(), &named.target)?;
    let mount = volumes::detached(place.as_fd(), &named)?;
    plan.mounts.push(rootfs::Mount::detached("/srv", mount, false));
    Ok(plan)
}

fn confinement() -> Result<security::Confinement> {
    let set = security::compute(&[], &[], false)?;
    Ok(security::Confinement {
        caps: security::CapSets::docker(&set, 0),
        ..security::Confinement::default()
    })
}

fn command(stage: &Stage, rung: Rung) -> Result<Command> {
    let program = if rung >= Rung::Rootfs {
        c"/bin/true".to_owned()
    } else {
        CString::new(stage.program.as_os_str().as_bytes())?
    };
    Ok(Command { argv: vec![program], env: Vec::new() })
}

/// The parent's half, while the child builds its root.
fn connect(
    stage: &Stage,
    rung: Rung,
    init: &namespaces::Init,
) -> Result<Option<(network::Store, network::Network)>> {
    if rung < Rung::NetworkNamespace {
        return Ok(None);
    }
    let netns = init.namespace(Kind::Net)?;
    if rung < Rung::Veth {
        network::loopback_up(netns.as_fd())?;
        return Ok(None);
    }
    let store =
        if rung >= Rung::Bridge { stage.quiet_networks()? } else { stage.busy_networks()? };
    let network = store.default_bridge()?;
    let ports = if rung >= Rung::Port { network::parse_publish("8080:80")? } else { Vec::new() };
    let request = network::Request {
        container: container_id(),
        hostname: "bench".to_owned(),
        ports,
        ..network::Request::default()
    };
    store.connect(&network, &request, netns.as_fd())?;
    Ok(Some((store, network)))
}

/// One container at a time, so one id.
fn container_id() -> String {
    "0".repeat(64)
}

struct Setup<'parent> {
    cgroup: Option<(&'parent Hierarchies, cgroups::Joiner)>,
    root: Option<(OwnedFd, rootfs::Plan)>,
    confinement: Option<security::Confinement>,
    command: Command,
}

/// The child between clone3 and exec.
fn become_container(child: &Child, mut setup: Setup<'_>) -> Result<Infallible, KernelError> {
    if let Some((_, joiner)) = &setup.cgroup {
        joiner.join_self()?;
        child.enter_cgroup_namespace()?;
    }
    setsid().during("begin a session", "")?;
    if let Some((root, mut plan)) = setup.root.take() {
        if let Some((hierarchies, _)) = setup.cgroup {
            add_cgroup_mounts(&mut plan, hierarchies)?;
        }
        rootfs::enter(root, rootfs::staging()?.as_fd(), &mut plan)?;
    }
    set_pdeathsig(Signal::SIGKILL).during("ask for a signal", "")?;
    child.wait_for_parent()?;
    if let Some(confinement) = &setup.confinement {
        security::confine(confinement)?;
    }
    syscalls::fd::close_on_exec_from(3).during("close", "descriptors")?;
    Err(namespaces::exec::exec(&setup.command))
}

/// /sys/fs/cgroup, read-only, right after /sys.
fn add_cgroup_mounts(
    plan: &mut rootfs::Plan,
    hierarchies: &Hierarchies,
) -> Result<(), KernelError> {
    let base = std::path::Path::new("/sys/fs/cgroup");
    let attr = Attr::NOSUID | Attr::NODEV | Attr::NOEXEC | Attr::RDONLY;
    let after_sys = plan.mounts.iter().position(|mount| mount.target.ends_with("sys"));
    let place = after_sys.map_or(plan.mounts.len(), |at| at + 1);
    let mounts = cgroups::container_mounts(hierarchies)?.into_iter().map(|(name, mount)| {
        let target = if name.is_empty() { base.to_owned() } else { base.join(name) };
        rootfs::Mount { attr, ..rootfs::Mount::detached(target, mount, false) }
    });
    plan.mounts.splice(place..place, mounts);
    Ok(())
}
