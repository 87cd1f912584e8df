//! Debian's docker-registry.

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use images::Digest;
use images::registry::{self, Anonymous, Pushed};
use serde_json::json;
use testkit::{Outcome, Sandbox};

use crate::server::client;

/// A registry that runs until it is dropped.
pub(crate) struct Registry {
    pub(crate) port: u16,
    process: Child,
}

impl Registry {
    /// `http` are more lines for that part of its configuration.
    pub(crate) fn start(sandbox: &Sandbox, name: &str, http: &str) -> Result<Self, Box<dyn Error>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let root = sandbox.path(name);
        let file = sandbox.path(format!("{name}.yml"));
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  \
             addr: 127.0.0.1:{port}\n{http}",
            root.display()
        );
        fs::write(&file, text)?;
        let log = fs::File::create(sandbox.path(format!("{name}.log")))?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .or_else(|_| testkit::skip("needs docker-registry (Debian: docker-registry)"))?;
        let registry = Self { port, process };
        for _ in 0..1_000 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(registry);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(fs::read_to_string(sandbox.path(format!("{name}.log")))?.into())
    }

    pub(crate) fn host(&self, name: &str) -> String {
        format!("{name}:{}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

pub(crate) fn push(
    registry: &registry::Registry,
    repository: &str,
    bytes: &[u8],
    mounts: &[String],
) -> Result<Pushed, registry::Error> {
    let owned = bytes.to_vec();
    let open = move |from: u64| -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::Cursor::new(owned[usize::try_from(from).unwrap()..].to_vec())))
    };
    registry.push_blob(repository, &Digest::of(bytes), bytes.len() as u64, mounts, &open, &|_| {})
}

pub(crate) fn a_real_registry_takes_and_gives(sandbox: &Sandbox) -> Outcome {
    let server = Registry::start(sandbox, "plain", "")?;
    let registry = client(Anonymous).registry(&server.host("localhost"));
    let config = b"{}".to_vec();
    let layer: Vec<u8> = (0..36 << 20).map(|at: u32| (at ^ (at >> 7)).to_le_bytes()[0]).collect();
    for blob in [&config, &layer, &Vec::new()] {
        assert_eq!(push(&registry, "some/where", blob, &[])?, Pushed::Uploaded);
        assert_eq!(push(&registry, "some/where", blob, &[])?, Pushed::Exists);
    }
    let from = "some/where".to_owned();
    assert_eq!(
        push(&registry, "else", &layer, &["none".into(), from.clone()])?,
        Pushed::Mounted(from)
    );

    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let descriptor = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "size": bytes.len(), "digest": Digest::of(bytes).to_string()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes();
    let digest = registry.push_manifest("some/where", "v1", media_type, &manifest)?;
    let error = registry.push_manifest("else", "v1", media_type, &manifest).unwrap_err();
    assert!(
        matches!(
            &error,
            registry::Error::Refused { status: 400, .. } | registry::Error::NotFound { .. }
        ),
        "{error}"
    );

    for reference in ["v1", &digest.to_string()] {
        let document = registry.manifest("some/where", reference)?;
        assert_eq!((document.digest, document.media_type.as_str()), (digest, media_type));
        assert_eq!(document.bytes, manifest);
    }
    assert_eq!(registry.document("some/where", &Digest::of(&config), 2)?, config);
    for from in [0, 1, layer.len() - 1, layer.len()] {
        let mut bytes = Vec::new();
        let (digest, size) = (Digest::of(&layer), layer.len() as u64);
        registry.blob("some/where", &digest, size, from as u64)?.read_to_end(&mut bytes)?;
        assert!(bytes == layer[from..], "from {from}");
    }
    assert_eq!(registry.tags("some/where")?, ["v1"]);
    assert_eq!(registry.catalog()?, ["else", "some/where"]);
    let error = registry.manifest("some/where", "v2").unwrap_err();
    assert!(matches!(&error, registry::Error::NotFound { .. }), "{error}");
    let error = registry.tags("nowhere").unwrap_err();
    assert!(matches!(&error, registry::Error::NotFound { .. }), "{error}");
    assert_eq!(registry.login(&registry::Credential::IdentityToken("x".into()))?, None);
    Ok(())
}

/// Passes bytes on to a port; cuts one connection when it has carried `limit` bytes.
fn cutter(to: u16, limit: usize) -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let done = Arc::new(AtomicBool::new(false));
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (mut near, done) = (near?, Arc::clone(&done));
            let mut far = TcpStream::connect(("127.0.0.1", to))?;
            let (mut back_from, mut back_to) = (far.try_clone()?, near.try_clone()?);
            std::thread::spawn(move || {
                io::copy(&mut back_from, &mut back_to).ok();
                back_to.shutdown(Shutdown::Both)
            });
            std::thread::spawn(move || -> io::Result<()> {
                let mut carried = 0;
                let mut buffer = vec![0; 64 << 10];
                loop {
                    let length = near.read(&mut buffer)?;
                    if length == 0 {
                        return far.shutdown(Shutdown::Both);
                    }
                    far.write_all(&buffer[..length])?;
                    carried += length;
                    if carried > limit && !done.swap(true, Ordering::Relaxed) {
                        near.shutdown(Shutdown::Both)?;
                        return far.shutdown(Shutdown::Both);
                    }
                }
            });
        }
        io::Result::Ok(())
    });
    Ok(port)
}

pub(crate) fn a_real_registry_behind_a_bad_line(sandbox: &Sandbox) -> Outcome {
    let server = Registry::start(sandbox, "plain", "")?;
    let layer: Vec<u8> = (0..36 << 20).map(|at: u32| (at ^ (at >> 5)).to_le_bytes()[0]).collect();
    // In the first chunk, in the second, and in a blob that goes as a whole.
    for (repository, limit, size) in
        [("a", 5 << 20, 36 << 20), ("b", 20 << 20, 36 << 20), ("c", 1 << 20, 3 << 20)]
    {
        let port = cutter(server.port, limit)?;
        let registry = client(Anonymous).registry(&format!("127.0.0.1:{port}"));
        assert_eq!(push(&registry, repository, &layer[..size], &[])?, Pushed::Uploaded);
        let (digest, mut bytes) = (Digest::of(&layer[..size]), Vec::new());
        registry.blob(repository, &digest, size as u64, 0)?.read_to_end(&mut bytes)?;
        assert!(bytes == layer[..size]);
    }
    Ok(())
}
