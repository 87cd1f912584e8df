//! Where it all happens: the ground on which pulls are measured, with a file system for each store and what is built
//! from.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::disk::Disk;
use super::step::{Place, Step};
use super::work::{CHANGING, FILES, Work};
use crate::image::Image;
use crate::pull::{Ground, Job, Reading};

/// Settings of buildah: without them it asks for more open files than the limits of some hosts allow.
const SETTINGS: &str =
    "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n";

/// Runs a command with its output in a file, and shows that if it fails.
const TO_FILE: &str = "file=$1; shift; \"$@\" >\"$file\" 2>&1 || { cat \"$file\" >&2; exit 1; }";

/// Everything that is made once and used by every measurement. Dropping it removes it.
#[derive(Debug)]
pub struct Site {
    /// By the step's name: stores that stay.
    disks: RefCell<BTreeMap<String, Disk>>,
    /// Goes after what is mounted in its folder.
    ground: Ground,
    /// How many file systems were made.
    made: Cell<usize>,
    /// How often [`CHANGING`] has changed.
    changes: Cell<u32>,
}

impl Site {
    /// Moves this process into private namespaces, as [`Ground::enter`] does, and makes the base image.
    ///
    /// # Errors
    /// Those of [`Ground::enter`]; no static busybox.
    pub fn enter(binary: Option<PathBuf>) -> Result<Self> {
        let site = Self {
            disks: RefCell::default(),
            ground: Ground::enter(binary)?,
            made: Cell::new(0),
            changes: Cell::new(0),
        };
        let missing = site.ground.missing(&Disk::NEEDS);
        ensure!(missing.is_empty(), "this needs {}", missing.join(", "));
        Image::build()?.save(&site.at("base.tar"))?;
        fs::write(site.at("containers.conf"), SETTINGS)?;
        Ok(site)
    }

    /// Makes the stores that stay, for those steps that can be done here and whose name contains one of `only`, if any
    /// are given. `say` is told what takes long, and what is left out.
    ///
    /// # Errors
    /// If a build does not succeed, or is not found in the cache when it is done again.
    pub fn prepare(&self, only: &[String], say: impl Fn(&str)) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for step in Step::all() {
            let id = step.id();
            if !only.is_empty() && !only.iter().any(|only| id.contains(only)) {
                continue;
            }
            match &self.ground.missing(step.tool.needs())[..] {
                [] => steps.push(step),
                missing => say(&format!("{id}: left out without {}", missing.join(", "))),
            }
        }
        for step in steps.iter().filter(|step| !step.work.has_new_store()) {
            let id = step.id();
            say(&format!("{id}: filling the store"));
            let disk = self.new_disk(*step)?;
            self.fill(*step, disk.folder()).with_context(|| format!("fill the store of {id}"))?;
            self.disks.borrow_mut().insert(id, disk);
        }
        Ok(steps)
    }

    /// Does a step once, on file systems without anything left to write.
    ///
    /// # Errors
    /// If a command fails, or has not written what it should.
    pub fn run(&self, step: Step) -> Result<Reading> {
        let mut disks = self.disks.borrow_mut();
        let Some(disk) = disks.get_mut(&step.id()) else {
            let disk = self.new_disk(step)?;
            let before = files(disk.folder())?;
            let reading = self.measure(step, disk.folder())?;
            let written = files(disk.folder())? - before;
            ensure!(
                step.work != Work::First || written >= FILES,
                "{written} of {FILES} files are there"
            );
            return Ok(reading);
        };
        if step.work == Work::Changed {
            disk.forget();
            self.change(disk.folder())?;
        }
        let reading = self.measure(step, disk.folder())?;
        disk.was_used();
        Ok(reading)
    }

    /// What is compared, with versions: `buildah 1.28.2, ...`.
    pub fn versions(&self) -> String {
        let version = |program: &str| {
            let output = Command::new(program).arg("--version").output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut words = text.split_whitespace();
            let version = words.find(|word| word.starts_with(char::is_numeric))?;
            Some(format!("{program} {version}"))
        };
        ["buildah", "runc"].into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
    }

    /// The file systems on which the stores are: `ext4 in files on ext4 on /dev/vda`.
    pub fn file_system(&self) -> String {
        format!("ext4 in files on {}", self.ground.file_system())
    }

    /// Builds what will be found in the cache, and looks whether it is.
    fn fill(&self, step: Step, disk: &Path) -> Result<()> {
        let build = || -> Result<String> {
            let output = disk.join("output");
            let shell = ["sh", "-c", TO_FILE, "sh", &output.display().to_string()];
            let shell = shell.map(str::to_owned).to_vec();
            let commands = self.with_place(disk, |place| step.commands(place));
            let commands = commands.into_iter().map(|command| [shell.clone(), command].concat());
            self.do_commands(commands.collect(), disk)?;
            Ok(fs::read_to_string(output)?)
        };
        let words = build()?;
        ensure!(!step.was_cached(&words), "everything was in the cache of a new store:\n{words}");
        if step.work.is_cached() {
            let words = build()?;
            ensure!(step.was_cached(&words), "not everything was in the cache:\n{words}");
        }
        Ok(())
    }

    fn measure(&self, step: Step, disk: &Path) -> Result<Reading> {
        let commands = self.with_place(disk, |place| step.commands(place));
        nix::unistd::sync();
        self.do_commands(commands, disk)
    }

    /// A file system with what the step builds from, and a store with the base image.
    fn new_disk(&self, step: Step) -> Result<Disk> {
        self.made.set(self.made.get() + 1);
        let disk = Disk::new(self.ground.dir.path(), &format!("disk{}", self.made.get()))?;
        let folder = disk.folder();
        fs::create_dir(folder.join("store"))?;
        step.work.make(&folder.join("context"))?;
        let commands = self.with_place(folder, |place| step.tool.load(place));
        self.do_commands(commands, folder).context("load the base image")?;
        Ok(disk)
    }

    fn with_place<T>(&self, disk: &Path, of: impl FnOnce(&Place<'_>) -> T) -> T {
        of(&Place {
            binary: self.ground.binary.as_deref().unwrap_or(Path::new("mini-docker")),
            store: &disk.join("store"),
            context: &disk.join("context"),
            base: &self.at("base.tar"),
        })
    }

    /// In a new folder, for what they leave outside their stores.
    fn do_commands(&self, commands: Vec<Vec<String>>, disk: &Path) -> Result<Reading> {
        let folder = tempfile::Builder::new().prefix("job-").tempdir_in(disk)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        let settings = self.at("containers.conf").display().to_string();
        let environment = BTreeMap::from([("CONTAINERS_CONF".to_owned(), settings)]);
        let folder = folder.path().to_owned();
        Job { commands, environment, at_once: 1, folder }.measure()
    }

    /// Gives a file other bytes than it has ever had.
    fn change(&self, disk: &Path) -> Result<()> {
        self.changes.set(self.changes.get() + 1);
        let file = disk.join("context").join(CHANGING);
        let mut bytes = fs::read(&file)?;
        let number = self.changes.get().to_le_bytes();
        bytes[..number.len()].copy_from_slice(&number);
        Ok(fs::write(file, bytes)?)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.ground.dir.path().join(name)
    }
}

/// How many regular files there are below a folder.
fn files(folder: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            count += files(&entry.path())?;
        } else if kind.is_file() {
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_and_links_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/file"), "").unwrap();
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("d", at("link")).unwrap();
        assert_eq!(files(folder.path()).unwrap(), 2);
    }
}
