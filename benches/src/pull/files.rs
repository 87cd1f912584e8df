//! Files that look like those of applications: most small, a few large, a part of them compressed already.
//!
//! Always the same ones, so that two runs pull the same bytes.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::stats::Random;

/// What is in a file, and so how far it can be compressed.
#[derive(Debug, Clone, Copy)]
enum Content {
    /// Random bytes, as pictures, archives and compressed assets are: not at all.
    Compressed,
    /// Bytes of which some are much more frequent than others, as in programs: by a quarter.
    Binary,
    /// Words from a list, as in sources and data: to less than a half.
    Text,
}

/// Fills a folder with at least `bytes` bytes in files. `seed` makes it another folder than others.
pub(crate) fn generate(folder: &Path, bytes: u64, seed: u64) -> Result<()> {
    let mut random = Random::seeded(seed);
    let words = words(&mut random);
    let (mut written, mut file) = (0, 0);
    while written < bytes {
        let length = match random.below(10) {
            0 => 1024 * (1 + random.below(600)),
            _ => 1024 + random.below(32 << 10),
        };
        let content = [Content::Compressed, Content::Binary, Content::Text][random.below(3)];
        let data = data(content, length, &mut random, &words);
        let directory = folder.join(format!("d{:02}", file / 25));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("f{file:04}")), &data)?;
        written += data.len() as u64;
        file += 1;
    }
    Ok(())
}

/// Fills a folder with folders of `files` files each: 2 to 6 KiB, words, as sources have. Returns how many bytes there
/// are.
pub(crate) fn generate_sources(folder: &Path, folders: usize, files: usize) -> Result<u64> {
    let mut random = Random::seeded(4);
    let words = words(&mut random);
    let mut written = 0;
    for at in 0..folders {
        let directory = folder.join(format!("d{at:02}"));
        fs::create_dir_all(&directory)?;
        for file in 0..files {
            let length = 2048 + random.below(4096);
            let data = data(Content::Text, length, &mut random, &words);
            fs::write(directory.join(format!("f{file:02}")), &data)?;
            written += data.len() as u64;
        }
    }
    Ok(written)
}

/// Four thousand words of three to nine letters.
fn words(random: &mut Random) -> Vec<Vec<u8>> {
    let mut word = || {
        let length = 3 + random.below(7);
        let mut word: Vec<u8> = (0..length).map(|_| b'a' + random.below(26) as u8).collect();
        word.push(b' ');
        word
    };
    (0..4096).map(|_| word()).collect()
}

fn data(content: Content, length: usize, random: &mut Random, words: &[Vec<u8>]) -> Vec<u8> {
    let mut data = Vec::with_capacity(length + 16);
    while data.len() < length {
        match content {
            Content::Compressed => data.extend(random.next().to_le_bytes()),
            // The smaller of two draws: low values are frequent.
            Content::Binary => {
                let bytes = random.next().to_le_bytes();
                data.extend(bytes.chunks(2).map(|pair| pair[0].min(pair[1]) & 0x7e));
            }
            Content::Text => {
                let limit = 1 + random.below(words.len());
                data.extend(&words[random.below(limit)]);
            }
        }
    }
    data.truncate(length);
    data
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn compressed(content: Content) -> f64 {
        let mut random = Random::seeded(1);
        let words = words(&mut random);
        let data = data(content, 1 << 20, &mut random, &words);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        gzip.write_all(&data).unwrap();
        gzip.finish().unwrap().len() as f64 / data.len() as f64
    }

    #[test]
    fn contents_can_be_compressed_as_far_as_they_say() {
        let random = compressed(Content::Compressed);
        let binary = compressed(Content::Binary);
        let text = compressed(Content::Text);
        assert!(random > 0.99, "{random}");
        assert!((0.65..0.85).contains(&binary), "{binary}");
        assert!((0.25..0.50).contains(&text), "{text}");
    }

    #[test]
    fn a_seed_makes_the_same_files_again() {
        let folder = tempfile::tempdir().unwrap();
        let tree = |name: &str, seed| {
            let root = folder.path().join(name);
            fs::create_dir(&root).unwrap();
            generate(&root, 300 << 10, seed).unwrap();
            let bytes = |at: usize| fs::read(root.join(format!("d00/f{at:04}"))).ok();
            let files: Vec<Vec<u8>> = (0..25).map_while(bytes).collect();
            assert!(files.iter().map(Vec::len).sum::<usize>() >= 300 << 10);
            files
        };
        let first = tree("first", 1);
        assert_eq!(tree("again", 1), first);
        assert_ne!(tree("other", 2), first);
    }
}
