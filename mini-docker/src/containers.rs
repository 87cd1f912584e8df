//! The containers of an engine, and who may touch them.
//!
//! A container is *held* while its supervisor lives: the supervisor keeps an exclusive `flock(2)` on the container's
//! folder in the run root. The kernel drops the lock when the process ends, however it ends, so a folder that can be
//! locked belongs to nobody: the next command reclaims it (see [`crate::reclaim`]). No pid is trusted for this.

mod rename;
mod spare;

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use oci_spec::runtime::Spec;

use crate::engine::Engine;
use crate::failure::Failure;
use crate::files::{make_dir, read_json, remove_file, remove_tree, write_json};
use crate::names;
use crate::reclaim::reclaim;
use crate::record::Record;

/// A container that this process supervises.
#[derive(Debug)]
pub struct Held {
    /// `<root>/containers/<id>`.
    pub dir: PathBuf,
    /// `<run-root>/containers/<id>`.
    pub run_dir: PathBuf,
    lock: File,
}

impl Held {
    /// The lock: as long as somebody has it open, the container is held.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// In the child: closes its copy of the lock, which would otherwise outlive a supervisor that is killed. The
    /// child only executes or exits; it never uses its copy of this value.
    pub(crate) fn leave_to_parent(&self) {
        nix::unistd::close(self.lock.as_raw_fd()).ok();
    }
}

/// The containers of an engine.
#[derive(Debug)]
pub struct Containers<'engine> {
    engine: &'engine Engine,
}

/// Undoes a reservation unless it is [kept](Reserved::keep): the folders and the name disappear.
#[derive(Debug)]
pub struct Reserved<'engine> {
    containers: Containers<'engine>,
    /// The new id.
    pub id: String,
    /// Its name.
    pub name: String,
    held: Option<Held>,
}

impl Reserved<'_> {
    /// `<root>/containers/<id>`.
    pub fn dir(&self) -> PathBuf {
        self.containers.dir(&self.id)
    }

    /// Ends the reservation: the container exists now and is held by this process.
    pub fn keep(mut self) -> Held {
        self.held.take().expect("a reservation holds its container until it is kept")
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            // Best effort: what cannot be removed now is reclaimed by the next command.
            self.containers.remove(&self.id, &self.name, held).ok();
        }
    }
}

impl<'engine> Containers<'engine> {
    /// The containers below the engine's roots.
    pub fn new(engine: &'engine Engine) -> Self {
        Self { engine }
    }

    /// `<root>/containers/<id>`.
    pub fn dir(&self, id: &str) -> PathBuf {
        self.engine.root.join("containers").join(id)
    }

    /// `<run-root>/containers/<id>`.
    pub fn run_dir(&self, id: &str) -> PathBuf {
        self.engine.run_root.join("containers").join(id)
    }

    fn name_file(&self, name: &str) -> PathBuf {
        self.engine.root.join("names").join(name)
    }

