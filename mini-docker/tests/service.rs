//! Services as people run them: nginx and redis from Debian's packages in the background, with their data in a volume and
//! their port on the host; and one that prints 100,000 lines while somebody reads along and the log rotates.
//!
//! The image comes from `tests/data/services`.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "service/counter.rs"]
mod counter;
#[path = "service/redis.rs"]
mod redis;
mod support;
#[path = "service/web.rs"]
mod web;

use std::path::Path;

use support::{Docker, Result};
use testkit::{Sandbox, skip};

fn main() {
    testkit::main(&[redis::TESTS, web::TESTS, counter::TESTS].concat());
}

/// A mini-docker whose containers are removed when the test ends, however it ends.
pub struct Host {
    /// Its own roots.
    pub docker: Docker,
}

impl Host {
    /// With the image `services`.
    pub fn with_services(sandbox: &Sandbox) -> Result<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let tar = workspace.join("target/testdata/services.tar");
        if !tar.exists() {
            return skip("needs nginx and redis: run tests/data/services once");
        }
        let host = Self { docker: Docker::new(sandbox) };
        host.done(&["import", tar.to_str().unwrap(), "services"])?;
        Ok(host)
    }

    /// With the image `busybox`.
    pub fn with_busybox(sandbox: &Sandbox) -> Result<Self> {
        Ok(Self { docker: Docker::with_busybox(sandbox)? })
    }

    /// Runs what must succeed without a word on standard error; returns its standard output without the last newline.
    pub fn done(&self, args: &[&str]) -> Result<String> {
        let ran = self.docker.ran(args)?;
        if ran.code != 0 || !ran.stderr.is_empty() {
            return Err(format!("{args:?}: {ran:?}").into());
        }
        Ok(ran.stdout.trim_end_matches('\n').to_owned())
    }

    /// What `inspect` says.
    pub fn inspect(&self, name: &str, template: &str) -> Result<String> {
        self.done(&["inspect", "-f", template, name])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Ok(all) = self.docker.ran(["ps", "-aq"]) else { return };
        for id in all.stdout.lines() {
            self.docker.ran(["rm", "-f", id]).ok();
        }
    }
}
