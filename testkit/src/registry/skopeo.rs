//! Images to a registry and back, with skopeo.

use std::path::Path;
use std::process::Command;

use super::{Registry, Result, run};

impl Registry {
    /// Copies `tag` of the OCI layout `layout` to `name` (`repository:tag`) with skopeo, with certificates and user
    /// that the registry asks for (the first user of a token server).
    ///
    /// Digests stay what they are unless an extra argument asks for another form: `--format v2s2` for Docker's schema
    /// 2, `--dest-compress-format zstd`, `--all` for every image of an index.
    ///
    /// # Errors
    /// Skips without skopeo; what skopeo says.
    pub fn push_layout(&self, layout: &Path, tag: &str, name: &str, extra: &[&str]) -> Result<()> {
        let mut skopeo = self.skopeo("copy", "dest-")?;
        let other = |extra: &&str| {
            extra.starts_with("--format") || extra.starts_with("-f") || extra.contains("compress")
        };
        if !extra.iter().any(other) {
            skopeo.arg("--preserve-digests");
        }
        skopeo.args(extra);
        skopeo.arg(format!("oci:{}:{tag}", layout.display()));
        skopeo.arg(format!("docker://{}/{name}", self.address));
        run(&mut skopeo, "skopeo").map(drop)
    }

    /// Copies `name` (`repository:tag` or `repository@digest`) to `tag` of a new or existing OCI layout with skopeo:
    /// whether others can read what was pushed.
    ///
    /// # Errors
    /// As [`Registry::push_layout`].
    pub fn pull_layout(&self, name: &str, layout: &Path, tag: &str, extra: &[&str]) -> Result<()> {
        let mut skopeo = self.skopeo("copy", "src-")?;
        skopeo.args(extra);
        skopeo.arg(format!("docker://{}/{name}", self.address));
        skopeo.arg(format!("oci:{}:{tag}", layout.display()));
        run(&mut skopeo, "skopeo").map(drop)
    }

    /// The manifest or index of `name` as the registry has it: `skopeo inspect --raw`.
    ///
    /// # Errors
    /// As [`Registry::push_layout`].
    pub fn manifest(&self, name: &str) -> Result<Vec<u8>> {
        let mut skopeo = self.skopeo("inspect", "")?;
        skopeo.arg("--raw").arg(format!("docker://{}/{name}", self.address));
        run(&mut skopeo, "skopeo")
    }

    /// `skopeo VERB` with flags for this registry, whose names begin with `prefix` (`dest-`, `src-`, nothing).
    fn skopeo(&self, verb: &str, prefix: &str) -> Result<Command> {
        let mut skopeo = Command::new("skopeo");
        // No configuration of this machine: neither a policy nor somebody's login.
        let home = self.dir.join("skopeo");
        std::fs::create_dir_all(&home)?;
        skopeo.env("HOME", &home).env("XDG_RUNTIME_DIR", &home);
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            skopeo.env_remove(proxy);
        }
        skopeo.arg("--insecure-policy").arg(verb);
        match &self.ca {
            None => skopeo.arg(format!("--{prefix}tls-verify=false")),
            Some(ca) => {
                let dir = self.dir.join("certs");
                std::fs::create_dir_all(&dir)?;
                std::fs::copy(ca, dir.join("ca.crt"))?;
                if let Some(client) = &self.client {
                    std::fs::copy(&client.certificate, dir.join("client.cert"))?;
                    std::fs::copy(&client.key, dir.join("client.key"))?;
                }
                skopeo.arg(format!("--{prefix}cert-dir")).arg(dir)
            }
        };
        if let Some((user, password)) = &self.credentials {
            skopeo.arg(format!("--{prefix}creds")).arg(format!("{user}:{password}"));
        }
        Ok(skopeo)
    }
}
