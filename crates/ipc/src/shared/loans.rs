//! Which guards have lent references. The holder of a value's lock can lock again, so that several guards of one thread
//! may exist, and its other methods work meanwhile; but nothing may change what a reference leads to.
//!
//! # State table
//! | word          | meaning                                             |
//! |---------------|-----------------------------------------------------|
//! | 0             | no guard has lent a reference                       |
//! | 1 ..          | as many guards have lent shared references          |
//! | `EXCLUSIVE`   | one guard has lent an exclusive reference            |
//! | `SPLIT`       | the array has been split into rows, for good         |
//!
//! Only the thread that holds the lock reads or changes the word. It is `Relaxed` everywhere: the lock orders what one
//! holder does before what the next one does. A guard that has lent counts until it is dropped, as the last use of a
//! reference cannot be told. The first guard of the next holder removes what a dead holder has left there, or a program
//! that has overwritten the memory.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU32, Ordering},
};

use sync::{OwnerDied, Plain, process::RLockGuard};

const EXCLUSIVE: u32 = u32::MAX;
const SPLIT: u32 = u32::MAX - 1;

/// Of all guards of one value.
#[derive(Plain, Debug, Default)]
pub(super) struct Loans(AtomicU32);

impl Loans {
    fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn change(&self, to: u32) {
        self.0.store(to, Ordering::Relaxed);
    }

    pub(super) fn is_readable(&self) -> bool {
        self.now() < SPLIT
    }

    /// From now on no guard reads or writes. None has lent a reference.
    pub(super) fn split(&self) {
        self.change(SPLIT);
    }

    /// The guard, if its value may be read. If not, the guard is gone before the panic: a refusal changes nothing, so the
    /// lock need not report it to the next holder.
    #[inline]
    #[track_caller]
    pub(super) fn readable<T: Lends>(guard: RLockGuard<'_, T>) -> RLockGuard<'_, T> {
        if guard.loans().is_readable() {
            return guard;
        }
        let there = Self(guard.loans().now().into());
        drop(guard);
        there.refuse_read()
    }

    /// As [`readable`](Self::readable), if its value may be changed.
    #[inline]
    #[track_caller]
    pub(super) fn writable<T: Lends>(guard: RLockGuard<'_, T>) -> RLockGuard<'_, T> {
        if guard.loans().now() == 0 {
            return guard;
        }
        let there = Self(guard.loans().now().into());
        drop(guard);
        there.refuse_write()
    }

    #[inline]
    #[track_caller]
    pub(super) fn assert_readable(&self) {
        if !self.is_readable() {
            self.refuse_read();
        }
    }

    #[inline]
    #[track_caller]
    pub(super) fn assert_writable(&self) {
        if self.now() != 0 {
            self.refuse_write();
        }
    }

    #[cold]
    #[track_caller]
    fn refuse_read(&self) -> ! {
        self.refuse_split();
        panic!("a guard of this thread has lent a mutable reference: read through that guard, or drop it first")
    }

    #[cold]
    #[track_caller]
    fn refuse_write(&self) -> ! {
        self.refuse_split();
        panic!("a guard of this thread has lent a reference: change it through that guard, or drop it first")
    }

    #[track_caller]
    fn refuse_split(&self) {
        assert!(self.now() != SPLIT, "the array was split into rows: use these");
    }
}

/// What is under the lock, and has the loans in it.
pub(super) trait Lends: Plain {
    const CAN_BE_SPLIT: bool = false;

    fn loans(&self) -> &Loans;
}

impl Lends for Loans {
    const CAN_BE_SPLIT: bool = true;

    fn loans(&self) -> &Loans {
        self
    }
}

/// What a thread gets when it locks. When it is the thread's first guard, no reference is lent.
#[inline]
pub(super) fn locked<'a, T: Lends>(
    locked: Result<RLockGuard<'a, T>, OwnerDied<RLockGuard<'a, T>>>,
) -> Result<RLockGuard<'a, T>, OwnerDied<RLockGuard<'a, T>>> {
    let guard = locked.as_ref().unwrap_or_else(OwnerDied::get_ref);
    let lent = guard.loans().now();
    if lent != 0 && guard.recursion_count() == 1 && !(T::CAN_BE_SPLIT && lent == SPLIT) {
        guard.loans().change(0);
    }
    locked
}

/// Of one guard.
#[derive(Debug, Default)]
pub(super) struct GuardLoan(Cell<Lent>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Lent {
    #[default]
    Nothing,
    Shared,
    Exclusive,
}

impl GuardLoan {
    /// Before a shared reference is lent.
    #[inline]
    #[track_caller]
    pub(super) fn share<T: Lends>(&self, guard: &RLockGuard<'_, T>) {
        if self.0.get() == Lent::Nothing {
            assert_held(guard);
            let loans = guard.loans();
            loans.assert_readable();
            loans.change(loans.now() + 1);
            self.0.set(Lent::Shared);
        }
    }

    /// Before an exclusive reference is lent.
    #[inline]
    #[track_caller]
    pub(super) fn exclude<T: Lends>(&mut self, guard: &RLockGuard<'_, T>) {
        if self.0.get() != Lent::Exclusive {
            assert_held(guard);
            self.assert_writable(guard);
            guard.loans().change(EXCLUSIVE);
            self.0.set(Lent::Exclusive);
        }
    }

    /// Before the value is read through the guard: its own reference, if any, is a shared one then.
    #[inline]
    #[track_caller]
    pub(super) fn assert_readable<T: Lends>(&self, guard: &RLockGuard<'_, T>) {
        if self.0.get() == Lent::Nothing {
            guard.loans().assert_readable();
        }
    }

    /// Before the value is changed through the guard, whose own references have ended.
    #[inline]
    #[track_caller]
    pub(super) fn assert_writable<T: Lends>(&mut self, guard: &RLockGuard<'_, T>) {
        match self.0.get() {
            Lent::Nothing => guard.loans().assert_writable(),
            Lent::Shared if guard.loans().now() != 1 => guard.loans().refuse_write(),
            Lent::Shared | Lent::Exclusive => {}
        }
    }

    /// When the guard is dropped.
    #[inline]
    pub(super) fn end<T: Lends>(&self, guard: &RLockGuard<'_, T>) {
        let lent = self.0.get();
        if lent == Lent::Nothing || guard.recursion_count() == 0 {
            return;
        }
        let others = if lent == Lent::Shared { guard.loans().now().saturating_sub(1) } else { 0 };
        guard.loans().change(others);
    }
}

#[track_caller]
fn assert_held<T: Plain>(guard: &RLockGuard<'_, T>) {
    assert!(guard.recursion_count() > 0, "the copy of a guard in a forked child holds nothing: lock in the child");
}
