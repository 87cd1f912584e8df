//! `certs.d/<host:port>/`: `*.crt` are authorities, `*.cert` and `*.key` with the same name are a client certificate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::Error;
use super::url::Origin;

/// What `certs.d` holds for one host.
#[derive(Default)]
pub(super) struct ForHost {
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// If there are several, the first by file name.
    pub(super) client: Option<Client>,
}

/// Who we are, for registries that want to know it from TLS.
pub(super) struct Client {
    pub(super) file: PathBuf,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Reads the folders for a host; none need exist.
///
/// # Errors
/// If a file is not what its name says, or one half of a client certificate is missing: going on without it would be
/// told as "access denied" by the registry.
pub(super) fn read(folders: &[PathBuf], origin: &Origin) -> Result<ForHost, Error> {
    let mut names = vec![format!("{}:{}", origin.host, origin.port)];
    if origin.port == origin.default_port() {
        names.push(origin.host.clone());
    }
    if origin.host == super::HUB_HOST {
        names.push(super::HUB.to_owned());
    }
    let mut found = ForHost::default();
    for folder in folders.iter().flat_map(|root| names.iter().map(|name| root.join(name))) {
        let mut files = match list(&folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(wrong(&folder, error)),
        };
        files.sort();
        for file in &files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => found.authorities.extend(chain(file)?),
                Some("cert") => {
                    let client = client(file)?;
                    found.client.get_or_insert(client);
                }
                Some("key") => {
                    let other = file.with_extension("cert");
                    if !files.contains(&other) {
                        let reason = format!("client certificate {} is missing", other.display());
                        return Err(wrong(file, reason));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

fn wrong(file: &Path, reason: impl ToString) -> Error {
    Error::Settings { what: file.display().to_string(), reason: reason.to_string() }
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = fs::read(file).map_err(|error| wrong(file, error))?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(wrong(file, "no certificate in PEM form")),
    }
}

fn client(file: &Path) -> Result<Client, Error> {
    let key = file.with_extension("key");
    let pem = match fs::read(&key) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let reason = format!(
                "its key {} is missing (hint: the certificate of an authority ends with .crt)",
                key.display()
            );
            return Err(wrong(file, reason));
        }
        other => other.map_err(|error| wrong(&key, error))?,
    };
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| wrong(&key, "no unencrypted private key in PEM form"))?;
    Ok(Client { file: file.to_owned(), chain: chain(file)?, key })
}

#[cfg(test)]
mod tests {
    use super::super::url::Url;
    use super::*;

    #[test]
    fn halves_and_rubbish_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let origin = Url::parse("https://r.example:5000/").unwrap().origin;
        let read = || read(&[folder.path().to_owned()], &origin);
        assert!(read().unwrap().authorities.is_empty());
        let own = folder.path().join("r.example:5000");
        fs::create_dir(&own).unwrap();
        let told = |file: &str, content: &str| {
            fs::write(own.join(file), content).unwrap();
            let error = read().err().map(|error| error.to_string()).unwrap_or_default();
            fs::remove_file(own.join(file)).unwrap();
            error.replace(&own.display().to_string(), "DIR")
        };
        assert_eq!(told("README", "x"), "");
        assert_eq!(told("ca.crt", "x"), "DIR/ca.crt: no certificate in PEM form");
        assert_eq!(told("me.key", "x"), "DIR/me.key: client certificate DIR/me.cert is missing");
        assert_eq!(
            told("me.cert", "x"),
            "DIR/me.cert: its key DIR/me.key is missing (hint: the certificate of an authority ends with .crt)"
        );
        fs::write(own.join("me.key"), "x").unwrap();
        assert_eq!(told("me.cert", "x"), "DIR/me.key: no unencrypted private key in PEM form");
    }
}
