//! Block devices: a weight, and rates per device.
//!
//! | | v1 (`blkio`) | v2 (`io`) |
//! |---|---|---|
//! | weight | `blkio.weight` (before 5.0), `blkio.bfq.weight` | `io.bfq.weight`, `io.weight` (1 to 10000) |
//! | rates | `blkio.throttle.read_bps_device` and three more: `MAJ:MIN RATE` | `io.max`: `MAJ:MIN rbps=RATE` |
//!
//! On v1 only direct io and reads are held back: when a dirty page is written later, nobody knows whose it was. v2
//! remembers, so there buffered writes count too (on filesystems that support it: ext4, btrfs, xfs).

use nix::errno::Errno;

use crate::group::Group;
use crate::{Error, Limits, Throttle, Version};

pub(crate) fn apply(group: &Group, limits: &Limits) -> Result<(), Error> {
    if let Some(asked) = limits.blkio_weight.filter(|weight| *weight != 0) {
        weight(group, asked)?;
    }
    for (list, v1_file, v2_key) in [
        (&limits.read_bps, "blkio.throttle.read_bps_device", "rbps"),
        (&limits.write_bps, "blkio.throttle.write_bps_device", "wbps"),
        (&limits.read_iops, "blkio.throttle.read_iops_device", "riops"),
        (&limits.write_iops, "blkio.throttle.write_iops_device", "wiops"),
    ] {
        for Throttle { major, minor, rate } in list {
            match group.version {
                Version::V1 => group.write(v1_file, &format!("{major}:{minor} {rate}"))?,
                Version::V2 if *rate == 0 => {
                    group.write("io.max", &format!("{major}:{minor} {v2_key}=max"))?;
                }
                Version::V2 => {
                    group.write("io.max", &format!("{major}:{minor} {v2_key}={rate}"))?;
                }
            }
        }
    }
    Ok(())
}

/// The file is there only if the scheduler that honours it is: bfq, or iocost for `io.weight`.
fn weight(group: &Group, weight: u16) -> Result<(), Error> {
    if !(10..=1000).contains(&weight) {
        let reason = "the range is 10 to 1000";
        return Err(Error::Invalid { what: "blkio weight", value: weight.to_string(), reason });
    }
    let candidates = match group.version {
        Version::V1 => {
            [("blkio.weight", u64::from(weight)), ("blkio.bfq.weight", u64::from(weight))]
        }
        Version::V2 => {
            [("io.bfq.weight", u64::from(weight)), ("io.weight", weight_of_blkio(weight))]
        }
    };
    for (file, value) in candidates {
        match group.write(file, &value.to_string()) {
            Err(error) if error.errno == Errno::ENOENT => {}
            written => return Ok(written?),
        }
    }
    let hint = "the kernel needs the bfq scheduler (CONFIG_BFQ_GROUP_IOSCHED) or iocost";
    Err(Error::Unsupported { what: "the weight of io", file: candidates[1].0, hint })
}

/// Converts Docker's 10 to 1000 to the 1 to 10000 of v2's `io.weight`, linearly, as runc and crun do.
pub fn weight_of_blkio(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_weights_meet() {
        for (docker, v2) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
            assert_eq!(weight_of_blkio(docker), v2);
        }
    }
}
