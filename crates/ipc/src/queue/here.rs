//! The calling process as a participant of a queue, and what its threads keep there.
//!
//! A thread keeps the cells that it has put messages in, to use them again. It finds what it keeps by one look at a
//! thread-local pointer. What threads keep belongs to the handle of the queue, and is found by the thread's number: when
//! a thread has ended, the next one with its number goes on with it.
//!
//! # Safety
//! A [`Here`]'s pointer is null or comes from `Box::into_raw`; what it points at is freed by `drop` alone. In a forked child
//! it is replaced, and its parent's is left where it is: the state of its threads is unknown. A [`Kept`] is used
//! only by the thread whose number it has, of which there is one at a time, and through a pointer that is valid as long as
//! the key beside it is that of the queue in use: keys are never given twice.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicPtr, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{barrier, kept::Kept, word::BlockId, word::Holder};

/// How long a thread waits for its number. In a forked child the lock may be held for ever by a thread that is not there.
const MOMENT: Duration = Duration::from_millis(100);

/// The numbers of threads that have ended, and the first that no thread ever had.
static NUMBERS: Mutex<(Vec<usize>, usize)> = Mutex::new((Vec::new(), 0));
static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The key of the queue that this thread used last, and what it keeps there.
    static LAST: Cell<(u64, *mut Kept)> = const { Cell::new((0, ptr::null_mut())) };
    static NUMBER: ThreadNumber = ThreadNumber::take();
}

/// A small number that no other thread has.
struct ThreadNumber(Option<usize>);

impl ThreadNumber {
    fn take() -> Self {
        Self(NUMBERS.try_lock_for(MOMENT).map(|mut numbers| {
            numbers.0.pop().unwrap_or_else(|| {
                numbers.1 += 1;
                numbers.1 - 1
            })
        }))
    }
}

impl Drop for ThreadNumber {
    fn drop(&mut self) {
        LAST.set((0, ptr::null_mut()));
        if let (Some(number), Some(mut numbers)) = (self.0, NUMBERS.try_lock_for(MOMENT)) {
            numbers.0.push(number);
        }
    }
}

/// One handle's [`Member`], for the process that it is in.
#[derive(Debug, Default)]
pub(super) struct Here(AtomicPtr<Member>);

/// A process as a participant of a queue.
#[derive(Debug)]
pub(super) struct Member {
    /// The holder that blocks name it by.
    pub(super) holder: Holder,
    forks: u32,
    key: u64,
    /// What each thread keeps, by its number.
    #[allow(clippy::vec_box, reason = "pointers to them must stay valid")]
    threads: Mutex<Vec<Option<Box<Kept>>>>,
}

impl Here {
    /// The member, unless this process has not entered yet: in a child that was forked since.
    #[inline(always)]
    pub(super) fn get(&self) -> Option<&Member> {
        // SAFETY: null, or from `Box::into_raw`, and not freed before `self` is dropped.
        // Acquire: what was written into it before `set` published it is seen.
        let member = unsafe { self.0.load(Acquire).as_ref() }?;
        (member.forks == barrier::forks()).then_some(member)
    }

    /// This process has entered as that holder, unless another thread was faster; says as which.
    pub(super) fn set(&self, holder: Holder) -> Holder {
        // Relaxed: only that no two are the same.
        let key = NEXT_KEY.fetch_add(1, Relaxed);
        let fresh = Box::into_raw(Box::new(Member { holder, forks: barrier::forks(), key, threads: Mutex::default() }));
        loop {
            let former = self.0.load(Acquire);
            if let Some(member) = self.get() {
                // SAFETY: from `Box::into_raw` above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                return member.holder;
            }
            // Release: it is whole when others see it. Acquire: the loser of the race reads the winner's.
            if self.0.compare_exchange(former, fresh, AcqRel, Acquire).is_ok() {
                return holder;
            }
        }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        if self.get().is_some() {
            // SAFETY: not null, so from `Box::into_raw`, and `self`, which alone leads to it, is going.
            drop(unsafe { Box::from_raw(*self.0.get_mut()) });
        }
    }
}

impl Member {
    /// What the calling thread keeps, as long as `self` lives; `None` when the thread is ending.
    #[inline(always)]
    pub(super) fn kept(&self) -> Option<NonNull<Kept>> {
        let (key, last) = LAST.get();
        if key == self.key { NonNull::new(last) } else { self.find_kept() }
    }

    #[cold]
    fn find_kept(&self) -> Option<NonNull<Kept>> {
        let number = NUMBER.try_with(|number| number.0).ok()??;
        let mut threads = self.threads.lock();
        if threads.len() <= number {
            threads.resize_with(number + 1, || None);
        }
        let kept: *mut Kept = &mut **threads[number].get_or_insert_default();
        LAST.set((self.key, kept));
        NonNull::new(kept)
    }

    /// Every cell that is kept, and its place in the ring. The handle is no longer in use.
    pub(super) fn each_cell(&self, mut each: impl FnMut(BlockId, u64)) {
        for kept in self.threads.lock().iter().flatten() {
            kept.each(&mut each);
        }
    }
}