    /// Makes a new id, takes the name (or makes one up) and the folders, and holds the container.
    ///
    /// # Errors
    /// If the name is taken or not allowed, or the folders cannot be made.
    pub fn reserve(self, name: Option<&str>) -> Result<Reserved<'engine>> {
        let id = names::new_id()?;
        let held = self.hold(&id)?.context("a new id is in use")?;
        let taken = self.take_name(&id, name);
        let mut reserved = Reserved { containers: self, id, name: String::new(), held: Some(held) };
        reserved.name = taken?;
        make_dir(&reserved.dir())?;
        Ok(reserved)
    }

    /// Takes the lock of a container, creating its folder in the run root. None if another process holds it. What a
    /// supervisor has left that was killed since this command began is taken away first: afterwards nobody could find it.
    ///
    /// # Errors
    /// If the folder cannot be made or locked.
    pub fn hold(&self, id: &str) -> Result<Option<Held>> {
        let run_dir = self.run_dir(id);
        let mut reclaimed = false;
        // Its last owner may be removing the folder: then it is made again.
        for _ in 0..100 {
            // Nobody looks or reclaims between mkdir and flock: both take this lock for themselves.
            let gate = self.gate()?;
            gate.lock_shared().context("lock the container folder")?;
            let is_new = make_dir(&run_dir)?;
            match lock(&run_dir)? {
                // Nobody's folder that was there: its owner has died in it.
                Lock::Ours(lock) if !is_new && !reclaimed => {
                    drop((lock, gate));
                    // What could not be taken away is said by the next command.
                    reclaim(self.engine).ok();
                    reclaimed = true;
                }
                Lock::Ours(lock) => {
                    return Ok(Some(Held { dir: self.dir(id), run_dir, lock }));
                }
                Lock::Others => return Ok(None),
                Lock::Gone => {}
            }
        }
        anyhow::bail!("lock `{}`: it keeps disappearing", run_dir.display())
    }

    /// Takes the lock of a folder that a dead supervisor left. None if it is gone or another process was faster.
    ///
    /// # Errors
    /// If the folder cannot be locked.
    pub(crate) fn seize(&self, id: &str) -> Result<Option<Held>> {
        let run_dir = self.run_dir(id);
        let gate = self.gate()?;
        gate.lock().context("lock the container folder")?;
        match lock(&run_dir)? {
            Lock::Ours(lock) => Ok(Some(Held { dir: self.dir(id), run_dir, lock })),
            Lock::Others | Lock::Gone => Ok(None),
        }
    }

    /// The folder whose lock stands between new containers and a reclaimer.
    fn gate(&self) -> Result<File> {
        let path = self.engine.run_root.join("containers");
        File::open(&path).with_context(|| format!("open `{}`", path.display()))
    }

    /// Whether some process supervises the container.
    pub fn is_held(&self, id: &str) -> bool {
        let Ok(folder) = File::open(self.run_dir(id)) else { return false };
        // To look is to lock for a moment; whoever wants to hold the container meanwhile waits at the gate.
        let gate = self.gate().ok().filter(|gate| gate.lock().is_ok());
        let held = matches!(folder.try_lock_shared(), Err(fs::TryLockError::WouldBlock));
        drop(folder);
        drop(gate);
        held
    }

    /// Takes a name for a container: the file is created only if it does not exist.
    fn take_name(&self, id: &str, wanted: Option<&str>) -> Result<String> {
        if let Some(name) = wanted {
            if !names::is_valid(name) {
                return Err(invalid_name(name).into());
            }
            let Some(owner) = self.link_name(id, name)? else { return Ok(name.to_owned()) };
            return Err(name_in_use(name, &owner).into());
        }
        for attempt in 0.. {
            let name = names::from_id(id, attempt);
            if self.link_name(id, &name)?.is_none() {
                return Ok(name);
            }
        }
        unreachable!("an id has more digits than there are containers")
    }

    /// Creates the file of a name, or returns whose it is. The file appears with its content: written aside, then
    /// linked, which fails if the name exists.
    fn link_name(&self, id: &str, name: &str) -> Result<Option<String>> {
        let path = self.name_file(name);
        let aside = self.name_file(&format!(".{id}"));
        fs::write(&aside, id).with_context(|| {
            fs::remove_file(&aside).ok();
            format!("write `{}`", aside.display())
        })?;
        let taken = loop {
            match fs::hard_link(&aside, &path) {
                Ok(()) => break Ok(None),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => break Err(error).with_context(|| format!("take the name `{name}`")),
            }
            let owner = fs::read_to_string(&path).unwrap_or_default();
            if self.owns(&owner, name) {
                break Ok(Some(owner));
            }
            // Its container is gone or has another name: a crash came between two steps.
            if let Err(error) = self.forget_name(name) {
                break Err(error);
            }
        };
        fs::remove_file(&aside).ok();
        taken
    }

    fn exists(&self, id: &str) -> bool {
        !id.is_empty() && (self.dir(id).exists() || self.run_dir(id).exists())
    }

    /// Writes the record and, if given, the spec. `durable` waits for the disk: a container that is removed with its
    /// process has nothing that must survive a power cut.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn save(&self, record: &Record, spec: Option<&Spec>, durable: bool) -> Result<()> {
        if let Some(spec) = spec {
            self.save_spec(&record.id, spec, durable)?;
        }
        write_json(&self.dir(&record.id).join("record.json"), record, durable)
    }

    /// Writes the spec alone.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_spec(&self, id: &str, spec: &Spec, durable: bool) -> Result<()> {
        write_json(&self.dir(id).join("config.json"), spec, durable)
    }

    /// Changes the record of a container that may run meanwhile: its supervisor and commands change different parts of
    /// it, each by reading, changing and writing under the lock of the container's folder. Returns the new record.
    ///
    /// # Errors
    /// If there is none, it cannot be written, or `change` says so: then it is as it was.
    pub fn edit(
        &self,
        id: &str,
        durable: bool,
        change: impl FnOnce(&mut Record) -> Result<()>,
    ) -> Result<Record> {
        let dir = self.dir(id);
        let folder = File::open(&dir).with_context(|| format!("open `{}`", dir.display()));
        let folder = folder.map_err(|error| self.unless_removed(id, error))?;
        folder.lock().with_context(|| format!("lock `{}`", dir.display()))?;
        let mut record = self.load(id).map_err(|error| self.unless_removed(id, error))?;
        change(&mut record)?;
        self.save(&record, None, durable)?;
        Ok(record)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If there is none or it is torn.
    pub fn load(&self, id: &str) -> Result<Record> {
        read_json(&self.dir(id).join("record.json"))
    }

    /// Reads the spec of a container.
    ///
    /// # Errors
    /// If there is none or it is torn.
    pub fn load_spec(&self, id: &str) -> Result<Spec> {
        read_json(&self.dir(id).join("config.json")).map_err(|error| self.unless_removed(id, error))
    }

    /// What to say of a file of a container that is missing: another command may have removed the whole container since
    /// its record was read.
    fn unless_removed(&self, id: &str, error: anyhow::Error) -> anyhow::Error {
        if self.has_record(id) {
            return error;
        }
        Failure::new(format!("no such container: {}", id.get(..12).unwrap_or(id)))
            .hint("another command has just removed it")
            .into()
    }

    /// All containers, newest first. What has no record yet or any more is left out, and so is what cannot be read.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Record>> {
        Ok(self.scan()?.0)
    }

    /// All containers, newest first, and the ids of those whose record cannot be read.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn scan(&self) -> Result<(Vec<Record>, Vec<String>)> {
        let folder = self.engine.root.join("containers");
        let entries =
            fs::read_dir(&folder).with_context(|| format!("read `{}`", folder.display()))?;
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        for entry in entries.flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            match self.load(&id) {
                Ok(record) => records.push(record),
                Err(_) if self.has_record(&id) => damaged.push(id),
                Err(_) => {}
            }
        }
        records.sort_by(|a: &Record, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok((records, damaged))
    }

    /// Whether the container was created to the end and is not being removed: it has a record, readable or not.
    pub(crate) fn has_record(&self, id: &str) -> bool {
        self.dir(id).join("record.json").exists()
    }

    /// The container with that name, id, or unique beginning of an id.
    ///
    /// # Errors
    /// If there is none, or several ids begin so.
    pub fn find(&self, key: &str) -> Result<Record> {
        let by_name = names::is_valid(key).then(|| fs::read_to_string(self.name_file(key)));
        if let Some(Ok(id)) = by_name
            && let Ok(record) = self.load(&id)
            // Killed in the middle, a rename leaves a name that nobody has.
            && record.name == key
        {
            return Ok(record);
        }
        let mut found: Vec<Record> =
            self.list()?.into_iter().filter(|record| record.id.starts_with(key)).collect();
        match found.len() {
            1 if !key.is_empty() => Ok(found.remove(0)),
            0 | 1 => Err(Failure::new(format!("no such container: {key}"))
                .hint("`mini-docker ps -a` lists all containers")
                .into()),
            count => Err(Failure::new(format!("{count} container ids begin with `{key}`"))
                .hint("give more digits")
                .into()),
        }
    }

    /// Removes everything on disk that belongs to a container that this process holds.
    ///
    /// # Errors
    /// The first thing that could not be removed; the rest is still tried.
    pub fn remove(&self, id: &str, name: &str, held: Held) -> Result<()> {
        let name_file = self.name_file(name);
        // Whoever is changing the record has finished, and nobody begins.
        let lock = File::open(&held.dir).ok().filter(|folder| folder.lock().is_ok());
        // Without a record it is no container any more: whoever finds the rest after a crash takes it away.
        remove_file(&held.dir.join("record.json"))?;
        drop(lock);
        if !name.is_empty() && fs::read_to_string(&name_file).is_ok_and(|owner| owner == id) {
            remove_file(&name_file)?;
        }
        remove_file(&self.name_file(&format!(".{id}")))?;
        // The folder whose lock says that we do this goes last, and only if there is nothing left to find.
        remove_tree(&held.dir)?;
        remove_tree(&held.run_dir)
    }
}

