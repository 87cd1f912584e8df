//! The image: a Debian in four layers, made by umoci as a person would.

use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Sandbox, skip};

use crate::support::{Result, stdout};

/// cap_net_raw+ep as the kernel keeps it (`struct vfs_cap_data`, revision 2).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An OCI layout and what umoci does with it.
pub struct Umoci {
    pub layout: String,
    bundle: PathBuf,
    folder: PathBuf,
}

impl Umoci {
    /// Makes the image.
    pub fn with_debian(sandbox: &Sandbox) -> Result<Self> {
        if Command::new("umoci").arg("--version").output().is_err() {
            return skip("needs umoci (Debian: umoci)");
        }
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let tar = workspace.join("target/testdata/debian-bookworm.tar");
        if !tar.exists() {
            return skip("needs a Debian root file system: run tests/data/debian once");
        }
        let image = Self {
            layout: sandbox.path("layout").to_string_lossy().into_owned(),
            bundle: sandbox.path("bundle"),
            folder: sandbox.dir.clone(),
        };
        stdout(Command::new("umoci").args(["init", "--layout", &image.layout]))?;
        image.umoci("new", &[])?;
        image.base(&tar)?;
        image.additions()?;
        image.deletions()?;
        image.replaced_folder()?;
        image.umoci("config", &["--config.cmd", "bash"])?;
        Ok(image)
    }

    fn umoci(&self, verb: &str, more: &[&str]) -> Result<()> {
        let tag = format!("{}:t", self.layout);
        stdout(Command::new("umoci").args([verb, "--image", &tag]).args(more)).map(drop)
    }

    /// Layer 1: what debootstrap has made.
    fn base(&self, tar: &Path) -> Result<()> {
        let debian = self.folder.join("debian");
        std::fs::create_dir(&debian)?;
        let unpack = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"];
        stdout(Command::new("tar").arg("-C").arg(&debian).args(unpack).arg(tar))?;
        self.umoci("insert", &[debian.to_str().unwrap(), "/"])?;
        std::fs::remove_dir_all(debian)?;
        self.umoci("unpack", &[self.bundle.to_str().unwrap()])
    }

    /// What changes from here on is the next layer.
    fn repack(&self) -> Result<()> {
        self.umoci("repack", &["--refresh-bundle", self.bundle.to_str().unwrap()])
    }

    /// Layer 2: new files of all kinds, and old ones with another mode, owner or attribute.
    fn additions(&self) -> Result<()> {
        let root = self.bundle.join("rootfs");
        let at = |path: &str| root.join(path);
        std::fs::write(at("etc/greeting"), "hello\n")?;
        std::fs::write(at("etc/short-lived"), "gone in the next layer\n")?;
        std::fs::create_dir(at("srv/new"))?;
        std::fs::write(at("srv/new/tool"), "#!/bin/sh\necho tool\n")?;
        std::fs::hard_link(at("srv/new/tool"), at("srv/new/tool-too"))?;
        symlink("../../etc/greeting", at("srv/new/link"))?;
        lchown(at("srv/new/link"), Some(5), Some(6))?;
        stdout(Command::new("mknod").arg(at("srv/new/disk")).args(["b", "7", "300"]))?;
        stdout(Command::new("mkfifo").arg(at("srv/new/pipe")))?;
        xattr::set(at("srv/new"), "user.on-a-folder", b"two\nlines\0and a zero byte")?;
        // chown takes both away, so it comes first.
        chown(at("srv/new/tool"), Some(1234), Some(3_000_000_000))?;
        std::fs::set_permissions(at("srv/new/tool"), PermissionsExt::from_mode(0o4711))?;
        xattr::set(at("srv/new/tool"), "security.capability", &CAPABILITY)?;
        xattr::set(at("usr/bin/expr"), "security.capability", &CAPABILITY)?;
        let touch = ["-h", "-d", "2001-02-03T04:05:06.123456789Z"];
        stdout(Command::new("touch").args(touch).args([at("srv/new/tool"), at("srv/new/link")]))?;
        // Old ones.
        std::fs::set_permissions(at("usr/bin/passwd"), PermissionsExt::from_mode(0o755))?;
        std::fs::set_permissions(at("var/tmp"), PermissionsExt::from_mode(0o3770))?;
        chown(at("var/mail"), Some(7), Some(8))?;
        self.repack()
    }

    /// Layer 3: files and whole folders deleted, one kind of thing in the place of another.
    fn deletions(&self) -> Result<()> {
        let root = self.bundle.join("rootfs");
        let at = |path: &str| root.join(path);
        std::fs::remove_file(at("etc/short-lived"))?;
        std::fs::remove_file(at("srv/new/tool-too"))?;
        std::fs::remove_dir_all(at("usr/share/locale"))?;
        std::fs::write(at("etc/greeting"), "changed\n")?;
        // A link and a file become folders. Not the other way round: for a folder that became a file, umoci repack lists
        // the old content as whiteouts *below* that file, which no overlay can hold.
        std::fs::remove_file(at("srv/new/link"))?;
        std::fs::create_dir(at("srv/new/link"))?;
        std::fs::write(at("srv/new/link/inside"), "was a link\n")?;
        std::fs::remove_file(at("etc/issue"))?;
        std::fs::create_dir(at("etc/issue"))?;
        self.repack()
    }

    /// Layer 4: a folder in place of an old one of the same name (repack lists what is gone one by one; insert can say
    /// "nothing from below").
    fn replaced_folder(&self) -> Result<()> {
        let folder = self.folder.join("doc");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("only-this"), "short\n")?;
        self.umoci("insert", &["--opaque", folder.to_str().unwrap(), "/usr/share/doc"])
    }

    /// What umoci makes of all four layers.
    pub fn unpack(&self) -> Result<PathBuf> {
        let bundle = self.folder.join("whole");
        self.umoci("unpack", &[bundle.to_str().unwrap()])?;
        Ok(bundle.join("rootfs"))
    }
}
