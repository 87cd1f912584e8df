//! Talking to the kernel's network tables: many requests in one datagram, an answer to each.
//!
//! Netlink (netlink(7)) is a socket whose other end is the kernel. A datagram may hold several messages; the kernel
//! works them off in order *while* `sendto(2)` runs and queues an answer to each that asked for one. So a whole
//! interface costs two system calls, and nothing here ever waits: an answer that is not there when `sendto` has
//! returned does not come.
//!
//! ```text
//! ├─ nlmsghdr ─┬─ link: veth, its peer in the netns ─┼─ nlmsghdr ─┬─ address ─┼─ nlmsghdr ─┬─ route ─┤   one sendto
//! ├─ nlmsghdr ─┬─ error 0 ─┤ ├─ nlmsghdr ─┬─ error -17 ─┬─ "the kernel's own sentence" ─┤               recv
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::SocketAddr;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::errno::Errno;
use syscalls::error::During;
use syscalls::{KernelError, step};

/// Length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// `NLMSGERR_ATTR_MSG` of linux/netlink.h: a sentence about the error (Linux 4.12).
const ERROR_TEXT: u16 = 1;

/// A socket to one of the kernel's netlink families, in the network namespace in which it was opened.
pub(crate) struct Socket {
    socket: netlink_sys::Socket,
}

/// Messages to be sent together, each with the words that name it if it fails.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    names: Vec<(Cow<'static, str>, String)>,
    /// Numbers of the messages that the kernel answers.
    answered: Vec<u32>,
}

impl Batch {
    /// Adds a request about links, addresses or routes. `flags` are added to "request, answer".
    pub(crate) fn route(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        step: &'static str,
        object: impl Into<String>,
    ) {
        let number = self.name(step.into(), object.into(), true);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = number;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let start = self.bytes.len();
        self.bytes.resize(start + message.buffer_len(), 0);
        message.emit(&mut self.bytes[start..]);
        self.pad();
    }

    /// Adds a message that is already encoded, without its header. Without `answer`, only an error is answered.
    pub(crate) fn raw(
        &mut self,
        kind: u16,
        flags: u16,
        payload: &[u8],
        answer: bool,
        step: &'static str,
        object: impl Into<String>,
    ) {
        let number = self.name(step.into(), object.into(), answer);
        let flags = NLM_F_REQUEST | flags | if answer { NLM_F_ACK } else { 0 };
        let length = (HEADER + payload.len()) as u32;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&number.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(payload);
        self.pad();
    }

    /// How many messages it holds.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    fn name(&mut self, step: Cow<'static, str>, object: String, answer: bool) -> u32 {
        self.names.push((step, object));
        // Numbers begin at 1: 0 is what the kernel uses for its own messages.
        let number = self.names.len() as u32;
        if answer {
            self.answered.push(number);
        }
        number
    }

    /// Messages begin at multiples of four bytes.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

impl Socket {
    /// Links, addresses, routes: rtnetlink(7).
    pub(crate) fn route() -> Result<Self, KernelError> {
        Self::open(NETLINK_ROUTE, "route")
    }

    /// nftables: `NETLINK_NETFILTER` of netlink(7).
    pub(crate) fn netfilter() -> Result<Self, KernelError> {
        Self::open(NETLINK_NETFILTER, "netfilter")
    }

    fn open(protocol: isize, name: &str) -> Result<Self, KernelError> {
        let socket = step!(
            "socket",
            ("AF_NETLINK, {name}"),
            netlink_sys::Socket::new(protocol).during("open netlink socket", name)
        )?;
        // Ask for the kernel's sentences, and for answers that do not repeat the question.
        socket.set_ext_ack(true).during("ask netlink for error texts of", name)?;
        socket.set_cap_ack(true).during("ask netlink for short answers of", name)?;
        Ok(Self { socket })
    }

