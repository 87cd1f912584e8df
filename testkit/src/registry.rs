//! Registries for tests: real ones, token servers, and a network that breaks where a test says so.
//!
//! Everything listens on loopback in the private network namespace of the test and ends when it is dropped: child
//! processes are killed and waited for, threads are joined. Threads and clone3 do not mix: a test that uses these
//! fixtures runs `mini-docker` as a command and does not start containers in its own process.
//!
//! Needed from Debian, by their package names: docker-registry, apache2-utils, openssl, skopeo (and curl, zstd). A test
//! whose program is missing is skipped.
//!
//! ```no_run
//! use testkit::registry::{Fault, Layout, Options, Proxy, Registry, Rule, TokenOptions, TokenServer};
//! use testkit::{Outcome, Sandbox};
//!
//! fn pulls_through_a_bad_network(sandbox: &Sandbox) -> Outcome {
//!     let registry = Registry::start(sandbox, Options::default())?;
//!     let layout = Layout::busybox(sandbox, "busybox")?; // tag "latest", runs
//!     registry.push_layout(&layout.path, "latest", "library/busybox:latest", &[])?;
//!
//!     // The first GET of a blob breaks after 1000 bytes of the body, the second answers 503, then all is well.
//!     let proxy = Proxy::start(
//!         registry.address(),
//!         vec![
//!             Rule::new("GET", "/blobs/", Fault::Cut { after: 1000 }),
//!             Rule::new("GET", "/blobs/", Fault::status(503)),
//!         ],
//!     )?;
//!     // ... pull from proxy.address() ...
//!     assert!(proxy.requests().iter().any(|request| request.header("range").is_some()));
//!
//!     // Blobs come from another address that refuses requests with Authorization, as object stores do.
//!     proxy.add(Rule::new("GET", "/blobs/", Fault::Cdn).always());
//!
//!     // A registry with accounts: docker-registry sends clients to the token server.
//!     let tokens = TokenServer::start(
//!         sandbox,
//!         TokenOptions {
//!             users: &[("alice", "secret")],
//!             anonymous_pull: &["library/busybox"],
//!             ..TokenOptions::default()
//!         },
//!     )?;
//!     let private = Registry::start(
//!         sandbox,
//!         Options { name: "private", token: Some(&tokens), ..Options::default() },
//!     )?;
//!     private.push_layout(&layout.path, "latest", "alice/web:1", &[])?; // as alice
//!     assert_eq!(tokens.requests().len(), 1);
//!     Ok(())
//! }
//! ```
//!
//! - [`Registry`]: Debian's docker-registry; [`Options`] for passwords, TLS, client certificates, tokens, mirror of
//!   another registry.
//! - [`TokenServer`]: gives the tokens; records who asked for which scope.
//! - [`Proxy`]: stands before a registry, plays the faults of its [`Rule`]s, counts requests and bytes.
//! - [`ForwardProxy`]: what `HTTP_PROXY` and `HTTPS_PROXY` point to; can send any name to a registry of the test.
//! - [`Layout`]: OCI layouts to push: busybox that runs, layers of random bytes, indexes.
//! - [`Authority`]: certificates, should a test want more of them.

use std::error::Error;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Sandbox, skip};

mod certificates;
mod fault;
mod forward;
mod http;
mod layout;
mod proxy;
mod relay;
mod server;
mod skopeo;
mod token;

pub use certificates::{Authority, Certificate};
pub use fault::{Fault, Rule};
pub use forward::{Asked, ForwardProxy};
pub use layout::{Compression, Image, Layout, Platform};
pub use proxy::{Proxy, Request};
pub use token::{TokenField, TokenOptions, TokenRequest, TokenServer};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What a registry is like. The default: plain HTTP, everybody may do everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Its folder in the sandbox; different for each registry of a test. Empty: `registry`.
    pub name: &'a str,
    /// Port, 0 for a free one.
    pub port: u16,
    /// User and password that it wants to see with HTTP basic authentication.
    pub htpasswd: Option<(&'a str, &'a str)>,
    /// HTTPS with a certificate for 127.0.0.1, localhost and `names` from an authority of its own: [`Registry::ca`].
    pub tls: bool,
    /// More names for the certificate, such as `registry-1.docker.io`: a [`ForwardProxy`] can lead there.
    pub names: &'a [&'a str],
    /// HTTPS that wants to see a client's certificate as well ([`Registry::client`]); implies `tls`.
    pub client_tls: bool,
    /// Who gives the tokens that it wants to see.
    pub token: Option<&'a TokenServer>,
    /// Makes it a read-only cache of the registry at this URL (`http://127.0.0.1:PORT`).
    pub mirror_of: Option<&'a str>,
    /// `Location` of uploads without scheme and host, which the specification allows.
    pub relative_urls: bool,
}

/// A running docker-registry.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    dir: PathBuf,
    address: String,
    ca: Option<PathBuf>,
    client: Option<Certificate>,
    credentials: Option<(String, String)>,
}

