//! Per-process state in a `static`: a forked child finds it empty, whatever the parent's threads were doing with it.

use std::sync::{
    OnceLock,
    atomic::{AtomicPtr, Ordering},
};

use crate::at_fork;

/// A `T::default()` made at first use in each process.
///
/// A child of `fork` cannot use its parent's value: another thread may have been in the middle of changing it. The
/// parent's is left where it is, and a new one is made.
#[derive(Debug)]
pub struct ForkLocal<T: 'static> {
    /// Replaced once a process, by `AcqRel`, and read by `Acquire`: what others made is whole when it is seen.
    current: AtomicPtr<Made<T>>,
}

#[derive(Debug)]
struct Made<T> {
    generation: u32,
    value: OnceLock<T>,
}

impl<T: Default> ForkLocal<T> {
    /// Makes nothing yet.
    #[expect(clippy::new_without_default, reason = "for a `static`, which needs a const function")]
    pub const fn new() -> Self {
        Self { current: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// The calling process's value.
    pub fn get(&self) -> &'static T {
        self.made().value.get_or_init(T::default)
    }

    fn made(&self) -> &'static Made<T> {
        let generation = at_fork::generation();
        loop {
            let current = self.current.load(Ordering::Acquire);
            if let Some(made) = leaked(current).filter(|made| made.generation == generation) {
                return made;
            }
            let fresh: *mut _ = Box::leak(Box::new(Made { generation, value: OnceLock::new() }));
            // The loser of this race leaks a few bytes, once a process.
            let _ = self.current.compare_exchange(current, fresh, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

#[allow(unsafe_code)]
fn leaked<T>(made: *mut Made<T>) -> Option<&'static Made<T>> {
    // SAFETY: null, or from `Box::leak` in `made` above, and never freed or changed but through its own locks.
    unsafe { made.as_ref() }
}
