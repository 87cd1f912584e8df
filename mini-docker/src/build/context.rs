//! What a build can copy from: a folder, an archive, a repository, or nothing; and the Dockerfile.

mod git;

pub(in crate::build) use git::Repository;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use build::ignore::Ignore;
use build::source::Source;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use syscalls::inroot;

use super::Request;
use super::aside::Aside;
use crate::engine::{Engine, open_dir};
use crate::failure::Failure;
use crate::files::remove_tree;

/// A Dockerfile that is longer is none.
const LONGEST: u64 = 16 << 20;

/// `--build-arg` of this name, 1: the context keeps the repository's own folder.
const KEEP_GIT: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// An open context.
#[derive(Debug)]
pub struct Context {
    /// Its root. Paths in it are resolved with it as `/`.
    pub root: OwnedFd,
    /// The Dockerfile's text.
    pub dockerfile: Source,
    /// `.dockerignore`.
    pub ignore: Ignore,
    /// What was unpacked or fetched, as long as it is needed.
    _aside: Option<Aside>,
}

/// Opens the context that the request names.
///
/// # Errors
/// If it is not there, is no archive, cannot be fetched, or has no Dockerfile.
pub fn open(engine: &Engine, request: &Request) -> Result<Context> {
    let from_input = request.context == "-";
    if from_input && request.file.as_deref() == Some("-") {
        return Err(Failure::new(
            "invalid argument: can't use stdin for both build context and dockerfile",
        )
        .hint("one of them has to be a file")
        .into());
    }
    if from_input {
        if std::io::stdin().is_terminal() {
            return Err(Failure::new(
                "the build context is to come from standard input, which is a terminal",
            )
            .hint("mini-docker build - < Dockerfile, or tar -c . | mini-docker build -")
            .into());
        }
        return of_stream(engine, request, Box::new(std::io::stdin()), "standard input");
    }
    if let Some(repository) = git::Repository::parse(&request.context) {
        let aside = Aside::new(engine)?;
        let folder = repository.fetch(&aside)?;
        if !request.arguments.get(KEEP_GIT).is_some_and(|value| matches!(&**value, "1" | "true")) {
            remove_tree(&folder.join(".git"))?;
        }
        return of_folder(request, &folder, Some(aside));
    }
    if super::copy::is_url(&request.context) {
        let file = engine.settings()?.client().download(&request.context)?;
        return of_stream(engine, request, file.body, &request.context);
    }
    let path = Path::new(&request.context);
    let metadata = path.metadata().map_err(|error| {
        let words = match error.kind() {
            std::io::ErrorKind::NotFound => format!("path \"{}\" not found", path.display()),
            _ => format!("open `{}`: {error}", path.display()),
        };
        Failure::new(format!("unable to prepare context: {words}"))
            .hint("the last argument is a folder, an archive, a URL, or - for standard input")
    })?;
    if metadata.is_dir() {
        return of_folder(request, path, None);
    }
    let file = File::open(path).with_context(|| format!("open `{}`", path.display()))?;
    let mut file = BufReader::new(file);
    if !looks_like_an_archive(file.fill_buf()?) {
        return Err(Failure::new(format!("context must be a directory: {}", path.display()))
            .hint("the Dockerfile is named by -f, the context by the last argument")
            .into());
    }
    of_stream(engine, request, Box::new(file), &request.context)
}

fn of_folder(request: &Request, folder: &Path, aside: Option<Aside>) -> Result<Context> {
    let root = open_dir(folder)?;
    let (dockerfile, ignore) = match request.file.as_deref() {
        Some("-") => {
            let bytes = limited(&mut std::io::stdin(), "standard input")?;
            (source("Dockerfile", bytes)?, Ignore::read(None, root.as_fd())?)
        }
        // A path of the user's, not of the context: it need not lie in it. In what was fetched there is nothing else.
        Some(path) if aside.is_none() => {
            let path = Path::new(path);
            let below = folder.join(path);
            // As people write it: from here, or else from the context.
            let path = if !path.exists() && below.exists() { &below } else { path };
            of_file(path, &root)?
        }
        name => {
            let name = name.unwrap_or("Dockerfile");
            let bytes = in_root(&root, name)?;
            let own = Some((root.as_fd(), OsStr::new(name)));
            (source(name, bytes)?, Ignore::read(own, root.as_fd())?)
        }
    };
    Ok(Context { root, dockerfile, ignore, _aside: aside })
}

