//! What becomes of a container after its start: restart policy, log.

use anyhow::Result;

use super::options::{Options, parse_size};
use crate::failure::Failure;
use crate::record::{LogOptions, RestartPolicy};

/// Reads `--restart`.
pub(super) fn restart_policy(options: &Options) -> Result<RestartPolicy> {
    parse_restart(options.restart.as_deref().unwrap_or_default())
}

/// Reads a restart policy: `no`, `on-failure[:times]`, `always`, `unless-stopped`.
///
/// # Errors
/// A failure with a hint for anything else.
pub fn parse_restart(text: &str) -> Result<RestartPolicy> {
    let (policy, times) = match text.split_once(':') {
        Some((policy, times)) => (policy, Some(times.parse::<u32>())),
        None => (text, None),
    };
    match (policy, times) {
        ("" | "no", None) => Ok(RestartPolicy::No),
        ("always", None) => Ok(RestartPolicy::Always),
        ("unless-stopped", None) => Ok(RestartPolicy::UnlessStopped),
        ("on-failure", None) => Ok(RestartPolicy::OnFailure { most: None }),
        ("on-failure", Some(Ok(most))) => {
            Ok(RestartPolicy::OnFailure { most: (most > 0).then_some(most) })
        }
        ("no" | "always" | "unless-stopped", Some(_)) => Err(Failure::new(format!(
            "invalid restart policy `{text}`: a number of times can only be used with on-failure"
        ))
        .hint("as in --restart on-failure:5")
        .into()),
        _ => Err(Failure::new(format!("invalid restart policy `{text}`"))
            .hint("one of no, on-failure[:times], always, unless-stopped")
            .into()),
    }
}

/// Reads `--log-driver` and `--log-opt`.
pub(super) fn log_options(options: &Options) -> Result<LogOptions> {
    let mut log = LogOptions::default();
    match options.log_driver.as_deref() {
        None | Some("json-file") => {}
        Some("none") => log.enabled = false,
        Some(other) => {
            return Err(Failure::new(format!("log driver `{other}` is not supported"))
                .hint("json-file (the default) or none")
                .into());
        }
    }
    for option in &options.log_opt {
        let refuse = |hint: &str| {
            Failure::new(format!("invalid log option `{option}`")).hint(hint.to_owned())
        };
        match option.split_once('=') {
            Some(("max-size", "-1")) => log.max_size = None,
            Some(("max-size", size)) => {
                let bytes = parse_size(size).ok().and_then(|bytes| u64::try_from(bytes).ok());
                let bytes = bytes.filter(|bytes| *bytes > 0);
                log.max_size = Some(bytes.ok_or_else(|| {
                    refuse("a size such as 512k or 10m; -1 for one file that is never rotated")
                })?);
            }
            Some(("max-file", count)) => {
                let count = count.parse::<u32>().ok().filter(|count| (1..=1000).contains(count));
                log.max_file = count.ok_or_else(|| refuse("a number of files, 1 to 1000"))?;
            }
            _ => return Err(refuse("max-size=10m and max-file=3 are what there is").into()),
        }
    }
    if !log.enabled && !options.log_opt.is_empty() {
        return Err(Failure::new("--log-opt says nothing about the log driver `none`")
            .hint("leave out one of them")
            .into());
    }
    Ok(log)
}
