//! What `docker` does with containers, verb by verb, as scripts of commands with what each prints and how it ends.
//!
//! The scripts do not know whom they talk to. By default that is mini-docker; with `MINI_DOCKER_BIN=podman` (`make
//! test-podman`) it is podman, which was made to be used as `docker`, too. So the list shows that it tells Docker's
//! behaviour, not mini-docker's. Where podman does something else, the script says so and why: see
//! [`script::Step::differs`].

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "docker/begin.rs"]
mod begin;
#[path = "docker/change.rs"]
mod change;
#[path = "docker/end.rs"]
mod end;
#[path = "docker/engine.rs"]
mod engine;
#[path = "docker/files.rs"]
mod files;
#[path = "docker/inside.rs"]
mod inside;
#[path = "docker/look.rs"]
mod look;
#[path = "docker/script.rs"]
mod script;
mod support;
#[path = "docker/watch.rs"]
mod watch;

fn main() {
    let all = [
        begin::TESTS,
        change::TESTS,
        end::TESTS,
        files::TESTS,
        inside::TESTS,
        look::TESTS,
        watch::TESTS,
    ];
    testkit::main(&all.concat());
}
