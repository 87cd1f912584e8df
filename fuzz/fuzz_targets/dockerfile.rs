//! Reads Dockerfiles that nobody has thought of: no panic, no hang, and all places that come out are places of the text.
//! What is looked at is the same that the tests of chapter 09 look at.
//!
//! Run it with `fuzz/run 20 dockerfile`.

#![no_main]

use build::source::Source;
use libfuzzer_sys::fuzz_target;

#[path = "../../chapters/09-build/tests/language/harmless.rs"]
mod harmless;

fuzz_target!(|data: &[u8]| {
    match Source::from_bytes("Dockerfile", data.to_vec()) {
        Ok(source) => harmless::harmless(source.text()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
