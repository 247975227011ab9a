//! The object that the lab tests itself on: a small first-in-first-out queue under a robust mutex, right or with one
//! of the faults that people make.
//!
//! # Safety
//! The mutex is initialised before anybody else knows the memory, never moves, and is never destroyed. Everything
//! else is atomics.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    io,
    mem::MaybeUninit,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use kernel::futex::{self, Deadline};
use proc_core::shm::{Shared, ShmSafe};
use serde::{Deserialize, Serialize};

/// What is wrong with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    None,
    /// The kernel is not asked to release the mutex of the dead.
    NotRobust,
    /// A record can be seen before it is written.
    EarlyPublish,
    /// Nobody mends what a dead holder left half done.
    NoRepair,
    /// The mutex is not declared consistent after its holder's death.
    Forgotten,
    /// Room is reserved by counting, before anything says who did.
    LostCount,
    /// A sleeper relies on being woken, and whoever was woken in its place may die.
    SwallowedWake,
}

/// Handed over as a value; clones are the same queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fifo {
    shared: Shared<Memory>,
    fault: Fault,
}

pub(crate) const CAPACITY: u64 = 8;

#[repr(C)]
#[derive(Debug)]
struct Memory {
    mutex: Mutex,
    /// Bumped at each change, for those who sleep.
    changes: AtomicU32,
    head: AtomicU64,
    /// The word that decides whether a record is in the queue.
    tail: AtomicU64,
    /// Always `tail - head` but inside a critical section: what there is to mend.
    len: AtomicU64,
    /// Of [`Fault::LostCount`] alone: how many more may come.
    room: AtomicU64,
    records: [Record; CAPACITY as usize],
}

type Record = [AtomicU64; 4];

#[repr(transparent)]
struct Mutex(UnsafeCell<MaybeUninit<libc::pthread_mutex_t>>);

// SAFETY: the C library's mutex is made for being used by many.
unsafe impl Sync for Mutex {}
// SAFETY: `repr(C)`, atomics and a mutex that is only ever touched through its pointer.
unsafe impl ShmSafe for Memory {}

impl std::fmt::Debug for Mutex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mutex")
    }
}

/// The mutex's last holder died and nobody declared it consistent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusable;

impl Fifo {
    pub(crate) fn new(fault: Fault) -> io::Result<Self> {
        let shared = Shared::new(Memory {
            mutex: Mutex(UnsafeCell::new(MaybeUninit::zeroed())),
            changes: AtomicU32::new(0),
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            len: AtomicU64::new(0),
            room: AtomicU64::new(CAPACITY),
            records: [const { [const { AtomicU64::new(0) }; 4] }; CAPACITY as usize],
        })?;
        initialise(&shared.mutex, fault != Fault::NotRobust)?;
        Ok(Self { shared, fault })
    }

    /// Puts a value in; false if there is no room.
    pub(crate) fn put(&self, value: u64) -> Result<bool, Unusable> {
        let m = &*self.shared;
        if self.fault == Fault::LostCount && m.room.fetch_update(SeqCst, SeqCst, |room| room.checked_sub(1)).is_err() {
            return Ok(false);
        }
        self.lock()?;
        let has_room = m.len.load(SeqCst) < CAPACITY;
        if has_room {
            let tail = m.tail.load(SeqCst);
            if self.fault == Fault::EarlyPublish {
                m.tail.store(tail + 1, SeqCst);
            }
            for (i, word) in m.records[(tail % CAPACITY) as usize].iter().enumerate() {
                word.store(seal(value, i), SeqCst);
            }
            m.tail.store(tail + 1, SeqCst);
            m.len.fetch_add(1, SeqCst);
            m.changes.fetch_add(1, SeqCst);
            futex::wake(&m.changes, 1);
        }
        self.unlock();
        Ok(has_room)
    }

    /// Takes the oldest value out, if there is one. `Err` with the words of a record that is not whole.
    pub(crate) fn try_get(&self) -> Result<Option<Result<u64, [u64; 4]>>, Unusable> {
        let m = &*self.shared;
        self.lock()?;
        let head = m.head.load(SeqCst);
        let taken = (m.len.load(SeqCst) > 0).then(|| {
            let words = m.records[(head % CAPACITY) as usize].each_ref().map(|word| word.load(SeqCst));
            m.head.store(head + 1, SeqCst);
            m.len.fetch_sub(1, SeqCst);
            if self.fault == Fault::LostCount {
                m.room.fetch_add(1, SeqCst);
            }
            if words == [0, 1, 2, 3].map(|i| seal(words[0], i)) { Ok(words[0]) } else { Err(words) }
        });
        self.unlock();
        Ok(taken)
    }

    /// Takes the oldest value out as soon as there is one.
    pub(crate) fn get(&self) -> Result<Result<u64, [u64; 4]>, Unusable> {
        let nap = if self.fault == Fault::SwallowedWake { Duration::MAX } else { Duration::from_millis(20) };
        loop {
            let changes = self.shared.changes.load(SeqCst);
            if let Some(value) = self.try_get()? {
                return Ok(value);
            }
            futex::wait(&self.shared.changes, changes, Deadline::after(nap));
        }
    }

    /// How many values are in it, and how many the books say.
    pub(crate) fn len(&self) -> Result<(u64, u64), Unusable> {
        let m = &*self.shared;
        self.lock()?;
        let len = (m.tail.load(SeqCst) - m.head.load(SeqCst), m.len.load(SeqCst));
        self.unlock();
        Ok(len)
    }

    fn lock(&self) -> Result<(), Unusable> {
        let m = &*self.shared;
        // SAFETY: an initialised mutex.
        match unsafe { libc::pthread_mutex_lock(m.mutex.as_ptr()) } {
            0 => return Ok(()),
            libc::EOWNERDEAD => {}
            _ => return Err(Unusable),
        }
        if self.fault != Fault::NoRepair {
            m.len.store(m.tail.load(SeqCst) - m.head.load(SeqCst), SeqCst);
        }
        if self.fault != Fault::Forgotten {
            // SAFETY: an initialised mutex, held by this thread, whose last holder died.
            unsafe { libc::pthread_mutex_consistent(m.mutex.as_ptr()) };
        }
        Ok(())
    }

    fn unlock(&self) {
        // SAFETY: an initialised mutex, held by this thread.
        unsafe { libc::pthread_mutex_unlock(self.shared.mutex.as_ptr()) };
    }
}

/// Word `i` of the record of `value`.
fn seal(value: u64, i: usize) -> u64 {
    value ^ (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Mutex {
    fn as_ptr(&self) -> *mut libc::pthread_mutex_t {
        self.0.get().cast()
    }
}

fn initialise(mutex: &Mutex, robust: bool) -> io::Result<()> {
    let mut attr = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let attr = attr.as_mut_ptr();
    let check = |rc: i32| if rc == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(rc)) };
    // SAFETY: `attr` is writable.
    check(unsafe { libc::pthread_mutexattr_init(attr) })?;
    // SAFETY: `attr` was initialised above.
    check(unsafe { libc::pthread_mutexattr_setpshared(attr, libc::PTHREAD_PROCESS_SHARED) })?;
    if robust {
        // SAFETY: `attr` was initialised above.
        check(unsafe { libc::pthread_mutexattr_setrobust(attr, libc::PTHREAD_MUTEX_ROBUST) })?;
    }
    // SAFETY: the mutex is writable and nobody uses it yet; `attr` was initialised above.
    check(unsafe { libc::pthread_mutex_init(mutex.as_ptr(), attr) })
}
