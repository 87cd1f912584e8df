//! `RUN --mount`: what a step sees and its layer does not have.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use build::digest::Content;
use build::instruction::{Mount, Run};
use build::mount::{self, Options, Sharing, Type};
use build::select;
use nix::fcntl::{Flock, FlockArg};

use super::Secret;
use super::aside::Aside;
use super::copy::Root;
use super::stage::Worker;
use crate::failure::Failure;
use crate::files::make_dir;

/// The mounts of a step.
pub(super) struct Mounts {
    all: Vec<One>,
    /// Caches that nobody else may use meanwhile.
    locks: Vec<Flock<File>>,
    /// Where secrets lie.
    memory: Option<Aside>,
}

struct One {
    options: Options,
    target: String,
    /// Of a bind mount: what is in it.
    content: Option<Content>,
}

/// What `run` gets.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// In the grammar of `--mount`.
    pub(super) mounts: Vec<String>,
    /// Secrets that are variables.
    pub(super) env: Vec<(String, String)>,
}

impl Mounts {
    /// Reads the flags and looks at what will be mounted.
    ///
    /// # Errors
    /// A wrong field, a source that is not there, a secret that was not given and must be.
    pub(super) fn read(worker: &mut Worker<'_>, run: &Run) -> Result<Self> {
        let mut all = Vec::new();
        for mount in &run.mounts {
            let options = options(worker, mount)?;
            let target = target(worker, &options)?;
            let content = match options.kind {
                Type::Bind => Some(content(worker, &options)?),
                _ => None,
            };
            all.push(One { options, target, content });
        }
        Ok(Self { all, locks: Vec::new(), memory: None })
    }

    /// Adds what the step's layer may depend on. What is in a cache or a secret is not among it.
    pub(super) fn ingredients(
        &self,
        parts: &mut BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let (mut files, mut digests) = (BTreeMap::new(), Vec::new());
        for one in &self.all {
            let Options { kind, id, read_only, size, .. } = &one.options;
            let said = format!("{kind:?} {id:?} {read_only} {size:?}");
            parts.insert(format!("mount {}", one.target), said);
            if let Some(content) = &one.content {
                digests.push(content.digest.to_string());
                files.extend(content.entries.clone());
            }
        }
        if !digests.is_empty() {
            parts.insert("files".to_owned(), digests.join(" "));
        }
        files
    }

    /// Makes what is to be mounted.
    ///
    /// # Errors
    /// If it cannot be made, or a secret cannot be read.
    pub(super) fn prepare(&mut self, worker: &mut Worker<'_>, aside: &Aside) -> Result<Given> {
        let mut given = Given::default();
        let Self { all, locks, memory } = self;
        for (number, One { options, target, .. }) in all.iter().enumerate() {
            match options.kind {
                Type::Tmpfs => given.mounts.push(match options.size {
                    Some(size) => {
                        format!("type=tmpfs,{},tmpfs-size={size}", quoted("target", target))
                    }
                    None => format!("type=tmpfs,{}", quoted("target", target)),
                }),
                Type::Bind => {
                    let folder = aside.folder(&format!("bind{number}"))?;
                    let source = copied(worker, options, &folder)?;
                    given.mounts.push(bind(&source, target, options.read_only));
                }
                Type::Cache => {
                    let folder = cache(worker, options, target, locks)?;
                    given.mounts.push(bind(&folder, target, options.read_only));
                }
                Type::Secret => {
                    if memory.is_none() {
                        *memory = Some(Aside::in_memory(worker.engine)?);
                    }
                    let Some(aside) = memory.as_ref() else { continue };
                    secret(worker, options, target, aside, number, &mut given)?;
                }
                _ => {
                    return Err(Failure::new("RUN --mount=type=ssh is not supported")
                        .hint("copy what you need with --mount=type=secret")
                        .into());
                }
            }
        }
        Ok(given)
    }
}

