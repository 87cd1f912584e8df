//! One request passed on to a server, and its answer passed back, byte by byte and with a fault.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;

use super::fault::Fault;
use super::http::{self, Body, Framing, Head};
use super::server::Stop;

/// Bytes moved at once: a blob is never held in memory.
const PIECE: usize = 32 * 1024;

/// Fields that concern one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "expect"];

/// What comes of a request, told before the client can see it: who has got an answer finds it counted.
pub(super) trait Watch {
    /// The status that the client sees.
    fn status(&mut self, status: u16);
    /// More bytes of the request's body were taken.
    fn received(&mut self, count: u64);
    /// More bytes of the answer's body are sent.
    fn sent(&mut self, count: u64);
    /// The answer comes to its end.
    fn complete(&mut self);
    /// So many bytes were not sent after all: the client has gone.
    fn gone(&mut self, count: u64);
}

/// Both sides of a request on its way.
pub(super) struct Relay<'a, W> {
    pub(super) client: &'a mut BufReader<TcpStream>,
    pub(super) stop: &'a Stop,
    pub(super) watch: &'a mut W,
    /// Changes the head of the answer.
    pub(super) edit: &'a dyn Fn(&mut Head),
}

impl<W: Watch> Relay<'_, W> {
    /// Passes `request` on to `upstream` (`host:port`). Says whether the client's connection can serve another request.
    ///
    /// # Errors
    /// A connection that broke, by itself or as the fault wants it: the client's is to be closed.
    pub(super) fn run(
        &mut self,
        mut request: Head,
        upstream: &str,
        fault: &Fault,
    ) -> io::Result<bool> {
        let method = request.request()?.0.to_owned();
        let framing = request.request_framing()?;
        let keep = !request.says("connection", "close");
        let waits = request.says("expect", "100-continue");
        for name in HOP_BY_HOP {
            request.remove(name);
        }
        request.set("Connection", "close");
        if *fault == Fault::IgnoreRange {
            request.remove("range");
        }
        let mut server = match TcpStream::connect(upstream) {
            Ok(server) => server,
            Err(error) => {
                self.answer(502, &[("Connection", "close")], error.to_string().as_bytes())?;
                return Ok(false);
            }
        };
        let _watched = self.stop.watch(&server)?;
        server.set_nodelay(true)?;
        request.write(&mut server)?;
        if framing != Framing::Length(0) && waits {
            self.client.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        self.request_body(framing, &mut server, fault)?;
        let mut server = BufReader::new(server);
        let head = loop {
            let head = Head::read(&mut server)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if head.status()? >= 200 {
                break head;
            }
        };
        self.response(&method, head, server, fault)?;
        Ok(keep)
    }

    /// A whole answer that does not come from a server.
    pub(super) fn answer(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        self.watch.status(status);
        self.watch.sent(body.len() as u64);
        self.watch.complete();
        http::respond(self.client.get_mut(), status, headers, body)
    }

    fn request_body(
        &mut self,
        framing: Framing,
        server: &mut TcpStream,
        fault: &Fault,
    ) -> io::Result<()> {
        let chunked = framing == Framing::Chunked;
        let mut body = Body::new(&mut *self.client, framing);
        let mut left = match fault {
            Fault::CutRequest { after } => *after,
            _ => u64::MAX,
        };
        // A server may answer before it has read all; the rest is then for nobody, and the answer counts.
        let mut listens = true;
        let mut buffer = vec![0; PIECE];
        loop {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let count = body.read(&mut buffer[..most])?;
            if left == 0 {
                return Err(io::Error::other("cut"));
            }
            if count == 0 {
                break;
            }
            left -= count as u64;
            self.watch.received(count as u64);
            listens = listens && http::write_piece(server, &buffer[..count], chunked).is_ok();
        }
        if listens {
            http::finish(server, chunked).ok();
        }
        Ok(())
    }

    fn response(
        &mut self,
        method: &str,
        mut head: Head,
        server: BufReader<TcpStream>,
        fault: &Fault,
    ) -> io::Result<()> {
        let framing = head.response_framing(method)?;
        for name in HOP_BY_HOP {
            head.remove(name);
        }
        (self.edit)(&mut head);
        let chunked = matches!(framing, Framing::Chunked | Framing::UntilClose);
        if chunked {
            head.set("Transfer-Encoding", "chunked");
        }
        let mut last = u64::MAX;
        if let Fault::Truncate { after } = fault {
            last = *after;
            if let Framing::Length(length @ 1..) = framing {
                head.set("Content-Length", length.min(last).to_string());
            }
        }
        self.watch.status(head.status()?);
        let length = match framing {
            Framing::Length(length) => Some(length.min(last)),
            _ => None,
        };
        if length == Some(0) {
            self.watch.complete();
        }
        head.write(self.client.get_mut())?;
        self.response_body(Body::new(server, framing).take(last), length, fault)
    }

    fn response_body(
        &mut self,
        mut body: impl Read,
        length: Option<u64>,
        fault: &Fault,
    ) -> io::Result<()> {
        // Without a length it goes on in chunks.
        let chunked = length.is_none();
        let mut buffer = vec![0; PIECE];
        let mut sent = 0u64;
        // Pieces end where something is to happen.
        let mut stop_at = match fault {
            Fault::Cut { after } | Fault::Stall { after, .. } => *after,
            _ => u64::MAX,
        };
        loop {
            if sent == stop_at {
                match fault {
                    Fault::Stall { pause, .. } => self.stop.sleep(*pause)?,
                    _ => return Err(io::Error::other("cut")),
                }
                stop_at = u64::MAX;
            }
            let mut most = usize::try_from(stop_at - sent).unwrap_or(PIECE).min(PIECE);
            if let Fault::Throttle(rate) = fault {
                // Ten pieces in a second.
                most = usize::try_from((rate / 10).max(1)).unwrap_or(PIECE).min(most);
            }
            let count = body.read(&mut buffer[..most])?;
            if count == 0 {
                self.watch.complete();
                return http::finish(self.client.get_mut(), chunked);
            }
            let piece = &mut buffer[..count];
            match fault {
                Fault::Corrupt { at } if (sent..sent + count as u64).contains(at) => {
                    piece[(at - sent) as usize] ^= 0xff;
                }
                Fault::Throttle(rate) => {
                    let nanos = count as u64 * 1_000_000_000 / (*rate).max(1);
                    self.stop.sleep(std::time::Duration::from_nanos(nanos))?;
                }
                _ => {}
            }
            sent += count as u64;
            self.watch.sent(count as u64);
            if Some(sent) == length {
                self.watch.complete();
            }
            let written = http::write_piece(self.client.get_mut(), piece, chunked);
            written.inspect_err(|_| self.watch.gone(count as u64))?;
        }
    }
}
