//! The image: a static busybox and two small layers on top, as tars in memory.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use layers::DiffId;
use serde_json::json;
use tar::{Builder, EntryType, Header};

/// Name of the image in the store of the binary that is measured.
pub(crate) const NAME: &str = "bench/true:latest";

/// Layer tars, the lowest first.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Image {
    /// Builds the layers from the busybox of this machine.
    pub(crate) fn build() -> Result<Self> {
        let busybox = std::fs::read("/bin/busybox").context(
            "read `/bin/busybox`\nhint: a static busybox is needed (Debian: busybox-static)",
        )?;
        let mut base = Builder::new(Vec::new());
        for folder in ["bin", "dev", "etc", "mnt", "proc", "root", "srv", "sys", "tmp"] {
            add(&mut base, EntryType::Directory, folder, 0o755, b"")?;
        }
        add(&mut base, EntryType::Regular, "bin/busybox", 0o755, &busybox)?;
        let mut link = header(EntryType::Symlink, 0o777, 0);
        for name in ["bin/true", "bin/sh"] {
            base.append_link(&mut link, name, "busybox")?;
        }
        add(
            &mut base,
            EntryType::Regular,
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\n",
        )?;
        add(&mut base, EntryType::Regular, "etc/group", 0o644, b"root:x:0:\n")?;

        let mut middle = Builder::new(Vec::new());
        add(&mut middle, EntryType::Regular, "etc/motd", 0o644, b"second layer\n")?;
        let mut top = Builder::new(Vec::new());
        add(&mut top, EntryType::Regular, "srv/index.html", 0o644, b"third layer\n")?;

        let layers = [base, middle, top].into_iter().map(Builder::into_inner);
        Ok(Self { layers: layers.collect::<Result<_, _>>()? })
    }

    /// The layers' names, the lowest first.
    pub(crate) fn diff_ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|tar| DiffId::of(tar)).collect()
    }

    /// Writes it as `docker save` does.
    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let ids: Vec<String> = self.diff_ids().iter().map(ToString::to_string).collect();
        let names: Vec<String> = (0..self.layers.len()).map(|at| format!("{at}.tar")).collect();
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": { "Cmd": ["/bin/true"] },
            "rootfs": { "type": "layers", "diff_ids": ids },
            // Others build upon an image only if it has a line for each layer.
            "history": vec![json!({ "created_by": "benches" }); ids.len()],
        });
        let manifest = json!([{ "Config": "config.json", "RepoTags": [NAME], "Layers": names }]);
        let mut archive = Builder::new(std::fs::File::create(file)?);
        for (name, layer) in names.iter().zip(&self.layers) {
            add(&mut archive, EntryType::Regular, name, 0o644, layer)?;
        }
        let documents = [("config.json", config), ("manifest.json", manifest)];
        for (name, document) in documents {
            add(&mut archive, EntryType::Regular, name, 0o644, document.to_string().as_bytes())?;
        }
        archive.into_inner()?.sync_all().with_context(|| format!("write `{}`", file.display()))
    }
}

fn add<W: Write>(
    tar: &mut Builder<W>,
    kind: EntryType,
    name: &str,
    mode: u32,
    data: &[u8],
) -> Result<()> {
    Ok(tar.append_data(&mut header(kind, mode, data.len() as u64), name, data)?)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    // The same bytes, and so the same digests, each time.
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
