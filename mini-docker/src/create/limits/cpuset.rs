//! `--cpuset-cpus`, `--cpuset-mems`: numbers of processors and memory nodes, `0-2,4` (cpuset(7), "List format").

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use crate::failure::Failure;

/// What a machine has several of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    Cpus,
    Mems,
}

/// Checks that these are numbers, and that the machine has them: the kernel would say `ERANGE` and nothing else.
pub(super) fn check(of: Of, asked: Option<&str>) -> Result<()> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return Ok(()) };
    let (name, file) = match of {
        Of::Cpus => ("CPUs", "/sys/devices/system/cpu/online"),
        Of::Mems => ("memory nodes", "/sys/devices/system/node/online"),
    };
    let wanted = numbers(asked).ok_or_else(|| {
        Failure::new(format!("invalid value {asked} for cpuset {}", name.to_lowercase()))
            .hint("numbers and ranges: 0-2,4")
    })?;
    // A kernel without NUMA has no such file, and one node.
    let online = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "0".to_owned(),
        other => other.with_context(|| format!("read `{file}`"))?,
    };
    let online = online.trim();
    let available = numbers(online).unwrap_or_default();
    if wanted.is_subset(&available) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "requested {name} are not available - requested {asked}, available: {online}"
    ))
    .into())
}

/// The numbers of a list; None if it is none.
fn numbers(list: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
        if first > last {
            return None;
        }
        numbers.extend(u32::from(first)..=u32::from(last));
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        let set = |list: &str| numbers(list).map(|numbers| numbers.into_iter().collect::<Vec<_>>());
        assert_eq!(set("0-2,4,1"), Some(vec![0, 1, 2, 4]));
        for wrong in ["", "x", "1-", "3-1", "-1", "1,,2", "99999"] {
            assert_eq!(set(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_the_machine_does_not_have() {
        for of in [Of::Cpus, Of::Mems] {
            check(of, None).unwrap();
            check(of, Some("0")).unwrap();
            let error = check(of, Some("0,60000")).unwrap_err().to_string();
            assert!(error.contains("requested 0,60000, available: 0"), "{error}");
            assert!(check(of, Some("a")).unwrap_err().to_string().contains("invalid value a"));
        }
    }
}
