//! What can go wrong between the files of a context and those of an image, as far as a user can act
//! on it.

use syscalls::KernelError;

use crate::ignore::IgnoreError;
use crate::pattern::BadPattern;

/// Why files were not found, read or copied. Each prints as one line and, where something can be
/// done, a `hint:` line. Names are printable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A source without wildcards is not there. (With wildcards it may mean nothing: `COPY
    /// yarn.lock* ./`.)
    #[error("\"/{path}\": not found{}", hint_line(.hint))]
    NotFound {
        /// The source from the root, `src/main.c`.
        path: String,
        /// What may be done about it; may be empty.
        hint: String,
    },
    /// A source or an `--exclude` is no pattern.
    #[error("{0}\nhint: write `\\` before `[`, `*`, `?` or `\\` to mean the character itself")]
    Pattern(#[from] BadPattern),
    /// A line of `.dockerignore` or an `--exclude` is no pattern.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// More than one file, and the target is none for more than one.
    #[error(
        "when using {instruction} with more than one source file, the destination must be a \
         directory and end with a /\nhint: write `{target}/`"
    )]
    ManyToOne {
        /// `COPY` or `ADD`.
        instruction: &'static str,
        /// The target as written.
        target: String,
    },
    /// A directory is to become a file's place, or the other way round.
    #[error("cannot {what}: /{path}\nhint: {hint}")]
    Kind {
        /// What is wanted: `copy to non-directory`, `replace directory with file`.
        what: &'static str,
        /// Where, in the image.
        path: String,
        /// What may be done.
        hint: &'static str,
    },
    /// A source became something else while it was read.
    #[error(
        "`{path}` changed while it was read\nhint: run the build again when nothing writes to it any more"
    )]
    Changed {
        /// The source.
        path: String,
    },
    /// A file-creation mode that is none.
    #[error(
        "invalid chmod parameter: '{value}': {reason}\nhint: write `--chmod=755` or `--chmod=u=rwX,go=rX`"
    )]
    Chmod {
        /// As written.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The kernel refused a step; the object is the file.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

fn hint_line(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\nhint: {text}") }
}
