//! Everything that reads what another process may have written, under libFuzzer: `cargo xtask fuzz`.
//!
//! One program with all targets; the environment variable `FUZZ_TARGET` says which.
#![no_main]

mod input;
mod memory;
mod messages;
mod sockets;

use std::sync::OnceLock;

use input::Input;

/// What a target does with one input. It fails by panicking, hanging, or what the address sanitizer finds.
type Target = fn(Input<'_>);

macro_rules! targets {
    ($($module:ident: $($name:ident),+;)+) => {
        const TARGETS: &[(&str, Target)] = &[$($((stringify!($name), $module::$name)),+),+];
    };
}

include!("targets.rs");

fn target() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        let names = TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
        found.unwrap_or_else(|| panic!("FUZZ_TARGET must be one of: {names}")).1
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target()(Input::new(bytes)));
