//! Limits of one process and its children (getrlimit(2)), in Docker's `--ulimit` spelling.

use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use syscalls::{During, KernelError, step};

/// One limit: `nofile=1024:4096`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    /// `nofile`, or as the OCI runtime spec writes it, `RLIMIT_NOFILE`.
    pub name: String,
    /// What counts; the process may raise it up to `hard`. The unit is the resource's own: bytes,
    /// files, seconds, ... `u64::MAX` is unlimited.
    pub soft: u64,
    /// What may be lowered only.
    pub hard: u64,
}

/// Why a `--ulimit` was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RlimitError {
    /// No `=`, or not one or two numbers behind it.
    #[error("invalid ulimit `{0}`: expected NAME=SOFT[:HARD], for example nofile=1024:4096")]
    Grammar(String),
    /// No such resource.
    #[error("unknown ulimit `{0}`; there are {list}", list = known())]
    Unknown(String),
    /// The soft limit is above the hard one.
    #[error("ulimit `{name}`: soft limit {soft} is above hard limit {hard}")]
    SoftAboveHard {
        /// Which.
        name: String,
        /// As given.
        soft: u64,
        /// As given.
        hard: u64,
    },
}

const RESOURCES: [(&str, Resource); 16] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

fn known() -> String {
    RESOURCES.map(|(name, _)| name).join(" ")
}

impl Rlimit {
    fn resource(&self) -> Option<Resource> {
        let lower = self.name.to_ascii_lowercase();
        let short = lower.strip_prefix("rlimit_").unwrap_or(&lower);
        RESOURCES.iter().find(|(name, _)| *name == short).map(|(_, resource)| *resource)
    }

    /// Sets the limit of the calling process.
    ///
    /// # Errors
    /// `EINVAL` for an unknown name or a soft limit above the hard one, `EPERM` for raising the
    /// hard limit without CAP_SYS_RESOURCE.
    pub fn apply(&self) -> Result<(), KernelError> {
        let Self { name, soft, hard } = self;
        let resource = self
            .resource()
            .ok_or(Errno::EINVAL)
            .during("set resource limit", name)
            .map_err(|error| error.with_detail(format!("there are {}", known())))?;
        let set = step!("prlimit64", ("{name}={soft}:{hard}"), setrlimit(resource, *soft, *hard));
        set.during("set resource limit", name).map_err(|error| match error.errno {
            Errno::EPERM => {
                let now = getrlimit(resource).map_or_else(|_| "?".into(), |(_, now)| show(now));
                error.with_detail(format!(
                    "raising the hard limit from {now} to {} needs CAP_SYS_RESOURCE, \
                     which the caller lacks",
                    show(*hard)
                ))
            }
            Errno::EINVAL => error.with_detail("the soft limit is above the hard limit"),
            _ => error,
        })
    }
}

fn show(value: u64) -> String {
    if value == RLIM_INFINITY { "unlimited".to_owned() } else { value.to_string() }
}

/// Docker's grammar: `NAME=SOFT[:HARD]`; hard is as soft if not given, -1 is unlimited.
impl FromStr for Rlimit {
    type Err = RlimitError;

    fn from_str(text: &str) -> Result<Self, RlimitError> {
        let grammar = || RlimitError::Grammar(text.to_owned());
        let number = |text: &str| match text {
            "-1" => Ok(RLIM_INFINITY),
            text => text.parse().map_err(|_| grammar()),
        };
        let (name, values) = text.split_once('=').ok_or_else(grammar)?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let limit = Self { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? };
        if limit.resource().is_none() {
            return Err(RlimitError::Unknown(limit.name));
        }
        let Self { name, soft, hard } = limit;
        if soft > hard {
            return Err(RlimitError::SoftAboveHard { name, soft, hard });
        }
        Ok(Self { name, soft, hard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dockers_spelling() {
        let limit = |text: &str| text.parse::<Rlimit>().map(|limit| (limit.soft, limit.hard));
        assert_eq!(limit("nofile=1024:4096"), Ok((1024, 4096)));
        assert_eq!(limit("RLIMIT_NPROC=7"), Ok((7, 7)));
        assert_eq!(limit("core=0:-1"), Ok((0, u64::MAX)));
        assert_eq!(limit("core=-1"), Ok((u64::MAX, u64::MAX)));
        for text in ["nofile", "nofile=", "nofile=a", "nofile=1:2:3", "nofile=-2"] {
            assert_eq!(limit(text), Err(RlimitError::Grammar(text.into())));
        }
        assert_eq!(limit("files=1"), Err(RlimitError::Unknown("files".into())));
        let error = limit("nofile=2:1").unwrap_err().to_string();
        assert_eq!(error, "ulimit `nofile`: soft limit 2 is above hard limit 1");
    }
}
