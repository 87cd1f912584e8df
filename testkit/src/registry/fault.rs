//! What goes wrong, and when.

use std::fmt;
use std::time::Duration;

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it is passed on. Placed before other rules it lets some requests through.
    Pass,
    /// The connection is closed without an answer.
    Drop,
    /// The connection is closed after so many bytes of the answer's body.
    Cut {
        /// Bytes of the body that arrive.
        after: u64,
    },
    /// The connection is closed after so many bytes of the request's body; the registry sees the same.
    CutRequest {
        /// Bytes of the body that are taken.
        after: u64,
    },
    /// The answer pauses in its body, with the connection open.
    Stall {
        /// Bytes of the body before.
        after: u64,
        /// How long; the rest comes then.
        pause: Duration,
    },
    /// The request waits before it is passed on.
    Delay(Duration),
    /// One byte of the answer's body is another one (all bits inverted).
    Corrupt {
        /// Its offset in what is sent.
        at: u64,
    },
    /// The answer's body ends here, and the headers say that this is all.
    Truncate {
        /// Bytes of the body, at most.
        after: u64,
    },
    /// The registry is not asked; this is the answer.
    Status {
        /// 429, 503...
        code: u16,
        /// Name and value: `Retry-After`...
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The answer is 307 to a second listener at 127.0.0.2, which serves the same bytes and refuses every request that
    /// has an `Authorization` header (400), as object stores with signed URLs do. There the path begins with `/cdn/`,
    /// so that rules can tell, and this fault has no effect.
    Cdn,
    /// The answer is 307 to this URL.
    Redirect(String),
    /// `Range` is overlooked: the answer is 200 with everything.
    IgnoreRange,
    /// The answer's body comes at this rate: bytes per second.
    Throttle(u64),
}

impl Fault {
    /// A status with an empty body.
    pub fn status(code: u16) -> Self {
        Self::Status { code, headers: Vec::new(), body: String::new() }
    }

    /// A status with headers and a body.
    pub fn answer(code: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Self::Status { code, headers: headers.collect(), body: body.to_owned() }
    }
}

/// A condition on the path (with its query) of a request.
type Predicate = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// A fault and the requests that it happens to: the first one that matches, unless it says more.
pub struct Rule {
    method: String,
    path: Predicate,
    skip: u64,
    times: u64,
    pub(super) fault: Fault,
}

impl Rule {
    /// For requests with this method (`*` for every) whose path contains `part`.
    pub fn new(method: &str, part: &str, fault: Fault) -> Self {
        let part = part.to_owned();
        Self::when(method, move |path| path.contains(&part), fault)
    }

    /// For requests with this method (`*` for every) whose path, with its query, is as `path` says.
    pub fn when(
        method: &str,
        path: impl Fn(&str) -> bool + Send + Sync + 'static,
        fault: Fault,
    ) -> Self {
        Self { method: method.to_owned(), path: Box::new(path), skip: 0, times: 1, fault }
    }

    /// For so many requests.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// For every request.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }

    /// Not for the first `count` of those that match.
    #[must_use]
    pub fn after(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Whether it is this rule's turn; counts.
    pub(super) fn applies(&mut self, method: &str, path: &str) -> bool {
        if (self.method != "*" && self.method != method) || !(self.path)(path) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        // u64::MAX requests are as good as endless.
        let applies = self.times > 0;
        self.times = self.times.saturating_sub(1);
        applies
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}, {} times", self.method, self.fault, self.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_count() {
        let turns = |mut rule: Rule| {
            let paths = ["/a/1", "/b/1", "/a/2", "/a/3", "/a/4"];
            paths.map(|path| rule.applies("GET", path))
        };
        let rule = |method| Rule::new(method, "/a/", Fault::Drop);
        assert_eq!(turns(rule("GET")), [true, false, false, false, false]);
        assert_eq!(turns(rule("PUT").always()), [false; 5]);
        assert_eq!(turns(rule("*").times(2)), [true, false, true, false, false]);
        assert_eq!(turns(rule("GET").after(1).times(2)), [false, false, true, true, false]);
        assert_eq!(turns(rule("GET").always()), [true, false, true, true, true]);
        let even = |path: &str| path.ends_with('2') || path.ends_with('4');
        let rule = Rule::when("GET", even, Fault::Drop).always();
        assert_eq!(turns(rule), [false, false, true, false, true]);
    }
}
