//! `--chmod`: `0644`, or changes to what the source has: `u=rwX,go-w`.
//!
//! The symbolic form is chmod(1)'s: *who* (`u`, `g`, `o`, `a`, none is `a`; the umask does not
//! count), then as often as wanted an operator (`+`, `-`, `=`) with permissions: any of `rwxXst`,
//! or one of `u`, `g`, `o` to take over theirs. `X` is `x` for directories and for files that
//! anybody may execute.

use std::str::FromStr;

use crate::file_error::FileError;

/// What `--chmod` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// All bits, up to 07777.
    Octal(u32),
    /// Changes, one after the other.
    Symbolic(Vec<Clause>),
}

/// One operator with its permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clause {
    /// Bits of those who are meant: 0o4700 the owner, 0o2070 the group, 0o1007 the others.
    who: u32,
    operator: Operator,
    permissions: Permissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permissions {
    /// Bits for everybody, of which `who` takes its own; and whether there is an `X`.
    Bits { bits: u32, conditional: bool },
    /// How far to shift to find those of the owner (6), the group (3) or the others (0).
    Of(u32),
}

impl Chmod {
    /// The new mode of a file that has `mode`.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(clauses) => {
                clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_directory))
            }
        }
    }
}

impl Clause {
    fn apply(self, mode: u32, is_directory: bool) -> u32 {
        let bits = match self.permissions {
            Permissions::Bits { bits, conditional } => {
                let executable = conditional && (is_directory || mode & 0o111 != 0);
                bits | if executable { 0o111 } else { 0 }
            }
            Permissions::Of(shift) => (mode >> shift & 0o7) * 0o111,
        };
        // The sticky bit is nobody's in particular: `+t` and `o+t` set it, `u+t` does not.
        let bits = bits & self.who;
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Set => mode & !self.who | bits,
        }
    }
}

impl FromStr for Chmod {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, FileError> {
        let error = |reason| FileError::Chmod { value: text.escape_debug().to_string(), reason };
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let octal = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o7777);
            return octal
                .map(Self::Octal)
                .ok_or_else(|| error("it should be octal string and between 0 and 07777"));
        }
        let clauses: Result<Vec<_>, _> = text.split(',').map(clauses).collect();
        Ok(Self::Symbolic(clauses.map_err(error)?.concat()))
    }
}

/// Reads `ug+rw-x`.
fn clauses(text: &str) -> Result<Vec<Clause>, &'static str> {
    let operators = ['+', '-', '='];
    let start = text.find(operators).ok_or("expected `+`, `-` or `=`")?;
    let (who, mut rest) = text.split_at(start);
    let mut meant = if who.is_empty() { 0o7777 } else { 0 };
    for each in who.chars() {
        meant |= match each {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return Err("expected `u`, `g`, `o` or `a` before the operator"),
        };
    }
    let mut clauses = Vec::new();
    while let Some(operator) = rest.chars().next() {
        let operator = match operator {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Set,
        };
        let end = rest[1..].find(operators).map_or(rest.len(), |end| end + 1);
        let permissions = permissions(&rest[1..end])?;
        clauses.push(Clause { who: meant, operator, permissions });
        rest = &rest[end..];
    }
    Ok(clauses)
}

fn permissions(text: &str) -> Result<Permissions, &'static str> {
    match text {
        "u" => return Ok(Permissions::Of(6)),
        "g" => return Ok(Permissions::Of(3)),
        "o" => return Ok(Permissions::Of(0)),
        _ => {}
    }
    let (mut bits, mut conditional) = (0, false);
    for each in text.chars() {
        match each {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            's' => bits |= 0o6000,
            't' => bits |= 0o1000,
            'X' => conditional = true,
            _ => {
                return Err(
                    "expected any of `rwxXst`, or one of `u`, `g`, `o`, after the operator",
                );
            }
        }
    }
    Ok(Permissions::Bits { bits, conditional })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_changed_as_chmod_does() {
        // text, mode before, of a file, of a directory
        let cases = [
            ("0644", 0o4755, 0o644, 0o644),
            ("7777", 0, 0o7777, 0o7777),
            ("0", 0o777, 0, 0),
            ("u=rwX,go=rX", 0o600, 0o644, 0o755),
            ("u=rwX,go=rX", 0o700, 0o755, 0o755),
            ("u=rwX,go-w", 0o666, 0o644, 0o744),
            ("a+x", 0o644, 0o755, 0o755),
            ("+x", 0o600, 0o711, 0o711),
            ("go=", 0o777, 0o700, 0o700),
            ("g=u", 0o640, 0o660, 0o660),
            ("o=g-w", 0o670, 0o675, 0o675),
            ("u+s", 0o755, 0o4755, 0o4755),
            ("g+s", 0o755, 0o2755, 0o2755),
            ("ug+s,+t", 0o755, 0o7755, 0o7755),
            ("o+t", 0o777, 0o1777, 0o1777),
            ("u+t", 0o777, 0o777, 0o777),
            ("a-s", 0o6755, 0o755, 0o755),
            ("u-x+w", 0o555, 0o655, 0o655),
            ("a=r,u+w", 0o777, 0o644, 0o644),
            ("a+X", 0o644, 0o644, 0o755),
            ("=", 0o7777, 0, 0),
        ];
        for (text, before, file, directory) in cases {
            let chmod: Chmod = text.parse().unwrap();
            let got = (chmod.apply(before, false), chmod.apply(before, true));
            assert_eq!(got, (file, directory), "{text}: {:o} {:o}", got.0, got.1);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "644x", "8", "10000", "0999", "u", "u=rwz", "q=r", "u=r,", "rw", "=ug", "-1"]
        {
            let error = text.parse::<Chmod>().unwrap_err().to_string();
            assert!(error.starts_with("invalid chmod parameter: "), "{text}: {error}");
        }
    }
}
