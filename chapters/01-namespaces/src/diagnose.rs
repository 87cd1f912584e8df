//! Why a file could not be executed: execve(2) has three errnos for a dozen reasons.
//!
//! "No such file or directory" for a file that is plainly there is the error that users of runtimes
//! report most. Here the file's first bytes are read as the kernel reads them, and the reason is
//! said. Reading happens in the child, with the container's root and user, after execve has failed.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, statvfs};

/// What the first bytes of a file say.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// A program for some machine (elf(5)), and the loader it asks for if it is not static.
    Elf {
        machine: u16,
        wide: bool,
        loader: Option<PathBuf>,
    },
    /// A script: what stands between `#!` and the first blank.
    Script {
        interpreter: PathBuf,
    },
    Empty,
    Other,
}

/// The errno to report (a directory is `EISDIR`, not `EACCES`) and what to say about it; nothing if
/// nothing is known.
pub(crate) fn explain(path: &Path, errno: Errno) -> (Errno, String) {
    let Ok(meta) = path.metadata() else {
        return (errno, missing(path, errno));
    };
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => (errno, interpreter(path, 4)),
        Errno::EACCES if meta.is_dir() => (Errno::EISDIR, String::new()),
        Errno::EACCES => (errno, denied(path, meta.permissions().mode())),
        Errno::ENOEXEC => (errno, format(path)),
        Errno::ETXTBSY => (errno, "is open for writing".to_owned()),
        Errno::E2BIG => (errno, "arguments and environment are too long together".to_owned()),
        _ => (errno, String::new()),
    }
}

/// The path does not lead to a file.
fn missing(path: &Path, errno: Errno) -> String {
    match (path.read_link(), errno) {
        (Ok(target), Errno::ENOENT) => {
            format!("is a link to `{}`, which does not exist", target.display())
        }
        (_, Errno::EACCES) => {
            "a folder on the way to it may not be searched by this user".to_owned()
        }
        _ => String::new(),
    }
}

/// The file is there, but what the kernel would start for it is not.
fn interpreter(path: &Path, depth: u32) -> String {
    match head(path) {
        Head::Elf { loader: Some(loader), .. } if !loader.exists() => format!(
            "is there, but its loader `{}` is not: the program is linked for another system \
             (glibc or musl), or its libraries were not copied",
            loader.display()
        ),
        Head::Script { interpreter } if ends_in_return(&interpreter) => format!(
            "is there, but its first line ends in a carriage return, so the kernel looks for \
             `{}\\r`: save the script with Unix line ends",
            // The last byte is the carriage return.
            String::from_utf8_lossy(interpreter.as_os_str().as_bytes().trim_ascii_end())
        ),
        Head::Script { interpreter } if !interpreter.exists() => {
            format!("is there, but its interpreter `{}` is not", interpreter.display())
        }
        Head::Script { interpreter: next } if depth > 0 => {
            let reason = interpreter(&next, depth - 1);
            format!("is there, but its interpreter `{}` {reason}", next.display())
        }
        _ => "is there, but something that it needs to start is not".to_owned(),
    }
}

fn ends_in_return(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"\r")
}

fn denied(path: &Path, mode: u32) -> String {
    if mode & 0o111 == 0 {
        return format!("has no execute permission (mode {:04o})", mode & 0o7777);
    }
    if statvfs(path).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_NOEXEC)) {
        return "is on a mount with the option noexec".to_owned();
    }
    match head(path) {
        Head::Script { interpreter } => {
            format!("or its interpreter `{}` may not be executed", interpreter.display())
        }
        _ => format!("may not be executed by this user (mode {:04o})", mode & 0o7777),
    }
}

fn format(path: &Path) -> String {
    match head(path) {
        Head::Elf { machine, wide, .. } if (machine, wide) != OWN_MACHINE => {
            let (own, own_wide) = OWN_MACHINE;
            format!(
                "is built for {}; this machine is {}",
                machine_name(machine, wide),
                machine_name(own, own_wide)
            )
        }
        Head::Elf { .. } => "is a damaged program".to_owned(),
        Head::Empty => "is empty".to_owned(),
        Head::Script { .. } => "has an interpreter that this kernel cannot execute".to_owned(),
        Head::Other => "is neither a program nor a script that begins with #!".to_owned(),
    }
}

/// `e_machine` and whether it is 64 bits wide.
const OWN_MACHINE: (u16, bool) = if cfg!(target_arch = "x86_64") {
    (62, true)
} else if cfg!(target_arch = "aarch64") {
    (183, true)
} else if cfg!(target_arch = "riscv64") {
    (243, true)
} else if cfg!(target_arch = "arm") {
    (40, false)
} else {
    (0, cfg!(target_pointer_width = "64"))
};