    /// Sends everything in one datagram and reads all answers.
    ///
    /// # Errors
    /// The first message that the kernel refused, by name, with the kernel's own sentence. For links, addresses and
    /// routes the other messages took effect all the same; nftables does all or nothing.
    pub(crate) fn send(&self, batch: &Batch) -> Result<(), KernelError> {
        self.send_each(batch)?.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// As [`send`](Self::send), with every refused message by its number from 1.
    pub(crate) fn send_each(
        &self,
        batch: &Batch,
    ) -> Result<BTreeMap<u32, KernelError>, KernelError> {
        let whole = || batch.names.iter().map(|name| &*name.1).collect::<Vec<_>>().join(", ");
        let names = || {
            let all = batch.names.iter().map(|(step, object)| format!("{step} {object}"));
            all.map(|name| name.trim_end().to_owned()).collect::<Vec<_>>().join("; ")
        };
        step!(
            "sendto",
            ("netlink, {} messages: {}", batch.len(), names()),
            self.socket.send_to(&batch.bytes, &SocketAddr::new(0, 0), 0)
        )
        .during("send to netlink", "")
        .map_err(|error| KernelError { object: whole(), ..error })?;
        let mut missing = batch.answered.clone();
        let mut failed = BTreeMap::new();
        while !missing.is_empty() {
            let Some(datagram) = self.receive()? else {
                // An nftables batch that fails as a whole answers its first message only.
                if failed.is_empty() {
                    return Err(KernelError::new("read answer of netlink", whole(), Errno::EPROTO));
                }
                break;
            };
            for message in messages(&datagram) {
                let Some((errno, text)) = message.error() else { continue };
                missing.retain(|number| *number != message.number);
                if errno == 0 {
                    continue;
                }
                let index = (message.number as usize).wrapping_sub(1);
                let (step, object) = batch.names.get(index).cloned().unwrap_or_default();
                let error = KernelError::new(step, object, Errno::from_raw(-errno));
                failed.insert(message.number, error.with_detail(text));
            }
        }
        Ok(failed)
    }

    /// Asks for one object and returns the payload of the answer.
    ///
    /// # Errors
    /// `ENODEV`, `ENOENT` and the like if there is no such object.
    pub(crate) fn get(&self, batch: &Batch) -> Result<Vec<u8>, KernelError> {
        let mut payloads = self.ask(batch, false)?;
        payloads.pop().ok_or_else(|| {
            let (step, object) = batch.names.first().cloned().unwrap_or_default();
            KernelError::new(step, object, Errno::ENOENT)
        })
    }

    /// Asks for all objects of a kind: the payloads of the answers.
    pub(crate) fn dump(&self, batch: &Batch) -> Result<Vec<Vec<u8>>, KernelError> {
        self.ask(batch, true)
    }

    fn ask(&self, batch: &Batch, all: bool) -> Result<Vec<Vec<u8>>, KernelError> {
        let (step, object) = batch.names.first().cloned().unwrap_or_default();
        step!(
            "sendto",
            ("netlink: {step} {object}"),
            self.socket.send_to(&batch.bytes, &SocketAddr::new(0, 0), 0)
        )
        .during(step.clone(), &object)?;
        let mut payloads = Vec::new();
        loop {
            let Some(datagram) = self.receive()? else {
                return Ok(payloads);
            };
            for message in messages(&datagram) {
                match message.error() {
                    Some((0, _)) => return Ok(payloads),
                    Some((errno, text)) => {
                        let error = KernelError::new(step, object, Errno::from_raw(-errno));
                        return Err(error.with_detail(text));
                    }
                    None if message.kind == NLMSG_DONE => return Ok(payloads),
                    None => payloads.push(message.payload.to_vec()),
                }
            }
            if !all {
                return Ok(payloads);
            }
        }
    }

    /// One datagram, or none if the kernel has nothing more to say.
    fn receive(&self) -> Result<Option<Vec<u8>>, KernelError> {
        // The kernel's dumps use up to 32 KiB a datagram (netlink(7), "NLMSG_GOODSIZE" and recvmsg's own size).
        let mut buffer = Vec::with_capacity(32 * 1024);
        match self.socket.recv_from(&mut buffer, libc::MSG_DONTWAIT) {
            Ok(_) => Ok(Some(buffer)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).during("read answer of netlink", ""),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The one request of a `get` or, with `NLM_F_DUMP`, of a `dump`.
pub(crate) fn question(
    kind: u16,
    all: bool,
    payload: &[u8],
    step: &'static str,
    object: impl Into<String>,
) -> Batch {
    let mut batch = Batch::default();
    batch.raw(kind, if all { NLM_F_DUMP } else { 0 }, payload, false, step, object);
    batch
}

/// A message as it came.
struct Message<'a> {
    kind: u16,
    flags: u16,
    number: u32,
    payload: &'a [u8],
}

impl Message<'_> {
    /// The errno (negative, or 0 for "done") of an answer and the kernel's sentence, if this is one.
    fn error(&self) -> Option<(i32, String)> {
        if self.kind != NLMSG_ERROR {
            return None;
        }
        let errno = i32::from_ne_bytes(self.payload.get(..4)?.try_into().ok()?);
        let mut text = String::new();
        if self.flags & NLM_F_ACK_TLVS != 0 {
            // struct nlmsgerr: the errno, the header of the question, the rest of the question unless capped.
            let question = if self.flags & NLM_F_CAPPED != 0 {
                HEADER
            } else {
                let length = self.payload.get(4..8)?.try_into().ok()?;
                (u32::from_ne_bytes(length) as usize).next_multiple_of(4)
            };
            for attribute in NlasIterator::new(self.payload.get(4 + question..)?).flatten() {
                if attribute.kind() == ERROR_TEXT {
                    let value = String::from_utf8_lossy(attribute.value());
                    text = value.trim_end_matches('\0').to_owned();
                }
            }
        }
        Some((errno, text))
    }
}

/// Splits a datagram into its messages.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let u16_at =
            |at: usize| Some(u16::from_ne_bytes(datagram.get(at..at + 2)?.try_into().ok()?));
        let u32_at =
            |at: usize| Some(u32::from_ne_bytes(datagram.get(at..at + 4)?.try_into().ok()?));
        let length = u32_at(0)? as usize;
        let message = Message {
            kind: u16_at(4)?,
            flags: u16_at(6)?,
            number: u32_at(8)?,
            payload: datagram.get(HEADER..length)?,
        };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer as the kernel sends it: header, errno, header of the question, attributes.
    fn answer(flags: u16, number: u32, errno: i32, question: &[u8], text: &[u8]) -> Vec<u8> {
        let mut attribute = Vec::new();
        if !text.is_empty() {
            attribute.extend_from_slice(&(4 + text.len() as u16).to_ne_bytes());
            attribute.extend_from_slice(&ERROR_TEXT.to_ne_bytes());
            attribute.extend_from_slice(text);
            attribute.resize(attribute.len().next_multiple_of(4), 0);
        }
        let length = (HEADER + 4 + question.len() + attribute.len()) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&NLMSG_ERROR.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&number.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&errno.to_ne_bytes());
        bytes.extend_from_slice(question);
        bytes.extend_from_slice(&attribute);
        bytes
    }

