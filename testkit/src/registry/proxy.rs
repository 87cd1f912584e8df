//! A reverse proxy that stands before a registry and fails as it is told.

use std::io::{self, BufReader};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Result;
use super::fault::{Fault, Rule};
use super::http::{Body, Head, respond};
use super::relay::{Relay, Watch};
use super::server::{Server, Stop, lock};

/// Where a CDN is to be found: another address, since clients take ports of one host for the same server.
const CDN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// What a proxy has seen of a request. One that is under way is in the list too, with what is known so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// With its query: `/v2/library/busybox/manifests/latest`; `/cdn/v2/...` at the second listener.
    pub path: String,
    /// As the client sent them.
    pub headers: Vec<(String, String)>,
    /// What the client was answered; 0 if nothing.
    pub status: u16,
    /// Bytes of the request's body that were taken.
    pub received: u64,
    /// Bytes of the answer's body that were sent.
    pub sent: u64,
    /// Whether the answer came to its end.
    pub complete: bool,
}

impl Request {
    /// The value of a header: `range`, `authorization`...
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it was asked for with this method (`*` for every) and a path that contains `part`.
    pub fn is(&self, method: &str, part: &str) -> bool {
        (method == "*" || self.method == method) && self.path.contains(part)
    }
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<Arc<Mutex<Request>>>>,
    /// Authorization of the requests that were sent to the CDN: its signed URLs carry the index.
    signed: Mutex<Vec<Option<String>>>,
    /// Where the proxy and its CDN listen.
    addresses: Mutex<(String, String)>,
}

/// A running proxy: plain HTTP, keeps connections of clients open, never holds a whole body.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    address: String,
    _front: Server,
    _cdn: Server,
}

