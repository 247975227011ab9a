//! The lock under all locks of this scope.
//!
//! # Safety
//! A lock is listed with the kernel from its acquisition to its release, so its memory must stay where it is in
//! between. The caller that acquires one promises that, so all functions that do are `unsafe`. Handles keep the promise:
//! guards borrow the handle that keeps the lock mapped, and a forgotten guard has it pinned (`ShmSafe::is_pinned`).
#![allow(unsafe_code)]

use kernel::{futex::Deadline, shm::ShmSafe};

use super::holder::Holder;
use crate::{
    machine::Acquired,
    sys::{
        kernel::Kernel,
        robust::{MAX_HELD, Node, ThreadList},
    },
};

/// A lock without data, of fixed layout, for shared memory; zeros are a free one.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct RawLock {
    node: Node,
}

const _: () = assert!(size_of::<RawLock>() == 64);

// SAFETY: made of atomics, `repr(C)`, and every bit pattern is some state of it. The links are not followed (see `sys::held`).
unsafe impl ShmSafe for RawLock {
    fn is_pinned(&self) -> bool {
        self.is_held_here()
    }

    fn note_other_namespaces(&self) {
        self.node.lock.note_other_namespaces();
    }
}

impl RawLock {
    pub(crate) const fn new() -> Self {
        Self { node: Node::new() }
    }

    /// Acquires the lock if it is free.
    ///
    /// # Safety
    /// The lock must stay mapped, and where it is, until it is released.
    #[inline]
    pub(crate) unsafe fn try_acquire(&self) -> Option<Acquired> {
        // SAFETY: the caller's promise is the same.
        if unsafe { self.try_acquire_idle() }.is_some() {
            return Some(Acquired::Orderly);
        }
        let list = self.list();
        // SAFETY:
        // * it stays where it is until it is released, by the caller's promise;
        // * it is in no list while it is free.
        unsafe { list.acquire(&self.node, || self.node.lock.try_acquire(list.tid())) }
    }

    /// Acquires the lock in the most frequent case, and in as few instructions as that takes: it has no holder and no
    /// waiters, its data are in order, and the thread holds no other.
    ///
    /// # Safety
    /// As [`try_acquire`](Self::try_acquire).
    #[inline]
    pub(crate) unsafe fn try_acquire_idle(&self) -> Option<ThreadList> {
        let list = ThreadList::at_home()?;
        // SAFETY: as in `try_acquire`.
        let acquired = unsafe { list.acquire_single(&self.node, || self.node.lock.try_acquire_idle(list.tid())) };
        acquired.then_some(list)
    }

    /// [`acquire`](Self::acquire) without a deadline.
    ///
    /// # Safety
    /// As [`try_acquire`](Self::try_acquire).
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn wait_surely(&self) -> Acquired {
        // SAFETY: the caller's promise is the same.
        unsafe { self.acquire(None) }.expect("there is no deadline to pass")
    }

    /// Acquires the lock, and waits for that; `None` once the deadline has passed.
    ///
    /// # Safety
    /// As [`try_acquire`](Self::try_acquire).
    pub(crate) unsafe fn acquire(&self, deadline: Option<Deadline>) -> Option<Acquired> {
        let list = self.list();
        if deadline.is_none() && self.is_held_by(list) {
            deadlock();
        }
        self.wait_for_namesake(list, deadline);
        // SAFETY: as in `try_acquire`.
        unsafe { list.acquire(&self.node, || self.node.lock.acquire(list.tid(), &Kernel, deadline)) }
    }

    /// Waits while the word names the calling thread, as it does while a thread with its id in another pid namespace holds
    /// the lock. Were the lock announced meanwhile, the kernel would take it from that thread if this one is killed.
    fn wait_for_namesake(&self, list: ThreadList, deadline: Option<Deadline>) {
        if self.node.lock.owner() == list.tid() {
            self.node.lock.wait_while_held(&Kernel, deadline);
        }
    }

