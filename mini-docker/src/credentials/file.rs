//! `config.json` on disk: read whole, changed in place of nothing else, written so that a reader sees old or new.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::Object;

/// Links that are followed before it must be a loop: the kernel's own number (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What the file holds; nothing if it does not exist or is empty.
pub(super) fn read(path: &Path) -> Result<Object> {
    match fs::read(path) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => Ok(Object::new()),
        Ok(bytes) => crate::settings::parse_object(path, &bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Object::new()),
        Err(error) => Err(failed("read", path, &error)),
    }
}

/// Reads the file, changes what it holds, and writes it if that made a difference.
///
/// Of two logins at the same time both must stay: the folder is locked meanwhile.
pub(super) fn change(path: &Path, edit: impl FnOnce(&mut Object) -> Result<()>) -> Result<()> {
    let target = target(path).map_err(|error| failed("read", path, &error))?;
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| failed("create folder", folder, &error))?;
    let lock = File::open(folder).map_err(|error| failed("open folder", folder, &error))?;
    // Some file systems of other machines have no locks; Docker has none anywhere.
    lock.lock().ok();
    let before = read(&target)?;
    let mut after = before.clone();
    edit(&mut after)?;
    if after == before {
        return Ok(());
    }
    let mut text = Vec::new();
    // Docker's indentation: the file stays as the user knows it.
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
    after.serialize(&mut serializer)?;
    write(&target, folder, &text).map_err(|error| failed("write", &target, &error))
}

/// The file that a chain of links ends at, which need not exist: a link to a file in a folder of dotfiles stays a link.
fn target(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            Ok(link) => target = target.parent().unwrap_or(Path::new("")).join(link),
            // EINVAL: it is no link.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                return Ok(target);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(nix::libc::ELOOP))
}

fn write(path: &Path, folder: &Path, text: &[u8]) -> io::Result<()> {
    let random = crate::names::new_id().map_err(io::Error::other)?;
    let aside = folder.join(format!(".config.json.{}", &random[..16]));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        if let Ok(old) = fs::metadata(path) {
            // Root who writes a user's file (sudo -E) does not take it away. A user cannot give files away, and need not.
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid())).ok();
        }
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        fs::remove_file(&aside).ok();
    }
    written
}

/// A failure as text: the usual hints for an errno speak of the state root, which this file is not in.
fn failed(verb: &str, path: &Path, error: &io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => " (hint: whose is it? DOCKER_CONFIG names another folder)",
        ErrorKind::ReadOnlyFilesystem => " (hint: DOCKER_CONFIG names another folder)",
        _ => "",
    };
    anyhow!("{verb} `{}`: {error}{hint}", path.display())
}
