//! `--filter NAME=VALUE` of lists.

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) value: String,
}

/// Reads it for the command line.
pub(super) fn pair(text: &str) -> Result<Pair, String> {
    let (name, value) = text.split_once('=').ok_or("bad format of filter (expected name=value)")?;
    Ok(Pair { name: name.trim().to_lowercase(), value: value.trim().to_owned() })
}