    /// Gives up the lock; does nothing if the calling thread does not hold it.
    #[inline]
    pub(crate) fn release(&self) {
        if let Some(list) = ThreadList::get() {
            self.release_by(list);
        }
    }

    /// [`release`](Self::release) by the calling thread, whose list is known.
    #[inline]
    pub(crate) fn release_by(&self, list: ThreadList) {
        if !list.release_single(&self.node, || self.release_unlisted(list)) {
            self.release_surely(list);
        }
    }

    #[cold]
    #[inline(never)]
    fn release_surely(&self, list: ThreadList) {
        // The list decides, not the owner in the word: a hostile process may have written there.
        if list.holds(&self.node) {
            let release = || {
                if self.node.lock.owner() == list.tid() {
                    self.release_unlisted(list);
                }
            };
            // SAFETY: it is in this thread's list, as just asked.
            unsafe { list.release(&self.node, release) };
        }
    }

    #[inline]
    fn release_unlisted(&self, list: ThreadList) {
        if !self.node.lock.release_idle(list.tid()) {
            self.node.lock.release(list.tid(), &Kernel);
        }
    }

    /// Sleeps until the lock has no holder, without acquiring it; false once the deadline has passed.
    pub(crate) fn wait_while_held(&self, deadline: Option<Deadline>) -> bool {
        let list = self.list();
        self.wait_for_namesake(list, deadline);
        let _announced = list.announce(&self.node);
        self.node.lock.wait_while_held(&Kernel, deadline)
    }

    #[inline]
    pub(crate) fn lock(&self) -> &crate::machine::LockState {
        &self.node.lock
    }

    /// Whether any thread holds the lock.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.node.lock.owner() != 0
    }

    /// Whether the last holder died, and the lock was neither acquired nor marked consistent since.
    pub(crate) fn is_dead(&self) -> bool {
        !self.is_held() && self.node.lock.is_inconsistent()
    }

    /// Whether the calling thread holds the lock.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        self.list_of_mine().is_some()
    }

    /// The list of the calling thread, if that holds the lock.
    #[inline]
    pub(crate) fn list_of_mine(&self) -> Option<ThreadList> {
        Some(self.list()).filter(|list| self.is_held_by(*list))
    }

    /// Whether the thread of that list, which is the calling one, holds the lock.
    #[inline]
    fn is_held_by(&self, list: ThreadList) -> bool {
        let lock = &self.node.lock;
        lock.owner() == list.tid() && (!lock.has_other_namespaces() || list.holds(&self.node))
    }

    /// The thread that holds the lock, for a message to a person.
    pub(crate) fn holder(&self) -> Option<Holder> {
        let lock = &self.node.lock;
        Some(lock.owner()).filter(|_| !lock.has_other_namespaces()).and_then(Holder::of_thread)
    }

    /// The list of the calling thread, which can hold one lock more.
    #[inline]
    fn list(&self) -> ThreadList {
        let list = ThreadList::at_home().unwrap_or_else(|| self.seek_list());
        if list.is_full() {
            too_many();
        }
        list
    }

    #[cold]
    fn seek_list(&self) -> ThreadList {
        let list = ThreadList::get().unwrap_or_else(|| unsupported());
        if list.is_abroad() {
            self.note_other_namespaces();
        }
        list
    }

    /// Whether a thread of this process holds the lock.
    fn is_held_here(&self) -> bool {
        let owner = self.node.lock.owner();
        // SAFETY: takes three integers; signal 0 is none.
        owner != 0 && unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), owner, 0) } == 0
    }
}

#[cold]
fn unsupported() -> ! {
    panic!("the C library keeps its list of robust locks in a way that is not known here")
}

#[cold]
fn too_many() -> ! {
    panic!("a thread can hold {MAX_HELD} locks at a time: the kernel would not release more when it dies")
}

