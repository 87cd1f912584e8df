//! `search`: asks Docker Hub's index, filters and prints what it found.

use anyhow::Result;
use clap::Args;
use images::registry::Found;

use super::server;
use super::table;
use crate::failure::Failure;
use crate::settings::Settings;

/// Characters of a description that are shown.
const DESCRIPTION: usize = 45;

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Show at most this many, from 1 to 100
    #[arg(long, value_name = "NUMBER", default_value_t = 25)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Show descriptions in full
    #[arg(long)]
    no_trunc: bool,
    /// Only images with stars=NUMBER or more, is-official=true|false, is-automated=true|false
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = Filter::parse)]
    filter: Vec<Filter>,
    /// What to search for; a registry that can be searched is put before it: HOST/TERM
    term: String,
}

impl Search {
    pub(super) fn run(self, settings: &Settings) -> Result<u8> {
        let (registry, term) = split(&self.term)?;
        let client = settings.client();
        let found =
            client.registry(registry).search(term, self.limit).map_err(images::Error::from)?;
        table::print(&render(found, &self.filter, self.no_trunc));
        Ok(0)
    }
}

/// The registry and what to ask it for: `busybox`, `alice/web`, `localhost:5000/web`.
fn split(text: &str) -> Result<(&str, &str)> {
    if let Some((_, rest)) = text.split_once("://") {
        let hint = format!("mini-docker search {}", rest.escape_debug());
        return Err(Failure::new("a search term has no scheme").hint(hint).into());
    }
    let (registry, term) = match text.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (server::parse(Some(first))?, rest)
        }
        _ => (server::HUB, text),
    };
    // Docker Hub calls its official images by their bare names.
    let term = match registry {
        server::HUB => term.strip_prefix("library/").unwrap_or(term),
        _ => term,
    };
    if term.trim().is_empty() {
        return Err(Failure::new("the search term is empty").into());
    }
    Ok((registry, term))
}

/// Which of the images that were found are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    Stars(u64),
    Official(bool),
    Automated(bool),
}

impl Filter {
    fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as stars=10")?;
        let flag = || match value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("`{key}` is true or false")),
        };
        match key {
            "stars" => {
                value.parse().map(Self::Stars).map_err(|_| "`stars` is a whole number".to_owned())
            }
            "is-official" => flag().map(Self::Official),
            "is-automated" => flag().map(Self::Automated),
            _ => Err("the keys are stars, is-official and is-automated".to_owned()),
        }
    }

    fn shows(&self, found: &Found) -> bool {
        match self {
            Self::Stars(least) => found.stars >= *least,
            Self::Official(wanted) => found.official == *wanted,
            Self::Automated(wanted) => found.automated == *wanted,
        }
    }
}

/// The table, images with most stars first.
fn render(mut found: Vec<Found>, filters: &[Filter], whole: bool) -> String {
    found.retain(|found| filters.iter().all(|filter| filter.shows(found)));
    found.sort_by_key(|found| std::cmp::Reverse(found.stars));
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|found| {
            let description = harmless(&found.description);
            let description = if whole { description } else { shorten(&description) };
            let official = if found.official { "[OK]" } else { "" };
            vec![harmless(&found.name), description, found.stars.to_string(), official.to_owned()]
        })
        .collect();
    table::table(&["NAME", "DESCRIPTION", "STARS", "OFFICIAL"], &rows)
}

/// Strangers write the descriptions: nothing in them may speak to the terminal or leave its line.
fn harmless(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= DESCRIPTION {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(DESCRIPTION - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, description: &str, stars: u64, official: bool) -> Found {
        let (name, description) = (name.to_owned(), description.to_owned());
        Found { name, description, stars, official, automated: false }
    }

    fn some() -> Vec<Found> {
        vec![
            found("alice/busybox", "", 3, false),
            found("busybox", "Busybox base image.", 3000, true),
            found("bob/box", "A long description, of which not all is shown here", 40, false),
            found("eve/box", "line\nbreak \u{1b}[31mred\u{7}", 41, false),
            found("exact", &"x".repeat(45), 2, false),
        ]
    }

    #[test]
    fn the_table_is_dockers() {
        insta::assert_snapshot!(render(some(), &[], false));
        let whole = render(some(), &[], true);
        assert!(whole.contains("A long description, of which not all is shown here"));
        assert_eq!(render(Vec::new(), &[], false), "NAME   DESCRIPTION   STARS   OFFICIAL\n");
    }

    #[test]
    fn filters_must_all_hold() {
        for (filters, names) in [
            (&["stars=40"][..], &["busybox", "eve/box", "bob/box"][..]),
            (&["stars=40", "is-official=false"], &["eve/box", "bob/box"]),
            (&["is-official=true"], &["busybox"]),
            (&["is-automated=true"], &[]),
        ] {
            let filters: Vec<Filter> =
                filters.iter().map(|text| Filter::parse(text).unwrap()).collect();
            let table = render(some(), &filters, false);
            let shown: Vec<&str> =
                table.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
            assert_eq!(shown, names, "{filters:?}");
        }
        for wrong in ["stars", "stars=many", "stars=-1", "is-official=yes", "size=3", ""] {
            Filter::parse(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn a_host_before_the_term_is_asked() {
        for (text, registry, term) in [
            ("busybox", "docker.io", "busybox"),
            ("library/busybox", "docker.io", "busybox"),
            ("docker.io/library/busybox", "docker.io", "busybox"),
            ("alice/web", "docker.io", "alice/web"),
            ("localhost/web", "localhost", "web"),
            ("host:5000/team/web", "host:5000", "team/web"),
            ("quay.io/web", "quay.io", "web"),
        ] {
            assert_eq!(split(text).unwrap(), (registry, term), "{text}");
        }
        for wrong in ["", " ", "localhost/", "https://docker.io/busybox", "ho st:1/x"] {
            split(wrong).map(drop).expect_err(wrong);
        }
    }
}
