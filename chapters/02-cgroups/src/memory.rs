//! Memory and swap. The kernel first reclaims caches and swaps; when that is not enough, it kills.
//!
//! | | v1 | v2 |
//! |---|---|---|
//! | memory | `memory.limit_in_bytes` (-1: none) | `memory.max` (`max`: none) |
//! | swap | `memory.memsw.limit_in_bytes`: memory **plus** swap, never below the memory limit | `memory.swap.max`: swap alone |
//! | reservation | `memory.soft_limit_in_bytes` | `memory.low` |
//!
//! Docker's `--memory-swap` has v1's meaning, so v2 gets the difference. On v1 the two limits must be written in the
//! order that keeps memory at or below memory plus swap at every instant.

use nix::errno::Errno;

use crate::group::Group;
use crate::{Error, Limits, Version};

const MEMSW: &str = "memory.memsw.limit_in_bytes";
const LIMIT: &str = "memory.limit_in_bytes";

pub(crate) fn apply(group: &Group, limits: &Limits) -> Result<(), Error> {
    let asked = Asked::new(limits)?;
    match group.version {
        Version::V1 => {
            let swap_now = match group.get(MEMSW) {
                Ok(text) => text.trim().parse().ok(),
                Err(_) => None,
            };
            for (file, bytes) in asked.v1_order(swap_now) {
                skip_unasked_swap(&asked, file, group.write(file, &bytes.to_string()))?;
            }
            if let Some(bytes) = asked.reservation {
                group.write("memory.soft_limit_in_bytes", &bytes.to_string())?;
            }
        }
        Version::V2 => {
            // Swap first: with a smaller memory.max the kernel may have to swap at once.
            if let Some(bytes) = asked.swap_only() {
                let written = group.write("memory.swap.max", &or_max(bytes));
                skip_unasked_swap(&asked, "memory.swap.max", written)?;
            }
            if let Some(bytes) = asked.memory {
                group.write("memory.max", &or_max(bytes))?;
            }
            if let Some(bytes) = asked.reservation {
                group.write("memory.low", &or_max(bytes))?;
            }
        }
    }
    Ok(())
}

/// A kernel without swap accounting lacks the file. That matters only if the user has named a swap limit.
fn skip_unasked_swap(
    asked: &Asked,
    file: &'static str,
    written: Result<(), syscalls::KernelError>,
) -> Result<(), Error> {
    match written {
        Err(error) if error.errno == Errno::ENOENT && file != LIMIT => {
            if asked.swap_is_explicit {
                let hint = "swap accounting may need the kernel parameter `swapaccount=1`";
                Err(Error::Unsupported { what: "swap", file, hint })
            } else {
                Ok(())
            }
        }
        written => Ok(written?),
    }
}

fn or_max(bytes: i64) -> String {
    if bytes < 0 { "max".to_owned() } else { bytes.to_string() }
}

/// The limits with Docker's rules applied. -1 is unlimited.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    memory: Option<i64>,
    /// Memory and swap together.
    memory_swap: Option<i64>,
    swap_is_explicit: bool,
    reservation: Option<i64>,
}

impl Asked {
    fn new(limits: &Limits) -> Result<Self, Error> {
        let given =
            |limit: Option<i64>| limit.filter(|bytes| *bytes != 0).map(|bytes| bytes.max(-1));
        let (memory, swap) = (given(limits.memory), given(limits.memory_swap));
        let reservation = given(limits.memory_reservation);
        let invalid = |what, bytes: i64, reason| {
            Err(Error::Invalid { what, value: bytes.to_string(), reason })
        };
        match (memory, swap) {
            (None, Some(swap)) if swap > 0 => {
                return invalid("memory-swap limit", swap, "it needs a memory limit too");
            }
            (Some(memory), Some(swap)) if swap > 0 && swap < memory => {
                let reason =
                    "it counts memory and swap together, so it cannot be below the memory limit";
                return invalid("memory-swap limit", swap, reason);
            }
            _ => {}
        }
        if let (Some(memory), Some(low)) = (memory, reservation)
            && memory > 0
            && low > memory
        {
            return invalid("memory reservation", low, "it is above the memory limit");
        }
        let memory_swap = swap
            .or_else(|| memory.map(|bytes| if bytes < 0 { -1 } else { bytes.saturating_mul(2) }));
        Ok(Self { memory, memory_swap, swap_is_explicit: swap.is_some(), reservation })
    }

    /// v2's `memory.swap.max`.
    fn swap_only(&self) -> Option<i64> {
        let swap = self.memory_swap?;
        Some(match self.memory {
            Some(memory) if memory > 0 && swap > 0 => swap - memory,
            _ => -1,
        })
    }

    /// v1's two files in an order in which memory never exceeds memory plus swap: when that grows, it goes first.
    fn v1_order(&self, swap_now: Option<u64>) -> Vec<(&'static str, i64)> {
        let memory = self.memory.map(|bytes| (LIMIT, bytes));
        let swap = self.memory_swap.map(|bytes| (MEMSW, bytes));
        let grows = match (self.memory_swap, swap_now) {
            (Some(-1), _) => true,
            (Some(new), Some(now)) => new as u64 >= now,
            _ => false,
        };
        let order = if grows { [swap, memory] } else { [memory, swap] };
        order.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(memory: i64, swap: i64) -> Limits {
        Limits { memory: Some(memory), memory_swap: Some(swap), ..Limits::default() }
    }

    #[test]
    fn swap_has_dockers_meaning() {
        for (memory, swap, together, alone) in [
            (100, 0, Some(200), Some(100)),
            (100, 150, Some(150), Some(50)),
            (100, 100, Some(100), Some(0)),
            (100, -1, Some(-1), Some(-1)),
            (-1, 0, Some(-1), Some(-1)),
            (0, 0, None, None),
            (0, -1, Some(-1), Some(-1)),
        ] {
            let asked = Asked::new(&limits(memory, swap)).unwrap();
            assert_eq!(
                (asked.memory_swap, asked.swap_only()),
                (together, alone),
                "{memory} {swap}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let say = |limits: &Limits| Asked::new(limits).unwrap_err().to_string();
        assert!(say(&limits(0, 100)).contains("needs a memory limit"));
        assert!(say(&limits(100, 99)).contains("memory and swap together"));
        let reserved = Limits { memory_reservation: Some(101), ..limits(100, 0) };
        assert!(say(&reserved).contains("above the memory limit"));
    }

    #[test]
    fn v1_never_has_memory_above_memory_and_swap() {
        let order = |memory, swap, now| -> Vec<&'static str> {
            let asked = Asked::new(&limits(memory, swap)).unwrap();
            asked.v1_order(Some(now)).into_iter().map(|(file, _)| file).collect()
        };
        assert_eq!(order(100, 200, u64::MAX), [LIMIT, MEMSW], "a fresh cgroup: both shrink");
        assert_eq!(order(300, 600, 200), [MEMSW, LIMIT], "both grow");
        assert_eq!(order(300, -1, 200), [MEMSW, LIMIT], "to unlimited");
        assert_eq!(order(50, 100, 200), [LIMIT, MEMSW], "both shrink again");
    }
}
