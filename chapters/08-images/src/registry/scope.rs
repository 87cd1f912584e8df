//! What a token is asked for: `repository:library/busybox:pull`, `registry:catalog:*`.

use std::collections::{BTreeMap, BTreeSet};

/// Resources with actions; writes itself always in the same way, so that it can name a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Scope(BTreeMap<String, BTreeSet<String>>);

impl Scope {
    pub(super) fn pull(repository: &str) -> Self {
        Self::default().and(&format!("repository:{repository}:pull"))
    }

    pub(super) fn push(repository: &str) -> Self {
        Self::default().and(&format!("repository:{repository}:pull,push"))
    }

    pub(super) fn catalog() -> Self {
        Self::default().and("registry:catalog:*")
    }

    /// With what a text asks for in addition: scopes with spaces between.
    pub(super) fn and(mut self, text: &str) -> Self {
        for scope in text.split_whitespace() {
            // A repository may have a port in its name, so it is the last colon that counts.
            let (resource, actions) = scope.rsplit_once(':').unwrap_or((scope, ""));
            let own = self.0.entry(resource.to_owned()).or_default();
            own.extend(actions.split(',').filter(|it| !it.is_empty()).map(str::to_owned));
        }
        self
    }

    /// One text for each resource.
    pub(super) fn list(&self) -> Vec<String> {
        let text = |(resource, actions): (&String, &BTreeSet<String>)| {
            let actions: Vec<_> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        };
        self.0.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_add_up() {
        let scope =
            Scope::push("a/b").and("repository:a/b:pull repository:c:pull registry:catalog:*");
        assert_eq!(
            scope.list(),
            ["registry:catalog:*", "repository:a/b:pull,push", "repository:c:pull"]
        );
        assert_eq!(Scope::pull("a").and("repository:a:push"), Scope::push("a"));
        assert!(Scope::default().and("  ").list().is_empty());
    }
}
