//! TLS: whom to believe for which host. The machine's certificate authorities, those of `certs.d`, client certificates.
//!
//! The HTTP library connects in a chain of steps: a proxy, TCP, and here TLS on top.

use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use super::certificates::{self, ForHost};
use super::error::Error;
use super::transport::Insecure;
use super::url::{Origin, Url};
use super::verifier::{Anybody, Known};

/// The TLS configurations of this process, one for each host and port.
pub(super) struct Tls {
    folders: Vec<PathBuf>,
    insecure: Insecure,
    provider: Arc<CryptoProvider>,
    machine: OnceLock<Vec<CertificateDer<'static>>>,
    configs: Mutex<HashMap<Origin, Arc<ClientConfig>>>,
}

impl Tls {
    pub(super) fn new(folders: Vec<PathBuf>, insecure: Insecure) -> Self {
        Self {
            folders,
            insecure,
            provider: Arc::new(ring::default_provider()),
            machine: OnceLock::new(),
            configs: Mutex::default(),
        }
    }

    /// Where to put the certificate of an authority, for a hint.
    pub(super) fn place(&self, origin: &Origin) -> PathBuf {
        let first = self.folders.first().map_or(Path::new("/etc/mini-docker/certs.d"), |it| it);
        first.join(origin.authority())
    }

    fn config(&self, origin: &Origin) -> Result<Arc<ClientConfig>, Error> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(origin) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build(origin)?);
        configs.insert(origin.clone(), Arc::clone(&config));
        Ok(config)
    }

    fn build(&self, origin: &Origin) -> Result<ClientConfig, Error> {
        let own = certificates::read(&self.folders, origin)?;
        let refuse = |error: &dyn fmt::Display| Error::Settings {
            what: format!("certificates for {}", origin.authority()),
            reason: error.to_string(),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| refuse(&error))?
            .dangerous();
        let builder = if self.insecure.covers(origin) {
            let schemes = self.provider.signature_verification_algorithms.supported_schemes();
            builder.with_custom_certificate_verifier(Arc::new(Anybody(schemes)))
        } else {
            let roots = Arc::new(self.roots(&own));
            let inner =
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
                    .build()
                    .map_err(|error| refuse(&error))?;
            builder.with_custom_certificate_verifier(Arc::new(Known {
                inner,
                pinned: own.authorities,
            }))
        };
        match own.client {
            None => Ok(builder.with_no_client_auth()),
            Some(client) => {
                builder.with_client_auth_cert(client.chain, client.key).map_err(|error| {
                    Error::Settings {
                        what: client.file.display().to_string(),
                        reason: format!("it does not fit its key: {error}"),
                    }
                })
            }
        }
    }

    fn roots(&self, own: &ForHost) -> RootCertStore {
        // Honours SSL_CERT_FILE and SSL_CERT_DIR. What cannot be read is skipped, as everywhere.
        let machine = self.machine.get_or_init(|| rustls_native_certs::load_native_certs().certs);
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(machine.iter().cloned());
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        roots.add_parsable_certificates(own.authorities.iter().cloned());
        roots
    }
}

/// The step that puts TLS on a connection.
pub(super) struct TlsConnector(pub(super) Arc<Tls>);

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(below) = chained else { return Ok(None) };
        if !details.needs_tls() || below.is_tls() {
            return Ok(Some(Either::A(below)));
        }
        let url = Url::parse(&details.uri.to_string()).map_err(ureq::Error::BadUri)?;
        let config =
            self.0.config(&url.origin).map_err(|error| ureq::Error::Other(error.into()))?;
        let name = ServerName::try_from(url.origin.bare_host().to_owned())
            .map_err(|_| ureq::Error::BadUri(format!("{} is no host name", url.origin.host)))?;
        let connection = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
        let mut socket = TransportAdapter::new(below.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let (input, output) =
            (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers: LazyBuffers::new(input, output), stream })))
    }
}

/// A connection with TLS on it.
pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