fn of_file(path: &Path, root: &OwnedFd) -> Result<(Source, Ignore)> {
    let missing = |error: std::io::Error| no_dockerfile(&path.display().to_string(), &error);
    let mut file = File::open(path).map_err(missing)?;
    let bytes = limited(&mut file, &path.display().to_string()).map_err(|error| {
        let is_folder = path.is_dir();
        if is_folder { no_dockerfile_folder(path).into() } else { error }
    })?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let beside = open_dir(parent.unwrap_or(Path::new(".")))?;
    let own = path.file_name().map(|name| (beside.as_fd(), name));
    Ok((source(&path.to_string_lossy(), bytes)?, Ignore::read(own, root.as_fd())?))
}

fn no_dockerfile(name: &str, error: &std::io::Error) -> Failure {
    let words = match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("failed to read dockerfile: open {name}: no such file or directory")
        }
        _ => format!("failed to read dockerfile: open {name}: {error}"),
    };
    Failure::new(words).hint("another name is given with -f; `-f -` reads it from standard input")
}

fn no_dockerfile_folder(path: &Path) -> Failure {
    Failure::new(format!("failed to read dockerfile: {} is a directory", path.display()))
        .hint("-f names the file itself")
}

/// An archive becomes a folder; anything else is a Dockerfile without a context.
fn of_stream(
    engine: &Engine,
    request: &Request,
    stream: Box<dyn Read + Send>,
    what: &str,
) -> Result<Context> {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let aside = Aside::new(engine)?;
    let folder = aside.folder("context")?;
    let root = open_dir(&folder)?;
    let head = first_bytes(&mut stream).with_context(|| format!("read {what}"))?;
    if looks_like_an_archive(&head) {
        let whole = std::io::Cursor::new(head).chain(stream);
        let tar = images::decompress(what, whole)?;
        let into = File::open(&folder)?;
        layers::extract(tar, into.as_fd(), &crate::image::room(engine)?)
            .with_context(|| format!("unpack the context from {what}"))?;
        let name = request.file.as_deref().unwrap_or("Dockerfile");
        let (dockerfile, own) = match name {
            "-" => (source("Dockerfile", limited(&mut std::io::stdin(), "standard input")?)?, None),
            name => (source(name, in_root(&root, name)?)?, Some((root.as_fd(), OsStr::new(name)))),
        };
        let ignore = Ignore::read(own, root.as_fd())?;
        return Ok(Context { root, dockerfile, ignore, _aside: Some(aside) });
    }
    let mut bytes = head;
    bytes.extend(limited(&mut stream, what)?);
    let dockerfile = source("Dockerfile", bytes)?;
    Ok(Context { root, dockerfile, ignore: Ignore::default(), _aside: Some(aside) })
}

/// Enough to recognise an archive, or all there is.
fn first_bytes(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    stream.by_ref().take(512).read_to_end(&mut head)?;
    Ok(head)
}

/// `ustar` stands at byte 257 (tar(5)); compressed archives begin with their own mark.
fn looks_like_an_archive(head: &[u8]) -> bool {
    images::is_compressed(head) || head.get(257..262) == Some(b"ustar")
}

fn in_root(root: &OwnedFd, name: &str) -> Result<Vec<u8>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
    let opened = inroot::open(root.as_fd(), Path::new(name), flags, Mode::empty());
    let file = opened.map_err(|errno| no_dockerfile(name, &errno.into()))?;
    let mut file = File::from(file);
    if !file.metadata()?.is_file() {
        return Err(no_dockerfile_folder(&PathBuf::from(name)).into());
    }
    limited(&mut file, name)
}

fn limited(from: &mut dyn Read, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LONGEST + 1).read_to_end(&mut bytes).with_context(|| format!("read {what}"))?;
    if bytes.len() as u64 > LONGEST {
        return Err(
            Failure::new(format!("{what} is longer than 16 MiB: that is no Dockerfile")).into()
        );
    }
    Ok(bytes)
}

fn source(name: &str, bytes: Vec<u8>) -> Result<Source> {
    Source::from_bytes(name, bytes).map_err(|error| super::plan::shown(&error).into())
}
