//! `COPY` and `ADD`: files of the context, of another stage, of an image, out of the Dockerfile itself, or from a URL.

mod fetch;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use build::attributes::{Attributes, Owner, Times};
use build::config::join;
use build::copy::{Made, Target, check_many};
use build::digest::{Content, digest, digest_of_bytes};
use build::hash::Digest;
use build::ignore::Ignore;
use build::instruction::{Instruction, Transfer};
use build::remember::Remembered;
use build::select::{self, Selection};

use super::aside::Aside;
use super::chain::Writable;
use super::context::Context;
use super::stage::Worker;
use crate::failure::Failure;
use fetch::Fetched;
pub(super) use fetch::is_url;

/// Where files are copied from.
pub(super) struct Root<'w> {
    tree: Tree<'w>,
    ignore: Ignore,
}

enum Tree<'w> {
    Context(&'w Context),
    /// The layers of a stage or image, and the folder that keeps what the mount needs.
    Layers {
        tree: OwnedFd,
        _aside: Aside,
    },
}

impl<'w> Root<'w> {
    /// The context, or what `from` names.
    ///
    /// # Errors
    /// If there is no such stage or image.
    pub(super) fn open(worker: &mut Worker<'w>, from: Option<&str>) -> Result<Self> {
        let Some(from) = from else {
            let context = worker.plan.context;
            return Ok(Self { tree: Tree::Context(context), ignore: context.ignore.clone() });
        };
        let chain = worker.chain_of(from)?;
        let aside = Aside::new(worker.engine)?;
        let tree = chain.tree(worker.engine, &aside)?;
        Ok(Self { tree: Tree::Layers { tree, _aside: aside }, ignore: Ignore::default() })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.tree {
            Tree::Context(context) => context.root.as_fd(),
            Tree::Layers { tree, .. } => tree.as_fd(),
        }
    }

    pub(super) fn ignore(&self) -> &Ignore {
        &self.ignore
    }

    /// Files of the context are root's; those of a stage keep their owner.
    pub(super) fn attributes(&self) -> Attributes {
        let owner = match self.tree {
            Tree::Context(_) => Owner::Root,
            Tree::Layers { .. } => Owner::Keep,
        };
        Attributes { owner, ..Attributes::default() }
    }

    /// The content of a selection. Files of the context that have not changed since the last build are not read.
    ///
    /// # Errors
    /// If a file changes meanwhile or cannot be read.
    pub(super) fn digest(
        &self,
        worker: &Worker<'_>,
        selection: &Selection,
        attributes: &Attributes,
    ) -> Result<Content> {
        if matches!(self.tree, Tree::Layers { .. }) {
            return Ok(digest(self.as_fd(), selection, attributes, None)?);
        }
        let mut remembered = Remembered::load(&super::folder(worker.engine)?.join("hashes"));
        let content = digest(self.as_fd(), selection, attributes, Some(&mut remembered))?;
        // It only makes the next build quicker.
        remembered.save().ok();
        Ok(content)
    }
}

/// What an instruction copies.
struct Plan<'w> {
    root: Root<'w>,
    selection: Selection,
    /// Heredocs: name and content.
    made: Vec<(String, Vec<u8>)>,
    fetched: Vec<Fetched>,
}

