//! The images: a Debian as one layer, and the same Debian with applications on top in eight.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::files::generate;
use super::job::empty;
use super::layout::{self, Blob};
use super::pool::side_by_side;

/// An image, and what it was made from.
#[derive(Debug)]
pub struct Image {
    /// A short name, `debian`.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// Its OCI layout; its tag there is `latest`.
    pub layout: PathBuf,
    /// Blobs, the lowest first.
    pub layers: Vec<Blob>,
    /// The tars in them.
    pub tars: Vec<PathBuf>,
    /// Entries of all tars: directories, links and devices too.
    pub entries: u64,
    /// Regular files among them, counting each name of a hard link.
    pub files: u64,
}

/// Which images there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The whole Debian in one layer.
    Debian,
    /// The Debian in five layers and applications in three, about 310 MB in all.
    Eight,
}

/// A part of the Debian that is a layer of the image with eight.
struct Part {
    /// Folders above it, which a layer describes as well.
    above: &'static [&'static str],
    /// What is in it.
    take: &'static str,
    /// What of that is not.
    leave: &'static [&'static str],
}

const PARTS: [Part; 5] = [
    Part { above: &[], take: ".", leave: &["./usr/lib", "./usr/share", "./var"] },
    Part { above: &[".", "./usr"], take: "./usr/lib", leave: &[] },
    Part { above: &[".", "./usr", "./usr/share"], take: "./usr/share/locale", leave: &[] },
    Part { above: &[".", "./usr"], take: "./usr/share", leave: &["./usr/share/locale"] },
    Part { above: &["."], take: "./var", leave: &[] },
];

/// Number of layers with applications, and bytes of files in each.
const APPLICATIONS: u64 = 3;
const APPLICATION: u64 = 45_000_000;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Debian, Self::Eight];

    /// A short name without spaces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Eight => "eight",
        }
    }

    /// The name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Debian => "Debian, one layer",
            Self::Eight => "Debian and applications, eight layers",
        }
    }

    /// Makes it in a new folder, from the tar of a Debian's root file system.
    ///
    /// # Errors
    /// If it is no such tar, or the disk is full.
    pub fn make(self, folder: &Path, debian: &Path) -> Result<Image> {
        fs::create_dir(folder)?;
        let tars = match self {
            Self::Debian => vec![debian.to_owned()],
            Self::Eight => {
                let mut tars = split(folder, debian)?;
                for at in 0..APPLICATIONS {
                    tars.push(application(folder, at)?);
                }
                tars
            }
        };
        Image::of(self.name(), self.title(), folder.join("layout"), tars)
    }
}

impl Image {
    /// Makes a layout of tars, the lowest first.
    pub(crate) fn of(
        name: &'static str,
        title: &'static str,
        layout: PathBuf,
        tars: Vec<PathBuf>,
    ) -> Result<Self> {
        layout::create(&layout)?;
        let workers = std::thread::available_parallelism()?.get();
        let made = side_by_side(workers, &tars, |tar| {
            let open = || File::open(tar).with_context(|| format!("open `{}`", tar.display()));
            let blob = layout::add_layer(&layout, BufReader::with_capacity(1 << 18, open()?))?;
            Ok((blob, count(open()?)?))
        })?;
        let (layers, counts): (Vec<Blob>, Vec<(u64, u64)>) = made.into_iter().unzip();
        layout::finish(&layout, &layers)?;
        let (entries, files) =
            counts.into_iter().fold((0, 0), |(e, f), one| (e + one.0, f + one.1));
        Ok(Self { name, title, layout, layers, tars, entries, files })
    }

    /// Bytes to be transferred.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// Bytes of the tars.
    pub fn unpacked(&self) -> u64 {
        self.layers.iter().map(|layer| layer.unpacked).sum()
    }

    /// Title and numbers.
    pub fn description(&self) -> String {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        format!(
            "{}: {:.0} MB compressed, {:.0} MB, {} entries",
            self.title,
            megabytes(self.size()),
            megabytes(self.unpacked()),
            self.entries
        )
    }
}

/// Entries of a tar, and regular files among them.
fn count(tar: File) -> Result<(u64, u64)> {
    let (mut entries, mut files) = (0, 0);
    // Seeks over the contents.
    for entry in tar::Archive::new(tar).entries_with_seek()? {
        let kind = entry.context("read tar")?.header().entry_type();
        entries += 1;
        files += u64::from(kind.is_file() || kind.is_hard_link());
    }
    Ok((entries, files))
}