fn options(worker: &Worker<'_>, mount: &Mount) -> Result<Options> {
    let mut fields = Vec::new();
    for (key, value) in &mount.fields {
        let value = value.as_ref().map(|word| worker.expand(word)).transpose()?;
        fields.push((key.clone(), value));
    }
    mount::read(&fields).map_err(|error| {
        let failure = Failure::new(error.message);
        match error.hint {
            Some(hint) => failure.hint(hint).into(),
            None => failure.into(),
        }
    })
}

/// Where it goes: against the working directory.
fn target(worker: &Worker<'_>, options: &Options) -> Result<String> {
    let target = match (&options.target, options.kind) {
        (Some(target), _) => target.clone(),
        (None, Type::Secret) if options.env.is_some() => String::new(),
        (None, Type::Secret) => format!("/run/secrets/{}", secret_id(options)),
        (None, _) => ".".to_owned(),
    };
    Ok(build::config::join(worker.settings.workdir(), &target))
}

fn secret_id(options: &Options) -> String {
    let named = options.id.clone().or_else(|| options.source.clone());
    let of_target = || options.target.as_deref().and_then(|path| path.rsplit('/').next());
    named.or_else(|| of_target().map(str::to_owned)).unwrap_or_default()
}

/// What a bind mount will show. Not its owners if it is of the context: there everything is root's.
fn content(worker: &mut Worker<'_>, options: &Options) -> Result<Content> {
    let root = root(worker, options)?;
    let sources = [options.source.clone().unwrap_or_else(|| "/".to_owned())];
    let request = select::Request { sources: &sources, ..select::Request::default() };
    let selection = select::select(root.as_fd(), root.ignore(), &request)?;
    root.digest(worker, &selection, &root.attributes())
}

fn root<'w>(worker: &mut Worker<'w>, options: &Options) -> Result<Root<'w>> {
    Root::open(worker, options.from.as_deref().filter(|from| !from.is_empty()))
}

/// A copy of the source in `folder`: only what `.dockerignore` lets through, and whatever the step writes to it is gone
/// with it. Returns what to mount.
fn copied(worker: &mut Worker<'_>, options: &Options, folder: &Path) -> Result<PathBuf> {
    let root = root(worker, options)?;
    let sources = [options.source.clone().unwrap_or_else(|| "/".to_owned())];
    let request = select::Request { sources: &sources, ..select::Request::default() };
    let selection = select::select(root.as_fd(), root.ignore(), &request)?;
    let into = File::open(folder).with_context(|| format!("open `{}`", folder.display()))?;
    let target = build::copy::Target { root: into.as_fd(), path: b"/", instruction: "RUN --mount" };
    build::copy::copy(root.as_fd(), &selection, &target, &root.attributes())?;
    match selection.tops.first() {
        Some(top) if !top.is_directory => {
            use std::os::unix::ffi::OsStrExt;
            Ok(folder.join(std::ffi::OsStr::from_bytes(&top.name)))
        }
        _ => Ok(folder.to_owned()),
    }
}

/// The folder of a cache mount: it stays, and whoever names the same id gets it.
fn cache(
    worker: &mut Worker<'_>,
    options: &Options,
    target: &str,
    locks: &mut Vec<Flock<File>>,
) -> Result<PathBuf> {
    let mounts = super::folder(worker.engine)?.join("mounts");
    make_dir(&mounts)?;
    let id = options.id.as_deref().unwrap_or(target);
    let name = build::hash::Digest::of(id.as_bytes()).short(32);
    for attempt in 0_u32.. {
        let path = match attempt {
            0 => mounts.join(&name),
            more => mounts.join(format!("{name}.{more}")),
        };
        let is_new = match DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error).with_context(|| format!("make `{}`", path.display())),
        };
        let data = path.join("data");
        let folder = File::open(&path).with_context(|| format!("open `{}`", path.display()))?;
        let how = match options.sharing {
            Sharing::Shared => FlockArg::LockShared,
            Sharing::Locked => FlockArg::LockExclusive,
            Sharing::Private => FlockArg::LockExclusiveNonblock,
        };
        match Flock::lock(folder, how) {
            Ok(lock) => locks.push(lock),
            // Somebody else has it.
            Err(_) if options.sharing == Sharing::Private => continue,
            Err((_, errno)) => return Err(errno).context("lock a cache mount"),
        }
        if is_new || !data.exists() {
            fill(worker, options, &data)?;
        }
        return Ok(data);
    }
    Err(Failure::new("too many cache mounts of one id").into())
}

