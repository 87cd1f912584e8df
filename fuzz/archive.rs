//! A list of entries, chosen by the fuzzer, as a tar archive.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use arbitrary::Arbitrary;

/// One entry.
#[derive(Arbitrary, Debug)]
pub struct Made {
    kind: Kind,
    name: Name,
    link: Name,
    mode: u16,
    owner: u8,
    time: i32,
    size: Size,
    pax: Vec<Record>,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
    Contiguous,
    OldSparse,
    Global,
    LongName,
    LongLink,
    Other(u8),
}

/// Up to a few parts, each of which has hurt somebody.
#[derive(Arbitrary, Debug)]
struct Name {
    absolute: bool,
    parts: Vec<Part>,
    slash: bool,
}

#[derive(Arbitrary, Debug)]
enum Part {
    A,
    B,
    C,
    Up,
    Here,
    Nothing,
    Whiteout,
    WhiteoutOfA,
    WhiteoutOfUp,
    Opaque,
    Aufs,
    Canary,
    Proc,
    NotUtf8,
    Control,
    Long,
    Free([u8; 3]),
}

#[derive(Arbitrary, Debug)]
enum Size {
    Nothing,
    Right(u8),
    Block,
    /// The header lies.
    Claimed(u64),
    Raw([u8; 12]),
}

