//! Where it all happens: private namespaces, so that nothing but loopback is there and nobody's mounts are touched, and
//! one temporary folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use super::image::{Image, Kind};
use super::job::{Reading, empty};
use super::registry::Registry;
use super::step::{Limit, Step, Way};
use crate::stage::{beside_this_program, private_namespaces};

/// Folders outside their own that podman and skopeo write to, whatever they are told: caches and locks.
const SHARED: [&str; 3] = ["/var/lib/containers", "/run/libpod", "/dev/shm"];

/// Everything that is made once and used by every job. Dropping it removes it.
#[derive(Debug)]
pub struct Ground {
    /// What is pulled.
    pub images: Vec<Image>,
    /// The binary that is measured, if there is one.
    pub binary: Option<PathBuf>,
    /// Ends before its folder is removed.
    pub(crate) registry: Option<Registry>,
    pub(crate) dir: TempDir,
}

impl Ground {
    /// Moves this process into private mount and network namespaces.
    ///
    /// Call it first: it needs a process with one thread, and everything after it happens in there. Without `binary`,
    /// `mini-docker` is looked for beside this program.
    ///
    /// # Errors
    /// Not root, more than one thread; or what the kernel says.
    pub fn enter(binary: Option<PathBuf>) -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "layers need root\nhint: run it with sudo");
        private_namespaces()?;
        for folder in SHARED.map(Path::new) {
            fs::create_dir_all(folder)?;
            let (kind, none) = (Some("tmpfs"), None::<&str>);
            mount(kind, folder, kind, MsFlags::empty(), none)
                .with_context(|| format!("mount a private `{}`", folder.display()))?;
        }
        let prefix = format!("mini-docker-bench-{}-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        let binary = binary.or_else(beside_this_program);
        let binary = binary.map(std::path::absolute).transpose()?;
        Ok(Self { images: Vec::new(), binary, registry: None, dir })
    }

    /// Programs of those that are not here.
    pub fn missing<'p>(&self, programs: &[&'p str]) -> Vec<&'p str> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let found = |program: &str| match program {
            "mini-docker" => self.binary.is_some(),
            _ => std::env::split_paths(&paths).any(|folder| folder.join(program).is_file()),
        };
        programs.iter().copied().filter(|program| !found(program)).collect()
    }

    /// Makes images and steps: those that can be done here, and whose name (`debian/pull/podman`) contains one of
    /// `only`, if any are given. `say` is told what takes long, and what is left out.
    ///
    /// # Errors
    /// If the tar of the Debian is missing or damaged, or the registry does not start.
    pub fn prepare(
        &mut self,
        only: &[String],
        debian: &Path,
        say: impl Fn(&str),
    ) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for kind in Kind::ALL {
            let name = |way: Way| format!("{}/{}", kind.name(), way.id());
            let wanted = |way: &Way| {
                // One layer cannot be unpacked in parts.
                let moot = kind == Kind::Debian && *way == Way::Limit(Limit::TarAtOnce);
                !moot && (only.is_empty() || only.iter().any(|only| name(*way).contains(only)))
            };
            let mut ways = Vec::new();
            for way in Way::ALL.into_iter().filter(wanted) {
                match &self.missing(way.needs())[..] {
                    [] => ways.push(way),
                    missing => {
                        say(&format!("{}: left out without {}", name(way), missing.join(", ")));
                    }
                }
            }
            if ways.is_empty() {
                continue;
            }
            say(&format!("{}: making the image", kind.name()));
            let image = kind.make(&self.dir.path().join(kind.name()), debian)?;
            if ways.iter().any(|way| way.needs().contains(&"docker-registry")) {
                self.publish(&image)?;
            }
            steps.extend(ways.into_iter().map(|way| Step { image: self.images.len(), way }));
            self.images.push(image);
        }
        Ok(steps)
    }

    /// Brings an image to the registry, which is started if it does not run yet.
    pub(crate) fn publish(&mut self, image: &Image) -> Result<()> {
        let folder = self.dir.path().join("registry");
        match &self.registry {
            Some(registry) => registry.push(image),
            None => self.registry.insert(Registry::start(&folder)?).push(image),
        }
    }

    /// Does a step once, from an empty store, on a file system without anything left to write.
    ///
    /// # Errors
    /// If a command fails, or has not written the files of the image.
    pub fn run(&self, step: Step) -> Result<Reading> {
        let folder = tempfile::Builder::new().prefix("job-").tempdir_in(self.dir.path())?.keep();
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        let job = step.job(self, &folder)?;
        nix::unistd::sync();
        let cpu = || self.registry.as_ref().map_or(Ok(0.0), Registry::cpu);
        let before = cpu()?;
        let mut reading = job.measure()?;
        reading.registry = cpu()? - before;
        let image = &self.images[step.image];
        let files = empty(&folder)?;
        ensure!(
            files >= image.files || !step.way.writes_files(),
            "{files} of {} files are there",
            image.files
        );
        Ok(reading)
    }

    /// Asks whether the file system has names for everything: they stay until the end.
    ///
    /// # Errors
    /// If not.
    pub fn check_inodes(&self, steps: &[Step], rounds: usize) -> Result<()> {
        // Folders, records and such beside the image's own entries.
        let entries = steps.iter().map(|step| self.images[step.image].entries + 1000);
        let wanted = entries.sum::<u64>() * rounds as u64;
        let space = statvfs(self.dir.path())?;
        // A file system without a table of inodes says 0.
        ensure!(
            space.files() == 0 || space.files_available() >= wanted,
            "{wanted} files will be written, and {} are possible\nhint: fewer --rounds, or another TMPDIR",
            space.files_available()
        );
        Ok(())
    }

    /// What is compared, with versions: `podman 4.3.1, ...`.
    pub fn versions(&self) -> String {
        let programs = ["podman", "skopeo", "umoci", "docker-registry", "tar"];
        let version = |program: &str| {
            let output = Command::new(program).arg("--version").output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let version = text.lines().next()?.split_whitespace().last()?.to_owned();
            Some(format!("{program} {version}"))
        };
        programs.into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
    }

    /// The file system on which the stores are, and its device: `ext4 on /dev/vda`.
    pub fn file_system(&self) -> String {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        file_system(&mounts, self.dir.path()).unwrap_or_else(|| "unknown".to_owned())
    }
}

/// What is mounted where a path is, from the text of mountinfo (proc_pid_mountinfo(5)).
fn file_system(mounts: &str, path: &Path) -> Option<String> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = PathBuf::from(before.split(' ').nth(4)?);
        let mut after = after.split(' ');
        let (kind, device) = (after.next()?, after.next()?);
        path.starts_with(&point).then(|| (point, format!("{kind} on {device}")))
    };
    // Of two mounts at one place the later one is seen.
    let all = mounts.lines().filter_map(mount);
    all.max_by_key(|(point, _)| point.components().count()).map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_is_found() {
        let mounts = "\
            1 0 254:0 / / rw - ext4 /dev/vda rw\n\
            2 1 0:30 / /tmp rw shared:1 - tmpfs tmpfs rw\n\
            3 1 254:1 / /tmp/a rw - xfs /dev/vdb rw\n";
        let at = |path: &str| file_system(mounts, Path::new(path)).unwrap();
        assert_eq!(at("/home"), "ext4 on /dev/vda");
        assert_eq!(at("/tmp/ab"), "tmpfs on tmpfs");
        assert_eq!(at("/tmp/a/b"), "xfs on /dev/vdb");
    }
}
