//! CPU time: a hard quota per period, and a weight when CPUs are contended.
//!
//! | | v1 | v2 |
//! |---|---|---|
//! | quota | `cpu.cfs_quota_us` (-1: none), `cpu.cfs_period_us` | `cpu.max`: `QUOTA PERIOD` or `max PERIOD` |
//! | weight | `cpu.shares`, 2 to 262144, default 1024 | `cpu.weight`, 1 to 10000, default 100 |
//!
//! A group that has used its quota is *throttled*: none of its threads runs until the next period begins.

use crate::group::Group;
use crate::{Error, Limits, Version};

pub(crate) fn apply(group: &Group, limits: &Limits) -> Result<(), Error> {
    let shares = limits.cpu_shares.filter(|shares| *shares != 0);
    match group.version {
        Version::V1 => {
            if let Some(shares) = shares {
                group.write("cpu.shares", &shares.to_string())?;
            }
            if let Some(period) = limits.cpu_period_us {
                group.write("cpu.cfs_period_us", &period.to_string())?;
            }
            if let Some(quota) = limits.cpu_quota_us {
                group.write("cpu.cfs_quota_us", &quota.max(-1).to_string())?;
            }
        }
        Version::V2 => {
            if let Some(shares) = shares {
                group.write("cpu.weight", &weight_of_shares(shares).to_string())?;
            }
            if limits.cpu_quota_us.is_some() || limits.cpu_period_us.is_some() {
                let now = group.read("cpu.max")?;
                group.write("cpu.max", &max(limits.cpu_quota_us, limits.cpu_period_us, &now))?;
            }
        }
    }
    Ok(())
}

/// The new text of `cpu.max`; what is not given stays as in `now`.
fn max(quota: Option<i64>, period: Option<u64>, now: &str) -> String {
    let quota_now = now.split_whitespace().next().unwrap_or("max").to_owned();
    let quota = match quota {
        None => quota_now,
        Some(quota) if quota > 0 => quota.to_string(),
        Some(_) => "max".to_owned(),
    };
    match period {
        Some(period) => format!("{quota} {period}"),
        // The kernel leaves the period alone if there is only one number.
        None => quota,
    }
}

/// Converts v1 shares to a v2 weight so that the ends of both ranges and both defaults meet: 2 to 1, 1024 to 100, 262144
/// to 10000. In between the exponent of ten is a quadratic function of the logarithm of the shares.
///
/// That is what runc and crun have done since 2025. Their older, linear rule `1 + (shares - 2) * 9999 / 262142`
/// made 39 of the default 1024, so a container with default shares lost against one without any.
pub fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_ends_meet() {
        for (shares, weight) in [
            (0, 1),
            (2, 1),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }

    #[test]
    fn more_shares_never_weigh_less() {
        let weights: Vec<u64> = (2..262_144).step_by(7).map(weight_of_shares).collect();
        assert!(weights.is_sorted());
        assert!(weights.iter().all(|weight| (1..=10_000).contains(weight)));
    }

    #[test]
    fn what_is_not_given_stays() {
        assert_eq!(max(Some(20_000), Some(50_000), "max 100000\n"), "20000 50000");
        assert_eq!(max(Some(20_000), None, "max 100000\n"), "20000");
        assert_eq!(max(None, Some(50_000), "30000 100000\n"), "30000 50000");
        assert_eq!(max(Some(-1), None, "30000 100000\n"), "max");
    }
}
