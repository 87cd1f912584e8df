//! Which capabilities a container gets: Docker's default and its rules for `--cap-add` and
//! `--cap-drop`.

use std::collections::BTreeSet;

use crate::Capability::{self, *};
use crate::available;

/// What a container's root may without being asked for more: Docker's fourteen.
pub const DEFAULT: [Capability; 14] = [
    CAP_CHOWN,
    CAP_DAC_OVERRIDE,
    CAP_FSETID,
    CAP_FOWNER,
    CAP_MKNOD,
    CAP_NET_RAW,
    CAP_SETGID,
    CAP_SETUID,
    CAP_SETFCAP,
    CAP_SETPCAP,
    CAP_NET_BIND_SERVICE,
    CAP_SYS_CHROOT,
    CAP_KILL,
    CAP_AUDIT_WRITE,
];

/// A name that is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability `{name}`{}", hint(near))]
pub struct Unknown {
    /// As the user wrote it.
    pub name: String,
    /// Names that look like it, without `CAP_`; may be empty.
    pub near: Vec<&'static str>,
}

fn hint(near: &[&str]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

/// Applies `--cap-add`, `--cap-drop` and `--privileged` to [`DEFAULT`], with what this process can
/// give at all ([`available`]) as "all".
///
/// # Errors
/// The first name that is no capability.
pub fn compute(
    add: &[String],
    drop: &[String],
    privileged: bool,
) -> Result<BTreeSet<Capability>, Unknown> {
    compute_from(&available(), add, drop, privileged)
}

/// The rules, without looking at this process:
///
/// - `--privileged` gives all, whatever else is asked for;
/// - adding `ALL` gives all but those that are dropped by name;
/// - dropping `ALL` leaves those that are added by name;
/// - otherwise the default without those dropped, then with those added: adding wins.
///
/// "All" and the default are limited to `available`; what is added by name is not, so that a
/// capability that cannot be given is an error when it is applied, and not a silent lack.
///
/// # Errors
/// The first name that is no capability.
pub fn compute_from(
    available: &BTreeSet<Capability>,
    add: &[String],
    drop: &[String],
    privileged: bool,
) -> Result<BTreeSet<Capability>, Unknown> {
    let (add, add_all) = names(add)?;
    let (drop, drop_all) = names(drop)?;
    if privileged {
        return Ok(available.clone());
    }
    let default = || DEFAULT.into_iter().filter(|capability| available.contains(capability));
    Ok(match (add_all, drop_all) {
        (true, _) => available - &drop,
        (false, true) => add,
        (false, false) => &(&default().collect() - &drop) | &add,
    })
}

/// The capabilities of a list, and whether `ALL` was among them.
fn names(list: &[String]) -> Result<(BTreeSet<Capability>, bool), Unknown> {
    let mut set = BTreeSet::new();
    let mut all = false;
    for name in list {
        let upper = name.trim().to_ascii_uppercase();
        if upper == "ALL" || upper == "CAP_ALL" {
            all = true;
            continue;
        }
        set.insert(name.parse().map_err(|()| Unknown { name: name.clone(), near: near(&upper) })?);
    }
    Ok((set, all))
}

/// Up to three names within two typing errors, or that contain what was typed; nearest first.
fn near(upper: &str) -> Vec<&'static str> {
    let typed = upper.strip_prefix("CAP_").unwrap_or(upper).replace(['-', ' '], "_");
    let mut found: Vec<(usize, &'static str)> = Capability::ALL
        .iter()
        .map(|capability| capability.name().trim_start_matches("CAP_"))
        .filter_map(|name| {
            let distance = distance(&typed, name);
            let part = typed.len() >= 3 && name.contains(&*typed);
            (distance <= 2 || part).then_some((distance, name))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().take(3).map(|(_, name)| name).collect()
}

/// How many letters must be put in, taken out or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(add: &[&str], drop: &[&str], privileged: bool) -> String {
        let all = Capability::ALL.iter().copied().collect();
        let own = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        match compute_from(&all, &own(add), &own(drop), privileged) {
            Err(error) => error.to_string(),
            Ok(set) if set == all => "all".to_owned(),
            Ok(set) => {
                let default = BTreeSet::from(DEFAULT);
                let list = |sign: &'static str, set: &BTreeSet<Capability>| -> Vec<String> {
                    let name = |c: &Capability| format!("{sign}{}", &c.name()[4..]);
                    set.iter().map(name).collect()
                };
                let base = if set.len() > 20 { &all } else { &default };
                [list("-", &(base - &set)), list("+", &(&set - base))].concat().join(" ")
            }
        }
    }

    #[test]
    fn dockers_rules() {
        assert_eq!(result(&[], &[], false), "");
        assert_eq!(result(&["NET_ADMIN"], &[], false), "+NET_ADMIN");
        assert_eq!(result(&[], &["cap_mknod", "KILL"], false), "-KILL -MKNOD");
        assert_eq!(result(&["MKNOD"], &["MKNOD"], false), "");
        assert_eq!(result(&["ALL"], &[], false), "all");
        assert_eq!(result(&["all"], &["SYS_ADMIN"], false), "-SYS_ADMIN");
        assert_eq!(result(&["ALL"], &["ALL"], false), "all");
        assert_eq!(result(&[], &["ALL"], true), "all");
    }

    #[test]
    fn drop_all_leaves_what_is_added() {
        let all = Capability::ALL.iter().copied().collect();
        let set = compute_from(&all, &["CHOWN".into()], &["ALL".into()], false).unwrap();
        assert_eq!(set, BTreeSet::from([CAP_CHOWN]));
        assert_eq!(compute_from(&all, &[], &["ALL".into()], false), Ok(BTreeSet::new()));
    }

    #[test]
    fn all_is_what_there_is() {
        let few = BTreeSet::from([CAP_CHOWN, CAP_SYS_ADMIN]);
        assert_eq!(compute_from(&few, &["ALL".into()], &[], false), Ok(few.clone()));
        assert_eq!(compute_from(&few, &[], &[], true), Ok(few.clone()));
        assert_eq!(compute_from(&few, &[], &[], false), Ok(BTreeSet::from([CAP_CHOWN])));
        let asked = compute_from(&few, &["SYS_TIME".into()], &[], false).unwrap();
        assert!(asked.contains(&CAP_SYS_TIME), "left to fail where it is applied");
    }

    #[test]
    fn a_wrong_name_is_told_with_near_ones() {
        assert_eq!(
            result(&["NETADMIN"], &[], false),
            "unknown capability `NETADMIN`; did you mean NET_ADMIN?"
        );
        assert_eq!(
            result(&[], &["setuidd"], false),
            "unknown capability `setuidd`; did you mean SETUID or SETGID?"
        );
        assert_eq!(result(&["frobnicate"], &[], true), "unknown capability `frobnicate`");
        assert_eq!(
            result(&["dac"], &[], false),
            "unknown capability `dac`; did you mean DAC_OVERRIDE or DAC_READ_SEARCH?"
        );
    }
}
