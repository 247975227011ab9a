//! The kernel's record of what a thread holds, which it goes through when the thread dies.
//!
//! A thread has one such list, and the C library has put its own there, for `PTHREAD_MUTEX_ROBUST`. It holds the
//! addresses of list nodes; the futex word of each is at a fixed distance from its node, the same for the whole list.
//! So a lock of ours is laid out as the library's mutex is, with its node where the mutex has it, and is linked in as
//! the library would do it, since our neighbours in the list may be its mutexes.
//!
//! Beside the list there is one place for the operation that the thread is at ([`announce`](ThreadList::announce)).
//! If it dies there, the kernel looks at that one word too. If the thread holds it, the word is marked as the listed ones
//! are; if it has no holder, one sleeper is woken, as the thread may have been about to wake it, or may have been woken in
//! its stead.
//!
//! The kernel knows holders by their thread ids. Those of a process that was forked into another pid namespace may be
//! those of other holders, and even of the guards that it has inherited. It is *abroad*: it takes the slow path each time,
//! which notes that the lock is used in several namespaces; a check whether a thread holds it then looks into that
//! thread's list. While a word has the id of a thread that does not hold it, that thread waits for it unannounced: if it were
//! killed, the kernel would take it for the holder.
//!
//! | word | meaning | who writes it |
//! |---|---|---|
//! | `first` | the node listed last, or the head itself | the thread |
//! | a node's `next` | the node listed before it, or the head | the thread that holds its lock |
//! | a node's `prev` | the one listed after it; not kept for the first | the same |
//! | the record | see [`held`] | the same |
//! | `pending` | the node of the operation that the thread is at, or 0 | the thread |
//!
//! All accesses are `Relaxed`: the thread is alone with these words, but for its signal handlers, and for the kernel once it
//! is dead. Both see them in the order of the program, which the compiler fences keep.
//!
//! # Safety
//! - The list belongs to the thread: nothing here is `Send`, and only the thread and, after its end, the kernel look.
//! - A node must stay mapped, at its address, from `push` to `remove`: the callers' guards borrow the mapping, which is
//!   left in place when a guard was forgotten (`ShmSafe::is_pinned`).
//! - `prev` and `next` of a node lie in shared memory, where a hostile process may overwrite them. The thread's own record
//!   ([`held`]) says what is next to a lock. Only where the record cannot know (beside robust mutexes of the C library, and
//!   beyond its length) are the links believed, as they are with the robust mutexes of any C library.
#![allow(unsafe_code)]

mod find;
mod node;

use std::{
    cell::Cell,
    marker::PhantomData,
    ptr,
    sync::atomic::{
        Ordering::{Relaxed, SeqCst},
        compiler_fence,
    },
};

pub(crate) use self::node::Node;
use self::{
    find::{AT_HOME, ID, THREAD, ask_for_tid, find},
    node::{Thread, link_to, next_of, prev_of},
};
use super::held::{self, Neighbour};

/// Locks that one thread may hold at a time: the kernel goes through 2048 and leaves the rest as they are.
pub(crate) const MAX_HELD: usize = 2000;

/// The list of the calling thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadList {
    thread: &'static Thread,
    not_send: PhantomData<*mut ()>,
}

thread_local! {
    /// How many locks the thread holds beside the first; a single one costs no counting.
    static BELOW: Cell<usize> = const { Cell::new(0) };
}

impl ThreadList {
    /// The list of the calling thread, or `None` if the C library does not keep it as this module expects.
    #[inline]
    pub(crate) fn get() -> Option<Self> {
        Self::found().or_else(|| find().map(Self::new))
    }

    /// The list of the calling thread, if it has used a lock before in this process.
    #[inline]
    pub(crate) fn found() -> Option<Self> {
        THREAD.get().map(Self::new)
    }

    /// The same, unless the process is abroad: for the fast path.
    #[inline]
    pub(crate) fn at_home() -> Option<Self> {
        AT_HOME.get().map(Self::new)
    }

    /// The list of the calling thread, which holds a lock.
    #[inline]
    pub(crate) fn of_holder() -> Self {
        Self::found().expect("a lock was acquired by way of it")
    }

    #[inline]
    fn new(thread: &'static Thread) -> Self {
        Self { thread, not_send: PhantomData }
    }

    /// What tells the calling thread from those of other processes that its guards may be copies of by a fork.
    #[inline]
    pub(crate) fn id(self) -> u32 {
        ID.get()
    }

