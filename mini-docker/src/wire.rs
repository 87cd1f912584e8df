//! What a container's monitor and its visitors say to each other, over `<run-root>/containers/<id>/monitor`.
//!
//! The socket is of the kind `SOCK_SEQPACKET` (unix(7)): it keeps messages apart, so that none needs a length. The first
//! byte of a message tells what it is, the rest is its content.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect,
    listen, sendmsg, socket, socketpair,
};
use serde::{Deserialize, Serialize};
use syscalls::tty::Size;
use syscalls::{During, KernelError};

use crate::failure::Failure;

/// Name of the socket in the container's folder of the run root.
pub const SOCKET: &str = "monitor";

/// No message is larger: what a pipe holds, and its first byte.
pub const MOST: usize = (64 << 10) + 1;

/// Standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Descriptor 1, and all that comes from a terminal.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// What a visitor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Send me what the container writes, from now on.
    Attach {
        /// I am going to send what it reads.
        stdin: bool,
    },
    /// I read the log: tell me when it grows. Said again whenever I have read all of it.
    Follow,
    /// Tell me when its process ends.
    Wait,
    /// Its record has changed: look at it.
    Look,
    /// What the container is to read.
    Input(Vec<u8>),
    /// There is nothing more to read.
    EndOfInput,
    /// My terminal has this size.
    Resize(Size),
    /// Send its first process this signal.
    Signal(i32),
}

/// What the monitor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The program runs.
    Started,
    /// It could not be started.
    Failed(Failure),
    /// What the container has written.
    Output(Stream, Vec<u8>),
    /// The log has grown since [`Request::Follow`].
    Grown,
    /// The log goes on in the file that comes with this message, open for reading.
    Rotated,
    /// Something for the user to know.
    Say(String),
    /// Its process has ended, and what belonged to it is gone. As a shell reports it: 128+n for signal n.
    Exited(i32),
}

impl Request {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Attach { stdin } => vec![b'A', u8::from(*stdin)],
            Self::Follow => vec![b'F'],
            Self::Wait => vec![b'W'],
            Self::Look => vec![b'L'],
            Self::Input(bytes) => with_kind(b'I', bytes),
            Self::EndOfInput => vec![b'E'],
            Self::Resize(Size { rows, cols }) => {
                let [a, b] = rows.to_le_bytes();
                let [c, d] = cols.to_le_bytes();
                vec![b'Z', a, b, c, d]
            }
            Self::Signal(number) => vec![b'K', *number as u8],
        }
    }

    fn decode(message: &[u8]) -> Option<Self> {
        Some(match message {
            [b'A', stdin] => Self::Attach { stdin: *stdin != 0 },
            [b'F'] => Self::Follow,
            [b'W'] => Self::Wait,
            [b'L'] => Self::Look,
            [b'I', bytes @ ..] => Self::Input(bytes.to_vec()),
            [b'E'] => Self::EndOfInput,
            [b'Z', a, b, c, d] => Self::Resize(Size {
                rows: u16::from_le_bytes([*a, *b]),
                cols: u16::from_le_bytes([*c, *d]),
            }),
            [b'K', number] => Self::Signal((*number).into()),
            _ => return None,
        })
    }
}

impl Event {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Started => vec![b's'],
            Self::Failed(failure) => {
                let Failure { message, hint, code, .. } = failure;
                // A program's name may be longer than a message. Escaped as JSON, a byte may become six.
                let message = message.get(..message.floor_char_boundary(MOST / 16));
                let json = serde_json::to_vec(&(message, hint, code)).unwrap_or_default();
                with_kind(b'f', &json)
            }
            Self::Output(Stream::Stdout, bytes) => with_kind(b'o', bytes),
            Self::Output(Stream::Stderr, bytes) => with_kind(b'e', bytes),
            Self::Grown => vec![b'g'],
            Self::Rotated => vec![b'r'],
            Self::Say(text) => with_kind(b't', text.as_bytes()),
            Self::Exited(code) => with_kind(b'x', &code.to_le_bytes()),
        }
    }

    fn decode(message: &[u8]) -> Option<Self> {
        Some(match message {
            [b's'] => Self::Started,
            [b'f', json @ ..] => {
                let (message, hint, code): (String, _, _) = serde_json::from_slice(json).ok()?;
                Self::Failed(Failure { hint, code, ..Failure::new(message) })
            }
            [b'o', bytes @ ..] => Self::Output(Stream::Stdout, bytes.to_vec()),
            [b'e', bytes @ ..] => Self::Output(Stream::Stderr, bytes.to_vec()),
            [b'g'] => Self::Grown,
            [b'r'] => Self::Rotated,
            [b't', text @ ..] => Self::Say(String::from_utf8_lossy(text).into_owned()),
            [b'x', code @ ..] => Self::Exited(i32::from_le_bytes(code.try_into().ok()?)),
            _ => return None,
        })
    }
}