impl Proxy {
    /// Starts one before the server at `upstream` (`127.0.0.1:PORT`, plain HTTP). Of the rules that match a request,
    /// the first that is not used up counts; without one it is passed on.
    ///
    /// # Errors
    /// If there is no loopback.
    pub fn start(upstream: &str, rules: Vec<Rule>) -> Result<Self> {
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            rules: Mutex::new(rules),
            requests: Mutex::default(),
            signed: Mutex::default(),
            addresses: Mutex::default(),
        });
        let listen = |ip, shared: &Arc<Shared>| {
            let shared = Arc::clone(shared);
            Server::start(ip, move |stream, stop| serve(&shared, stream, stop))
        };
        let front = listen(IpAddr::V4(Ipv4Addr::LOCALHOST), &shared)?;
        let cdn = listen(CDN, &shared)?;
        let address = front.address.to_string();
        *lock(&shared.addresses) = (address.clone(), cdn.address.to_string());
        Ok(Self { shared, address, _front: front, _cdn: cdn })
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a rule after the others.
    pub fn add(&self, rule: Rule) {
        lock(&self.shared.rules).push(rule);
    }

    /// Forgets rules and requests: a network that works, and a count from zero.
    pub fn reset(&self) {
        lock(&self.shared.rules).clear();
        lock(&self.shared.requests).clear();
    }

    /// What was asked for since the start (or `reset`), in the order it came.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).iter().map(|request| lock(request).clone()).collect()
    }

    /// How many requests there were with this method (`*` for every) and a path that contains `part`.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.requests().iter().filter(|request| request.is(method, part)).count()
    }

    /// Bytes of bodies sent to clients.
    pub fn bytes_sent(&self) -> u64 {
        self.requests().iter().map(|request| request.sent).sum()
    }

    /// Bytes of bodies that clients have sent.
    pub fn bytes_received(&self) -> u64 {
        self.requests().iter().map(|request| request.received).sum()
    }

    /// Waits until the requests are as `condition` says: to end a client in the middle of a blob, for example.
    ///
    /// # Errors
    /// After ten seconds, with the requests.
    pub fn wait_until(&self, condition: impl Fn(&[Request]) -> bool) -> Result<()> {
        let start = Instant::now();
        while !condition(&self.requests()) {
            if start.elapsed() > Duration::from_secs(10) {
                return Err(format!("waited in vain; {:#?}", self.requests()).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// A request of the list: whoever answers it writes down what comes of it.
struct Record(Arc<Mutex<Request>>);

impl Watch for Record {
    fn status(&mut self, status: u16) {
        lock(&self.0).status = status;
    }
    fn received(&mut self, count: u64) {
        lock(&self.0).received += count;
    }
    fn sent(&mut self, count: u64) {
        lock(&self.0).sent += count;
    }
    fn complete(&mut self) {
        lock(&self.0).complete = true;
    }
    fn gone(&mut self, count: u64) {
        let mut request = lock(&self.0);
        request.sent -= count;
        request.complete = false;
    }
}

/// All requests of one connection.
fn serve(shared: &Shared, stream: TcpStream, stop: &Stop) {
    let mut client = BufReader::new(stream);
    // An error is a connection that broke, or was to break.
    while let Ok(Some(head)) = Head::read(&mut client) {
        if !exchange(shared, &mut client, head, stop).unwrap_or(false) {
            return;
        }
    }
}

/// One request; whether the connection can serve another.
fn exchange(
    shared: &Shared,
    client: &mut BufReader<TcpStream>,
    mut head: Head,
    stop: &Stop,
) -> io::Result<bool> {
    let (method, path) = head.request()?;
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut record = Record(Arc::new(Mutex::new(Request {
        method: method.clone(),
        path: path.clone(),
        headers: head.headers.clone(),
        ..Request::default()
    })));
    lock(&shared.requests).push(Arc::clone(&record.0));
    let (front, cdn) = lock(&shared.addresses).clone();
    let at_cdn = path.starts_with("/cdn/");
    let fault = {
        let mut rules = lock(&shared.rules);
        let mut turns = rules.iter_mut().filter(|rule| !(at_cdn && rule.fault == Fault::Cdn));
        let rule = turns.find_map(|rule| rule.applies(&method, &path).then(|| rule.fault.clone()));
        rule.unwrap_or(Fault::Pass)
    };
    let edit = |head: &mut Head| {
        // The client must stay with the proxy when the registry names itself.
        if let Some(location) = head.get("location") {
            let location = location
                .replace(&format!("http://{}", shared.upstream), &format!("http://{front}"));
            head.set("Location", location);
        }
    };
    let mut relay = Relay { client, stop, watch: &mut record, edit: &edit };
    if at_cdn {
        if head.get("authorization").is_some() {
            return refuse(&mut relay, &head, 400, &[], "only one way to authenticate is allowed");
        }
        let Some((target, authorization)) = signed(shared, &path) else {
            return refuse(&mut relay, &head, 403, &[], "the URL is not signed");
        };
        head.start = format!("{method} {target} HTTP/1.1");
        if let Some(authorization) = authorization {
            head.set("Authorization", authorization);
        }
    }
    head.set("Host", shared.upstream.clone());
    match &fault {
        Fault::Drop => Ok(false),
        Fault::Status { code, headers, body } => {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            refuse(&mut relay, &head, *code, &headers, body)
        }
        Fault::Redirect(url) => refuse(&mut relay, &head, 307, &[("Location", url)], ""),
        Fault::Cdn => {
            let signature = {
                let mut signed = lock(&shared.signed);
                signed.push(head.get("authorization").map(str::to_owned));
                signed.len() - 1
            };
            let mark = if path.contains('?') { '&' } else { '?' };
            let url = format!("http://{cdn}/cdn{path}{mark}signature={signature}");
            refuse(&mut relay, &head, 307, &[("Location", &url)], "")
        }
        Fault::Delay(pause) => {
            stop.sleep(*pause)?;
            relay.run(head, &shared.upstream, &Fault::Pass)
        }
        fault => relay.run(head, &shared.upstream, fault),
    }
}

/// Answers without the registry, after the request's body was read to its end.
fn refuse<W: Watch>(
    relay: &mut Relay<'_, W>,
    request: &Head,
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<bool> {
    let framing = request.request_framing()?;
    // A client that waits for "100 Continue" sends no body after this answer.
    let waits = request.says("expect", "100-continue");
    if !waits {
        let mut body = Body::new(&mut *relay.client, framing);
        relay.watch.received(io::copy(&mut body, &mut io::sink())?);
    }
    let close = [("Connection", "close")];
    let all = [headers, if waits { &close } else { &[] }].concat();
    if request.request()?.0 == "HEAD" {
        // A body would be taken for the next answer.
        relay.watch.status(status);
        relay.watch.complete();
        respond(relay.client.get_mut(), status, &all, b"")?;
    } else {
        relay.answer(status, &all, body.as_bytes())?;
    }
    Ok(!waits && !request.says("connection", "close"))
}

/// The path at the registry, and the authorization, of a URL that the CDN was named with.
fn signed(shared: &Shared, path: &str) -> Option<(String, Option<String>)> {
    let (target, signature) = path.strip_prefix("/cdn")?.rsplit_once("signature=")?;
    let authorization = lock(&shared.signed).get(signature.parse::<usize>().ok()?)?.clone();
    Some((target.trim_end_matches(['?', '&']).to_owned(), authorization))
}
