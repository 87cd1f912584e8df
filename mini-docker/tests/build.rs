//! `mini-docker build` as a person uses it, and beside Debian's buildah: the same Dockerfiles, the same images.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "build/cache.rs"]
mod cache;
#[path = "build/cancel.rs"]
mod cancel;
#[path = "build/contexts.rs"]
mod contexts;
#[path = "build/corpus.rs"]
mod corpus;
#[path = "build/failures.rs"]
mod failures;
#[path = "build/inputs.rs"]
mod inputs;
#[path = "build/peer.rs"]
mod peer;
#[path = "build/room.rs"]
mod room;
#[path = "build/side.rs"]
mod side;
mod support;
#[path = "build/tree.rs"]
mod tree;

fn main() {
    let all = [
        cache::TESTS,
        cancel::TESTS,
        contexts::TESTS,
        corpus::TESTS,
        failures::TESTS,
        inputs::TESTS,
        side::TESTS,
    ];
    testkit::main(&all.concat());
}
