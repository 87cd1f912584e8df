//! As much of HTTP/1.1 (RFC 9112) as a proxy needs: heads, and bodies with a length, in chunks, or up to the end.

use std::io::{self, BufRead, Read, Write};

/// Longest line of a head. Tokens are long.
const LINE: u64 = 64 * 1024;

/// Start line and header fields of a request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) start: String,
    /// In the order they came, names as they were written.
    pub(super) headers: Vec<(String, String)>,
}

impl Head {
    /// A response.
    pub(super) fn response(status: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Self { start: format!("HTTP/1.1 {status} {}", reason(status)), headers: headers.collect() }
    }

    /// Reads one. None if the connection ended before its first byte.
    pub(super) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut start = line(reader)?;
        // RFC 9112, 2.2: an empty line before a request is passed over.
        while start.as_deref() == Some("") {
            start = line(reader)?;
        }
        let Some(start) = start else { return Ok(None) };
        let mut headers = Vec::new();
        loop {
            let line = line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                return Ok(Some(Self { start, headers }));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("header without colon"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    pub(super) fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        writer.write_all(text.as_bytes())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.into()));
    }

    /// Whether a comma-separated field has this word: `Connection: close`.
    pub(super) fn says(&self, name: &str, word: &str) -> bool {
        let value = self.get(name).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    }

    /// Method and target of a request.
    pub(super) fn request(&self) -> io::Result<(&str, &str)> {
        let mut words = self.start.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some(method), Some(target), Some(version)) if version.starts_with("HTTP/1.") => {
                Ok((method, target))
            }
            _ => Err(bad("request line")),
        }
    }

    /// Status of a response.
    pub(super) fn status(&self) -> io::Result<u16> {
        let code = self.start.split(' ').nth(1).and_then(|code| code.parse().ok());
        code.ok_or_else(|| bad("status line"))
    }

    /// How the body of this request ends (RFC 9112, 6.3).
    pub(super) fn request_framing(&self) -> io::Result<Framing> {
        Ok(self.framing()?.unwrap_or(Framing::Length(0)))
    }

    /// How the body of this response to `method` ends.
    pub(super) fn response_framing(&self, method: &str) -> io::Result<Framing> {
        match self.status()? {
            _ if method == "HEAD" => Ok(Framing::Length(0)),
            100..=199 | 204 | 304 => Ok(Framing::Length(0)),
            _ => Ok(self.framing()?.unwrap_or(Framing::UntilClose)),
        }
    }

    fn framing(&self) -> io::Result<Option<Framing>> {
        if self.says("transfer-encoding", "chunked") {
            return Ok(Some(Framing::Chunked));
        }
        let Some(length) = self.get("content-length") else { return Ok(None) };
        Ok(Some(Framing::Length(length.parse().map_err(|_| bad("Content-Length"))?)))
    }
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With a chunk of length 0.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// Reads a body without its framing. A body that ends too early is an error.
pub(super) struct Body<R> {
    reader: R,
    framing: Framing,
    /// Bytes left of the chunk; None: before the first.
    chunk: Option<u64>,
    ended: bool,
}

impl<R: BufRead> Body<R> {
    pub(super) fn new(reader: R, framing: Framing) -> Self {
        Self { reader, framing, chunk: None, ended: framing == Framing::Length(0) }
    }

    fn piece(&mut self, buffer: &mut [u8], left: u64) -> io::Result<u64> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match self.reader.read(&mut buffer[..most])? {
            0 if most > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count as u64),
        }
    }

    /// Goes to the next chunk and says its size.
    fn next_chunk(&mut self) -> io::Result<u64> {
        if self.chunk.is_some() {
            line(&mut self.reader)?;
        }
        let head = line(&mut self.reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = head.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| bad("chunk size"))?;
        if size == 0 {
            // Trailers, if any, up to an empty line.
            while line(&mut self.reader)?.is_some_and(|trailer| !trailer.is_empty()) {}
        }
        Ok(size)
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let count = match self.framing {
            Framing::UntilClose => {
                let count = self.reader.read(buffer)?;
                self.ended = count == 0;
                return Ok(count);
            }
            Framing::Length(left) => {
                let count = self.piece(buffer, left)?;
                self.framing = Framing::Length(left - count);
                self.ended = left == count;
                count
            }
            Framing::Chunked => {
                let left = match self.chunk {
                    None | Some(0) => self.next_chunk()?,
                    Some(left) => left,
                };
                if left == 0 {
                    self.ended = true;
                    return Ok(0);
                }
                let count = self.piece(buffer, left)?;
                self.chunk = Some(left - count);
                count
            }
        };
        Ok(count as usize)
    }
}