impl Registry {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// Skips if `docker-registry`, or `htpasswd` or `openssl` where asked for, is missing; if it does not come up
    /// within ten seconds, with what it said.
    pub fn start(sandbox: &Sandbox, options: Options<'_>) -> Result<Self> {
        let name = if options.name.is_empty() { "registry" } else { options.name };
        let dir = sandbox.path(name);
        std::fs::create_dir_all(dir.join("storage"))?;
        let address = match options.port {
            0 => free_address()?,
            port => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        let mut yaml = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http:\n  addr: {address}\n  relativeurls: {}\n",
            dir.join("storage").display(),
            options.relative_urls,
        );
        let (mut ca, mut client) = (None, None);
        if options.tls || options.client_tls {
            let authority = Authority::new(&dir, "server-ca")?;
            let server = authority.server("server", options.names)?;
            yaml += &format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                server.certificate.display(),
                server.key.display()
            );
            if options.client_tls {
                // An authority of its own: a client that confuses the two is found out.
                let clients = Authority::new(&dir, "client-ca")?;
                yaml += &format!("    clientcas: [{}]\n", clients.certificate.display());
                client = Some(clients.client("client")?);
            }
            ca = Some(authority.certificate);
        }
        let mut credentials = options.htpasswd;
        if let Some((user, password)) = options.htpasswd {
            let path = dir.join("htpasswd");
            std::fs::write(&path, output("htpasswd", &["-Bbn", user, password], "apache2-utils")?)?;
            yaml += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display());
        } else if let Some(tokens) = options.token {
            yaml += &tokens.configuration();
            credentials = tokens.first_user();
        }
        if let Some(url) = options.mirror_of {
            yaml += &format!("proxy: {{remoteurl: \"{url}\"}}\n");
        }
        let file = dir.join("config.yml");
        std::fs::write(&file, yaml)?;
        let log = File::create(dir.join("log"))?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .or_else(|error| missing("docker-registry", "docker-registry", error))?;
        let mut registry = Self {
            child,
            dir,
            address: address.to_string(),
            ca,
            client,
            credentials: credentials.map(|(user, password)| (user.to_owned(), password.to_owned())),
        };
        registry.wait_until_it_listens()?;
        Ok(registry)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let start = Instant::now();
        // A connection would prove less: somebody else may have the port.
        while !self.log().contains("listening on ") {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("docker-registry ended: {status}\n{}", self.log()).into());
            }
            if start.elapsed() > Duration::from_secs(10) {
                return Err(format!("docker-registry does not listen\n{}", self.log()).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// `127.0.0.1:PORT`: what comes before the first slash of an image's name.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `127.0.0.1`.
    pub fn host(&self) -> &str {
        self.address.rsplit_once(':').map_or("", |(host, _)| host)
    }

    /// The port alone, to write `localhost:PORT`.
    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }

    /// `http://127.0.0.1:PORT` or `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate of the authority that has signed the registry's own: PEM. None without TLS.
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Certificate and key that a client shows. None without `client_tls`.
    pub fn client(&self) -> Option<&Certificate> {
        self.client.as_ref()
    }

    /// What it has printed: its own messages, and one line for each request in Apache's combined format.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The digests of the blobs (manifests are blobs too) that it stores: `sha256:HEX`, sorted.
    pub fn blobs(&self) -> Vec<String> {
        let root = self.dir.join("storage/docker/registry/v2/blobs/sha256");
        let mut digests: Vec<String> = entries(&root)
            .iter()
            .flat_map(|prefix| entries(prefix))
            .filter(|blob| blob.join("data").exists())
            .filter_map(|blob| Some(format!("sha256:{}", blob.file_name()?.to_str()?)))
            .collect();
        digests.sort();
        digests
    }

    /// Where the bytes of a blob lie, so that a test can damage or remove them.
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let root = self.dir.join("storage/docker/registry/v2/blobs/sha256");
        root.join(hex.get(..2).unwrap_or_default()).join(hex).join("data")
    }

    /// A curl command, silent, for a path such as `/v2/`, with the certificates that the registry asks for (and no
    /// user).
    pub fn curl(&self, path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*"]);
        if let Some(ca) = &self.ca {
            curl.arg("--cacert").arg(ca);
        }
        if let Some(client) = &self.client {
            curl.arg("--cert").arg(&client.certificate).arg("--key").arg(&client.key);
        }
        curl.arg(format!("{}{path}", self.url()));
        curl
    }

    /// Ends it; from then on connections are refused.
    pub fn stop(&mut self) {
        // Both fail only if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An address on loopback where nobody listens: good for a connection that must be refused.
///
/// # Errors
/// If there is no loopback.
pub fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Standard output of a command; skips if the program, from a Debian package, is missing.
fn output(program: &str, args: &[&str], package: &str) -> Result<Vec<u8>> {
    run(Command::new(program).args(args), package)
}

/// As [`output`], for a command that is ready to go.
fn run(command: &mut Command, package: &str) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return missing(&program, package, error),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{said}", output.status).into())
}

fn missing<T>(program: &str, package: &str, error: std::io::Error) -> Result<T> {
    if error.kind() == std::io::ErrorKind::NotFound {
        return skip(format!("needs {program} (Debian: {package})"));
    }
    Err(format!("{program}: {error}").into())
}
