//! What a container without a terminal is given as standard input, output and error.
//!
//! A descriptor is a door: through /proc/self/fd the container can open the file behind it once more, for writing and
//! from its beginning, and change its mode and owner, whatever the descriptor itself allows. So only a pipe or a socket
//! of the user's is handed in as it is: behind it there is nothing but its other end. Everything else that belongs to
//! the host, files, devices and terminals, stays with us; the container gets a pipe, and the loop carries. For
//! /dev/null there is nothing to carry: the container takes its own.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FileStat, SFlag, fstat, major, minor};
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::pipe2;

use crate::failure::{self, Failure};
use crate::wire::Stream;

/// `PIPEFS_MAGIC` of `linux/magic.h`: where pipes without a name live.
pub const PIPEFS: FsType = FsType(0x5049_5045);
/// `SOCKFS_MAGIC` of `linux/magic.h`: where open sockets live.
const SOCKFS: FsType = FsType(0x534f_434b);

/// Where the container's standard streams come from and go to.
#[derive(Debug, Default)]
pub struct Streams {
    /// Given to the container as 0, 1 and 2. None: its own /dev/null, or its terminal.
    pub child: [Option<OwnedFd>; 3],
    /// Carried by the loop: what the container writes, and where it goes.
    pub(super) copies: Vec<Copy>,
    /// Carried by the loop: a pipe to the container's standard input.
    pub(super) input: Option<File>,
}

impl Streams {
    /// Prepares the streams of a container without a terminal. Without `interactive` it reads nothing.
    ///
    /// # Errors
    /// If a stream is a directory, or a pipe cannot be made.
    pub fn plain(interactive: bool) -> Result<Self> {
        let mut streams = Self::default();
        if interactive {
            let stdin = std::io::stdin();
            match Way::of(stdin.as_fd(), "standard input")? {
                Way::OwnNull => {}
                Way::Through => streams.child[0] = Some(copy_of(stdin.as_fd())?),
                Way::Carried(_) => {
                    let (from, to) = pipe()?;
                    set_nonblocking(to.as_fd())?;
                    streams.child[0] = Some(from);
                    streams.input = Some(to.into());
                }
            }
        }
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        let outputs = [
            (1, stdout.as_fd(), Target::Stdout, "standard output"),
            (2, stderr.as_fd(), Target::Stderr, "standard error"),
        ];
        let mut carried: Option<FileStat> = None;
        for (number, fd, to, name) in outputs {
            match Way::of(fd, name)? {
                Way::OwnNull => {}
                Way::Through => streams.child[number] = Some(copy_of(fd)?),
                // `> log 2>&1`: one pipe for both, or their lines would change places.
                Way::Carried(file) if carried.is_some_and(|other| is_same(&other, &file)) => {
                    let output = streams.child[1].as_ref().map(|fd| copy_of(fd.as_fd()));
                    streams.child[number] = output.transpose()?;
                }
                Way::Carried(file) => {
                    let (from, theirs) = pipe()?;
                    set_nonblocking(from.as_fd())?;
                    streams.child[number] = Some(theirs);
                    streams.copies.push(Copy { from: from.into(), to, left: None });
                    carried = Some(file);
                }
            }
        }
        Ok(streams)
    }

    /// Whether somebody must carry what the container reads.
    pub fn carries_input(&self) -> bool {
        self.input.is_some()
    }

    /// What the container is given, and what is left to do for somebody else than [`super::Foreground`].
    pub(crate) fn into_parts(self) -> ([Option<OwnedFd>; 3], Carried) {
        let of = |to| match to {
            Target::Stdout => Stream::Stdout,
            Target::Stderr => Stream::Stderr,
        };
        let outputs = self.copies.into_iter().map(|copy| (of(copy.to), copy.from)).collect();
        (self.child, Carried { outputs, input: self.input })
    }
}

/// What must be carried between a container's process and its user, without waiting for either.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// What it writes.
    pub(crate) outputs: Vec<(Stream, File)>,
    /// What it reads.
    pub(crate) input: Option<File>,
}

