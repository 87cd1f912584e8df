//! Container ids and the names that are made up when none is given.

/// First half of a made-up name.
const MOODS: [&str; 48] = [
    "able", "amber", "apt", "bold", "brave", "brisk", "calm", "candid", "clear", "clever", "cosy",
    "crisp", "deft", "eager", "early", "fair", "fond", "frank", "fresh", "gentle", "glad", "grand",
    "happy", "honest", "humble", "keen", "kind", "light", "lively", "loyal", "lucid", "merry",
    "mild", "neat", "nimble", "noble", "patient", "plain", "polite", "proud", "quick", "quiet",
    "ready", "sharp", "sunny", "swift", "warm", "wise",
];

/// Second half: things of ships, harbours and cranes, since the field lives by that picture.
const THINGS: [&str; 48] = [
    "anchor", "barge", "beacon", "berth", "boom", "bow", "bridge", "buoy", "cabin", "cargo",
    "chart", "compass", "crane", "crate", "crew", "deck", "derrick", "dock", "ferry", "fleet",
    "gangway", "harbor", "hatch", "helm", "hull", "keel", "knot", "lantern", "lighter", "lock",
    "mast", "mole", "oar", "pier", "pilot", "port", "quay", "rope", "rudder", "sail", "sextant",
    "shore", "sloop", "stern", "tide", "tug", "wharf", "winch",
];

/// A new container id: 32 random bytes as 64 hex digits, as Docker's.
///
/// # Errors
/// If the kernel has no randomness (`getrandom(2)`).
pub fn new_id() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("get random bytes: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A readable name from an id, `calm_ferry`; another `attempt` gives another name with more digits.
pub fn from_id(id: &str, attempt: u32) -> String {
    let number = |range: std::ops::Range<usize>| {
        id.get(range).and_then(|part| usize::from_str_radix(part, 16).ok()).unwrap_or_default()
    };
    let mood = MOODS[number(0..6) % MOODS.len()];
    let thing = THINGS[number(6..12) % THINGS.len()];
    match attempt {
        0 => format!("{mood}_{thing}"),
        attempt => {
            let digits = (attempt as usize).min(8);
            format!("{mood}_{thing}_{}", id.get(12..12 + digits).unwrap_or_default())
        }
    }
}

/// Whether a name may be given to a container: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, as Docker has it.
pub fn is_valid(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() >= 2
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_hex_digits_and_differ() {
        let (one, two) = (new_id().unwrap(), new_id().unwrap());
        assert_eq!(one.len(), 64);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(one, two);
    }

    #[test]
    fn made_up_names_are_valid_and_change_with_the_attempt() {
        let id = "0123456789abcdef0123456789abcdef";
        assert!(is_valid(&from_id(id, 0)));
        assert_ne!(from_id(id, 1), from_id(id, 0));
        assert_ne!(from_id(id, 1), from_id(id, 2));
    }

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["ab", "a1", "web-1.x_y", "0a"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "a", "-ab", ".ab", "a b", "a/b", "ä1"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
