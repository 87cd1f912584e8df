//! What a user can ask of a container: the flags that `run` and `create` share.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Arg, ArgAction, Args};
use images::Platform;

use crate::transfer::Policy;

/// Everything that describes a container, as flags or as fields.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Remove the container when its process ends
    #[arg(long)]
    pub rm: bool,
    /// Name of the container [default: made up]
    #[arg(long)]
    pub name: Option<String>,
    /// Host name inside [default: the first 12 digits of the id]
    #[arg(short = 'h', long)]
    pub hostname: Option<String>,
    /// NIS domain name inside
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,
    /// Set an environment variable, or pass on the one of that name
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    pub env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Add a supplementary group
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Replace the image's entry point
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Set a label
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<PathBuf>,
    /// Write the container's id to a file that does not exist yet
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    /// Run a small process 1 that reaps orphans and forwards signals
    #[arg(long)]
    pub init: bool,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Signal that stops the container [default: SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// When to pull the image: `always`, `missing` or `never` [default: missing]
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub pull: Policy,
    /// Platform of the image, os/architecture[/variant] [default: this machine's]
    #[arg(long, value_name = "PLATFORM", env = "DOCKER_DEFAULT_PLATFORM", hide_env = true)]
    pub platform: Option<Platform>,
    /// Print nothing of a pull
    #[arg(short, long)]
    pub quiet: bool,
    /// When to start it again: `no`, `on-failure[:TIMES]`, `always`, `unless-stopped` [default: no]
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,
    /// Seconds that `stop` waits before it kills; -1 for ever [default: 10]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub stop_timeout: Option<i64>,
    /// Where output is kept: `json-file` or `none` [default: json-file]
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Limit of the log: max-size=10m, max-file=3
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub log_opt: Vec<String>,
    /// Run a plain folder instead of an image
    #[arg(long)]
    pub rootfs: bool,
    /// `run -d`: nobody sits before it.
    #[arg(skip)]
    pub background: bool,

    /// How much it may use.
    #[command(flatten, next_help_heading = "Limits")]
    pub limits: LimitFlags,
    /// What it shares with the host, and what it may do.
    #[command(flatten, next_help_heading = "Isolation")]
    pub isolation: IsolationFlags,
    /// How it is connected.
    #[command(flatten, next_help_heading = "Network")]
    pub network: NetworkFlags,
    /// Where its data is.
    #[command(flatten, next_help_heading = "Storage")]
    pub storage: StorageFlags,
    /// Whether it works.
    #[command(flatten, next_help_heading = "Health")]
    pub health: HealthFlags,
}

/// How to find out whether a container works, and what is done if it does not.
#[derive(Debug, Default, Args)]
pub struct HealthFlags {
    /// Command that tells by its exit code whether the container works
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Pause between checks [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub health_interval: Option<String>,
    /// Time after which a check has failed [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub health_timeout: Option<String>,
    /// Failures in a row that make it unhealthy [default: 3]
    #[arg(long, value_name = "NUMBER")]
    pub health_retries: Option<u32>,
    /// Time after the start in which failures do not count [default: 0s]
    #[arg(long, value_name = "DURATION")]
    pub health_start_period: Option<String>,
    /// Pause between checks in that time [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub health_start_interval: Option<String>,
    /// Do without the check of the image
    #[arg(long)]
    pub no_healthcheck: bool,
    /// What to do when it becomes unhealthy: `none`, `restart`, `kill` or `stop` [default: none]
    #[arg(long, value_name = "ACTION")]
    pub on_unhealthy: Option<String>,
}

/// How much a container may use.
#[derive(Debug, Default, Args)]
pub struct LimitFlags {
    /// CPUs' worth of time: 0.5 is half of one
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(f64))]
    pub cpus: Option<f64>,
    /// Length of a scheduling period, in microseconds
    #[arg(long, value_name = "US", conflicts_with = "cpus")]
    pub cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds
    #[arg(long, value_name = "US", conflicts_with = "cpus", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// Relative weight against other containers (1024 is usual)
    #[arg(short = 'c', long, value_name = "WEIGHT")]
    pub cpu_shares: Option<u64>,
    /// CPUs that may be used: 0-2,4
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Memory limit: 64m, 1g
    #[arg(short, long, value_name = "BYTES", value_parser = size_parser())]
    pub memory: Option<i64>,
    /// Memory to shrink to when the host runs short
    #[arg(long, value_name = "BYTES", value_parser = size_parser())]
    pub memory_reservation: Option<i64>,
    /// Memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = size_parser(), allow_negative_numbers = true)]
    pub memory_swap: Option<i64>,
    /// Preference of the kernel's OOM killer, -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub oom_score_adj: Option<i32>,
    /// Number of processes and threads; -1 for unlimited
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// Relative weight of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(10..=1000))]
    pub blkio_weight: Option<u16>,
    /// Bytes per second read from a device
    #[arg(long, value_name = "DEVICE:BYTES")]
    pub device_read_bps: Vec<String>,
    /// Bytes per second written to a device
    #[arg(long, value_name = "DEVICE:BYTES")]
    pub device_write_bps: Vec<String>,
    /// Reads per second from a device
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub device_read_iops: Vec<String>,
    /// Writes per second to a device
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub device_write_iops: Vec<String>,
    /// Resource limit of processes: nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = size_parser(), default_value = "64m")]
    pub shm_size: Option<i64>,
}