/// How a stream of ours becomes one of the container's.
enum Way {
    /// The null device: the container opens its own.
    OwnNull,
    /// A pipe or a socket: handed in as it is.
    Through,
    /// Anything else: stays here, behind a pipe.
    Carried(FileStat),
}

impl Way {
    fn of(fd: BorrowedFd<'_>, name: &str) -> Result<Self> {
        let stat = fstat(fd).with_context(|| format!("examine {name}"))?;
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        Ok(match kind {
            SFlag::S_IFDIR => {
                return Err(Failure::new(format!("{name} is a directory (EISDIR)"))
                    .hint("redirect a file or a pipe; a folder is given with -v")
                    .into());
            }
            SFlag::S_IFCHR if is_null(&stat) => Self::OwnNull,
            // A fifo with a name is a file of the host, with an owner and a mode.
            SFlag::S_IFIFO | SFlag::S_IFSOCK => match fstatfs(fd).map(|fs| fs.filesystem_type()) {
                Ok(PIPEFS | SOCKFS) => Self::Through,
                _ => Self::Carried(stat),
            },
            _ => Self::Carried(stat),
        })
    }
}

/// Whether this is the null device: character device 1:3 (`Documentation/admin-guide/devices.txt`).
pub fn is_null(stat: &FileStat) -> bool {
    let is_device = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits();
    is_device && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
}

fn is_same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC).context("make a pipe")
}

fn copy_of(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    fd.try_clone_to_owned().context("copy a standard stream")
}

/// Makes reads and writes return at once. Only for what nobody else has open: the flag belongs to the open file.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// One direction of a copy.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) from: File,
    pub(super) to: Target,
    /// Bytes that may still come. None: no end is known.
    pub(super) left: Option<usize>,
}

impl Copy {
    /// Process 1 has ended: what it wrote is in the pipe, and the pipe holds no more than this. Another process that
    /// still has it open (a shared pid namespace) could write for ever.
    pub(super) fn end(&mut self) {
        let capacity = fcntl(&self.from, FcntlArg::F_GETPIPE_SZ).ok();
        self.left = Some(capacity.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0));
    }

    /// Copies what is there; false at the end, and if nobody takes it any more: then the container's next write fails,
    /// as it would without us.
    pub(super) fn some(&mut self, buffer: &mut [u8]) -> bool {
        match take(&self.from, buffer, &mut self.left) {
            Ok(0) => false,
            Ok(length) => self.to.write_all(&buffer[..length]).is_ok(),
            Err(errno) => matches!(errno, Errno::EAGAIN | Errno::EINTR),
        }
    }
}

/// Reads what is there, at most `left` bytes, and counts them.
pub(crate) fn take(
    from: &File,
    buffer: &mut [u8],
    left: &mut Option<usize>,
) -> Result<usize, Errno> {
    let most = left.unwrap_or(buffer.len()).min(buffer.len());
    let length = nix::unistd::read(from, &mut buffer[..most])?;
    *left = left.map(|left| left - length);
    Ok(length)
}

/// A stream of the user's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    Stdout,
    Stderr,
}

impl Target {
    /// Writes everything. A reader that has gone is no error to speak of; a full disk is.
    pub(super) fn write_all(self, bytes: &[u8]) -> Result<(), Errno> {
        let written = match self {
            Self::Stdout => write_all(std::io::stdout().as_fd(), bytes),
            Self::Stderr => write_all(std::io::stderr().as_fd(), bytes),
        };
        if let (Self::Stdout, Err(errno)) = (self, written)
            && !matches!(errno, Errno::EPIPE | Errno::EIO)
        {
            failure::tell(&format!("mini-docker: cannot write standard output: {}", errno.desc()));
        }
        written
    }
}

/// Writes everything, also to a descriptor that somebody has made non-blocking.
pub(crate) fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match nix::unistd::write(to, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE).ok();
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
