//! Certificates of a private authority, made with openssl.

use std::path::{Path, PathBuf};

use super::{Result, output};

/// A certificate and its key, PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
}

/// A certificate authority that exists for one test.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Its own certificate: what a client is told to trust.
    pub certificate: PathBuf,
    key: PathBuf,
    dir: PathBuf,
}

impl Authority {
    /// Makes `NAME.crt` and `NAME.key` in a folder that exists.
    ///
    /// # Errors
    /// Skips without openssl; what openssl says.
    pub fn new(dir: &Path, name: &str) -> Result<Self> {
        let extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"];
        let Certificate { certificate, key } = make(dir, name, Key::Curve, &extensions, None)?;
        Ok(Self { certificate, key, dir: dir.to_owned() })
    }

    /// A server's certificate for 127.0.0.1, localhost and more names: `NAME.crt` and `NAME.key` in the same folder.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn server(&self, name: &str, names: &[&str]) -> Result<Certificate> {
        let mut alternatives = "subjectAltName=IP:127.0.0.1,DNS:localhost".to_owned();
        for name in names {
            alternatives += &format!(",DNS:{name}");
        }
        self.issue(name, &[LEAF, &alternatives, "extendedKeyUsage=serverAuth"])
    }

    /// A certificate that a client shows.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn client(&self, name: &str) -> Result<Certificate> {
        self.issue(name, &[LEAF, "extendedKeyUsage=clientAuth"])
    }

    fn issue(&self, name: &str, extensions: &[&str]) -> Result<Certificate> {
        make(&self.dir, name, Key::Curve, extensions, Some(self))
    }
}

/// A certificate that has signed itself, with an RSA key.
pub(super) fn self_signed(dir: &Path, name: &str) -> Result<Certificate> {
    make(dir, name, Key::Rsa, &[LEAF], None)
}

const LEAF: &str = "basicConstraints=critical,CA:FALSE";

/// The kind of key: RS256 wants RSA, all else takes elliptic curves, which are made in no time.
enum Key {
    Curve,
    Rsa,
}

/// A new key and a certificate for it, signed by an authority or by itself.
fn make(
    dir: &Path,
    name: &str,
    kind: Key,
    extensions: &[&str],
    authority: Option<&Authority>,
) -> Result<Certificate> {
    let file = |suffix: &str| dir.join(format!("{name}.{suffix}"));
    let (certificate, key, config) = (file("crt"), file("key"), file("cnf"));
    // A configuration of our own: that of the machine adds extensions.
    let mut text = format!(
        "[req]\nprompt=no\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\nCN=testkit {name}\n[ext]\n"
    );
    for extension in extensions {
        text += &format!("{extension}\n");
    }
    std::fs::write(&config, text)?;
    let kind: &[&str] = match kind {
        Key::Curve => &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        Key::Rsa => &["rsa:2048"],
    };
    let path = |path: &Path| path.display().to_string();
    let (certificate_path, key_path, config) = (path(&certificate), path(&key), path(&config));
    let mut args = vec!["req", "-x509", "-noenc", "-days", "2", "-config", &config];
    args.extend(["-keyout", &key_path, "-out", &certificate_path, "-newkey"]);
    args.extend(kind);
    let signer = authority.map(|signer| (path(&signer.certificate), path(&signer.key)));
    if let Some((certificate, key)) = &signer {
        args.extend(["-CA", certificate, "-CAkey", key]);
    }
    output("openssl", &args, "openssl")?;
    Ok(Certificate { certificate, key })
}
