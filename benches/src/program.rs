//! What stands beside the ladder, measured in the same rounds.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::clock::{Clock, Sample};
use crate::stage::{Stage, VOLUME};

/// A program, run as a child of this process and waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `true` by [`std::process::Command`]: posix_spawn(3), which shares memory with the child until exec and so copies
    /// no page tables.
    Spawn,
    /// `mini-docker version`: loading the binary and reading its command line.
    Version,
    /// `mini-docker run --rm --network none`: the ladder up to the layers, and all that makes a command of it.
    NoNetwork,
    /// `mini-docker run --rm`: a bridge for itself.
    BridgeNetwork,
    /// `mini-docker run --rm` with limits, a published port and two volumes: the whole ladder.
    Everything,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Spawn, Self::Version, Self::NoNetwork, Self::BridgeNetwork, Self::Everything];

    /// Whether it is `mini-docker`.
    pub fn needs_binary(self) -> bool {
        self != Self::Spawn
    }

    /// A short name without spaces.
    pub fn id(self) -> &'static str {
        match self {
            Self::Spawn => "90-posix-spawn",
            Self::Version => "91-mini-docker-version",
            Self::NoNetwork => "92-run-network-none",
            Self::BridgeNetwork => "93-run-bridge",
            Self::Everything => "94-run-everything",
        }
    }

    /// The name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Spawn => "process: posix_spawn (std)",
            Self::Version => "mini-docker version",
            Self::NoNetwork => "run --rm --network none",
            Self::BridgeNetwork => "run --rm (bridge)",
            Self::Everything => "run --rm -m --pids -p -v -v",
        }
    }

    /// Runs it once.
    ///
    /// # Errors
    /// If it does not succeed.
    pub fn run(self, stage: &Stage) -> Result<Sample> {
        let bind = format!("{}:/mnt", stage.shared.display());
        let volume = format!("{VOLUME}:/srv");
        let image = stage.image();
        let arguments: &[&str] = match self {
            Self::Spawn => return spawn(stage),
            Self::Version => &["version"],
            Self::NoNetwork => &["run", "--rm", "--network", "none", image, "/bin/true"],
            Self::BridgeNetwork => &["run", "--rm", image, "/bin/true"],
            Self::Everything => &[
                "run",
                "--rm",
                "-m",
                "256m",
                "--pids-limit",
                "100",
                "-p",
                "8080:80",
                "-v",
                &bind,
                "-v",
                &volume,
                image,
                "/bin/true",
            ],
        };
        let clock = Clock::start()?;
        stage.mini_docker(arguments)?;
        clock.stop()
    }
}

fn spawn(stage: &Stage) -> Result<Sample> {
    let clock = Clock::start()?;
    let status = Command::new(&stage.program).stdin(Stdio::null()).status()?;
    ensure!(status.success(), "true: {status}");
    clock.stop()
}
