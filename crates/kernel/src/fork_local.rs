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
    #[inline]
    pub fn get(&self) -> &'static T {
        self.made().value.get_or_init(T::default)
    }

    /// Makes the value of a child that the calling process is about to fork: so the child need not, which would take page
    /// faults for it.
    pub fn place_for_child(&'static self) -> ChildPlace<T> {
        let generation = at_fork::generation().wrapping_add(1);
        ChildPlace { of: self, made: Box::new(Made { generation, value: OnceLock::from(T::default()) }) }
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

/// A child's value, before there is the child.
#[derive(Debug)]
#[must_use = "the child has it once it settles there"]
pub struct ChildPlace<T: 'static> {
    of: &'static ForkLocal<T>,
    made: Box<Made<T>>,
}

impl<T> ChildPlace<T> {
    /// Makes it the value of the calling process, if that is the child, and has none yet.
    pub fn settle(self) {
        let current = self.of.current.load(Ordering::Acquire);
        let is_the_childs = self.made.generation == at_fork::generation();
        if is_the_childs && leaked(current).is_none_or(|made| made.generation != self.made.generation) {
            let made: *mut _ = Box::leak(self.made);
            // Whoever loses this race leaks a few bytes.
            let _ = self.of.current.compare_exchange(current, made, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

#[allow(unsafe_code)]
fn leaked<T>(made: *mut Made<T>) -> Option<&'static Made<T>> {
    // SAFETY: null, or from `Box::leak` in `made` above, and never freed or changed but through its own locks.
    unsafe { made.as_ref() }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use nix::{
        sys::wait::{WaitStatus, waitpid},
        unistd::{ForkResult, fork},
    };

    use super::*;

    static COUNT: ForkLocal<AtomicU32> = ForkLocal::new();

    #[test]
    #[allow(unsafe_code)]
    fn a_forked_child_has_what_was_made_for_it() {
        COUNT.get().store(3, Ordering::Relaxed);
        COUNT.place_for_child().settle();
        assert_eq!(COUNT.get().load(Ordering::Relaxed), 3, "this is not the child");
        let place = COUNT.place_for_child();
        place.made.value.get().expect("it is made already").store(7, Ordering::Relaxed);
        // SAFETY: the child takes no lock that another thread may have had, and ends.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                place.settle();
                let count = COUNT.get().load(Ordering::Relaxed);
                // SAFETY: ends this process.
                unsafe { libc::_exit(count as i32) }
            }
            ForkResult::Parent { child } => assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7)),
        }
    }
}
