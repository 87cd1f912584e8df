//! A server that answers as a test wants, and remembers what it was asked. It ends with the test's process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use images::registry::{Client, Credential, Credentials, Settings};

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    head: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// `GET /v2/`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// An answer; `length` may promise more than there is, and then the connection is cut.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
    length: Option<usize>,
    stall: bool,
}

pub(crate) fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply { status, head: String::new(), body: body.into(), length: None, stall: false }
}

impl Reply {
    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    /// Breaks the connection after the body, which was announced as longer.
    pub(crate) fn cut(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// Like `cut`, but keeps the connection open and silent.
    pub(crate) fn stall(mut self, length: usize) -> Self {
        self.length = Some(length);
        self.stall = true;
        self
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// How many bytes of the next body with this method arrive before the connection breaks.
    pub(crate) breaks: Arc<Mutex<Option<(&'static str, usize)>>>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, seen: Arc::default(), breaks: Arc::default() };
        let (own, handler): (_, Arc<Handler>) = (server.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (own, handler) = (own.clone(), Arc::clone(&handler));
                std::thread::spawn(move || own.serve(stream.unwrap(), &*handler));
            }
        });
        server
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What was asked since the last call, without the question for `/v2/` that finds out the scheme.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.retain(|seen| seen.path != "/v2/");
        seen
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    fn serve(&self, mut stream: TcpStream, handler: &Handler) -> Option<()> {
        let mut input = BufReader::new(stream.try_clone().ok()?);
        if input.fill_buf().ok()?.first() == Some(&0x16) {
            // TLS: what Go's server says to it.
            stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").ok()?;
            return None;
        }
        loop {
            let mut seen = Seen::default();
            let mut line = String::new();
            input.read_line(&mut line).ok().filter(|length| *length > 0)?;
            let mut words = line.split(' ').map(str::to_owned);
            (seen.method, seen.path) = (words.next()?, words.next()?);
            loop {
                let mut line = String::new();
                input.read_line(&mut line).ok()?;
                let Some((name, value)) = line.trim_end().split_once(": ") else { break };
                seen.head.push((name.to_ascii_lowercase(), value.to_owned()));
            }
            let mut length: usize = seen.header("content-length").parse().unwrap_or(0);
            let broken = {
                let mut breaks = self.breaks.lock().unwrap();
                let now = breaks.filter(|(method, _)| *method == seen.method);
                now.inspect(|_| *breaks = None)
            };
            if let Some((_, at)) = broken {
                length = at;
            }
            let mut body = vec![0; length];
            input.read_exact(&mut body).ok()?;
            seen.body = body;
            self.seen.lock().unwrap().push(seen.clone());
            let reply = handler(&seen);
            if broken.is_some() {
                return None;
            }
            let length = reply.length.unwrap_or(reply.body.len());
            write!(stream, "HTTP/1.1 {} X\r\n{}", reply.status, reply.head).ok()?;
            if reply.status != 204 {
                write!(stream, "Content-Length: {length}\r\n").ok()?;
            }
            stream.write_all(b"\r\n").ok()?;
            if seen.method != "HEAD" {
                stream.write_all(&reply.body).ok()?;
            }
            if reply.stall {
                std::thread::park();
            }
            if reply.length.is_some() {
                return None;
            }
        }
    }
}

/// Has the same credential for everybody, and remembers who was asked for.
pub(crate) struct Always(pub(crate) Credential);

impl Credentials for Always {
    fn get(&self, _registry: &str) -> std::io::Result<Option<Credential>> {
        Ok(Some(self.0.clone()))
    }
}

pub(crate) fn alice() -> Always {
    Always(Credential::Password { username: "alice".into(), password: "secret".into() })
}

/// Settings with waits that suit a test.
pub(crate) fn settings() -> Settings {
    let (backoff, stall) = (Duration::from_millis(1), Duration::from_millis(400));
    Settings { attempts: 3, backoff, stall, ..Settings::default() }
}

pub(crate) fn client(credentials: impl Credentials + 'static) -> Client {
    Client::new(settings(), Box::new(credentials))
}
