//! Where and when the figures were taken: without that they mean nothing.

use std::fs;

use anyhow::Result;
use cgroups::{Hierarchies, Mode};

/// The machine, as far as it decides what a start costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Kernel release and architecture.
    pub kernel: String,
    /// CPUs that this process may use, and their name.
    pub cpus: String,
    /// How cgroups are mounted.
    pub cgroups: String,
    /// How the kernel waits for grace periods.
    pub rcu: &'static str,
    /// Whether the CPUs have instructions for SHA-256.
    pub sha: bool,
    /// Day of the run, UTC.
    pub date: String,
}

impl Host {
    /// Looks around.
    ///
    /// # Errors
    /// Those of uname(2), hence none in practice; or if no cgroup hierarchy is mounted.
    pub fn look() -> Result<Self> {
        let names = nix::sys::utsname::uname()?;
        let hierarchies = Hierarchies::detect()?;
        let v1 = hierarchies.iter().filter(|one| one.version == cgroups::Version::V1).count();
        let cgroups = match hierarchies.mode() {
            Mode::Unified => "v2".to_owned(),
            Mode::Hybrid => format!("hybrid, {v1} v1 hierarchies"),
            Mode::Legacy => format!("v1, {v1} hierarchies"),
        };
        let count = std::thread::available_parallelism()?;
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu_model(&cpuinfo);
        let expedited = fs::read_to_string("/sys/kernel/rcu_expedited").unwrap_or_default();
        Ok(Self {
            kernel: format!(
                "Linux {} {}",
                names.release().to_string_lossy(),
                names.machine().to_string_lossy()
            ),
            cpus: model.map_or_else(|| count.to_string(), |model| format!("{count} x {model}")),
            cgroups,
            rcu: if expedited.trim() == "1" { "expedited" } else { "normal" },
            sha: has_sha(&cpuinfo),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        })
    }

    /// What decides a container start, in one line.
    pub fn line(&self) -> String {
        let Self { kernel, cpus, cgroups, rcu, date, .. } = self;
        format!("{kernel}; {cpus}; cgroups {cgroups}; RCU {rcu}; {date}")
    }

    /// What decides how fast data is worked through, in one line.
    pub fn data_line(&self) -> String {
        let Self { kernel, cpus, sha, date, .. } = self;
        let sha = if *sha { "with" } else { "without" };
        format!("{kernel}; {cpus}, {sha} SHA instructions; {date}")
    }
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim()).filter(|model| *model != "unknown")
}

/// x86 says `sha_ni`, ARM `sha2`.
fn has_sha(cpuinfo: &str) -> bool {
    let flags = |line: &&str| line.starts_with("flags") || line.starts_with("Features");
    let line = cpuinfo.lines().find(flags).unwrap_or_default();
    line.split_whitespace().any(|flag| matches!(flag, "sha_ni" | "sha2"))
}

#[cfg(test)]
mod tests {
    use super::{cpu_model, has_sha};

    #[test]
    fn finds_the_model_where_there_is_one() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Fast CPU\n"), Some("Fast CPU"));
        assert_eq!(cpu_model("model name\t: unknown\n"), None);
        assert_eq!(cpu_model("processor\t: 0\n"), None);
    }

    #[test]
    fn finds_the_sha_instructions() {
        assert!(has_sha("processor\t: 0\nflags\t\t: fpu sha_ni avx\n"));
        assert!(has_sha("Features\t: fp sha1 sha2\n"));
        assert!(!has_sha("model name\t: sha_ni\nflags\t\t: fpu\n"));
        assert!(!has_sha(""));
    }
}
