//! A forward proxy: what `HTTP_PROXY` and `HTTPS_PROXY` point to.

use std::io::{self, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;

use super::Result;
use super::fault::Fault;
use super::http::{Head, respond};
use super::relay::{Relay, Watch};
use super::server::{Server, Stop, lock};

/// What a forward proxy was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `CONNECT` for TLS, else the method of the request.
    pub method: String,
    /// `registry-1.docker.io:443` with CONNECT, else the whole URL.
    pub target: String,
    /// Whether it was let through: false for a missing or wrong `Proxy-Authorization`.
    pub allowed: bool,
}

#[derive(Debug)]
struct Shared {
    names: Vec<(String, String)>,
    authorization: Option<String>,
    asked: Mutex<Vec<Asked>>,
}

/// A running forward proxy.
#[derive(Debug)]
pub struct ForwardProxy {
    shared: Arc<Shared>,
    server: Server,
}

impl ForwardProxy {
    /// Starts one. `names` says where a `host:port` really is, such as `("registry-1.docker.io:443",
    /// registry.address())`; others are looked up. With `user`, a name and a password, it answers 407 to everybody else.
    ///
    /// # Errors
    /// If there is no loopback.
    pub fn start(names: &[(&str, &str)], user: Option<(&str, &str)>) -> Result<Self> {
        let names = names.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
        let authorization = user.map(|(name, password)| basic(name, password));
        let shared =
            Arc::new(Shared { names: names.collect(), authorization, asked: Mutex::default() });
        let own = Arc::clone(&shared);
        let server = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), move |stream, stop| {
            let mut client = BufReader::new(stream);
            while let Ok(Some(head)) = Head::read(&mut client) {
                if !exchange(&own, &mut client, head, stop).unwrap_or(false) {
                    return;
                }
            }
        })?;
        Ok(Self { shared, server })
    }

    /// `http://127.0.0.1:PORT`, for `HTTP_PROXY`; a user is to be put in by the test.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.server.address.to_string()
    }

    /// What it was asked for, in the order it came.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }
}

/// The value of `Authorization` for a user (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// Nobody asks how many bytes went through.
struct Nobody;

impl Watch for Nobody {
    fn status(&mut self, _status: u16) {}
    fn received(&mut self, _count: u64) {}
    fn sent(&mut self, _count: u64) {}
    fn complete(&mut self) {}
    fn gone(&mut self, _count: u64) {}
}

fn exchange(
    shared: &Shared,
    client: &mut BufReader<TcpStream>,
    mut head: Head,
    stop: &Stop,
) -> io::Result<bool> {
    let (method, target) = head.request()?;
    let (method, target) = (method.to_owned(), target.to_owned());
    let allowed = shared.authorization.is_none()
        || head.get("proxy-authorization") == shared.authorization.as_deref();
    lock(&shared.asked).push(Asked { method: method.clone(), target: target.clone(), allowed });
    if !allowed {
        let headers = [("Proxy-Authenticate", "Basic realm=\"proxy\""), ("Connection", "close")];
        respond(client.get_mut(), 407, &headers, b"")?;
        return Ok(false);
    }
    let really = |name: &str| {
        let found = shared.names.iter().find(|(from, _)| from.eq_ignore_ascii_case(name));
        found.map_or_else(|| name.to_owned(), |(_, to)| to.clone())
    };
    if method == "CONNECT" {
        return tunnel(client, &really(&target), stop).map(|()| false);
    }
    let Some((host, path)) = target.strip_prefix("http://").map(split) else {
        respond(client.get_mut(), 400, &[("Connection", "close")], b"not a URL for a proxy")?;
        return Ok(false);
    };
    head.start = format!("{method} {path} HTTP/1.1");
    head.set("Host", host.clone());
    let upstream = if host.contains(':') { host } else { format!("{host}:80") };
    let mut relay = Relay { client, stop, watch: &mut Nobody, edit: &|_| {} };
    relay.run(head, &really(&upstream), &Fault::Pass)
}

/// Host and path of a URL without its scheme.
fn split(url: &str) -> (String, String) {
    let end = url.find('/').unwrap_or(url.len());
    let path = if end == url.len() { "/" } else { &url[end..] };
    (url[..end].to_owned(), path.to_owned())
}

/// Copies bytes both ways until both sides have ended (RFC 9110, 9.3.6).
fn tunnel(client: &mut BufReader<TcpStream>, upstream: &str, stop: &Stop) -> io::Result<()> {
    let server = match TcpStream::connect(upstream) {
        Ok(server) => server,
        Err(error) => {
            let close = [("Connection", "close")];
            return respond(client.get_mut(), 502, &close, error.to_string().as_bytes());
        }
    };
    let _watched = stop.watch(&server)?;
    client.get_mut().write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut answers, mut to_client) = (server.try_clone()?, client.get_ref().try_clone()?);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            io::copy(&mut answers, &mut to_client).ok();
            to_client.shutdown(Shutdown::Write).ok();
        });
        io::copy(client, &mut &server).ok();
        server.shutdown(Shutdown::Write).ok();
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn urls_are_split() {
        let split = |url| super::split(url);
        assert_eq!(split("a:1/v2/?n=1"), ("a:1".to_owned(), "/v2/?n=1".to_owned()));
        assert_eq!(split("a"), ("a".to_owned(), "/".to_owned()));
    }

    #[test]
    fn basic_is_as_in_rfc_7617() {
        assert_eq!(super::basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
