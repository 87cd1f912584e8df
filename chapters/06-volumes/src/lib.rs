//! Chapter 06: data that outlives the container.
//!
//! A container's own layer dies with it. What shall stay lies outside and is *mounted* into it: a
//! folder of the host (a **bind mount**), a folder that the runtime keeps under a name (a
//! **volume**), or memory (**tmpfs**). All three are the same thing to the kernel: one more mount
//! in the container's mount namespace.
//!
//! Read in this order:
//!
//! 1. [`spec`]: what can be asked for;
//! 2. [`grammar`]: `-v`, `--tmpfs` and, in `mount_flag`, `--mount`: text in, [`Spec`] out, nothing
//!    touched;
//! 3. [`store`]: named volumes on disk, with [`tree`] as its broom;
//! 4. [`mount`]: a [`Spec`] becomes a *detached* mount, read-only to the bottom if asked;
//! 5. [`populate`](mod@populate): the first use of a volume, which begins with what the image has
//!    there; the copying itself is in `copy`.
//!
//! Nothing here attaches a mount. [`detached`] and [`tmpfs`] hand out descriptors; chapter 03 gives
//! them their place in the container, through `openat2(RESOLVE_IN_ROOT)`, so that a link in the
//! image cannot lead them elsewhere.

mod copy;
mod error;
pub mod grammar;
pub mod mount;
mod mount_flag;
pub mod populate;
pub mod spec;
pub mod store;
pub mod tree;
mod volume;

pub use grammar::{parse_mount, parse_tmpfs, parse_volume};
pub use mount::{detached, open_source, open_volume, tmpfs};
pub use populate::{populate, settle};
pub use spec::{Kind, ParseError, Spec};
pub use store::{Error, Hold, Pruned, Store, Volume};
pub use syscalls::mount::{Attr, Propagation};