    /// The kernel's id of the calling thread.
    #[inline]
    pub(crate) fn tid(self) -> u32 {
        self.thread.tid.load(Relaxed)
    }

    /// Whether the process was forked into another pid namespace.
    pub(crate) fn is_abroad(self) -> bool {
        AT_HOME.get().is_none()
    }

    /// Whether the lock is in the list. Its word is asked only where the record does not know.
    #[cold]
    #[inline(never)]
    pub(crate) fn holds(self, node: &Node) -> bool {
        let (first, link) = (self.thread.first.load(Relaxed) & !1, node.link());
        let may_be = || first != self.head() && !held::is_exact(first) && node.lock.owner() == self.tid();
        first == link || held::contains(link) || may_be()
    }

    /// Tells the kernel, for as long as the returned value lives, that this thread is at nothing.
    pub(crate) fn withdraw(self) -> Announced {
        let former = self.former();
        self.thread.pending.store(0, Relaxed);
        compiler_fence(SeqCst);
        Announced { thread: self.thread, former }
    }

    /// Tells the kernel that this thread is at an operation on the futex word at `word`, until the returned value is
    /// dropped. Operations nest, so a signal handler may have its own.
    #[inline]
    pub(crate) fn announce<T>(self, word: &T) -> Announced {
        let former = self.former();
        self.thread.pending.store(link_to(word), Relaxed);
        compiler_fence(SeqCst);
        Announced { thread: self.thread, former }
    }

    /// What is announced, before something else is. If that is the single lock that the thread holds, which
    /// [`acquire_single`](Self::acquire_single) has left so, it is recorded now.
    #[inline]
    fn former(self) -> usize {
        let former = self.thread.pending.load(Relaxed);
        if former != 0 && held::is_empty() && former == self.thread.first.load(Relaxed) {
            held::begin(former);
        }
        former
    }

    /// Acquires a lock by `try_acquire`, and lists it if that succeeds.
    ///
    /// Leaves it announced if nothing else was: to be announced while it is listed does no harm, and spares
    /// [`release`](Self::release) two stores, which the atomic operation there would have to wait for.
    ///
    /// # Safety
    /// The node stays mapped at its address until `release`, and is in no list if `try_acquire` succeeds.
    pub(crate) unsafe fn acquire<A>(self, node: &Node, try_acquire: impl FnOnce() -> Option<A>) -> Option<A> {
        let former = self.former();
        self.thread.pending.store(node.link(), Relaxed);
        compiler_fence(SeqCst);
        let acquired = try_acquire();
        if acquired.is_some() {
            // SAFETY: the caller's promise.
            unsafe { self.push(node) };
        }
        if former != 0 || acquired.is_none() {
            compiler_fence(SeqCst);
            self.thread.pending.store(former, Relaxed);
        }
        acquired
    }

    /// As [`acquire`](Self::acquire), in few instructions; false also if the thread holds another lock or has another
    /// one announced.
    ///
    /// # Safety
    /// As [`acquire`](Self::acquire).
    #[inline]
    pub(crate) unsafe fn acquire_single(self, node: &Node, try_acquire: impl FnOnce() -> bool) -> bool {
        let head = self.head();
        if self.thread.first.load(Relaxed) != head || self.thread.pending.load(Relaxed) != 0 {
            return false;
        }
        self.thread.pending.store(node.link(), Relaxed);
        compiler_fence(SeqCst);
        let acquired = try_acquire();
        if acquired {
            node.next.store(head, Relaxed);
            compiler_fence(SeqCst);
            self.thread.first.store(node.link(), Relaxed);
        } else {
            self.thread.pending.store(0, Relaxed);
        }
        acquired
    }

    /// Takes a lock out of the list and releases it by `release`.
    ///
    /// # Safety
    /// The node is in this list.
    pub(crate) unsafe fn release(self, node: &Node, release: impl FnOnce()) {
        let link = node.link();
        let mut former = self.thread.pending.load(Relaxed);
        if former == link {
            former = 0;
        } else {
            self.thread.pending.store(link, Relaxed);
            compiler_fence(SeqCst);
        }
        // SAFETY: the caller's promise.
        unsafe { self.remove(node) };
        release();
        compiler_fence(SeqCst);
        self.thread.pending.store(former, Relaxed);
    }