#[derive(Arbitrary, Debug)]
enum Record {
    Path(Name),
    Link(Name),
    Size(u64),
    Uid(u64),
    Time(i32, u16),
    Xattr(XattrKey, Vec<u8>),
    SparseMap(Vec<u16>, u32),
    Sparse1 { size: u32 },
    Free(Vec<u8>, Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum XattrKey {
    User,
    Trusted,
    Overlay,
    Capability,
    Acl,
    Free([u8; 4]),
}

/// The archive. `stage` is where the canary is, so that names can lead there. With `doors` it begins
/// with links that lead out, and the fuzzer need not find them first.
pub fn build(entries: &[Made], stage: &Path, doors: bool) -> Vec<u8> {
    let mut tar = Vec::new();
    if doors {
        let canary = [stage.as_os_str().as_bytes(), b"/canary"].concat();
        push(&mut tar, b'2', b"a", &canary, b"", |_| {});
        push(&mut tar, b'5', b"b", b"", b"", |_| {});
        push(&mut tar, b'2', b"b/a", b"../a", b"", |_| {});
        push(&mut tar, b'2', b"b/b", b"../../../canary", b"", |_| {});
        push(&mut tar, b'2', b"c", b"b/b", b"", |_| {});
    }
    // More than the limit allows is a waste of time.
    for entry in entries.iter().take(64) {
        if !entry.pax.is_empty() {
            let mut records = Vec::new();
            for record in entry.pax.iter().take(8) {
                record.write(&mut records, stage);
            }
            push(&mut tar, b'x', b"PaxHeader", b"", &records, |_| {});
        }
        entry.write(&mut tar, stage);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

impl Made {
    fn write(&self, tar: &mut Vec<u8>, stage: &Path) {
        let (name, link) = (self.name.bytes(stage), self.link.bytes(stage));
        let kind = match self.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::Char => b'3',
            Kind::Block => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
            Kind::Contiguous => b'7',
            Kind::OldSparse => b'S',
            Kind::Global => b'g',
            Kind::LongName => b'L',
            Kind::LongLink => b'K',
            Kind::Other(kind) => kind,
        };
        let data = match (&self.kind, &self.size) {
            (Kind::LongName, _) => name.clone(),
            (Kind::LongLink, _) => link.clone(),
            (_, Size::Right(length)) => vec![b'd'; usize::from(*length)],
            (_, Size::Block) => vec![b'd'; 512],
            _ => Vec::new(),
        };
        push(tar, kind, &name, &link, &data, |header| {
            octal(&mut header[100..108], u64::from(self.mode));
            octal(&mut header[108..116], u64::from(self.owner));
            octal(&mut header[116..124], u64::from(self.owner / 2));
            octal(&mut header[136..148], u64::from(self.time.unsigned_abs()));
            octal(&mut header[329..337], u64::from(self.owner));
            match self.size {
                Size::Claimed(size) => octal(&mut header[124..136], size & 0o77_777_777_777),
                Size::Raw(raw) => header[124..136].copy_from_slice(&raw),
                _ => {}
            }
        });
    }
}

impl Name {
    fn bytes(&self, stage: &Path) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.absolute {
            parts.push(Vec::new());
        }
        for part in self.parts.iter().take(12) {
            parts.push(match part {
                Part::A => b"a".to_vec(),
                Part::B => b"b".to_vec(),
                Part::C => b"c".to_vec(),
                Part::Up => b"..".to_vec(),
                Part::Here => b".".to_vec(),
                Part::Nothing => Vec::new(),
                Part::Whiteout => b".wh.".to_vec(),
                Part::WhiteoutOfA => b".wh.a".to_vec(),
                Part::WhiteoutOfUp => b".wh...".to_vec(),
                Part::Opaque => b".wh..wh..opq".to_vec(),
                Part::Aufs => b".wh..wh.plnk".to_vec(),
                Part::Canary => [stage.as_os_str().as_bytes(), b"/canary"].concat(),
                Part::Proc => b"proc/self/root".to_vec(),
                Part::NotUtf8 => b"\xff\xfe".to_vec(),
                Part::Control => b"\x1b[2J\n".to_vec(),
                Part::Long => vec![b'n'; 255],
                Part::Free(bytes) => bytes.to_vec(),
            });
        }
        if self.slash {
            parts.push(Vec::new());
        }
        parts.join(&b'/')
    }
}

impl Record {
    fn write(&self, records: &mut Vec<u8>, stage: &Path) {
        let mut add = |key: &[u8], value: &[u8]| {
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..rest + 9).find(|n| rest + n.to_string().len() == *n);
            records.extend_from_slice(format!("{} ", length.unwrap_or(0)).as_bytes());
            records.extend_from_slice(key);
            records.push(b'=');
            records.extend_from_slice(value);
            records.push(b'\n');
        };
        match self {
            Self::Path(name) => add(b"path", &name.bytes(stage)),
            Self::Link(name) => add(b"linkpath", &name.bytes(stage)),
            Self::Size(size) => add(b"size", size.to_string().as_bytes()),
            Self::Uid(uid) => add(b"uid", uid.to_string().as_bytes()),
            Self::Time(seconds, part) => add(b"mtime", format!("{seconds}.{part}").as_bytes()),
            Self::Xattr(key, value) => {
                let key: &[u8] = match key {
                    XattrKey::User => b"user.x",
                    XattrKey::Trusted => b"trusted.x",
                    XattrKey::Overlay => b"trusted.overlay.redirect",
                    XattrKey::Capability => b"security.capability",
                    XattrKey::Acl => b"system.posix_acl_default",
                    XattrKey::Free(bytes) => bytes,
                };
                add(&[b"SCHILY.xattr.", key].concat(), value);
            }
            Self::SparseMap(numbers, size) => {
                let map: Vec<String> = numbers.iter().take(32).map(u16::to_string).collect();
                add(b"GNU.sparse.size", size.to_string().as_bytes());
                add(b"GNU.sparse.map", map.join(",").as_bytes());
            }
            Self::Sparse1 { size } => {
                add(b"GNU.sparse.major", b"1");
                add(b"GNU.sparse.minor", b"0");
                add(b"GNU.sparse.realsize", size.to_string().as_bytes());
            }
            Self::Free(key, value) => add(key, value),
        }
    }
}

fn octal(field: &mut [u8], number: u64) {
    let text = format!("{number:0width$o}", width = field.len() - 1);
    let text = &text.as_bytes()[text.len() - (field.len() - 1)..];
    field[..text.len()].copy_from_slice(text);
}

fn push(
    tar: &mut Vec<u8>,
    kind: u8,
    name: &[u8],
    link: &[u8],
    data: &[u8],
    change: impl FnOnce(&mut [u8]),
) {
    let mut header = [0; 512];
    let cut = |text: &[u8]| text.len().min(100);
    header[..cut(name)].copy_from_slice(&name[..cut(name)]);
    octal(&mut header[100..108], 0o644);
    octal(&mut header[124..136], data.len() as u64);
    header[156] = kind;
    header[157..157 + cut(link)].copy_from_slice(&link[..cut(link)]);
    header[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut header);
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut header[148..155], sum);
    tar.extend_from_slice(&header);
    tar.extend_from_slice(data);
    tar.resize(tar.len().next_multiple_of(512), 0);
}