/// Divides a root file system into tars below `folder`.
fn split(folder: &Path, debian: &Path) -> Result<Vec<PathBuf>> {
    let root = folder.join("root");
    fs::create_dir(&root)?;
    tar(&root, |tar| tar.args(["--xattrs", "--xattrs-include=*", "-xpf"]).arg(debian))?;
    let mut tars = Vec::new();
    for (at, part) in PARTS.iter().enumerate() {
        let file = folder.join(format!("{at}.tar"));
        tar(&root, |tar| {
            tar.arg("-cf").arg(&file).args(["--sort=name", "--xattrs", "--anchored"]);
            tar.args(part.leave.iter().map(|leave| format!("--exclude={leave}")));
            tar.arg("--no-recursion").args(part.above).args(["--recursion", part.take])
        })?;
        tars.push(file);
    }
    empty(&root)?;
    Ok(tars)
}

/// Makes the tar of an application below `folder`.
fn application(folder: &Path, at: u64) -> Result<PathBuf> {
    let root = folder.join(format!("application-{at}"));
    let files = root.join(format!("opt/app-{at}"));
    fs::create_dir_all(&files)?;
    generate(&files, APPLICATION, at)?;
    let file = folder.join(format!("application-{at}.tar"));
    tar(&root, |tar| {
        let same = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--mode=u=rwX,go=rX"];
        tar.arg("-cf").arg(&file).args(same).arg(".")
    })?;
    empty(&root)?;
    Ok(file)
}

/// Runs GNU tar in a folder.
fn tar(folder: &Path, arguments: impl FnOnce(&mut Command) -> &mut Command) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(folder).arg("--numeric-owner");
    let status = arguments(&mut tar).status().context("run `tar`")?;
    ensure!(status.success(), "tar: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    /// A tar with one file at each of some paths.
    fn root(folder: &Path, paths: &[&str]) -> PathBuf {
        let file = folder.join("root.tar");
        let mut tar = tar::Builder::new(File::create(&file).unwrap());
        for path in paths {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(path.len() as u64);
            tar.append_data(&mut header, path, path.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap();
        file
    }

    fn names(tar: impl Read) -> Vec<String> {
        let mut archive = tar::Archive::new(tar);
        let name = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let entry = entry.unwrap();
            entry.path().unwrap().display().to_string()
        };
        archive.entries().unwrap().map(name).collect()
    }

    #[test]
    fn the_parts_of_a_root_have_each_file_once_and_the_folders_above() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            "etc/passwd",
            "opt/usr/lib/not-that-one",
            "usr/bin/sh",
            "usr/lib/libc.so",
            "usr/share/doc/readme",
            "usr/share/locale/de",
            "var/lib/dpkg/status",
        ];
        let tars = split(folder.path(), &root(folder.path(), &files)).unwrap();
        assert_eq!(tars.len(), PARTS.len());
        let all: Vec<Vec<String>> =
            tars.iter().map(|tar| names(File::open(tar).unwrap())).collect();
        for file in files {
            let name = format!("./{file}");
            let times = all.iter().flatten().filter(|other| **other == name).count();
            assert_eq!(times, 1, "{file} in {all:?}");
        }
        let locale =
            ["./", "./usr/", "./usr/share/", "./usr/share/locale/", "./usr/share/locale/de"];
        assert_eq!(all[2], locale);
    }

    #[test]
    fn a_layout_holds_what_its_documents_say() {
        let folder = tempfile::tempdir().unwrap();
        let tar = root(folder.path(), &["a", "b"]);
        let image = Image::of("x", "X", folder.path().join("layout"), vec![tar.clone()]).unwrap();
        assert_eq!((image.entries, image.files), (2, 2));
        let read = |name: &str| -> serde_json::Value {
            serde_json::from_slice(&fs::read(image.layout.join(name)).unwrap()).unwrap()
        };
        let blob = |descriptor: &serde_json::Value| {
            let hex = descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
            let size = fs::metadata(image.layout.join(&hex)).unwrap().len();
            assert_eq!(descriptor["size"], size);
            hex
        };
        let manifest = read(&blob(&read("index.json")["manifests"][0]));
        let config = read(&blob(&manifest["config"]));
        let plain = fs::read(&tar).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], layers::DiffId::of(&plain).to_string());
        let layer = fs::read(image.layout.join(blob(&manifest["layers"][0]))).unwrap();
        let mut unpacked = Vec::new();
        GzDecoder::new(&layer[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain);
        assert_eq!(image.unpacked(), plain.len() as u64);
        assert_eq!(image.size(), layer.len() as u64);
    }
}
