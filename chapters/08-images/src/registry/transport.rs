//! One exchange with one server: the agent that keeps connections, and what its failures mean.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use ureq::config::Config;
use ureq::http::{Request, Response};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, SocksConnector, TcpConnector,
};
use ureq::{Agent, Body, SendBody, Timeout};

use super::Settings;
use super::error::Error;
use super::proxy::{Proxies, in_network, is_loopback};
use super::tls::{Tls, TlsConnector};
use super::url::Origin;

const CONNECT: Duration = Duration::from_secs(10);
/// For the head of an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// For the answer to an upload: the registry may hash or move the whole blob before it answers.
pub(super) const UPLOAD_PATIENCE: Duration = Duration::from_secs(600);

/// Hosts whose certificates are not checked, and that may speak plain HTTP.
#[derive(Debug, Clone)]
pub(super) struct Insecure(pub(super) Vec<String>);

impl Insecure {
    pub(super) fn covers(&self, origin: &Origin) -> bool {
        let host = origin.bare_host();
        let with_port = format!("{}:{}", origin.host, origin.port);
        let address: Option<IpAddr> = host.parse().ok();
        is_loopback(host)
            || self.0.iter().any(|rule| {
                rule.eq_ignore_ascii_case(host)
                    || rule.eq_ignore_ascii_case(&origin.host)
                    || rule.eq_ignore_ascii_case(&with_port)
                    || address.is_some_and(|address| in_network(address, rule))
            })
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody there: another try right away is worth it, a longer wait is not.
    Absent(Error),
    /// The connection broke or stalled: trying again makes sense.
    Broken(String),
    /// Trying again makes no sense.
    Final(Error),
}

/// The agent, and where it may go.
pub(super) struct Transport {
    agent: Agent,
    tls: Arc<Tls>,
    proxies: Proxies,
    pub(super) insecure: Insecure,
    stall: Duration,
}

impl Transport {
    pub(super) fn new(settings: &Settings) -> Self {
        let insecure = Insecure(settings.insecure.clone());
        let tls = Arc::new(Tls::new(settings.certificates.clone(), insecure.clone()));
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("mini-docker/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(settings.stall))
            .timeout_per_write(Some(settings.stall))
            .build();
        let connector =
            ().chain(SocksConnector::default())
                .chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(TlsConnector(Arc::clone(&tls)));
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        let proxies = Proxies::from_environment();
        Self { agent, tls, proxies, insecure, stall: settings.stall }
    }

    /// Sends one request, follows nothing, repeats nothing.
    pub(super) fn run(
        &self,
        origin: &Origin,
        request: Request<SendBody<'_>>,
        patience: Duration,
    ) -> Result<Response<Body>, Trouble> {
        let (proxy, name) = match self.proxies.to(origin) {
            Ok(found) => found.unzip(),
            Err(reason) => {
                let what = "proxy".to_owned();
                return Err(Trouble::Final(Error::Settings { what, reason }));
            }
        };
        let stall = if patience > PATIENCE { patience.max(self.stall) } else { self.stall };
        let request = self
            .agent
            .configure_request(request)
            .proxy(proxy)
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(stall))
            .build();
        self.agent.run(request).map_err(|error| self.trouble(origin, name.as_deref(), error))
    }

