//! What a Dockerfile says, as data: stages of instructions. Nothing is expanded here, nothing is done.
//!
//! A [`Word`] is kept as it was written, quotes and variables included: what they mean is known only when the stage is
//! built, see [`expand`](crate::expand).

use std::ops::Range;
use std::time::Duration;

/// Bytes of the source text, from where to where.
pub type Span = Range<usize>;

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The directive `# syntax=`: the image of a frontend, which is noted and not used.
    pub syntax: Option<String>,
    /// What continues a line and escapes a character: a backslash, or a backtick after `# escape=`.
    pub escape: char,
    /// `ARG`s before the first `FROM`: their values are known to all `FROM` lines, and to a stage that declares them again.
    pub arguments: Vec<Argument>,
    /// At least one.
    pub stages: Vec<Stage>,
}

/// From one `FROM` to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// After `AS`, in small letters; the number of the stage is its name too.
    pub name: Option<String>,
    /// An image, a stage before this one, or `scratch`; expanded with the `ARG`s before the first `FROM`.
    pub base: Word,
    /// `--platform=`.
    pub platform: Option<Word>,
    /// The line of `FROM`, as written.
    pub text: String,
    /// Where that is.
    pub span: Span,
    /// What follows.
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// As written, continued lines put together and comments in them left out: what progress and history show. With
    /// heredocs it is the first line only.
    pub text: String,
    /// From the keyword to the end of the last line, heredocs included.
    pub span: Span,
    /// What it says.
    pub kind: Kind,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `ADD`.
    Add(Transfer),
    /// `ARG`, several in one line.
    Arg(Vec<Argument>),
    /// `CMD`.
    Cmd(Command),
    /// `COPY`.
    Copy(Transfer),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `ENV`: `name=value` several times, or the old `name value`.
    Env(Vec<(Word, Word)>),
    /// `EXPOSE`: `80`, `80/udp`, `8000-8010`.
    Expose(Vec<Word>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`.
    Label(Vec<(Word, Word)>),
    /// `MAINTAINER`.
    Maintainer(Word),
    /// `ONBUILD`: an instruction for whoever builds on this image, checked now, kept as text.
    Onbuild(Box<Instruction>),
    /// `RUN`.
    Run(Run),
    /// `SHELL`: always in JSON form.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    Stopsignal(Word),
    /// `USER`.
    User(Word),
    /// `VOLUME`: each a word to expand; in JSON form the strings themselves, which are expanded too.
    Volume(Vec<Word>),
    /// `WORKDIR`.
    Workdir(Word),
}

/// Text with its place: quotes, escapes and variables as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As written.
    pub text: String,
    /// Where.
    pub span: Span,
    /// From a JSON array: quotes have been taken off by JSON already; only variables are left to expand.
    pub json: bool,
}

/// `ARG name` or `ARG name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: Word,
    /// The default, if it has one.
    pub default: Option<Word>,
}

/// `RUN`, `CMD`, `ENTRYPOINT` and the test of `HEALTHCHECK` have two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `["program", "argument"]`: executed as it is.
    Exec(Vec<String>),
    /// Anything else: handed to the shell as one string, variables and all. Continued lines are one line.
    Shell(String),
}

/// `RUN [flags] command`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run. With heredocs and nothing else (`RUN <<EOF`), the shell form of the heredoc's content; with a command
    /// before them, the command as written, with the heredocs after it, which the shell reads.
    pub command: Command,
    /// `RUN <<EOF`: the heredoc is the script; if it begins with `#!`, it is executed as a file.
    pub script: Option<Heredoc>,
    /// `--mount=`, several.
    pub mounts: Vec<Mount>,
    /// `--network=`: default, none, host.
    pub network: Option<Word>,
    /// `--security=`: sandbox, insecure.
    pub security: Option<Word>,
}

/// `--mount=type=cache,target=/root/.cache`: keys checked, values as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The whole value of the flag.
    pub word: Word,
    /// `key=value` in order; a key alone has no value. Both as written: expanded before use.
    pub fields: Vec<(String, Option<Word>)>,
}

/// The lines between `<<EOF` and `EOF`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it: the name of the file that `COPY <<name` makes.
    pub name: String,
    /// `<<EOF` expands variables in `COPY` and `ADD` (in `RUN` the shell does), `<<"EOF"` does not.
    pub expand: bool,
    /// The lines, without leading tabs for `<<-EOF`, each with its newline.
    pub content: String,
    /// Where the content is.
    pub span: Span,
}

/// `COPY` and `ADD`: `[flags] source... target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Paths, patterns, URLs.
    pub sources: Vec<Word>,
    /// Heredocs among the sources.
    pub heredocs: Vec<Heredoc>,
    /// Where to.
    pub target: Word,
    /// `--from=`: a stage, an image. `COPY` only.
    pub from: Option<Word>,
    /// `--chown=user:group`.
    pub chown: Option<Word>,
    /// `--chmod=0644`, or `u=rw,g=r`.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--parents`: directories of the source are kept. `COPY` only.
    pub parents: bool,
    /// `--exclude=`, several.
    pub exclude: Vec<Word>,
    /// `--checksum=sha256:...`. `ADD` only.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`. `ADD` only.
    pub keep_git_dir: bool,
    /// `--unpack=`: whether archives are unpacked. `ADD` only; none: local archives are, downloads are not.
    pub unpack: Option<bool>,
}

/// `HEALTHCHECK NONE`, or options and a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// The base image's check is taken away.
    None,
    /// Run now and then in the container.
    Test {
        /// What to run; its exit code tells.
        command: Command,
        /// `--interval=`; not given is 0, in the image's config too. So with all of these.
        interval: Duration,
        /// `--timeout=`.
        timeout: Duration,
        /// `--start-period=`.
        start_period: Duration,
        /// `--start-interval=`.
        start_interval: Duration,
        /// `--retries=`.
        retries: u32,
    },
}
