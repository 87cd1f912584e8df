//! Docker's registry, on loopback, with its store in a folder of ours.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{SysconfVar, sysconf};

use super::image::Image;
use super::layout::TAG;

/// The network namespace is ours alone, and so is the port.
const ADDRESS: &str = "127.0.0.1:5000";

/// A running registry; ends when dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Child,
}

impl Registry {
    /// Starts it, and waits until it answers.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        fs::create_dir(folder)?;
        let settings = folder.join("settings.yml");
        let store = folder.join("store");
        let text = format!(
            "version: 0.1\n\
             log: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: \"{}\"}}}}\n\
             http: {{addr: \"{ADDRESS}\"}}\n",
            store.display()
        );
        fs::write(&settings, text)?;
        let log = folder.join("log");
        // Ends with this process, however that ends.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("run `docker-registry`")?;
        let mut registry = Self { process };
        let begin = Instant::now();
        while TcpStream::connect(ADDRESS).is_err() {
            if let Some(status) = registry.process.try_wait()? {
                bail!("docker-registry: {status}: {}", fs::read_to_string(&log)?);
            }
            ensure!(begin.elapsed() < Duration::from_secs(20), "docker-registry does not answer");
            sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }

    /// The name under which it has an image.
    pub(crate) fn reference(image: &Image) -> String {
        format!("{ADDRESS}/bench/{}:{TAG}", image.name)
    }

    /// The address of each layer's blob, the lowest first.
    pub(crate) fn blobs(image: &Image) -> Vec<String> {
        let digests = image.layers.iter().filter_map(|layer| layer.path.file_name());
        let url = |digest: &std::ffi::OsStr| {
            let digest = digest.to_string_lossy();
            format!("http://{ADDRESS}/v2/bench/{}/blobs/sha256:{digest}", image.name)
        };
        digests.map(url).collect()
    }

    /// Brings an image there.
    pub(crate) fn push(&self, image: &Image) -> Result<()> {
        let status = Command::new("skopeo")
            .args(["copy", "--quiet", "--dest-tls-verify=false"])
            .arg(format!("oci:{}:{TAG}", image.layout.display()))
            .arg(format!("docker://{}", Self::reference(image)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("run `skopeo`")?;
        ensure!(status.success(), "skopeo copy: {status}");
        Ok(())
    }

    /// CPU time so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let ticks = ticks(&stat).context("read CPU time of the registry")?;
        let per_second = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100);
        Ok(ticks as f64 / per_second as f64)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// utime and stime of proc_pid_stat(5), in clock ticks.
fn ticks(stat: &str) -> Option<u64> {
    // The name before it may contain blanks and parentheses.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<u64>().ok();
    Some(field()? + field()?)
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "12 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 40 2 0 0 20 0";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("12 (a) S 1"), None);
    }
}