    /// Finds the words for a failure.
    pub(super) fn trouble(
        &self,
        origin: &Origin,
        proxy: Option<&str>,
        error: ureq::Error,
    ) -> Trouble {
        let host = origin.authority();
        let absent = |reason: &str, hint: &'static str| {
            let (reason, host) = (reason.to_owned(), host.clone());
            Trouble::Absent(match proxy {
                Some(proxy) => Error::Proxy { proxy: proxy.to_owned(), host, reason },
                None => Error::Unreachable { host, reason, hint },
            })
        };
        match error {
            ureq::Error::Io(error) => {
                if let Some(tls) = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>())
                {
                    return self.tls_trouble(origin, tls);
                }
                let text = error.to_string();
                match error.kind() {
                    io::ErrorKind::ConnectionRefused => {
                        absent("connection refused", "is it running, and is the port right?")
                    }
                    io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::NetworkDown
                    | io::ErrorKind::AddrNotAvailable => {
                        absent("no route to it", "is this machine connected?")
                    }
                    io::ErrorKind::UnexpectedEof => broken("the connection was closed early"),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                        broken("the connection was reset")
                    }
                    // The standard library gives failures of getaddrinfo(3) no kind.
                    _ => match text.strip_prefix("failed to lookup address information: ") {
                        Some(reason) => absent(&reason.to_lowercase(), LOOKUP),
                        None => broken(&text),
                    },
                }
            }
            ureq::Error::HostNotFound => absent("the name has no address", LOOKUP),
            ureq::Error::Timeout(Timeout::Connect) => {
                let by = proxy.map(|proxy| format!(" by proxy {proxy}")).unwrap_or_default();
                broken(&format!("no connection{by} within {} seconds", CONNECT.as_secs()))
            }
            ureq::Error::Timeout(Timeout::RecvResponse) => broken("no answer in time"),
            ureq::Error::Timeout(_) => broken("the connection stalled"),
            ureq::Error::ConnectProxyFailed(reason) => Trouble::Final(Error::Proxy {
                proxy: proxy.unwrap_or_default().to_owned(),
                host,
                reason: crate::error::printable(&reason),
            }),
            ureq::Error::Other(inner) => match inner.downcast::<Error>() {
                Ok(own) => Trouble::Final(*own),
                Err(other) => broken(&other.to_string()),
            },
            other => {
                let reason = crate::error::printable(&format!("not an HTTP answer: {other}"));
                Trouble::Final(Error::Protocol { host, reason })
            }
        }
    }

    fn tls_trouble(&self, origin: &Origin, error: &rustls::Error) -> Trouble {
        use CertificateError as C;
        let host = origin.authority();
        let place = self.tls.place(origin);
        let (reason, hint) = match error {
            rustls::Error::InvalidMessage(_) => return Trouble::Final(Error::PlainHttp { host }),
            rustls::Error::InvalidCertificate(C::Other(_)) => (
                "its certificate has signed itself, or is none for a server".to_owned(),
                format!("if it is yours, put it in {}/ca.crt", place.display()),
            ),
            rustls::Error::InvalidCertificate(C::UnknownIssuer) => (
                "no authority that this machine knows has signed its certificate".to_owned(),
                format!("if it is yours, put its authority in {}/ca.crt", place.display()),
            ),
            rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => (
                "its certificate has expired".to_owned(),
                "its owner must renew it; or is the clock of this machine wrong?".to_owned(),
            ),
            rustls::Error::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => (
                "its certificate is not valid yet".to_owned(),
                "is the clock of this machine right?".to_owned(),
            ),
            rustls::Error::InvalidCertificate(C::NotValidForName) => names(&[]),
            rustls::Error::InvalidCertificate(C::NotValidForNameContext { presented, .. }) => {
                names(presented)
            }
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::CertificateUnknown
                | AlertDescription::AccessDenied,
            ) => (
                format!("it does not accept our client certificate, or wants one: {error}"),
                format!("put it in {0}/client.cert and {0}/client.key", place.display()),
            ),
            other => (
                format!("TLS failed: {}", crate::error::printable(&other.to_string())),
                "is there a registry behind this address?".to_owned(),
            ),
        };
        Trouble::Final(Error::Tls { host, reason, hint })
    }
}

const LOOKUP: &str = "is the name right, and are the name servers in /etc/resolv.conf?";

fn broken(reason: &str) -> Trouble {
    Trouble::Broken(crate::error::printable(reason))
}

fn names(presented: &[String]) -> (String, String) {
    let list = match presented {
        [] => "another name".to_owned(),
        names => {
            // As rustls shows them: `DnsName("registry.example")`.
            let bare = |name: &String| match name.split('"').nth(1) {
                Some(quoted) => quoted.to_owned(),
                None => name.clone(),
            };
            crate::error::printable(&names.iter().map(bare).collect::<Vec<_>>().join(", "))
        }
    };
    (format!("its certificate is for {list}"), "is the host name right?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::url::Url;
    use super::*;

    #[test]
    fn hosts_that_may_be_insecure() {
        let rules = ["r.example", "p.example:5000", "10.0.0.0/8", "fd00::/8", "192.0.2.7"];
        let insecure = Insecure(rules.map(str::to_owned).to_vec());
        for (url, covered) in [
            ("https://R.example/", true),
            ("https://r.example:5000/", true),
            ("https://p.example:5000/", true),
            ("https://p.example/", false),
            ("https://x.r.example/", false),
            ("https://10.9.8.7:5000/", true),
            ("https://192.0.2.7:5000/", true),
            ("https://192.0.2.8/", false),
            ("https://[fd00::1]/", true),
            ("https://127.1.2.3:5000/", true),
            ("https://localhost:5000/", true),
            ("https://[::1]:5000/", true),
            ("https://localhost.example/", false),
        ] {
            assert_eq!(insecure.covers(&Url::parse(url).unwrap().origin), covered, "{url}");
        }
    }
}