/// A new cache: empty, or with what `from=` has.
fn fill(worker: &mut Worker<'_>, options: &Options, data: &Path) -> Result<()> {
    make_dir(data)?;
    if options.from.is_some() {
        copied(worker, options, data)?;
    }
    let mode = options.mode.unwrap_or(0o755);
    std::fs::set_permissions(data, Permissions::from_mode(mode))
        .and_then(|()| chown(data, Some(options.uid.unwrap_or(0)), Some(options.gid.unwrap_or(0))))
        .with_context(|| format!("set attributes of `{}`", data.display()))
}

/// A file that is in no layer: it lies in memory, outside of the container's own folder.
fn secret(
    worker: &mut Worker<'_>,
    options: &Options,
    target: &str,
    aside: &Aside,
    number: usize,
    given: &mut Given,
) -> Result<()> {
    let id = secret_id(options);
    let value = match worker.plan.request.secrets.get(&id) {
        Some(Secret::File(path)) => std::fs::read(path).map_err(|error| {
            Failure::new(format!("read secret {id}: `{}`: {error}", path.display()))
        })?,
        Some(Secret::Variable(name)) => {
            use std::os::unix::ffi::OsStringExt;
            std::env::var_os(name).map(OsStringExt::into_vec).ok_or_else(|| {
                Failure::new(format!("secret {id}: there is no variable {name} here"))
            })?
        }
        None if options.required => {
            return Err(Failure::new(format!("secret {id}: not found"))
                .hint(format!("give it: --secret id={id},src=FILE"))
                .into());
        }
        None => return Ok(()),
    };
    if let Some(variable) = &options.env {
        let text = String::from_utf8(value).map_err(|_| {
            Failure::new(format!("secret {id} is no text: it cannot be a variable"))
        })?;
        given.env.push((variable.clone(), text));
        if options.target.is_none() {
            return Ok(());
        }
        let text = given.env.last().map(|(_, text)| text.clone()).unwrap_or_default();
        return secret_file(options, target, aside, number, text.as_bytes(), given);
    }
    secret_file(options, target, aside, number, &value, given)
}

fn secret_file(
    options: &Options,
    target: &str,
    aside: &Aside,
    number: usize,
    value: &[u8],
    given: &mut Given,
) -> Result<()> {
    let path = aside.path().join(format!("secret{number}"));
    let write = || -> std::io::Result<()> {
        std::fs::write(&path, value)?;
        std::fs::set_permissions(&path, Permissions::from_mode(options.mode.unwrap_or(0o400)))?;
        chown(&path, Some(options.uid.unwrap_or(0)), Some(options.gid.unwrap_or(0)))
    };
    write().with_context(|| format!("write `{}`", path.display()))?;
    given.mounts.push(bind(&path, target, true));
    Ok(())
}

/// A bind mount in the grammar of `--mount`.
pub(super) fn bind(source: &Path, target: &str, read_only: bool) -> String {
    let source = quoted("source", &source.to_string_lossy());
    let read_only = if read_only { ",readonly" } else { "" };
    format!("type=bind,{source},{}{read_only}", quoted("target", target))
}

/// A field with a comma or a quote in it stands in quotes (RFC 4180).
fn quoted(key: &str, value: &str) -> String {
    let field = format!("{key}={value}");
    match field.contains([',', '"']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}
