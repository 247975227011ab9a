//! Takes the return addresses of the calling thread.

use kernel::sys::unwind;

/// As many frames as are kept: those of a function that calls itself without end say nothing new.
const MAX_FRAMES: usize = 128;

/// Whether the environment asks for backtraces, by the rule of [`std::backtrace::Backtrace::capture`].
pub(super) fn is_enabled() -> bool {
    let setting = std::env::var_os("RUST_LIB_BACKTRACE").or_else(|| std::env::var_os("RUST_BACKTRACE"));
    setting.is_some_and(|setting| setting != "0")
}

/// Addresses inside the calls that are under way, from the caller outward.
pub(super) fn addresses() -> Vec<usize> {
    let mut addresses = Vec::new();
    unwind::walk(&mut |step| {
        addresses.push(step.address);
        addresses.len() < MAX_FRAMES
    });
    addresses
}