#[cold]
fn deadlock() -> ! {
    panic!("this thread holds the lock already and would wait for itself")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use kernel::shm::Shared;
    use nix::{
        sys::wait::{WaitStatus, waitpid},
        unistd::{ForkResult, fork},
    };
    use test_support::step::{Stop, Victim};

    use super::*;

    /// Garbage where a hostile process may write it: in the links and the word of the owner.
    fn scribble(lock: &RawLock) {
        // SAFETY: aligned and inside the lock.
        let words = unsafe { &*std::ptr::from_ref(lock).cast::<[std::sync::atomic::AtomicU64; 8]>() };
        words.iter().for_each(|word| word.store(0x7777_7777_7777_7770, std::sync::atomic::Ordering::SeqCst));
    }

    /// Killed on its way to sleep, wherever it stands, while the word has its id for that of a thread in another pid namespace.
    #[test]
    fn a_killed_waiter_takes_nothing_from_its_namesake() {
        let _dog = test_support::watchdog(Duration::from_secs(300));
        // A victim is watched from a process with one thread.
        // SAFETY: the other threads of this process hold nothing that the child uses but the heap, which the C library cares for.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let all_held = std::panic::catch_unwind(kill_on_the_way_to_sleep).is_ok();
                // SAFETY: ends the process, and nothing of the parent's is run on the way out.
                unsafe { libc::_exit(i32::from(!all_held)) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "what it says is above");
            }
        }
    }

    fn kill_on_the_way_to_sleep() {
        for n_steps in std::iter::successors(Some(0), |n| Some(n + 1 + n / 10)) {
            let lock = Shared::new(RawLock::new()).unwrap();
            let mut waiter = Victim::start(|mark| {
                lock.lock().note_other_namespaces();
                lock.lock().try_acquire(ThreadList::get().unwrap().tid()).unwrap();
                // SAFETY: it stays mapped.
                mark.window(|| unsafe { lock.acquire(None) });
            })
            .unwrap();
            let namesake = waiter.pid() as u32;
            let sleeps = (0..n_steps).any(|_| waiter.step() == Stop::Blocked);
            waiter.kill();
            assert_eq!(lock.lock().owner(), namesake, "killed after {n_steps} steps");
            assert!(!lock.lock().is_inconsistent());
            if sleeps {
                assert!(n_steps > 100, "{n_steps}");
                return;
            }
        }
    }

    /// The holder wrote to where the links said, and died.
    #[test]
    fn overwritten_links_are_not_followed() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for n_scribbled in 0..4 {
                let locks = [const { RawLock::new() }; 3];
                for lock in &locks {
                    // SAFETY: it stays where it is until it is released.
                    unsafe { lock.try_acquire() }.unwrap();
                }
                locks[..n_scribbled].iter().for_each(scribble);
                order.into_iter().for_each(|place| locks[place].release());
                assert!(locks[n_scribbled..].iter().all(|lock| !lock.is_held()));
                let list = locks[0].list();
                assert!(locks.iter().all(|lock| !list.holds(&lock.node)), "{order:?}, {n_scribbled}");
            }
        }
        let single = RawLock::new();
        // SAFETY: as above.
        unsafe { single.try_acquire() }.unwrap();
        scribble(&single);
        single.release();
        assert!(!single.list().holds(&single.node));
    }

    #[test]
    fn many_are_released_in_any_order() {
        for step in [1, 7, 13, 39] {
            let locks: [_; 40] = std::array::from_fn(|_| RawLock::new());
            for lock in &locks {
                // SAFETY: as above.
                unsafe { lock.try_acquire() }.unwrap();
            }
            for n in 0..locks.len() {
                assert!(locks[n * step % 40].is_mine());
                locks[n * step % 40].release();
            }
            assert!(locks.iter().all(|lock| !lock.is_held() && !lock.list().holds(&lock.node)));
        }
    }
}
