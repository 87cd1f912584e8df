//! What the README promises, executed.

use std::path::Path;

use testkit::{Outcome, Sandbox, Test};

use crate::support::Docker;

pub const TESTS: &[Test] = &[("the_readme_tells_the_truth", the_readme_tells_the_truth)];

fn the_readme_tells_the_truth(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::new(sandbox);
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let env =
        [("MINI_DOCKER_ROOT", docker.root.as_path()), ("MINI_DOCKER_RUN_ROOT", &docker.run_root)];
    testkit::console::check_with(&readme, &sandbox.dir, &env)
}
