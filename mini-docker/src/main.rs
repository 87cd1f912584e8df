//! The `mini-docker` command: parses, calls the library, prints one error with its hint, exits as Docker does.

use std::process::ExitCode;

fn main() -> ExitCode {
    mini_docker::cli::main()
}