/// `COPY` or `ADD`, out of the cache or done now.
///
/// # Errors
/// A source that is not there, a target that cannot be, a file that cannot be read or written.
pub(super) fn step(
    worker: &mut Worker<'_>,
    instruction: &Instruction,
    transfer: &Transfer,
    name: &'static str,
) -> Result<()> {
    let from = transfer.from.as_ref().map(|word| worker.expand(word)).transpose()?;
    if from.as_deref().is_some_and(|from| worker.plan.is_scratch(from)) {
        return Err(Failure::new("scratch has no files: --from=scratch").into());
    }
    let words = |words: &[_]| words.iter().map(|word| worker.expand(word)).collect::<Result<_>>();
    let (sources, exclude): (Vec<String>, Vec<String>) =
        (words(&transfer.sources)?, words(&transfer.exclude)?);
    let target = worker.expand(&transfer.target)?;
    let path = worker.absolute(&target);
    let chmod = transfer.chmod.as_ref().map(|word| worker.expand(word)).transpose()?;
    let chmod = chmod.map(|text| text.parse()).transpose()?;
    let chown = transfer.chown.as_ref().map(|word| worker.expand(word)).transpose()?;
    let checksum = transfer.checksum.as_ref().map(|word| worker.expand(word)).transpose()?;
    // Another stage may have to be waited for: that is not this step's time.
    let root = Root::open(worker, from.as_deref())?;
    worker.begin_step(&instruction.text)?;

    let (remote, local): (Vec<String>, Vec<String>) =
        sources.iter().cloned().partition(|source| name == "ADD" && fetch::is_remote(source));
    if checksum.is_some() && remote.len() != 1 {
        return Err(Failure::new("--checksum is for one URL").into());
    }
    let request = select::Request { sources: &local, exclude: &exclude, parents: transfer.parents };
    let selection = select::select(root.as_fd(), root.ignore(), &request)?;
    for source in &selection.unmatched {
        worker.warn(format!("{name}: nothing matches {source}"))?;
    }
    let mut made = Vec::new();
    for heredoc in &transfer.heredocs {
        made.push((heredoc.name.clone(), worker.heredoc(heredoc)?.into_bytes()));
    }
    let mut fetched = Vec::new();
    for url in &remote {
        fetched.push(fetch::fetch(worker, url, checksum.as_deref(), transfer.keep_git_dir)?);
    }
    let plan = Plan { root, selection, made, fetched };
    let owner = chown.as_deref().map(|chown| owner(worker, chown)).transpose()?;
    let times = worker.plan.epoch.map_or(Times::Keep, Times::ClampTo);
    let attributes =
        Attributes { owner: owner.unwrap_or(plan.root.attributes().owner), chmod, times };

    let content = plan.content(worker, &attributes)?;
    // As they are found: `./a` is `a`. The pivot of --parents is not to be cleaned away.
    let found = |source: &String| match transfer.parents || fetch::is_remote(source) {
        true => source.clone(),
        false => join("/", source),
    };
    let found: Vec<String> = sources.iter().map(found).collect();
    let said = format!(
        "{name} {} {path} {:?} {:?} {} {:?}",
        found.join("\u{1f}"),
        attributes.owner,
        transfer.unpack,
        transfer.parents,
        from
    );
    let mut ingredients = worker.ingredients(said);
    ingredients.parts.insert("files".to_owned(), content.digest.to_string());
    let unpack = unpacks(name, transfer);
    worker.made(ingredients, content.entries, false, |worker, aside| {
        let tree = Writable::new(worker.engine, &worker.chain, aside)?;
        let target = Target { root: tree.root.as_fd(), path: path.as_bytes(), instruction: name };
        let whole = plan.copy(worker, &target, &attributes, unpack)?;
        Ok((tree.upper, whole))
    })?;
    let heredocs = transfer.heredocs.iter().map(|heredoc| format!("<<{}", heredoc.name));
    let shown: Vec<String> = sources.into_iter().chain(heredocs).collect();
    worker.remember(created_by(name, chown.as_deref(), &shown, &target), false);
    Ok(())
}

/// Whether archives of the context are unpacked, and downloaded ones.
fn unpacks(name: &str, transfer: &Transfer) -> (bool, bool) {
    match (name, transfer.unpack) {
        ("ADD", None) => (true, false),
        ("ADD", Some(unpack)) => (unpack, unpack),
        _ => (false, false),
    }
}

/// The line of the history: `COPY --chown=1000 a b /app/`.
fn created_by(name: &str, chown: Option<&str>, sources: &[String], target: &str) -> String {
    let chown = chown.map(|chown| format!("--chown={chown} ")).unwrap_or_default();
    format!("{name} {chown}{} {target}", sources.join(" "))
}

impl Plan<'_> {
    /// The digest of everything, and the names to compare with next time.
    fn content(&self, worker: &Worker<'_>, attributes: &Attributes) -> Result<Content> {
        let mut digests = Vec::new();
        let mut entries = BTreeMap::new();
        let mut add = |content: Content| {
            digests.push(content.digest.to_string());
            entries.extend(content.entries);
        };
        add(self.root.digest(worker, &self.selection, attributes)?);
        for (name, bytes) in &self.made {
            add(digest_of_bytes(bytes, name.as_bytes(), 0o644, attributes));
        }
        for one in &self.fetched {
            add(one.content(attributes)?);
        }
        Ok(Content { digest: Digest::of(digests.join(" ").as_bytes()), entries })
    }

    /// Copies all of it. False if a file changed after its digest was taken.
    fn copy(
        &self,
        worker: &Worker<'_>,
        target: &Target<'_>,
        attributes: &Attributes,
        (unpack, unpack_remote): (bool, bool),
    ) -> Result<bool> {
        let others = self.made.len() + self.fetched.len();
        check_many(self.selection.tops.len() + others, target)?;
        let (archives, plain) = match unpack {
            true => fetch::archives(self.root.as_fd(), &self.selection)?,
            false => (Vec::new(), self.selection.clone()),
        };
        let mut whole = true;
        if !plain.tops.is_empty() {
            let copied = build::copy::copy(self.root.as_fd(), &plain, target, attributes)?;
            whole = copied.changed.is_none();
        }
        for archive in archives {
            fetch::unpack(worker, archive, target, attributes)?;
        }
        let now = worker.plan.now.as_second();
        for (name, bytes) in &self.made {
            let made = Made {
                name: name.as_bytes(),
                content: &mut &bytes[..],
                mode: 0o644,
                mtime: (now, 0),
            };
            build::copy::write(made, target, attributes)?;
        }
        for one in &self.fetched {
            one.place(worker, target, attributes, unpack_remote)?;
        }
        Ok(whole)
    }
}

/// `--chown`: names are looked up in the image's own files.
fn owner(worker: &Worker<'_>, chown: &str) -> Result<Owner> {
    if chown.is_empty() {
        return Ok(Owner::Root);
    }
    let aside = Aside::new(worker.engine)?;
    let tree = worker.chain.tree(worker.engine, &aside)?;
    let (user, group) = chown.split_once(':').unwrap_or((chown, ""));
    let (uid, gid) = crate::container::user::owner(tree.as_fd(), user, group)?;
    Ok(Owner::Set { uid, gid })
}