fn with_kind(kind: u8, content: &[u8]) -> Vec<u8> {
    let content = &content[..content.len().min(MOST - 1)];
    [&[kind], content].concat()
}

/// The visitor's end.
#[derive(Debug)]
pub struct Visitor(OwnedFd);

/// The monitor's end.
#[derive(Debug)]
pub struct Visited(OwnedFd);

/// Two ends that belong together, for the command that starts a monitor.
///
/// # Errors
/// As socketpair(2).
pub fn pair() -> Result<(Visitor, Visited), KernelError> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
        .during("make a socket pair", "")?;
    Ok((Visitor(ours), Visited(theirs)))
}

/// Goes to the monitor of a container. None if there is none, which does not mean that the container does not run.
///
/// # Errors
/// As connect(2).
pub fn visit(run_dir: &Path) -> Result<Option<Visitor>, KernelError> {
    let Ok(folder) = File::open(run_dir) else { return Ok(None) };
    let socket = new_socket()?;
    match connect(socket.as_raw_fd(), &address(folder.as_fd())?) {
        Ok(()) => Ok(Some(Visitor(socket))),
        // No socket, or nobody behind it.
        Err(Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
        Err(errno) => Err(errno).during("connect to the monitor", run_dir.display()),
    }
}

/// Waits for visitors.
///
/// # Errors
/// As bind(2) and listen(2).
pub fn receive_visitors(run_dir: &Path) -> Result<Door, KernelError> {
    let folder = File::open(run_dir).during("open folder", run_dir.display())?;
    let path = run_dir.join(SOCKET);
    // A monitor that was killed has left its own.
    std::fs::remove_file(&path).ok();
    let socket = new_socket()?;
    bind(socket.as_raw_fd(), &address(folder.as_fd())?).during("make socket", path.display())?;
    listen(&socket, Backlog::MAXCONN).during("listen at", path.display())?;
    let door = UnixListener::from(socket);
    door.set_nonblocking(true).during("configure socket", path.display())?;
    Ok(Door(door))
}

/// Where a monitor receives visitors.
#[derive(Debug)]
pub struct Door(UnixListener);

impl Door {
    /// The next visitor that waits.
    pub fn open(&self) -> Option<Visited> {
        let (socket, _) = self.0.accept().ok()?;
        Some(Visited(socket.into()))
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn new_socket() -> Result<OwnedFd, KernelError> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
        .during("make a socket", "")
}

/// By the folder's descriptor: the address of a socket has room for 107 bytes only, and a run root may lie deep.
fn address(folder: BorrowedFd<'_>) -> Result<UnixAddr, KernelError> {
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    UnixAddr::new(path.as_str()).during("address socket", path)
}

impl Visitor {
    /// Says something; waits if the monitor is busy.
    ///
    /// # Errors
    /// `EPIPE` or `ECONNRESET` if it has ended.
    pub fn say(&self, request: &Request) -> Result<(), Errno> {
        send(&self.0, &request.encode(), None, MsgFlags::empty())
    }

    /// As [`say`](Self::say), but `EAGAIN` instead of waiting.
    ///
    /// # Errors
    /// As send(2).
    pub fn try_say(&self, request: &Request) -> Result<(), Errno> {
        send(&self.0, &request.encode(), None, MsgFlags::MSG_DONTWAIT)
    }

    /// Waits for what the monitor says next, and the file that comes with [`Event::Rotated`]. None if it has ended.
    ///
    /// # Errors
    /// As recv(2).
    pub fn hear(&self) -> Result<Option<(Event, Option<File>)>, Errno> {
        loop {
            let (message, file) = receive(&self.0, MsgFlags::empty())?;
            if message.is_empty() {
                return Ok(None);
            }
            // A word that only a newer monitor knows.
            if let Some(event) = Event::decode(&message) {
                return Ok(Some((event, file)));
            }
        }
    }
}

impl AsFd for Visitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Visited {
    /// Says something, if there is room for it at once.
    ///
    /// # Errors
    /// `EAGAIN` if the visitor has to read first, `EPIPE` or `ECONNRESET` if it is gone.
    pub fn say(&self, event: &Event, file: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        send(&self.0, &event.encode(), file, MsgFlags::MSG_DONTWAIT)
    }

    /// What the visitor has said. None if it is gone.
    ///
    /// # Errors
    /// `EAGAIN` if it has said nothing.
    pub fn hear(&self) -> Result<Option<Request>, Errno> {
        loop {
            let (message, _) = receive(&self.0, MsgFlags::MSG_DONTWAIT)?;
            if message.is_empty() {
                return Ok(None);
            }
            if let Some(request) = Request::decode(&message) {
                return Ok(Some(request));
            }
        }
    }
}

impl AsFd for Visited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn send(
    socket: &OwnedFd,
    message: &[u8],
    file: Option<BorrowedFd<'_>>,
    flags: MsgFlags,
) -> Result<(), Errno> {
    let fds: Vec<RawFd> = file.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let flags = flags | MsgFlags::MSG_NOSIGNAL;
    loop {
        let sent =
            sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], control, flags, None);
        match sent {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

fn receive(socket: &OwnedFd, flags: MsgFlags) -> Result<(Vec<u8>, Option<File>), Errno> {
    let mut message = vec![0; MOST];
    loop {
        match syscalls::fd::receive_message(socket.as_fd(), &mut message, flags) {
            // ECONNRESET: it has ended with our words unread. That is told once, and before its last words.
            Err(Errno::EINTR | Errno::ECONNRESET) => {}
            Err(errno) => return Err(errno),
            Ok((length, file)) => {
                message.truncate(length);
                return Ok((message, file.map(File::from)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn words_arrive_as_they_were_said() {
        let (visitor, visited) = pair().unwrap();
        for request in [
            Request::Attach { stdin: true },
            Request::Attach { stdin: false },
            Request::Follow,
            Request::Wait,
            Request::Look,
            Request::Input(b"ls\n".to_vec()),
            Request::Input(vec![]),
            Request::EndOfInput,
            Request::Resize(Size { rows: 24, cols: 300 }),
            Request::Signal(64),
        ] {
            visitor.say(&request).unwrap();
            assert_eq!(visited.hear().unwrap(), Some(request));
        }
        assert_eq!(visited.hear(), Err(Errno::EAGAIN));
        for event in [
            Event::Started,
            Event::Failed(Failure::new("no such file").hint("look").code(127)),
            Event::Output(Stream::Stdout, vec![7; MOST - 1]),
            Event::Output(Stream::Stderr, b"\xff\0".to_vec()),
            Event::Grown,
            Event::Say("warning".to_owned()),
            Event::Exited(137),
        ] {
            visited.say(&event, None).unwrap();
            let (heard, file) = visitor.hear().unwrap().unwrap();
            assert_eq!(heard, event);
            assert!(file.is_none());
        }
        drop(visited);
        assert_eq!(visitor.hear().unwrap().map(|(event, _)| event), None);
        assert_eq!(visitor.say(&Request::Look), Err(Errno::EPIPE));
    }

    #[test]
    fn a_failure_is_heard_however_long_it_is() {
        let (visitor, visited) = pair().unwrap();
        let failure = Failure::new("\u{1}é".repeat(50_000)).hint("look").code(127);
        visited.say(&Event::Failed(failure.clone()), None).unwrap();
        visited.say(&Event::Grown, None).unwrap();
        let Some((Event::Failed(heard), None)) = visitor.hear().unwrap() else {
            panic!("no failure")
        };
        assert!(failure.message.starts_with(&heard.message) && heard.message.len() > 4000);
        assert_eq!((heard.hint, heard.code), (failure.hint, failure.code));
    }

    #[test]
    fn last_words_are_heard_though_ours_were_not() {
        let (visitor, visited) = pair().unwrap();
        visitor.say(&Request::Input(b"unread".to_vec())).unwrap();
        visited.say(&Event::Exited(7), None).unwrap();
        drop(visited);
        assert_eq!(visitor.hear().unwrap().map(|(event, _)| event), Some(Event::Exited(7)));
        assert_eq!(visitor.hear().unwrap().map(|(event, _)| event), None);
    }

    #[test]
    fn a_file_comes_with_the_word_that_it_belongs_to() {
        let (visitor, visited) = pair().unwrap();
        let file = File::open("/proc/self/comm").unwrap();
        visited.say(&Event::Grown, None).unwrap();
        visited.say(&Event::Rotated, Some(file.as_fd())).unwrap();
        assert!(visitor.hear().unwrap().unwrap().1.is_none());
        let (event, received) = visitor.hear().unwrap().unwrap();
        assert_eq!(event, Event::Rotated);
        let mut text = String::new();
        received.unwrap().read_to_string(&mut text).unwrap();
        assert!(!text.is_empty());
    }

    #[test]
    fn unknown_words_are_passed_over() {
        let (visitor, visited) = pair().unwrap();
        send(&visitor.0, b"?", None, MsgFlags::empty()).unwrap();
        visitor.say(&Request::Wait).unwrap();
        assert_eq!(visited.hear().unwrap(), Some(Request::Wait));
        send(&visited.0, b"x12", None, MsgFlags::empty()).unwrap();
        visited.say(&Event::Grown, None).unwrap();
        assert_eq!(visitor.hear().unwrap().unwrap().0, Event::Grown);
    }
}
