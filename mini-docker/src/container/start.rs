//! The story of a start, from top to bottom. Each step's guard undoes it if a later one fails: Rust drops them in the
//! opposite order.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use cgroups::{Cgroup, Hierarchies};
use namespaces::{Exit, Init, Kind};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};
use syscalls::tty::Size;

use super::child::Setup;
use super::{child, files, network, user};
use crate::containers::{Containers, Held};
use crate::engine::{Engine, open_dir};
use crate::events;
use crate::explain::{self, Step};
use crate::failure::Failure;
use crate::image;
use crate::record::Record;
use crate::spec as translate;
use crate::terminal::Signals;

/// How a container's process ended.
#[derive(Debug)]
pub struct Ended {
    /// As a shell reports it: 128+n for signal n.
    pub code: i32,
    /// The kernel ended it for want of memory.
    pub oom: bool,
    /// The limit it had, in bytes.
    pub memory_limit: Option<u64>,
    /// What could not be taken away.
    pub leftovers: Vec<anyhow::Error>,
}

impl Ended {
    /// It could not be started again, or ended long ago.
    pub(super) fn failed(code: i32) -> Self {
        Self { code, oom: false, memory_limit: None, leftovers: Vec::new() }
    }
}

/// Who looks after a container's process: the command that started it, or a monitor.
pub trait Attendant {
    /// Size of the terminal that it gets, if it gets one.
    fn size(&self) -> Size;

    /// What it is given as standard input, output and error if it has no terminal. None: its own /dev/null.
    ///
    /// # Errors
    /// If a stream cannot be made.
    fn streams(&mut self) -> Result<[Option<OwnedFd>; 3]>;

    /// The program runs. Returns when it has ended and its last byte was carried.
    ///
    /// # Errors
    /// If waiting fails.
    fn serve(
        &mut self,
        init: &mut Init,
        signals: &Signals,
        master: Option<OwnedFd>,
    ) -> Result<Exit>;
}

/// Starts the container that `held` locks, serves it, and takes everything away when its process has ended. `signals`
/// collects since before: one that comes at any moment of this waits for whoever is there to hear it.
///
/// # Errors
/// What kept it from starting. Nothing of the attempt is left.
pub fn start(
    engine: &Engine,
    held: &Held,
    record: &mut Record,
    spec: &mut Spec,
    attendant: &mut dyn Attendant,
    signals: &Signals,
) -> Result<Ended> {
    let containers = Containers::new(engine);
    let shared = namespaces_of_others(engine, record)?;

    // 3. The cgroup, with its limits, before any process is in it.
    explain::step(Step::Cgroup);
    let hierarchies = Hierarchies::detect()?;
    let limits = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.resources().as_ref())
        .map(translate::limits)
        .unwrap_or_default();
    let cgroup = Cgroup::create(&hierarchies, &cgroup_path(spec), &limits)?;

    // 4. The root: the image's layers with a writable one on top, as a mount that has no place yet.
    explain::step(Step::Layers);
    let root = root_mount(engine, held, record, spec)?;
    user::look_up(root.as_fd(), record, spec)?;

    // 5. The volumes. A new one is filled with what the image has at its place.
    explain::step(Step::Volumes);
    record.network.linked = files::linked(engine, record)?;
    files::write_network_files(held, record, spec)?;
    files::fill_volumes(root.as_fd(), record)?;
    signals.check()?;
    let size = record.terminal.then(|| attendant.size());
    let files = translate::files(spec, size)?;

    // 6. The process, in its namespaces and its cgroup.
    explain::step(Step::Clone);
    let streams = if record.terminal { Default::default() } else { attendant.streams()? };
    let (ours, theirs) = UnixStream::pair().context("make a socket pair")?;
    let setup = Setup {
        held,
        joiner: cgroup.joiner(),
        hierarchies: &hierarchies,
        files,
        root,
        confinement: translate::confinement(spec)?,
        command: child::command(spec)?,
        streams,
        terminal: record.terminal.then_some(theirs),
        init: record.init,
    };
    let mut plan = translate::namespaces(spec)?;
    for (kind, namespace) in shared {
        plan.create.retain(|own| *own != kind);
        plan.join.push((kind, namespace));
    }
    let mut init =
        namespaces::spawn(&plan, cgroup.clone_fd(), |child| child::become_container(child, setup))?;

    // 7. The parent's half, while the child builds its root: the network.
    explain::step(Step::Network);
    let connection = network::connect(engine, record, spec, &init, held)
        .map_err(|error| reason(&mut init, record, error))?;
    containers.save_spec(&record.id, spec, !record.auto_remove)?;
    signals.check()?;
    init.go()?;

    // 8 and 9 are the child's. The end of its error pipe says that exec has happened.
    let master = if record.terminal {
        syscalls::fd::receive(ours.as_fd()).context("receive the container's terminal")?
    } else {
        None
    };
    drop(ours);
    init.wait_exec()?;
    // Only now: who reads that it runs may enter it, and before it was in its own root that was the host.
    let saved = containers.edit(&record.id, !record.auto_remove, |saved| {
        saved.begin(init.pid.as_raw());
        saved.network = record.network.clone();
        saved.health = crate::health::at_start(saved);
        Ok(())
    });
    match saved {
        Ok(saved) => *record = saved,
        Err(error) => {
            cgroup.kill()?;
            init.wait()?;
            return Err(error);
        }
    }
    events::started(engine, record);

    // 10. Signals, keys and output, until the process has ended.
    explain::step(Step::Wait);
    let exit = attendant.serve(&mut init, signals, master)?;

    // 11. The way back.
    explain::step(Step::Undo);
    let code = exit.shell_code();
    let oom = code == 137 && cgroup.oom_kills().is_ok_and(|kills| kills > 0);
    let disconnected = connection.close();
    let removed = cgroup.remove().map_err(anyhow::Error::from);
    let leftovers = [disconnected, removed].into_iter().filter_map(Result::err).collect();
    let memory_limit = limits.memory.and_then(|bytes| u64::try_from(bytes).ok());
    Ok(Ended { code, oom, memory_limit, leftovers })
}

