//! libFuzzer. The environment variable `FUZZ_TARGET` says which target it drives.
#![no_main]

use std::sync::OnceLock;

use fuzz::Target;

fn target() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| Target::named(&std::env::var("FUZZ_TARGET").unwrap_or_default()))
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target().run(bytes));