/// What a container shares with the host, and what it may do.
#[derive(Debug, Default, Args)]
pub struct IsolationFlags {
    /// Processes to see: `host` or `container:NAME`
    #[arg(long, value_name = "MODE")]
    pub pid: Option<String>,
    /// IPC objects to see: `private` or `host`
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<String>,
    /// Host name to see: `host`
    #[arg(long, value_name = "MODE", value_parser = ["host", "private"])]
    pub uts: Option<String>,
    /// User ids: `host`, which they are
    #[arg(long, value_name = "MODE")]
    pub userns: Option<String>,
    /// Control groups to see: `private` or `host`
    #[arg(long, value_name = "MODE", value_parser = ["host", "private"])]
    pub cgroupns: Option<String>,
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAP")]
    pub cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAP")]
    pub cap_drop: Vec<String>,
    /// `no-new-privileges[=false]`, or what is not done anyway: `seccomp=unconfined`
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// All capabilities, all devices, nothing masked: root outside as inside
    #[arg(long)]
    pub privileged: bool,
    /// Add a device of the host
    #[arg(long, value_name = "HOST[:INSIDE[:rwm]]")]
    pub device: Vec<String>,
    /// Set a namespaced kernel parameter
    #[arg(long, value_name = "NAME=VALUE")]
    pub sysctl: Vec<String>,
}

/// How a container is connected.
#[derive(Debug, Default, Args)]
pub struct NetworkFlags {
    /// `bridge`, `none`, `host` or `container:NAME`
    #[arg(long = "network", alias = "net", value_name = "MODE", default_value = "bridge")]
    pub mode: String,
    /// Publish a port on the host
    #[arg(short, long, value_name = "[[IP:]PORT:]PORT[/PROTO]")]
    pub publish: Vec<String>,
    /// Publish every exposed port on a free port of the host
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// Expose a port for -P
    #[arg(long, value_name = "PORT[/PROTO]")]
    pub expose: Vec<String>,
    /// Address on the bridge network
    #[arg(long)]
    pub ip: Option<Ipv4Addr>,
    /// Hardware address
    #[arg(long, value_name = "MAC")]
    pub mac_address: Option<String>,
    /// Name server
    #[arg(long, value_name = "IP")]
    pub dns: Vec<IpAddr>,
    /// Search domain
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Resolver option
    #[arg(long, alias = "dns-opt", value_name = "OPTION")]
    pub dns_option: Vec<String>,
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:IP")]
    pub add_host: Vec<String>,
    /// Know another container by name, its address in /etc/hosts
    #[arg(long, value_name = "CONTAINER[:ALIAS]")]
    pub link: Vec<String>,
    /// Further name in a network that users have made; the bridge network has no names
    #[arg(long, value_name = "NAME")]
    pub network_alias: Vec<String>,
}

/// Where a container's data is.
#[derive(Debug, Default, Args)]
pub struct StorageFlags {
    /// Mount a volume or a folder of the host
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub volume: Vec<String>,
    /// Mount a volume, folder or tmpfs: type=bind,source=/a,target=/b,readonly
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub mount: Vec<String>,
    /// Mount the volumes of another container
    #[arg(long, value_name = "CONTAINER[:ro|rw]")]
    pub volumes_from: Vec<String>,
    /// Mount a tmpfs
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub tmpfs: Vec<String>,
}

/// Lets a flag without a value also take one, as Docker's do: `--rm=false`. For `#[command(mut_args(switch))]`.
///
/// `[=<BOOL>]` is taken out again wherever people read it: see [`BOOL_SUFFIX`].
pub(crate) fn switch(flag: Arg) -> Arg {
    if !matches!(flag.get_action(), ArgAction::SetTrue) {
        return flag;
    }
    flag.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .hide_default_value(true)
        .value_name("BOOL")
        .value_parser(parse_bool)
}

/// What help and messages would say after each flag that [`switch`] has changed.
pub(crate) const BOOL_SUFFIX: &str = "[=<BOOL>]";

/// The spellings of Go's strconv.ParseBool, which Docker uses.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

pub(crate) fn size_parser() -> impl TypedValueParser<Value = i64> {
    clap::builder::StringValueParser::new().try_map(|text: String| parse_size(&text))
}

/// Reads a size as Docker does: a number with an optional b, k, m, g, t, p (powers of 1024); -1 for unlimited.
pub fn parse_size(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches("ib").trim_end_matches('b');
    let (number, factor) = match digits.char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let power =
                "kmgtp".find(unit).ok_or_else(|| format!("unknown unit `{unit}`"))? as u32 + 1;
            (&digits[..at], 1024_f64.powi(power as i32))
        }
        _ => (digits, 1.0),
    };
    let number: f64 = number
        .trim()
        .parse()
        .map_err(|_| "a size is a number with an optional unit: 512k, 64m, 1.5g".to_owned())?;
    let bytes = number * factor;
    if !(0.0..9.2e18).contains(&bytes) {
        return Err("a size cannot be negative (except -1) or beyond 8 exabytes".to_owned());
    }
    Ok(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_have_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512b", 512),
            ("64k", 65536),
            ("64kb", 65536),
            ("64KiB", 65536),
            ("64m", 64 << 20),
            ("1.5G", 3 << 29),
            ("2t", 2 << 40),
            ("-1", -1),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "-2", "64q", "1e30", "nan", "64 mm"] {
            parse_size(text).unwrap_err();
        }
    }
}
