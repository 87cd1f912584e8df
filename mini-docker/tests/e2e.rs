//! `mini-docker` as a person uses it, against the real kernel.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "e2e/archives.rs"]
mod archives;
#[path = "e2e/attacks.rs"]
mod attacks;
#[path = "e2e/basics.rs"]
mod basics;
#[path = "e2e/errors.rs"]
mod errors;
#[path = "e2e/flags.rs"]
mod flags;
#[path = "e2e/images.rs"]
mod images;
#[path = "e2e/inspect.rs"]
mod inspect;
#[path = "e2e/life.rs"]
mod life;
#[path = "e2e/login.rs"]
mod login;
#[path = "e2e/network.rs"]
mod network;
#[path = "e2e/readme.rs"]
mod readme;
#[path = "e2e/story.rs"]
mod story;
#[path = "e2e/streams.rs"]
mod streams;
mod support;
#[path = "e2e/terminal.rs"]
mod terminal;
#[path = "e2e/volumes.rs"]
mod volumes;

fn main() {
    network::echo_if_asked();
    let all = [
        archives::TESTS,
        attacks::TESTS,
        basics::TESTS,
        errors::TESTS,
        flags::TESTS,
        images::TESTS,
        inspect::TESTS,
        life::TESTS,
        login::TESTS,
        network::TESTS,
        readme::TESTS,
        story::TESTS,
        streams::TESTS,
        terminal::TESTS,
        volumes::TESTS,
    ];
    testkit::main(&all.concat());
}