/// Writes one piece of a body, as a chunk if it goes in chunks.
pub(super) fn write_piece(writer: &mut impl Write, piece: &[u8], chunked: bool) -> io::Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    if !chunked {
        return writer.write_all(piece);
    }
    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
    chunk.extend_from_slice(piece);
    chunk.extend_from_slice(b"\r\n");
    writer.write_all(&chunk)
}

/// Ends a body that went in chunks.
pub(super) fn finish(writer: &mut impl Write, chunked: bool) -> io::Result<()> {
    if chunked { writer.write_all(b"0\r\n\r\n") } else { Ok(()) }
}

/// A whole response with its length.
pub(super) fn respond(
    writer: &mut impl Write,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<()> {
    let mut head = Head::response(status, headers);
    head.set("Content-Length", body.len().to_string());
    let mut bytes = Vec::new();
    head.write(&mut bytes)?;
    bytes.extend_from_slice(body);
    writer.write_all(&bytes)
}

/// `%2F` and, in forms, `+`: the bytes that they stand for.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = hex.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let (decoded, length) = match (first, byte) {
            (b'%', Some(byte)) => (byte, 3),
            (b'+', _) => (b' ', 1),
            _ => (*first, 1),
        };
        bytes.push(decoded);
        rest = &rest[length..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Names and values of a query or a form.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(bad("line without end"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map(Some).map_err(|_| bad("head that is not UTF-8"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("bad HTTP: {what}"))
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: &[u8], framing: Framing) -> io::Result<String> {
        let mut text = String::new();
        Body::new(bytes, framing).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let text = b"\r\nGET /v2/ HTTP/1.1\r\nHost: a:1\r\nConnection: x, Close\r\n\r\nrest";
        let mut reader = &text[..];
        let head = Head::read(&mut reader).unwrap().unwrap();
        assert_eq!(head.request().unwrap(), ("GET", "/v2/"));
        assert_eq!(head.get("host"), Some("a:1"));
        assert!(head.says("connection", "close"));
        assert_eq!(reader, b"rest");
        let mut written = Vec::new();
        head.write(&mut written).unwrap();
        assert_eq!(written, &text[2..text.len() - 4]);
        assert_eq!(Head::read(&mut &b""[..]).unwrap(), None);
        Head::read(&mut &b"GET / HTTP/1.1\r\nHost"[..]).unwrap_err();
    }

    #[test]
    fn bodies_end_where_they_should() {
        assert_eq!(body(b"hello", Framing::Length(3)).unwrap(), "hel");
        assert_eq!(body(b"hello", Framing::UntilClose).unwrap(), "hello");
        let chunks = b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: 1\r\n\r\nnext";
        let mut reader = &chunks[..];
        let mut text = String::new();
        Body::new(&mut reader, Framing::Chunked).read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), reader), ("hello", &b"next"[..]));
        body(b"he", Framing::Length(3)).unwrap_err();
        body(b"5\r\nhe", Framing::Chunked).unwrap_err();
        body(b"2\r\nhe\r\n", Framing::Chunked).unwrap_err();
    }

    #[test]
    fn some_responses_have_no_body() {
        let with_length = |status| Head::response(status, &[("Content-Length", "5")]);
        assert_eq!(with_length(200).response_framing("GET").unwrap(), Framing::Length(5));
        assert_eq!(with_length(200).response_framing("HEAD").unwrap(), Framing::Length(0));
        assert_eq!(with_length(304).response_framing("GET").unwrap(), Framing::Length(0));
        let none = Head::response(200, &[]);
        assert_eq!(none.response_framing("GET").unwrap(), Framing::UntilClose);
        assert_eq!(none.request_framing().unwrap(), Framing::Length(0));
    }

    #[test]
    fn forms_are_decoded() {
        let read = pairs("scope=repository%3Aa%2fb%3apull&x=1+2&y=%zz&flag");
        let text: Vec<_> = read.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(text, ["scope=repository:a/b:pull", "x=1 2", "y=%zz", "flag="]);
    }
}