    #[test]
    fn answers_are_split_and_the_kernels_sentence_is_found() {
        let mut datagram = answer(NLM_F_CAPPED, 1, 0, &[0; HEADER], b"");
        let capped = NLM_F_CAPPED | NLM_F_ACK_TLVS;
        datagram.extend(answer(capped, 2, -17, &[0; HEADER], b"Name taken\0"));
        // Not capped: the whole question, 24 bytes, comes back before the sentence.
        let mut question = 24u32.to_ne_bytes().to_vec();
        question.resize(24, 7);
        datagram.extend(answer(NLM_F_ACK_TLVS, 3, -22, &question, b"Bad\0"));
        let found: Vec<_> =
            messages(&datagram).map(|message| (message.number, message.error().unwrap())).collect();
        assert_eq!(
            found,
            [(1, (0, String::new())), (2, (-17, "Name taken".into())), (3, (-22, "Bad".into()))]
        );
    }

    #[test]
    fn a_cut_off_answer_ends_the_list() {
        let whole = answer(NLM_F_CAPPED, 1, 0, &[0; HEADER], b"");
        for length in 0..whole.len() {
            for message in messages(&whole[..length]) {
                message.error();
            }
        }
        assert_eq!(messages(&[0; 64]).count(), 0, "a length of zero would never end");
    }

    #[test]
    fn messages_of_a_batch_begin_at_multiples_of_four() {
        let mut batch = Batch::default();
        batch.raw(1, 0, &[1, 2, 3], true, "one", "");
        batch.raw(2, 0, &[4], false, "two", "");
        let found: Vec<_> =
            messages(&batch.bytes).map(|m| (m.kind, m.number, m.payload.to_vec())).collect();
        assert_eq!(found, [(1, 1, vec![1, 2, 3]), (2, 2, vec![4])]);
        assert_eq!(batch.answered, [1]);
    }
}
