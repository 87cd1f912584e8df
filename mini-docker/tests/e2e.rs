//! `mini-docker` as a person uses it, against the real kernel.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "e2e/act.rs"]
mod act;
#[path = "e2e/archives.rs"]
mod archives;
#[path = "e2e/attach.rs"]
mod attach;
#[path = "e2e/attacks.rs"]
mod attacks;
#[path = "e2e/basics.rs"]
mod basics;
#[path = "e2e/changes.rs"]
mod changes;
#[path = "e2e/copy.rs"]
mod copy;
#[path = "e2e/copy_attacks.rs"]
mod copy_attacks;
#[path = "e2e/copy_places.rs"]
mod copy_places;
#[path = "e2e/ends.rs"]
mod ends;
#[path = "e2e/errors.rs"]
mod errors;
#[path = "e2e/events.rs"]
mod events;
#[path = "e2e/exec.rs"]
mod exec;
#[path = "e2e/flags.rs"]
mod flags;
#[path = "e2e/health.rs"]
mod health;
#[path = "e2e/images.rs"]
mod images;
#[path = "e2e/inspect.rs"]
mod inspect;
#[path = "e2e/life.rs"]
mod life;
#[path = "e2e/login.rs"]
mod login;
#[path = "e2e/logs.rs"]
mod logs;
#[path = "e2e/network.rs"]
mod network;
#[path = "e2e/policy.rs"]
mod policy;
#[path = "e2e/readme.rs"]
mod readme;
#[path = "e2e/show.rs"]
mod show;
#[path = "e2e/story.rs"]
mod story;
#[path = "e2e/streams.rs"]
mod streams;
mod support;
#[path = "e2e/system.rs"]
mod system;
#[path = "e2e/terminal.rs"]
mod terminal;
#[path = "e2e/visits.rs"]
mod visits;
#[path = "e2e/volumes.rs"]
mod volumes;

fn main() {
    network::echo_if_asked();
    let all = [
        act::TESTS,
        archives::TESTS,
        attach::TESTS,
        attacks::TESTS,
        basics::TESTS,
        changes::TESTS,
        copy::TESTS,
        copy_attacks::TESTS,
        copy_places::TESTS,
        ends::TESTS,
        errors::TESTS,
        exec::TESTS,
        events::TESTS,
        flags::TESTS,
        health::TESTS,
        images::TESTS,
        inspect::TESTS,
        life::TESTS,
        login::TESTS,
        logs::TESTS,
        network::TESTS,
        policy::TESTS,
        readme::TESTS,
        show::TESTS,
        story::TESTS,
        streams::TESTS,
        system::TESTS,
        terminal::TESTS,
        visits::TESTS,
        volumes::TESTS,
    ];
    testkit::main(&all.concat());
}
