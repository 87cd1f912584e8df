//! The registries, token servers and proxies of testkit do what they say: curl and skopeo see it.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use testkit::Outcome;

#[path = "registry/layouts.rs"]
mod layouts;
#[path = "registry/proxies.rs"]
mod proxies;
#[path = "registry/registries.rs"]
mod registries;
#[path = "registry/tokens.rs"]
mod tokens;

fn main() {
    testkit::main(&[
        ("registries::plain", registries::plain),
        ("registries::passwords", registries::passwords),
        ("registries::tls", registries::tls),
        ("registries::client_certificates", registries::client_certificates),
        ("registries::mirror", registries::mirror),
        ("registries::a_bad_configuration_is_told", registries::a_bad_configuration_is_told),
        ("layouts::busybox_runs", layouts::busybox_runs),
        ("layouts::are_the_same_each_time", layouts::are_the_same_each_time),
        ("layouts::compressions_and_schema_2", layouts::compressions_and_schema_2),
        ("layouts::indexes", layouts::indexes),
        ("tokens::users_and_anonymous", tokens::users_and_anonymous),
        ("tokens::refresh_tokens", tokens::refresh_tokens),
        ("tokens::variants", tokens::variants),
        ("proxies::passes_everything_on", proxies::passes_everything_on),
        ("proxies::breaks_answers", proxies::breaks_answers),
        ("proxies::answers_without_length", proxies::answers_without_length),
        ("proxies::breaks_requests", proxies::breaks_requests),
        ("proxies::answers_itself", proxies::answers_itself),
        ("proxies::pauses", proxies::pauses),
        ("proxies::cdn_refuses_authorization", proxies::cdn_refuses_authorization),
        ("proxies::holds_no_blob_in_memory", proxies::holds_no_blob_in_memory),
        ("proxies::ends_in_the_middle", proxies::ends_in_the_middle),
        ("proxies::forward", proxies::forward),
    ]);
}

/// Standard output and exit status of curl.
fn curl(args: &[&str]) -> Result<(Vec<u8>, i32), Box<dyn std::error::Error>> {
    let mut curl = Command::new("curl");
    output(curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "60"]).args(args))
}

fn output(command: &mut Command) -> Result<(Vec<u8>, i32), Box<dyn std::error::Error>> {
    let output = match command.output() {
        Ok(output) => output,
        Err(_) => return testkit::skip("needs curl"),
    };
    Ok((output.stdout, output.status.code().unwrap_or(-1)))
}

/// The status code that curl is answered.
fn status(args: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    let (out, _) =
        curl(&[args, &["--output", "/dev/null", "--write-out", "%{http_code}"]].concat())?;
    Ok(String::from_utf8(out)?)
}

/// Fails with what was expected.
fn expect(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}
