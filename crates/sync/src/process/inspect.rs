//! Reads locks and their kin from outside: who holds them, and whether there are waiters.

use std::mem::offset_of;

use kernel::shm::inspect::{Copied, SharedView, Source, Unreadable, VALUE_AT, label_of};

use super::{barrier, condvar, event, lock::InlineLock, raw::RawLock, rlock, rwlock, semaphore};
use crate::machine::{
    BarrierState,
    inspect::{self, LockWord},
};

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Lock,
    RLock,
    RwLock,
    Semaphore,
    Event,
    Condvar,
    Barrier,
}

/// What it says. What does not apply to its kind is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncView {
    pub kind: Kind,
    /// Thread ids: who holds the lock (several read), who has come to the barrier.
    pub holders: Vec<u32>,
    /// Of an `RwLock`: whether a writer writes, or waits until all readers have left.
    pub is_writing: bool,
    /// A holder died or panicked, and no later holder has put the data in order.
    pub is_inconsistent: bool,
    /// There may be sleepers.
    pub has_waiters: bool,
    /// It is used in several pid namespaces, where ids mean different threads.
    pub has_other_namespaces: bool,
    /// How often its holder holds an `RLock` beside the first time.
    pub again: u32,
    /// How often the lock was acquired while threads waited.
    pub n_turns: u64,
    /// Permits left, and the limit.
    pub permits: Option<(u32, u32)>,
    pub is_set: Option<bool>,
    /// How many a barrier waits for.
    pub parties: Option<u32>,
}

impl SyncView {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            holders: Vec::new(),
            is_writing: false,
            is_inconsistent: false,
            has_waiters: false,
            has_other_namespaces: false,
            again: 0,
            n_turns: 0,
            permits: None,
            is_set: None,
            parties: None,
        }
    }

    /// Takes in what the lock at `at` says.
    fn add_lock(&mut self, copied: &Copied, at: usize) {
        let word = LockWord(copied.u64(at));
        if word.owner() != 0 {
            self.holders.push(word.owner());
        }
        self.is_inconsistent |= word.is_inconsistent();
        self.has_waiters |= word.has_waiters();
        let (turns, namespaces) = LockWord::turns(copied.u64(at + 8));
        self.n_turns = self.n_turns.wrapping_add(turns);
        self.has_other_namespaces |= namespaces;
    }
}

/// Which kind the value in a block is; `None` for one of the program's own types.
pub fn kind_of(shared: &SharedView) -> Option<Kind> {
    // The name of a generic type up to its first parameter.
    fn is<T>(label: &str) -> bool {
        let name = label_of::<T>();
        match name.find('<') {
            Some(end) => label.starts_with(&name[..=end]),
            None => label == name,
        }
    }
    let label = shared.label.as_str();
    let kind = match () {
        () if is::<InlineLock<u8>>(label) => Kind::Lock,
        () if is::<rlock::SharedRLock<u8>>(label) => Kind::RLock,
        () if is::<rwlock::SharedRwLock<u8>>(label) => Kind::RwLock,
        () if is::<semaphore::SharedSemaphore>(label) => Kind::Semaphore,
        () if is::<event::SharedEvent>(label) => Kind::Event,
        () if is::<condvar::SharedCondvar>(label) => Kind::Condvar,
        () if is::<barrier::SharedBarrier>(label) => Kind::Barrier,
        () => return None,
    };
    let least = match kind {
        Kind::Lock => size_of::<RawLock>(),
        Kind::RLock => size_of::<rlock::SharedRLock<u8>>(),
        Kind::RwLock => size_of::<rwlock::SharedRwLock<u8>>(),
        Kind::Semaphore => size_of::<semaphore::SharedSemaphore>(),
        Kind::Event => size_of::<event::SharedEvent>(),
        Kind::Condvar => size_of::<condvar::SharedCondvar>(),
        Kind::Barrier => size_of::<barrier::SharedBarrier>(),
    };
    (shared.value_bytes >= least as u64).then_some(kind)
}

