//! Words of a stage with their variables, and its paths.

use anyhow::Result;
use build::config::join;
use build::expand::ExpandError;
use build::instruction::Word;

use super::stage::Worker;
use crate::failure::Failure;

impl Worker<'_> {
    /// A word with its variables.
    pub(super) fn expand(&self, word: &Word) -> Result<String> {
        let lookup = &mut |name: &str| self.scope.value(name, self.settings.variable(name));
        self.expander.expand(word, lookup).map_err(failure)
    }

    /// A word that may be several.
    pub(super) fn expand_words(&self, word: &Word) -> Result<Vec<String>> {
        let lookup = &mut |name: &str| self.scope.value(name, self.settings.variable(name));
        self.expander.expand_words(word, lookup).map_err(failure)
    }

    /// Names and values.
    pub(super) fn expand_pairs(&self, pairs: &[(Word, Word)]) -> Result<Vec<(String, String)>> {
        pairs.iter().map(|(name, value)| Ok((self.expand(name)?, self.expand(value)?))).collect()
    }

    /// The content of a heredoc, expanded.
    pub(super) fn heredoc(&self, heredoc: &build::instruction::Heredoc) -> Result<String> {
        let lookup = &mut |name: &str| self.scope.value(name, self.settings.variable(name));
        build::expand::expand_heredoc(heredoc, lookup).map_err(failure)
    }

    /// A path against the working directory.
    pub(super) fn absolute(&self, path: &str) -> String {
        let joined = join(self.settings.workdir(), path);
        // What asks for a directory still does.
        let asks = path.ends_with('/') || path.ends_with("/.") || path == ".";
        if asks && joined != "/" { format!("{joined}/") } else { joined }
    }
}

fn failure(error: ExpandError) -> anyhow::Error {
    Failure { hint: error.hint.map(str::to_owned), ..Failure::new(error.message) }.into()
}
