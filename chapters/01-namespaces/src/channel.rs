//! What parent and child say to each other between clone3 and exec, over one close-on-exec socket
//! pair.
//!
//! ```text
//! parent                          child
//!   | ---- 'm', the maps are written -> |     only with a user namespace
//!   | ---- 'g', go ------------------> |
//!   | <--- errno, step, object, detail  |     a step failed
//!   | <--- end of file                  |     exec happened: it closed the child's end
//! ```
//!
//! A pair of sockets and not of pipes, because a write to a dead peer must be an error and never
//! the signal SIGPIPE. Sequenced packets, so that a message arrives whole.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use syscalls::{KernelError, step};

/// Longest message; what is longer is cut.
const LONGEST: usize = 8192;

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// What the parent tells the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// The id maps are written: you may become root of your namespace.
    Mapped = b'm' as isize,
    /// All that the parent had to do is done.
    Go = b'g' as isize,
}

/// Makes both ends.
pub(crate) fn pair() -> Result<(Channel, Channel), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (a, b) = step!(
        "socketpair",
        "AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC",
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
    )?;
    Ok((Channel(a), Channel(b)))
}

impl Channel {
    fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()) {
                // The peer went away without having read our word (unix(7)). That is told once,
                // and before what the peer has said: its words are still to come, then the end.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                other => return other,
            }
        }
    }

    /// Parent: says a word. A child that has gone is no error here: its own report says why.
    pub(crate) fn say(&self, word: Word) -> Result<(), Errno> {
        match send(self.0.as_raw_fd(), &[word as u8], MsgFlags::MSG_NOSIGNAL) {
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Child: waits for a word. `EPIPE` if the parent died or gave up.
    pub(crate) fn hear(&self, word: Word) -> Result<(), Errno> {
        let mut heard = [0];
        match self.receive(&mut heard)? {
            1 if heard[0] == word as u8 => Ok(()),
            0 => Err(Errno::EPIPE),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Child: tells why there will be no exec. Nobody is left to hear of a failure here.
    pub(crate) fn report(&self, error: &KernelError) {
        let mut message = encode(error);
        message.truncate(LONGEST);
        send(self.0.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL).ok();
    }

    /// Parent: waits for the child's exec (`None`) or for its report.
    pub(crate) fn outcome(&self) -> Result<Option<KernelError>, Errno> {
        let mut buffer = vec![0; LONGEST];
        let length = self.receive(&mut buffer)?;
        Ok((length > 0).then(|| decode(&buffer[..length])))
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

fn encode(error: &KernelError) -> Vec<u8> {
    let KernelError { step, object, errno, detail } = error;
    format!("{}\0{step}\0{object}\0{detail}", *errno as i32).into_bytes()
}

fn decode(message: &[u8]) -> KernelError {
    let text = String::from_utf8_lossy(message);
    let mut parts = text.splitn(4, '\0');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let errno = Errno::from_raw(part().parse().unwrap_or(Errno::EPROTO as i32));
    let (step, object, detail) = (part(), part(), part());
    KernelError::new(step, object, errno).with_detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_journey() {
        let error = KernelError::new("attach mount", "/proc", Errno::EPERM)
            .with_detail("overlapping mounts\nsecond line");
        assert_eq!(decode(&encode(&error)), error);
        let bare = KernelError::new("pivot root", "", Errno::EBUSY);
        assert_eq!(decode(&encode(&bare)), bare);
        assert_eq!(decode(b"rubbish").errno, Errno::EPROTO);
    }

    #[test]
    fn words_and_ends() {
        let (parent, child) = pair().unwrap();
        parent.say(Word::Mapped).unwrap();
        child.hear(Word::Mapped).unwrap();
        parent.say(Word::Mapped).unwrap();
        assert_eq!(child.hear(Word::Go), Err(Errno::EPROTO));
        parent.say(Word::Go).unwrap();
        // Closed with an unread word: still the end of file that an exec is.
        drop(child);
        assert_eq!(parent.outcome(), Ok(None));
        parent.say(Word::Go).unwrap();
    }

    #[test]
    fn a_report_outlives_an_unread_word() {
        let (parent, child) = pair().unwrap();
        parent.say(Word::Go).unwrap();
        let error = KernelError::new("x", "", Errno::EIO);
        child.report(&error);
        drop(child);
        assert_eq!(parent.outcome(), Ok(Some(error)));
        assert_eq!(parent.outcome(), Ok(None));
    }

    #[test]
    fn a_dead_parent_is_heard() {
        let (parent, child) = pair().unwrap();
        drop(parent);
        assert_eq!(child.hear(Word::Go), Err(Errno::EPIPE));
        child.report(&KernelError::new("x", "", Errno::EIO));
    }
}
