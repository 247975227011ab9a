//! The word of a doorbell.
//!
//! | value | meaning | which side changes it |
//! |---|---|---|
//! | `AWAKE` | the owner will look at all rings before it sleeps | the owner, when it is about to sleep |
//! | `ASLEEP` | the owner sleeps, or looks once more and then does | a child: adds 1 and wakes it, in one step; the owner, when it is awake |
//! | another | as `ASLEEP`: two children rang at once | as `ASLEEP` |
//!
//! A child publishes, runs a fence, and reads the word. The owner writes `ASLEEP`, runs a fence, and looks for what has been
//! published. One of the two fences (`SeqCst`) comes first, so either the child sees that the owner sleeps, or the owner
//! sees what was published. The accesses around them can be `Relaxed`.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::platform::{
    AtomicU32, fence,
    futex::{self, Change},
};

const ASLEEP: u32 = u32::from_le_bytes(*b"bell");
const AWAKE: u32 = ASLEEP + 1;

/// The word of a doorbell, in shared memory; any bits are one.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Bell(pub(super) AtomicU32);

impl Bell {
    /// Notes that the owner is awake, in a word that no other process has yet.
    pub(super) fn reset(&self) {
        // Relaxed: a process that reads it got the descriptor after this.
        self.0.store(AWAKE, Relaxed);
    }

    /// Wakes the owner if it sleeps. What was published before is seen by it.
    #[inline]
    pub(super) fn ring(&self) {
        // Pairs with that of `sleep`.
        fence(SeqCst);
        if self.0.load(Relaxed) != AWAKE {
            // In one step: a child that is killed between two would leave a sleeper that all others take for awake.
            futex::change_and_wake(&self.0, Change::Increment, u32::MAX);
        }
    }

    /// Sleeps until a child rings, unless `has_work` then. One thread of the owner's.
    pub(super) fn sleep(&self, has_work: impl FnOnce() -> bool) {
        self.0.store(ASLEEP, Relaxed);
        // Pairs with that of `ring`.
        fence(SeqCst);
        if !has_work() {
            futex::wait(&self.0, ASLEEP, None);
        }
        // A child that sees this does not ring. What it published is seen at the latest before the next sleep.
        self.0.store(AWAKE, Relaxed);
    }
}
