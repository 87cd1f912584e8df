//! How much memory a large layer takes: 2 GiB in one layer, pulled.

use std::io::{self, Read};

use anyhow::{Result, ensure};

use super::ground::Ground;
use super::image::Image;
use super::layout;
use super::step::{Step, Tool, Way};
use crate::stats::Random;

/// Files in the layer, and bytes in each.
const FILES: u64 = 8;
const FILE: u64 = 256 << 20;

/// Random bytes at the beginning of each MiB; zeros after them.
const RANDOM: usize = 32 << 10;

/// What `mini-docker pull` may take, in bytes.
pub const ALLOWED: u64 = 64 << 20;

/// Pulls the layer with `mini-docker` and its peers. Returns a line for each, with its peak.
///
/// # Errors
/// If somebody fails, or `mini-docker` takes more than [`ALLOWED`].
pub fn check(ground: &mut Ground, say: impl Fn(&str)) -> Result<String> {
    let missing = ground.missing(Way::Pull(Tool::MiniDocker).needs());
    ensure!(missing.is_empty(), "this needs {}", missing.join(", "));
    say("making a layer of 2 GiB");
    let image = large(ground)?;
    ground.publish(&image)?;
    let mut lines = format!("{}\n", image.description());
    ground.images.push(image);
    let mut own = 0;
    for tool in [Tool::MiniDocker, Tool::Podman, Tool::UmociRaw] {
        let way = Way::Pull(tool);
        if !ground.missing(way.needs()).is_empty() {
            continue;
        }
        say(way.label());
        let reading = ground.run(Step { image: ground.images.len() - 1, way })?;
        let bytes = reading.peak * 1024;
        lines.push_str(&format!(
            "{}: {:.0} MB at its peak, {:.1} s, user CPU time {:.1} s\n",
            way.label(),
            bytes as f64 / 1e6,
            reading.wall,
            reading.user
        ));
        if tool == Tool::MiniDocker {
            own = bytes;
        }
    }
    ensure!(
        own <= ALLOWED,
        "{lines}mini-docker pull took {own} bytes of memory, more than {ALLOWED}"
    );
    Ok(lines)
}

/// Makes the image in the layout's folder, with a tar that is never there as a whole.
fn large(ground: &Ground) -> Result<Image> {
    let folder = ground.dir.path().join("large");
    layout::create(&folder)?;
    let layer = layout::add_layer(&folder, tar(FILES, FILE)?)?;
    let layers = vec![layer];
    layout::finish(&folder, &layers)?;
    Ok(Image {
        name: "large",
        title: "one large layer",
        layout: folder,
        layers,
        tars: Vec::new(),
        entries: FILES,
        files: FILES,
    })
}

/// A tar of `files` files with `size` bytes each, which must be a multiple of 1 MiB.
fn tar(files: u64, size: u64) -> Result<impl Read> {
    let mut all: Box<dyn Read> = Box::new(io::empty());
    for at in 0..files {
        let mut header = tar::Header::new_ustar();
        header.set_path(format!("large/{at}"))?;
        header.set_mode(0o644);
        header.set_size(size);
        header.set_cksum();
        let header = header.as_bytes().to_vec();
        all = Box::new(all.chain(io::Cursor::new(header)).chain(Content::new(at).take(size)));
    }
    Ok(all.chain(io::repeat(0).take(1024)))
}

/// Mostly zeros, without end.
struct Content {
    random: Random,
    block: Vec<u8>,
    at: usize,
}

impl Content {
    fn new(seed: u64) -> Self {
        Self { random: Random::seeded(seed), block: vec![0; 1 << 20], at: 0 }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == 0 {
            for word in self.block[..RANDOM].chunks_exact_mut(8) {
                word.copy_from_slice(&self.random.next().to_le_bytes());
            }
        }
        let length = buffer.len().min(self.block.len() - self.at);
        buffer[..length].copy_from_slice(&self.block[self.at..self.at + length]);
        self.at = (self.at + length) % self.block.len();
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tar_is_one_and_can_be_compressed() {
        let mut archive = tar::Archive::new(tar(3, 2 << 20).unwrap());
        let mut contents = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            contents.push(content);
        }
        assert_eq!(contents.len(), 3);
        assert!(contents.iter().all(|content| content.len() == 2 << 20));
        // No MiB is like another one, and most of each is zeros.
        assert_ne!(contents[0], contents[1]);
        assert_ne!(contents[0][..1 << 20], contents[0][1 << 20..]);
        let zeros = contents[0].iter().filter(|byte| **byte == 0).count();
        assert!(zeros > (2 << 20) - 2 * RANDOM, "{zeros}");
        let folder = tempfile::tempdir().unwrap();
        layout::create(folder.path()).unwrap();
        let blob = layout::add_layer(folder.path(), tar(1, 4 << 20).unwrap()).unwrap();
        assert!(blob.unpacked > 4 << 20 && blob.size < 200 << 10, "{blob:?}");
    }
}
