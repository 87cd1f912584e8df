//! Chapter 09: a Dockerfile becomes an image.
//!
//! A build is a loop over two things: a stack of layers and the `config` object of an image. Some instructions change
//! only the object; `COPY` and `RUN` write to an overlay of the layers so far, and what has landed in its upper folder is
//! the next layer. Here is what is special to that: the language, the rules of copying, and the cache. Each part knows
//! nothing of the others' work: text becomes data, data says what to do, and nothing is done before all of it was read.
//!
//! Read in this order:
//!
//! 1. [`source`] and [`mod@error`]: the text, a place in it, and how a mistake is shown there;
//! 2. `directives.rs`, `lines.rs`, `words.rs`: which character escapes, lines that continue, heredocs, words;
//! 3. [`instruction`], the data that comes of it, and [`mod@parse`], with a file for each family of instructions;
//!    [`mount`] and `duration.rs` for flags; `lint.rs`, what Docker would warn about;
//! 4. [`scope`] and [`mod@expand`]: which variables there are, and what a word says once they have values;
//! 5. [`graph`]: which stage needs which, and which are not needed at all;
//! 6. [`config`]: what `ENV`, `CMD`, `EXPOSE` leave in the image's config;
//! 7. [`pattern`] and [`ignore`]: names with wildcards, and what of the context no `COPY` sees;
//! 8. `place.rs` and [`mod@select`]: the files that a `COPY` takes, found without ever leaving the context;
//! 9. [`hash`], [`mod@digest`], [`remember`]: what is in them, as one number, and how it is known without reading them again;
//! 10. [`attributes`], [`chmod`], [`mod@copy`], `compat.rs`: into the image's tree, and without ever leaving that;
//! 11. [`times`]: the only thing in a layer that a clock has made;
//! 12. [`cache`]: the key of a step, what came of it, and why it was not found.
//!
//! What is deliberately not here: containers, layers and images. `RUN` is a container of chapters 01 to 07, what it wrote
//! becomes a layer by chapter 04 and an image by chapter 08; they meet in `mini-docker/src/build.rs`, where each stage is a
//! process of its own.

pub mod attributes;
pub mod cache;
pub mod chmod;
mod compat;
pub mod config;
pub mod copy;
pub mod digest;
mod directives;
mod duration;
pub mod error;
pub mod expand;
pub mod file_error;
pub mod graph;
pub mod hash;
pub mod ignore;
pub mod instruction;
mod lines;
mod lint;
pub mod mount;
pub mod names;
pub mod parse;
pub mod pattern;
mod place;
pub mod remember;
pub mod scope;
pub mod select;
pub mod source;
pub mod times;
mod words;
