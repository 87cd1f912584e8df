//! A kernel step that failed: what was being done, on what, and what the kernel said.

use std::borrow::Cow;
use std::fmt::Display;

use nix::errno::Errno;

/// A failed kernel step.
///
/// Printed as ``attach mount `/proc`: Permission denied (EPERM)``, followed by the kernel's own sentence where it
/// gave one (the message log of a filesystem context, `fsopen(2)`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct KernelError {
    /// What was being done, as a verb and its kind of object: `attach mount`, `write limit`.
    pub step: Cow<'static, str>,
    /// On what: a path, a name, a number. Empty if there is nothing to name.
    pub object: String,
    /// What the kernel answered.
    pub errno: Errno,
    /// The kernel's own words beyond the errno, or ours where the errno alone misleads. May be empty.
    pub detail: String,
}

impl Display for KernelError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.step)?;
        if !self.object.is_empty() {
            write!(f, " `{}`", self.object)?;
        }
        write!(f, ": {} ({})", self.errno.desc(), errno_name(self.errno))?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl KernelError {
    /// Makes an error without a further detail.
    pub fn new(
        step: impl Into<Cow<'static, str>>,
        object: impl Display,
        errno: impl Into<Errno>,
    ) -> Self {
        Self {
            step: step.into(),
            object: object.to_string(),
            errno: errno.into(),
            detail: String::new(),
        }
    }

    /// Adds words that the errno lacks.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// The symbolic name of an errno, `EPERM`.
pub fn errno_name(errno: Errno) -> String {
    format!("{errno:?}")
}

/// Names the step during which a call failed.
pub trait During<T> {
    /// Wraps the error with what was being done and on what.
    ///
    /// # Errors
    /// The error of `self`, as a [`KernelError`].
    fn during(
        self,
        step: impl Into<Cow<'static, str>>,
        object: impl Display,
    ) -> Result<T, KernelError>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(
        self,
        step: impl Into<Cow<'static, str>>,
        object: impl Display,
    ) -> Result<T, KernelError> {
        self.map_err(|errno| KernelError::new(step, object, errno))
    }
}

impl<T> During<T> for std::io::Result<T> {
    fn during(
        self,
        step: impl Into<Cow<'static, str>>,
        object: impl Display,
    ) -> Result<T, KernelError> {
        self.map_err(|error| match error.raw_os_error() {
            Some(number) => KernelError::new(step, object, Errno::from_raw(number)),
            None => KernelError::new(step, object, Errno::EIO).with_detail(error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_one_sentence() {
        let error = KernelError::new("attach mount", "/proc", Errno::EPERM);
        assert_eq!(error.to_string(), "attach mount `/proc`: Operation not permitted (EPERM)");
        let error = KernelError::new("fork", "", Errno::EAGAIN).with_detail("pids limit");
        assert_eq!(error.to_string(), "fork: Try again (EAGAIN): pids limit");
    }

    #[test]
    fn io_errors_keep_their_errno() {
        let missing = std::fs::File::open("/no/such/file").map(drop).during("open", "x");
        assert_eq!(missing.map_err(|e| e.errno), Err(Errno::ENOENT));
    }
}
