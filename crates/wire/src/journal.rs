//! What is noted beside the bytes while a value is written: the descriptors of its handles.
//!
//! A value may be written more than once before it is in the form that carries it, and again to be compared with what
//! comes back. Whoever notes something about it is told what counts.

use std::cell::Cell;

/// Who notes something beside the bytes that are written on this thread.
#[derive(Clone, Copy, Debug)]
pub struct Journal {
    /// How much has been noted.
    pub mark: fn() -> usize,
    /// Forgets what was noted after that mark: the value is written anew.
    pub rewind: fn(usize),
}

thread_local! {
    static JOURNAL: Cell<Option<Journal>> = const { Cell::new(None) };
    static IS_COMPARING: Cell<bool> = const { Cell::new(false) };
}

/// Puts the former value back, also when user code panics.
struct Restore<T: Copy + 'static>(&'static std::thread::LocalKey<Cell<T>>, T);

impl<T: Copy + 'static> Restore<T> {
    fn set(cell: &'static std::thread::LocalKey<Cell<T>>, value: T) -> Self {
        Self(cell, cell.replace(value))
    }
}

impl<T: Copy + 'static> Drop for Restore<T> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Runs `f`, which writes values, with that journal.
pub fn with_journal<R>(journal: Journal, f: impl FnOnce() -> R) -> R {
    let _restore = Restore::set(&JOURNAL, Some(journal));
    f()
}

/// Whether a value is being compared with what was written of it, on this thread: what is written and read meanwhile goes
/// nowhere. A handle writes the same for any descriptor then, and takes a copy of the one that it reads.
#[must_use]
pub fn is_comparing() -> bool {
    IS_COMPARING.get()
}

/// Runs `f`, which compares.
pub(crate) fn comparing<R>(f: impl FnOnce() -> R) -> R {
    let _restore = Restore::set(&IS_COMPARING, true);
    f()
}

/// What has been noted so far.
pub(crate) struct Mark(Option<(Journal, usize)>);

impl Mark {
    pub(crate) fn here() -> Self {
        Self(JOURNAL.get().map(|journal| (journal, (journal.mark)())))
    }

    /// Forgets what was noted since.
    pub(crate) fn rewind(&self) {
        if let Some((journal, mark)) = self.0 {
            (journal.rewind)(mark);
        }
    }
}