/// Why the parent's half has failed. If the child has ended meanwhile, its own words, or that somebody has killed it, say
/// more than that its files in /proc are gone.
fn reason(init: &mut Init, record: &Record, error: anyhow::Error) -> anyhow::Error {
    // A process that ends gives up its namespaces first: then its end is a moment away.
    let is_going = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<syscalls::KernelError>())
        .any(|cause| cause.errno == nix::errno::Errno::ENOENT && cause.object.ends_with("/ns/net"));
    let ended = if is_going { init.wait().map(Some) } else { init.try_wait() };
    match ended {
        Ok(Some(_)) => match init.wait_exec() {
            Err(words) => words.into(),
            Ok(()) => {
                Failure::new(format!("container {} was killed before it had started", record.name))
                    .hint("by `kill` or `rm -f` perhaps, or for want of memory")
                    .into()
            }
        },
        _ => error,
    }
}

fn cgroup_path(spec: &Spec) -> String {
    let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
    path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Opens the namespaces of running containers that this one shares.
///
/// A pid may be used again: what was opened counts only if that container still runs afterwards, as the same process.
fn namespaces_of_others(engine: &Engine, record: &Record) -> Result<Vec<(Kind, OwnedFd)>> {
    let containers = Containers::new(engine);
    let wanted = [(Kind::Net, &record.network.mode), (Kind::Pid, &record.pid_mode)];
    let mut opened = Vec::new();
    for (kind, mode) in wanted {
        let Some(id) = mode.strip_prefix("container:") else { continue };
        let other = containers.load(id).context("join another container")?;
        let stopped = || {
            Failure::new(format!("cannot join container {}: it is not running", other.name))
                .hint(format!("start it: mini-docker start {}", other.name))
        };
        let (Some(pid), Some(pidfd)) = (other.pid(), super::process(engine, &other)?) else {
            return Err(stopped().into());
        };
        let path = format!("/proc/{pid}/ns/{}", kind.proc_name());
        let namespace = match std::fs::File::open(&path) {
            // It gives up its namespaces before its pidfd says that it has ended.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(stopped().into());
            }
            other => other.with_context(|| format!("open namespace `{path}`"))?,
        };
        if super::has_ended(pidfd.as_fd()) {
            return Err(stopped().into());
        }
        opened.push((kind, namespace.into()));
    }
    Ok(opened)
}

/// The detached mount that becomes the container's `/`.
fn root_mount(engine: &Engine, held: &Held, record: &Record, spec: &Spec) -> Result<OwnedFd> {
    if record.image_id.is_none() {
        let folder = spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
        return Ok(rootfs::bind(open_dir(&folder)?.as_fd(), true)?);
    }
    let lowers = image::lowers(engine, record)?;
    let (upper, work) = (held.dir.join("upper"), held.dir.join("work"));
    if record.auto_remove {
        // A working folder of a mount that did not wait for the disk is not taken again (`restart`).
        crate::files::remove_tree(&work)?;
    }
    for folder in [&upper, &work] {
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("create folder `{}`", folder.display()));
            }
            _ => {}
        }
    }
    let mounted = match record.auto_remove {
        // Nothing of it survives its process: why wait for the disk?
        true => layers::fleeting_overlay(&lowers, &upper, &work),
        false => layers::overlay(&lowers, Some(&upper), Some(&work)),
    };
    match mounted {
        Err(error) => {
            // Say the real reason where there is one: an overlay cannot lie on an overlay.
            layers::can_hold_upper(&engine.root).map_err(|refusal| {
                Failure::new(refusal.to_string()).hint("use a --root on another file system")
            })?;
            Err(error.into())
        }
        Ok(mount) => Ok(mount),
    }
}

/// Whether the container gets a network namespace of its own.
pub(super) fn owns_network(record: &Record, spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().clone());
    let creates = |namespace: &LinuxNamespace| {
        namespace.typ() == LinuxNamespaceType::Network && namespace.path().is_none()
    };
    !record.network.mode.starts_with("container:") && namespaces.iter().flatten().any(creates)
}

/// The network namespace of the container's first process.
pub(super) fn network_namespace(init: &namespaces::Init) -> Result<OwnedFd> {
    Ok(init.namespace(Kind::Net)?)
}