fn invalid_name(name: &str) -> Failure {
    Failure::new(format!("invalid container name `{name}`"))
        .hint("letters, digits, `_`, `.` and `-`, at least two, the first a letter or digit")
}

fn name_in_use(name: &str, owner: &str) -> Failure {
    let owner = owner.get(..12).unwrap_or(owner);
    Failure::new(format!("the container name `{name}` is already in use by container {owner}"))
        .hint(format!("remove it (mini-docker rm {name}) or choose another name"))
}

/// What came of an attempt to lock a folder of the run root.
enum Lock {
    Ours(File),
    Others,
    /// Its owner has removed it.
    Gone,
}

fn lock(run_dir: &Path) -> Result<Lock> {
    let folder = match File::open(run_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::Gone),
        other => other.with_context(|| format!("open `{}`", run_dir.display()))?,
    };
    match folder.try_lock() {
        Err(fs::TryLockError::WouldBlock) => return Ok(Lock::Others),
        other => other.with_context(|| format!("lock `{}`", run_dir.display()))?,
    }
    let ours = folder.metadata().context("look at a locked folder")?;
    let same = fs::metadata(run_dir).is_ok_and(|now| now.ino() == ours.ino());
    Ok(if same { Lock::Ours(folder) } else { Lock::Gone })
}
