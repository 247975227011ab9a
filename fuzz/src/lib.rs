//! Everything that reads what another process may have written, as targets for fuzzers: `cargo xtask fuzz`.
//!
//! Two programs drive them: `fuzz` is libFuzzer, which sees what an input reaches and keeps the ones that reach more; `blind`
//! only changes what libFuzzer has kept, without coverage and sanitizer, and so many times as often.

mod input;
mod memory;
mod messages;
mod sockets;

use input::Input;

/// What a target does with one input. It fails by panicking, hanging, or what the address sanitizer finds.
type Function = fn(Input<'_>);

macro_rules! targets {
    ($($module:ident: $($name:ident),+;)+) => {
        const TARGETS: &[(&str, Function)] = &[$($((stringify!($name), $module::$name)),+),+];
    };
}

include!("targets.rs");

/// One of the targets.
#[derive(Clone, Copy, Debug)]
pub struct Target(Function);

impl Target {
    /// The one of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn named(name: &str) -> Self {
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        let names = TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
        Self(found.unwrap_or_else(|| panic!("{name:?} is none of: {names}")).1)
    }

    /// Gives it one input.
    pub fn run(self, bytes: &[u8]) {
        (self.0)(Input::new(bytes));
    }
}
