//! mini-docker composes the chapters into a container runtime. It has no mechanism of its own: what the kernel does
//! for a container is in `chapters/`, what is here decides when and with which values.
//!
//! The story of `run` reads from top to bottom in [`container::start`]; what the child does between clone3 and exec
//! is [`container::child`]. Before them, [`create`] turns an image's config and the user's flags into an OCI runtime
//! spec, the only description of a container; everything after works from that spec.

pub mod attach;
pub mod boot;
pub mod build;
pub mod changes;
pub mod cli;
pub mod commit;
pub mod container;
pub mod containers;
pub mod copy;
pub mod create;
pub mod credentials;
pub mod disk;
pub mod engine;
pub mod events;
pub mod exec;
pub mod explain;
pub mod export;
pub mod failure;
mod files;
pub mod format;
pub(crate) mod health;
pub mod image;
pub mod info;
pub mod inspect;
pub mod log;
pub mod names;
pub mod output;
mod pause;
pub mod progress;
pub mod prune;
pub mod reclaim;
pub mod record;
pub mod settings;
pub mod spec;
pub mod state;
pub mod stats;
pub mod terminal;
pub mod top;
pub mod transfer;
pub mod wire;
