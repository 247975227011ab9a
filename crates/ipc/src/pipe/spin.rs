//! How long to look for news before sleeping, which costs the peer a system call and this side a wake-up.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering::Relaxed},
};

/// Learns from the last waits whether it pays to spin.
#[derive(Debug, Default)]
pub(super) struct Spin {
    /// Spins in vain since the last that was not.
    in_vain: AtomicU32,
}

/// About the time that waking a sleeper takes: whoever comes within it was worth waiting for.
const LONG: u32 = 2000;
const SHORT: u32 = 30;

/// While spinning does not pay, one wait in so many tries again.
const TRIAL: u32 = 32;

impl Spin {
    /// Whether `ready` came true within a moment.
    #[inline]
    pub(super) fn until(&self, mut ready: impl FnMut() -> bool) -> bool {
        let in_vain = self.in_vain.load(Relaxed);
        let n = match () {
            () if is_alone() => 0,
            () if in_vain < 2 || in_vain.is_multiple_of(TRIAL) => LONG,
            () => SHORT,
        };
        for _ in 0..n {
            if ready() {
                self.in_vain.store(0, Relaxed);
                return true;
            }
            std::hint::spin_loop();
        }
        self.in_vain.store(in_vain.wrapping_add(1), Relaxed);
        false
    }
}

/// On a single processor, whoever spins keeps the other from running.
fn is_alone() -> bool {
    static ALONE: OnceLock<bool> = OnceLock::new();
    *ALONE.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() == 1))
}