    /// As [`release`](Self::release), in few instructions; does nothing and returns false unless the lock is the only
    /// one that the thread holds, and has been left announced. (In a forked child nothing is.)
    #[inline]
    pub(crate) fn release_single(self, node: &Node, release: impl FnOnce()) -> bool {
        let head = self.head();
        if self.thread.pending.load(Relaxed) != node.link()
            || self.thread.first.load(Relaxed) != node.link()
            || node.next.load(Relaxed) != head
        {
            return false;
        }
        self.thread.first.store(head, Relaxed);
        held::clear();
        compiler_fence(SeqCst);
        release();
        compiler_fence(SeqCst);
        self.thread.pending.store(0, Relaxed);
        true
    }

    /// Lists a lock that this thread has just acquired, and still has announced.
    ///
    /// The `prev` of the first node is not kept: the next node to be pushed sets it.
    ///
    /// # Safety
    /// As [`acquire`](Self::acquire).
    unsafe fn push(self, node: &Node) {
        let head = self.head();
        if self.thread.first.load(Relaxed) == node.link() || held::contains(node.link()) {
            // A hostile process has said that it is free.
            // SAFETY: it is in this list.
            unsafe { self.remove(node) };
        }
        let next = self.thread.first.load(Relaxed);
        if next == head {
            held::begin(node.link());
        } else {
            held::push(node.link(), next);
        }
        compiler_fence(SeqCst);
        node.next.store(next, Relaxed);
        compiler_fence(SeqCst);
        self.thread.first.store(node.link(), Relaxed);
        if next != head {
            // Last, so that a signal handler that pushed and removed something in between has left it right.
            compiler_fence(SeqCst);
            // SAFETY: `next` is a node of this list, which stays mapped as this one does.
            unsafe { prev_of(next) }.store(node.link(), Relaxed);
            BELOW.set(BELOW.get() + 1);
        }
    }

    /// # Safety
    /// The node is in this list.
    unsafe fn remove(self, node: &Node) {
        let head = self.head();
        let link = node.link();
        let next = match held::before(link) {
            Neighbour::Head => head,
            Neighbour::Node(next) => next,
            Neighbour::Unknown => node.next.load(Relaxed),
        };
        let prev = match held::behind(link) {
            _ if self.thread.first.load(Relaxed) == link => head,
            Neighbour::Node(prev) => prev,
            Neighbour::Head | Neighbour::Unknown => node.prev.load(Relaxed),
        };
        // SAFETY: `prev` is the head or a node of this list.
        unsafe { next_of(prev) }.store(next, Relaxed);
        if next != head {
            // SAFETY: `next` is a node of this list.
            unsafe { prev_of(next) }.store(prev, Relaxed);
        }
        if (prev, next) == (head, head) {
            held::clear();
        } else {
            held::remove(link);
        }
        compiler_fence(SeqCst);
        let below = BELOW.get();
        if below != 0 {
            BELOW.set(below - 1);
        }
    }

    #[inline]
    fn head(self) -> usize {
        ptr::from_ref(&self.thread.first).expose_provenance()
    }

    /// Whether this thread holds as many locks as it may.
    pub(crate) fn is_full(self) -> bool {
        BELOW.get() >= MAX_HELD - 1 && self.recount() >= MAX_HELD
    }

    /// A forked child starts with an empty list, but a copy of the count.
    #[cold]
    fn recount(self) -> usize {
        let head = self.head();
        let (mut n, mut link) = (0, self.thread.first.load(Relaxed));
        while link & !1 != head && n < MAX_HELD {
            n += 1;
            // SAFETY: a node of this list.
            link = unsafe { next_of(link) }.load(Relaxed);
        }
        BELOW.set(n.saturating_sub(1));
        n
    }
}

/// The kernel's id of the calling thread.
#[inline]
pub(crate) fn tid() -> u32 {
    ThreadList::get().map_or_else(ask_for_tid, ThreadList::tid)
}

/// [`ThreadList::announce`], where there is a list.
pub(crate) fn announce<T>(word: &T) -> Option<Announced> {
    ThreadList::get().map(|list| list.announce(word))
}

/// While it lives, the kernel knows which word the thread is at.
#[derive(Debug)]
pub(crate) struct Announced {
    thread: &'static Thread,
    former: usize,
}

impl Drop for Announced {
    #[inline]
    fn drop(&mut self) {
        compiler_fence(SeqCst);
        self.thread.pending.store(self.former, Relaxed);
    }
}
