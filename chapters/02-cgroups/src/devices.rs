//! Which device nodes may be made and opened.
//!
//! | | v1 | v2 |
//! |---|---|---|
//! | mechanism | a list in the kernel | an eBPF program (`bpf.rs`) |
//! | writing | one rule per write to `devices.allow` and `devices.deny`: `c 1:3 rwm` | load, attach to the directory |
//!
//! Without it, root in a container that has CAP_MKNOD makes a node of the host's disk and reads all of it.

use std::os::fd::AsFd;

use syscalls::bpf::{attach_device_program, load_device_program};
use syscalls::{During, step};

use crate::group::Group;
use crate::{DeviceRule, Error, Limits, Version, bpf};

pub(crate) fn apply(group: &Group, limits: &Limits) -> Result<(), Error> {
    if limits.devices.is_empty() {
        return Ok(());
    }
    for rule in &limits.devices {
        validate(rule)?;
    }
    match group.version {
        Version::V1 => {
            for rule in &limits.devices {
                let file = if rule.allow { "devices.allow" } else { "devices.deny" };
                group.write(file, &v1_line(rule))?;
            }
        }
        Version::V2 => {
            let program = bpf::compile(&limits.devices);
            let count = program.len();
            let loaded = step!(
                "bpf",
                ("PROG_LOAD, CGROUP_DEVICE, {count} instructions"),
                load_device_program(&program)
            )
            .during("load device program", format!("{count} instructions"))?;
            step!(
                "bpf",
                "PROG_ATTACH, CGROUP_DEVICE",
                attach_device_program(group.dir.as_fd(), loaded.as_fd())
            )
            .during("attach device program", group.path.display())?;
        }
    }
    Ok(())
}

fn validate(rule: &DeviceRule) -> Result<(), Error> {
    let invalid =
        |value: String, reason| Err(Error::Invalid { what: "device rule", value, reason });
    if !matches!(rule.kind, 'a' | 'b' | 'c') {
        return invalid(rule.kind.to_string(), "the type is `a`, `b` or `c`");
    }
    if rule.access.chars().any(|letter| !"rwm".contains(letter)) {
        return invalid(rule.access.clone(), "the access consists of `r`, `w` and `m`");
    }
    for number in [rule.major, rule.minor].into_iter().flatten() {
        if i32::try_from(number).is_err() || number < 0 {
            return invalid(number.to_string(), "a device number is between 0 and 2^31");
        }
    }
    Ok(())
}

/// A rule as v1 writes it. `a` alone stands for every access to every device, whatever else is in the line.
fn v1_line(rule: &DeviceRule) -> String {
    if rule.kind == 'a' && rule.major.is_none() && rule.minor.is_none() {
        return "a".to_owned();
    }
    let number = |number: Option<i64>| number.map_or("*".to_owned(), |number| number.to_string());
    let access = if rule.access.is_empty() { "rwm" } else { &rule.access };
    format!("{} {}:{} {access}", rule.kind, number(rule.major), number(rule.minor))
}

/// Docker's list: nothing, except to make any node, and to use those that every container has. (The container's own
/// /dev is made by chapter 03.)
pub fn default_device_rules() -> Vec<DeviceRule> {
    let rule = |allow, kind, major, minor, access: &str| DeviceRule {
        allow,
        kind,
        major,
        minor,
        access: access.to_owned(),
    };
    let mut rules = vec![
        rule(false, 'a', None, None, "rwm"),
        rule(true, 'c', None, None, "m"),
        rule(true, 'b', None, None, "m"),
    ];
    let usable = [
        (1, Some(3)), // null
        (1, Some(5)), // zero
        (1, Some(7)), // full
        (1, Some(8)), // random
        (1, Some(9)), // urandom
        (5, Some(0)), // tty
        (5, Some(1)), // console
        (5, Some(2)), // ptmx
        (136, None),  // pts/*
    ];
    rules.extend(usable.map(|(major, minor)| rule(true, 'c', Some(major), minor, "rwm")));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_v1() {
        let lines: Vec<String> = default_device_rules().iter().map(v1_line).collect();
        assert_eq!(lines[..4], ["a", "c *:* m", "b *:* m", "c 1:3 rwm"]);
        assert_eq!(lines.last().unwrap(), "c 136:* rwm");
    }

    #[test]
    fn nonsense_is_refused() {
        let good = default_device_rules().remove(3);
        validate(&good).unwrap();
        validate(&DeviceRule { kind: 'u', ..good.clone() }).unwrap_err();
        validate(&DeviceRule { access: "rx".into(), ..good.clone() }).unwrap_err();
        validate(&DeviceRule { major: Some(-1), ..good }).unwrap_err();
    }
}
