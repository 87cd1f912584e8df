//! Chapter 04: many containers on one image.
//!
//! An image is a stack of tar files, its *layers*; each holds what changed against the layers below
//! it. A container sees the stack as one tree, and what it writes goes into a folder of its own.
//! The story in order:
//!
//! 1. [`archive`] reads a tar stream: headers, PAX and GNU extensions, sparse files. A digest over
//!    the stream tells whether these are the bytes that the image names ([`DiffId`]);
//! 2. [`names`] decides what a name in a layer means: a file, a whiteout, or an attempt to leave
//!    the root;
//! 3. [`unpack()`] applies the entries below a directory descriptor. Whatever the archive says,
//!    nothing lands outside;
//! 4. [`Store`] keeps each layer once, under its diff ID, complete or not at all; it reads with one
//!    thread and writes with another;
//! 5. [`overlay`] joins the layers and a container's own folder to one tree, as a mount without a
//!    place yet;
//! 6. [`diff()`] turns what a container wrote back into a layer.
//!
//! The formats: the OCI image specification's `layer.md` (whiteouts, opaque directories), pax(1)
//! and tar(5) for the archive, `Documentation/filesystems/overlayfs.rst` of the kernel for what a
//! layer looks like on disk.

mod ahead;
pub mod archive;
mod attributes;
pub mod compat;
pub mod diff;
mod digest;
mod error;
mod header;
mod limits;
pub mod names;
mod overlay;
mod pax;
mod places;
mod remove;
mod settled;
mod sparse;
mod store;
mod stream;
mod temporary;
pub mod unpack;

pub use diff::{DiffError, DiffStats, diff, diff_of};
pub use digest::{DiffId, ParseDiffIdError};
pub use error::UnpackError;
pub use limits::Limits;
pub use overlay::{MAX_LOWERS, Refusal, can_hold_upper, distinct, fleeting_overlay, overlay};
pub use store::{Added, Error, Reclaimed, Store};
pub use unpack::{Stats, extract, unpack, unpack_within};
