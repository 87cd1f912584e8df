//! `.dockerignore`: what of the context no `COPY` sees.
//!
//! One pattern a line (see [`pattern`](crate::pattern)). A `#` in the first column makes a comment,
//! empty lines are nothing, white space around a pattern is dropped. A pattern means what it
//! matches and everything below that. A `!` before it brings back what patterns above have taken
//! away: **the last line that matches decides**. So a directory may be excluded and a file in it
//! not: the walk has to look into it ([`Ignore::may_hold`]), and the directory is there after all
//! if anything in it is.
//!
//! `build.Dockerfile.dockerignore`, beside the Dockerfile `build.Dockerfile`, takes the place of
//! the context's `.dockerignore`. Both files and the Dockerfile itself may be excluded: the builder
//! still reads them, only no `COPY` does. The same rules serve `COPY --exclude`, with paths from
//! the source that is copied.
//!
//! Source: Docker's manual, *Build context*, `.dockerignore files`;
//! `github.com/moby/patternmatcher/ignorefile`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};
use syscalls::{During, KernelError, inroot};

use crate::names::shown;
use crate::pattern::{BadPattern, Pattern};

/// Longest file that is read, in bytes; the longest that people have are a thousandth of it.
const LONGEST: u64 = 4 << 20;

/// The rules of a `.dockerignore` or of several `--exclude`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
    /// The name of the file, for messages.
    file: String,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What is meant.
    pub pattern: Pattern,
    /// `!`: it is not excluded.
    pub exception: bool,
    /// The number of the line, from 1.
    pub line: usize,
}

/// Why a file does not read as `.dockerignore`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IgnoreError {
    /// A line is no pattern.
    #[error(
        "{file}:{line}: {error}\nhint: write `\\` before `[`, `*`, `?` or `\\` to mean the character itself"
    )]
    Pattern {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        error: BadPattern,
    },
    /// `!` and nothing after it.
    #[error(
        "{file}:{line}: illegal exclusion pattern: \"!\"\nhint: `!` needs the pattern of what is not excluded after it"
    )]
    Empty {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// Longer than any such file.
    #[error("{file}: longer than 4 MiB, or no file\nhint: patterns such as `**/*.o` make it short")]
    TooLong {
        /// The file.
        file: String,
    },
    /// It could not be read.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What the rules say of one path; needed for what is below it.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Which rules match the path or something above it.
    matched: Rc<[bool]>,
    /// Whether the path is excluded.
    pub excluded: bool,
}

impl Ignore {
    /// Reads the text of a file of this name.
    ///
    /// # Errors
    /// [`IgnoreError`], with the line.
    pub fn parse(text: &[u8], file: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let lines = text.split(|byte| *byte == b'\n').enumerate();
        let lines = lines.filter(|(_, line)| !line.starts_with(b"#"));
        Self::of(lines.map(|(index, line)| (index + 1, line)), file)
    }

    /// The rules of `--exclude`, each value one pattern.
    ///
    /// # Errors
    /// [`IgnoreError`]; the line is the number of the flag.
    pub fn patterns<T: AsRef<[u8]>>(patterns: &[T]) -> Result<Self, IgnoreError> {
        let numbered = patterns.iter().enumerate();
        Self::of(numbered.map(|(index, text)| (index + 1, text.as_ref())), "--exclude")
    }

    fn of<'a>(
        lines: impl Iterator<Item = (usize, &'a [u8])>,
        file: &str,
    ) -> Result<Self, IgnoreError> {
        let mut rules = Vec::new();
        for (line, text) in lines {
            let text = text.trim_ascii();
            let (exception, text) = match text.strip_prefix(b"!") {
                Some(rest) => (true, rest.trim_ascii()),
                None => (false, text),
            };
            if text.is_empty() {
                if exception {
                    return Err(IgnoreError::Empty { file: file.to_owned(), line });
                }
                continue;
            }
            let pattern = Pattern::parse(text).map_err(|error| IgnoreError::Pattern {
                file: file.to_owned(),
                line,
                error,
            })?;
            rules.push(Rule { pattern, exception, line });
        }
        Ok(Self { rules, file: file.to_owned() })
    }

    /// Finds and reads the file: `<dockerfile>.dockerignore` in the Dockerfile's directory, else
    /// `.dockerignore` in the context, else there are no rules. Links are followed inside the
    /// directory only.
    ///
    /// # Errors
    /// [`IgnoreError`].
    pub fn read(
        dockerfile: Option<(BorrowedFd<'_>, &OsStr)>,
        context: BorrowedFd<'_>,
    ) -> Result<Self, IgnoreError> {
        let own = dockerfile.map(|(dir, name)| {
            (dir, OsStr::from_bytes(&[name.as_bytes(), b".dockerignore"].concat()).to_owned())
        });
        let common = (context, OsStr::new(".dockerignore").to_owned());
        for (dir, name) in own.into_iter().chain([common]) {
            let file = shown(&name.clone().into_vec());
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
            let opened = match inroot::open(dir, Path::new(&name), flags, Mode::empty()) {
                Err(Errno::ENOENT) => continue,
                other => File::from(other.during("open", &file)?),
            };
            let stat = fstat(&opened).during("read attributes", &file)?;
            let mut text = Vec::new();
            if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
                return Err(IgnoreError::TooLong { file });
            }
            opened.take(LONGEST + 1).read_to_end(&mut text).during("read", &file)?;
            if text.len() as u64 > LONGEST {
                return Err(IgnoreError::TooLong { file });
            }
            return Self::parse(&text, &file);
        }
        Ok(Self::default())
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The file's name, for messages; empty if there is none.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What the rules say of `path`, which lies in a directory of which they say `parent`. The
    /// root's verdict is `Verdict::default()`: it is never excluded.
    pub fn judge(&self, parent: &Verdict, path: &[u8]) -> Verdict {
        let above = |at: usize| parent.matched.get(at).copied().unwrap_or(false);
        let rules = self.rules.iter().enumerate();
        let matched: Rc<[bool]> =
            rules.map(|(at, rule)| above(at) || rule.pattern.matches(path)).collect();
        let last = matched.iter().rposition(|matched| *matched);
        Verdict { excluded: last.is_some_and(|last| !self.rules[last].exception), matched }
    }

    /// What the rules say of a path, when nothing is known of the directories above it.
    pub fn judge_path(&self, path: &[u8]) -> Verdict {
        let mut verdict = Verdict::default();
        if path.is_empty() || self.is_empty() {
            return verdict;
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            verdict = self.judge(&verdict, &path[..end]);
        }
        verdict
    }

    /// The rule that excludes a path.
    pub fn excluded_by(&self, path: &[u8]) -> Option<&Rule> {
        let verdict = self.judge_path(path);
        let last = verdict.matched.iter().rposition(|matched| *matched)?;
        self.rules.get(last).filter(|rule| !rule.exception)
    }

    /// Whether something in an excluded directory may be there after all, so that one has to look.
    pub fn may_hold(&self, directory: &[u8]) -> bool {
        self.rules.iter().any(|rule| rule.exception && rule.pattern.may_match_below(directory))
    }
}

#[cfg(test)]
mod tests;
