//! Which variables an instruction can see, and what they are worth.
//!
//! There are two kinds. `ENV` is a setting of the image: it stays. `ARG` is a question to whoever builds: its value is
//! known from its line to the end of its stage, in what is expanded and in the environment of `RUN`, and then it is
//! forgotten. Of one name, `ENV` wins.
//!
//! | where | an `ARG` without a default is worth |
//! |---|---|
//! | before the first `FROM` | what `--build-arg` says; seen by the `FROM` lines |
//! | in a stage | what `--build-arg` says, or the one before the first `FROM`, or the platform's |
//!
//! Predefined (Dockerfile reference, "ARG"): the platform's for `FROM` lines and whoever declares them; proxies for each
//! `RUN`, undeclared, and then without a say in the cache: through which proxy a file came does not change it.

use std::collections::{BTreeMap, BTreeSet};

/// Given with `--build-arg`, they reach `RUN` undeclared.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Whether `--build-arg` of this name needs no `ARG`.
pub fn is_predefined(name: &str) -> bool {
    PROXIES.contains(&name) || name == "SOURCE_DATE_EPOCH" || name.starts_with("BUILDKIT_")
}

/// What is known before the first stage.
#[derive(Debug, Clone, Default)]
pub struct Globals {
    /// `--build-arg NAME=value`.
    pub given: BTreeMap<String, String>,
    /// `TARGETARCH` and so on.
    pub platform: BTreeMap<String, String>,
    declared: BTreeMap<String, Option<String>>,
}

impl Globals {
    /// `platform` is as in `linux/arm64/v8`: the variant may be empty.
    pub fn new(
        given: BTreeMap<String, String>,
        os: &str,
        architecture: &str,
        variant: &str,
    ) -> Self {
        let whole = match variant {
            "" => format!("{os}/{architecture}"),
            variant => format!("{os}/{architecture}/{variant}"),
        };
        let mut platform = BTreeMap::new();
        for side in ["TARGET", "BUILD"] {
            let values =
                [("PLATFORM", &*whole), ("OS", os), ("ARCH", architecture), ("VARIANT", variant)];
            for (name, value) in values {
                platform.insert(format!("{side}{name}"), value.to_owned());
            }
        }
        Self { given, platform, declared: BTreeMap::new() }
    }

    /// `ARG` before the first `FROM`, with its default expanded.
    pub fn declare(&mut self, name: &str, default: Option<String>) {
        let value = self.given.get(name).cloned().or(default);
        self.declared.insert(name.to_owned(), value);
    }

    /// A variable in a `FROM` line.
    pub fn value(&self, name: &str) -> Option<String> {
        let declared = self.declared.get(name).cloned().flatten();
        declared.or_else(|| self.platform.get(name).cloned())
    }

    /// Names that were given and that no `ARG` of the Dockerfile asks for: `asked` are those of all stages.
    pub fn unasked(&self, asked: &BTreeSet<String>) -> Vec<String> {
        let known = |name: &&String| {
            asked.contains(*name) || self.declared.contains_key(*name) || is_predefined(name)
        };
        self.given.keys().filter(|name| !known(name)).cloned().collect()
    }
}

/// The `ARG`s of a stage, from their lines on.
#[derive(Debug, Clone)]
pub struct Scope<'g> {
    globals: &'g Globals,
    declared: BTreeMap<String, Option<String>>,
}

impl<'g> Scope<'g> {
    /// At the beginning of a stage none is known.
    pub fn new(globals: &'g Globals) -> Self {
        Self { globals, declared: BTreeMap::new() }
    }

    /// `ARG`, with its default expanded.
    pub fn declare(&mut self, name: &str, default: Option<String>) {
        let globals = self.globals;
        let value = globals.given.get(name).cloned().or(default);
        let value = value.or_else(|| globals.value(name));
        self.declared.insert(name.to_owned(), value);
    }

    /// What `$name` is worth; `env` is the value that `ENV` has given it.
    pub fn value(&self, name: &str, env: Option<String>) -> Option<String> {
        env.or_else(|| self.declared.get(name).cloned().flatten())
    }

    /// The declared ones that have a value, by name: what `RUN` sees, and what its layer depends on.
    pub fn declared(&self) -> impl Iterator<Item = (&str, &str)> {
        self.declared.iter().filter_map(|(name, value)| Some((&**name, value.as_deref()?)))
    }

    /// Given and not declared, and seen by `RUN` all the same: the proxies.
    pub fn proxies(&self) -> impl Iterator<Item = (&str, &str)> {
        let undeclared = |name: &&&str| !self.declared.contains_key(**name);
        PROXIES.iter().filter(undeclared).filter_map(|name| {
            self.globals.given.get_key_value(*name).map(|(name, value)| (&**name, &**value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals(given: &[(&str, &str)]) -> Globals {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Globals::new(given.collect(), "linux", "amd64", "")
    }

    #[test]
    fn where_a_value_comes_from() {
        // (given, global default, default in the stage) to the value in the stage
        let cases = [
            (None, None, None, None),
            (None, None, Some("stage"), Some("stage")),
            (None, Some("global"), None, Some("global")),
            (None, Some("global"), Some("stage"), Some("stage")),
            (Some("given"), Some("global"), Some("stage"), Some("given")),
            (Some("given"), None, None, Some("given")),
        ];
        for (given, global, default, expected) in cases {
            let given: Vec<_> = given.into_iter().map(|value| ("V", value)).collect();
            let mut globals = globals(&given);
            if let Some(global) = global {
                globals.declare("V", Some(global.to_owned()));
            }
            let mut scope = Scope::new(&globals);
            assert_eq!(scope.value("V", None), None, "not declared yet");
            scope.declare("V", default.map(str::to_owned));
            assert_eq!(scope.value("V", None).as_deref(), expected, "{given:?} {global:?}");
            assert_eq!(scope.value("V", Some("env".into())).as_deref(), Some("env"));
        }
    }

    #[test]
    fn a_stage_forgets_the_arguments_of_the_one_before() {
        let globals = globals(&[("V", "given")]);
        let mut first = Scope::new(&globals);
        first.declare("V", None);
        assert_eq!(first.declared().collect::<Vec<_>>(), [("V", "given")]);
        assert_eq!(Scope::new(&globals).declared().count(), 0);
    }

    #[test]
    fn the_platform_is_there_for_whoever_asks() {
        let globals = Globals::new(BTreeMap::new(), "linux", "arm64", "v8");
        assert_eq!(globals.value("TARGETPLATFORM").as_deref(), Some("linux/arm64/v8"));
        let mut scope = Scope::new(&globals);
        assert_eq!(scope.value("TARGETARCH", None), None);
        scope.declare("TARGETARCH", None);
        assert_eq!(scope.value("TARGETARCH", None).as_deref(), Some("arm64"));
    }

    #[test]
    fn what_nobody_asks_for() {
        let mut globals = globals(&[("A", ""), ("B", ""), ("C", ""), ("http_proxy", "p")]);
        globals.declare("B", None);
        assert_eq!(globals.unasked(&["A".to_owned()].into()), ["C"]);
        let mut scope = Scope::new(&globals);
        assert_eq!(scope.proxies().collect::<Vec<_>>(), [("http_proxy", "p")]);
        scope.declare("http_proxy", None);
        assert_eq!(scope.proxies().count(), 0, "declared, it counts like any other");
        assert_eq!(scope.declared().collect::<Vec<_>>(), [("http_proxy", "p")]);
    }
}
