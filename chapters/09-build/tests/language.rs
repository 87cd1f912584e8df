//! The language of Dockerfiles: what is understood, how mistakes are shown, and that nothing else happens.

#[path = "language/dump.rs"]
mod dump;
#[path = "language/errors.rs"]
mod errors;
#[path = "language/harmless.rs"]
mod harmless;
#[path = "language/made.rs"]
mod made;
#[path = "language/oracle.rs"]
mod oracle;
#[path = "language/properties.rs"]
mod properties;
#[path = "language/trees.rs"]
mod trees;
