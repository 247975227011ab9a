//! What the operations of this crate report.

use std::{error::Error, fmt, io};

/// The lock is yours, but its former holder was killed or panicked while it held it: the data may be half changed.
///
/// [`into_inner`](Self::into_inner) gives the guard. Put the data in order and say so with `mark_consistent()` of the
/// guard; until a holder does, every later one is told the same.
///
/// With `?` it becomes a `Box<dyn Error>` or an [`io::Error`]; the lock is released then, and the next one to lock it
/// is told. (It is no [`Error`] itself: that would keep `?` from guards that borrow their lock.)
#[must_use = "it holds the lock"]
pub struct OwnerDied<G>(G);

impl<G> OwnerDied<G> {
    pub(crate) fn new(guard: G) -> Self {
        Self(guard)
    }

    /// The guard.
    pub fn into_inner(self) -> G {
        self.0
    }

    /// The guard, by reference.
    pub fn get_ref(&self) -> &G {
        &self.0
    }

    /// The guard, by mutable reference.
    pub fn get_mut(&mut self) -> &mut G {
        &mut self.0
    }

    /// The same report with what `f` makes of the guard.
    pub fn map<H>(self, f: impl FnOnce(G) -> H) -> OwnerDied<H> {
        OwnerDied(f(self.0))
    }
}

const OWNER_DIED: &str = "the holder of the lock died or panicked, and may have left its data half changed";

impl<G> fmt::Debug for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerDied").finish_non_exhaustive()
    }
}

impl<G> fmt::Display for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OWNER_DIED}; the lock is held: into_inner() is its guard, whose mark_consistent() ends this error")
    }
}

impl<G> From<OwnerDied<G>> for io::Error {
    fn from(_: OwnerDied<G>) -> Self {
        Self::other(OWNER_DIED)
    }
}

impl<G> From<OwnerDied<G>> for Box<dyn Error> {
    fn from(_: OwnerDied<G>) -> Self {
        OWNER_DIED.into()
    }
}

impl<G> From<OwnerDied<G>> for Box<dyn Error + Send + Sync> {
    fn from(_: OwnerDied<G>) -> Self {
        OWNER_DIED.into()
    }
}

/// How a wait with a time-out ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult {
    timed_out: bool,
}

impl WaitTimeoutResult {
    pub(crate) fn new(timed_out: bool) -> Self {
        Self { timed_out }
    }

    /// Whether time ran out before a notification came, or before the condition held.
    pub fn timed_out(&self) -> bool {
        self.timed_out
    }
}

/// More permits were released than a semaphore can hold; nothing has been released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyReleases;

impl fmt::Display for TooManyReleases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore was released more often than it was acquired")
    }
}

impl Error for TooManyReleases {}

impl From<TooManyReleases> for io::Error {
    fn from(e: TooManyReleases) -> Self {
        Self::other(e)
    }
}

/// A lock was to be released by a thread that does not hold it; nothing has been released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHolder;

impl fmt::Display for NotHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is not held by the calling thread")
    }
}

impl Error for NotHolder {}

impl From<NotHolder> for io::Error {
    fn from(e: NotHolder) -> Self {
        Self::other(e)
    }
}

/// The barrier was aborted or reset, or one of its parties timed out or died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "BrokenBarrierError")]
pub struct BrokenBarrier;

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken")
    }
}

impl Error for BrokenBarrier {}

impl From<BrokenBarrier> for io::Error {
    fn from(e: BrokenBarrier) -> Self {
        Self::other(e)
    }
}