/// The names that `uname -m` and Docker's platforms use; numbers of linux/elf-em.h.
fn machine_name(machine: u16, wide: bool) -> String {
    let name = match (machine, wide) {
        (3, _) => "i386 (386)",
        (8, _) => "mips",
        (20, _) => "ppc",
        (21, _) => "ppc64le or ppc64",
        (22, _) => "s390x",
        (40, _) => "arm",
        (62, true) => "x86_64 (amd64)",
        (62, false) => "x32",
        (183, _) => "aarch64 (arm64)",
        (243, true) => "riscv64",
        (243, false) => "riscv32",
        (258, _) => "loongarch64",
        _ => return format!("another machine (ELF number {machine})"),
    };
    name.to_owned()
}

/// Reads as much as the kernel looks at, and the program headers, which follow at once in practice.
fn head(path: &Path) -> Head {
    let mut bytes = Vec::new();
    // Not blocking: the name may be that of a FIFO.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    if let Ok(file) = file {
        // What could be read before an error is still worth a look.
        let _ = file.take(4096).read_to_end(&mut bytes);
    } else {
        return Head::Other;
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Head {
    if bytes.is_empty() {
        return Head::Empty;
    }
    if let Some(line) = bytes.strip_prefix(b"#!") {
        // binfmt_script: blanks, then up to the next blank or the end of the line.
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.trim_ascii_start();
        let name = line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).next().unwrap_or_default();
        return Head::Script { interpreter: PathBuf::from(std::ffi::OsStr::from_bytes(name)) };
    }
    elf(bytes).unwrap_or(Head::Other)
}

/// The fields of elf(5) that matter; `None` if it is none or is cut off before them.
fn elf(bytes: &[u8]) -> Option<Head> {
    let [class, endian] = bytes.strip_prefix(b"\x7fELF")?.first_chunk()?;
    let (wide, little) = (*class == 2, *endian == 1);
    let number = |at: usize, length: usize| -> Option<u64> {
        let field = bytes.get(at..at.checked_add(length)?)?.iter();
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if little { field.rev().fold(0, join) } else { field.fold(0, join) })
    };
    let machine = number(18, 2)? as u16;
    // e_phoff, e_phentsize, e_phnum; p_offset and p_filesz; and how long an address is.
    let (table, size, count, offset, length, word) =
        if wide { (32, 54, 56, 8, 32, 8) } else { (28, 42, 44, 4, 16, 4) };
    let loader = (|| {
        const PT_INTERP: u64 = 3;
        let (table, size) = (number(table, word)? as usize, number(size, 2)? as usize);
        let headers = (0..number(count, 2)? as usize)
            .map_while(|index| table.checked_add(index.checked_mul(size)?));
        for header in headers {
            if number(header, 4)? == PT_INTERP {
                let start = number(header.checked_add(offset)?, word)? as usize;
                let end = start.checked_add(number(header + length, word)? as usize)?;
                let name = bytes.get(start..end)?.split(|byte| *byte == 0).next()?;
                return Some(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
            }
        }
        None
    })();
    Some(Head::Elf { machine, wide, loader })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit little-endian program with one header that names a loader.
    fn program(machine: u16, loader: &str) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = 3;
        bytes[64 + 8] = 120;
        bytes[64 + 32] = loader.len() as u8 + 1;
        bytes.extend(loader.bytes());
        bytes.push(0);
        bytes
    }

    #[test]
    fn reads_programs_and_scripts() {
        let script = |line: &str| match parse(line.as_bytes()) {
            Head::Script { interpreter } => interpreter.display().to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(script("#!/bin/sh\necho"), "/bin/sh");
        assert_eq!(script("#! \t/usr/bin/env python3"), "/usr/bin/env");
        assert_eq!(script("#!/bin/sh\r\n"), "/bin/sh\r");
        assert_eq!(parse(b""), Head::Empty);
        assert_eq!(parse(b"echo hello\n"), Head::Other);
        let loader = Some("/lib/ld.so".into());
        assert_eq!(
            parse(&program(183, "/lib/ld.so")),
            Head::Elf { machine: 183, wide: true, loader }
        );
    }

    #[test]
    fn a_cut_program_is_no_panic() {
        let whole = program(62, "/lib64/ld-linux-x86-64.so.2");
        for length in 0..whole.len() {
            parse(&whole[..length]);
        }
        let mut wild = whole;
        wild[32..40].fill(0xff);
        parse(&wild);
        wild[32..40].copy_from_slice(&64u64.to_le_bytes());
        wild[72..80].fill(0xff);
        parse(&wild);
    }

    #[test]
    fn machines_have_names() {
        assert_eq!(machine_name(183, true), "aarch64 (arm64)");
        assert_eq!(machine_name(9999, true), "another machine (ELF number 9999)");
    }
}