/// What the value of that kind in a block says.
///
/// # Errors
/// If the memory cannot be read.
pub fn read(source: &(impl Source + ?Sized), kind: Kind) -> Result<SyncView, Unreadable> {
    let mut view = SyncView::new(kind);
    let copy = |len| Copied::of(source, VALUE_AT, len);
    match kind {
        Kind::Lock => view.add_lock(&copy(size_of::<RawLock>())?, 0),
        Kind::RLock => {
            let again = offset_of!(rlock::SharedRLock<u8>, again);
            let copied = copy(again + 4)?;
            view.add_lock(&copied, offset_of!(rlock::SharedRLock<u8>, raw));
            view.again = copied.u32(again);
        }
        Kind::RwLock => {
            let writing = offset_of!(rwlock::SharedRwLock<u8>, writing);
            let copied = copy(writing + 4)?;
            view.add_lock(&copied, offset_of!(rwlock::SharedRwLock<u8>, gate));
            view.is_writing = !view.holders.is_empty();
            let seats = offset_of!(rwlock::SharedRwLock<u8>, seats);
            (seats..writing).step_by(size_of::<RawLock>()).for_each(|at| view.add_lock(&copied, at));
        }
        Kind::Semaphore => {
            let copied = copy(size_of::<semaphore::SharedSemaphore>())?;
            let (permits, waiters) = inspect::semaphore(copied.u64(offset_of!(semaphore::SharedSemaphore, state)));
            view.permits = Some((permits, copied.u32(offset_of!(semaphore::SharedSemaphore, limit))));
            view.has_waiters = waiters;
        }
        Kind::Event => {
            let (is_set, waiters) = inspect::event(copy(8)?.u64(0));
            (view.is_set, view.has_waiters) = (Some(is_set), waiters);
        }
        // The lowest bit of the second word says whether there may be sleepers.
        Kind::Condvar => view.has_waiters = copy(16)?.u64(8) & 1 != 0,
        Kind::Barrier => {
            type Seats = BarrierState<RawLock, { barrier::MAX_PARTIES }>;
            let copied = copy(size_of::<Seats>())?;
            let seats = offset_of!(Seats, seats);
            let n_seats = copied.u32(offset_of!(Seats, parties)).min(barrier::MAX_PARTIES as u32);
            (0..n_seats as usize).for_each(|seat| view.add_lock(&copied, seats + seat * size_of::<RawLock>()));
            view.parties = Some(n_seats);
            view.has_waiters = !view.holders.is_empty();
        }
    }
    Ok(view)
}

/// The thread that holds the lock whose word is at `at` in a block; `None` if the lock is free, or no lock can be there.
pub fn holder_at(source: &(impl Source + ?Sized), at: u64) -> Option<u32> {
    if !at.is_multiple_of(size_of::<RawLock>() as u64) {
        return None;
    }
    let word = LockWord(Copied::of(source, at, 8).ok()?.u64(0));
    Some(word.owner()).filter(|owner| *owner != 0)
}

#[cfg(feature = "serde")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Barrier, BoundedSemaphore, Condvar, Event, Lock, RLock, RwLock, Semaphore};
    use kernel::{handover, shm::inspect::shared};
    use std::fs::File;

    fn file(handle: &(impl serde::Serialize + serde::de::DeserializeOwned)) -> File {
        File::from(handover::pack_owned_behind(Vec::new(), handle).unwrap().fds.remove(0))
    }

    fn view(handle: &(impl serde::Serialize + serde::de::DeserializeOwned)) -> SyncView {
        let file = file(handle);
        let shared = shared(&file).unwrap();
        read(&file, kind_of(&shared).unwrap_or_else(|| panic!("{shared:?}"))).unwrap()
    }

    fn me() -> u32 {
        nix::unistd::gettid().as_raw() as u32
    }

    #[test]
    fn a_lock_says_who_holds_it() {
        let lock = Lock::new(7_u64).unwrap();
        assert!(view(&lock).holders.is_empty());
        let guard = lock.lock().unwrap();
        let held = view(&lock);
        assert_eq!((held.kind, held.holders.as_slice()), (Kind::Lock, &[me()][..]));
        let file = file(&lock);
        assert_eq!(holder_at(&file, VALUE_AT), Some(me()));
        drop(guard);
        assert_eq!(holder_at(&file, VALUE_AT), None);
        let rlock = RLock::new([0_u8; 3]).unwrap();
        let (one, other) = (rlock.lock().unwrap(), rlock.lock().unwrap());
        let held = view(&rlock);
        assert_eq!((held.kind, held.holders.as_slice(), held.again), (Kind::RLock, &[me()][..], 1));
        drop((one, other));
    }

    #[test]
    fn an_rwlock_says_who_reads_and_who_writes() {
        let lock = RwLock::new(7_u64).unwrap();
        let readers = (lock.read().unwrap(), lock.read().unwrap());
        let read = view(&lock);
        assert_eq!((read.kind, read.holders, read.is_writing), (Kind::RwLock, vec![me(), me()], false));
        drop(readers);
        let _writer = lock.write().unwrap();
        let written = view(&lock);
        assert!(written.is_writing && written.holders.contains(&me()), "{written:?}");
    }

    #[test]
    fn the_others_say_how_they_are() {
        let semaphore = Semaphore::new(3).unwrap();
        assert_eq!(view(&semaphore).permits, Some((3, u32::MAX)));
        let bounded = BoundedSemaphore::new(2).unwrap();
        let _permit = bounded.acquire();
        assert_eq!(view(&bounded).permits, Some((1, 2)));
        let event = Event::new().unwrap();
        assert_eq!(view(&event).is_set, Some(false));
        event.set();
        assert_eq!(view(&event).is_set, Some(true));
        assert_eq!(view(&Condvar::new().unwrap()).kind, Kind::Condvar);
        let barrier = view(&Barrier::new(3).unwrap());
        assert_eq!((barrier.kind, barrier.parties, barrier.holders.len()), (Kind::Barrier, Some(3), 0));
    }
}
