use std::{thread, time::Duration};

use sync::process::{Lock, LockGuard};

use crate::util::{Child, SOON, dog};

#[test]
fn smoke() {
    let _dog = dog();
    let lock = Lock::new(1u64).unwrap();
    *lock.lock().unwrap() += 1;
    assert!(!lock.is_locked());
    assert_eq!(lock.into_inner().unwrap(), 2);
}

#[test]
fn processes_and_threads_exclude_one_another() {
    let _dog = dog();
    const ROUNDS: u64 = 20_000;
    let lock = Lock::new((0u64, 0u64)).unwrap();
    let count = |lock: &Lock<(u64, u64)>| {
        for _ in 0..ROUNDS {
            let mut pair = lock.lock().unwrap();
            assert_eq!(pair.0, pair.1);
            pair.0 += 1;
            pair.1 += 1;
        }
    };
    let children: Vec<Child> = (0..2).map(|_| Child::spawn(|| count(&lock))).collect();
    thread::scope(|scope| {
        scope.spawn(|| count(&lock));
        count(&lock);
    });
    children.into_iter().for_each(Child::join);
    assert_eq!(*lock.lock().unwrap(), (4 * ROUNDS, 4 * ROUNDS));
}

#[test]
fn who_waits_gets_the_lock_from_who_does_nothing_else() {
    let _dog = dog();
    let lock = Lock::new(()).unwrap();
    let _hog = Child::spawn(|| {
        loop {
            let _guard = lock.lock().unwrap();
            let begun = std::time::Instant::now();
            while begun.elapsed() < Duration::from_micros(100) {}
        }
    });
    for _ in 0..300 {
        drop(lock.lock().unwrap());
    }
}

#[test]
fn holder_killed_releases_the_lock_and_says_so_until_repaired() {
    let _dog = dog();
    let lock = Lock::new(0u64).unwrap();
    let child = Child::spawn_and_stay(|| {
        let mut guard = lock.lock().unwrap();
        *guard = 7;
        std::mem::forget(guard);
    });
    assert!(lock.try_lock().unwrap().is_none());
    assert_eq!(lock.holder().unwrap().pid, child.pid());
    child.kill();
    let guard = lock.lock().unwrap_err().into_inner();
    assert_eq!(*guard, 7);
    drop(guard);
    let guard = lock.try_lock().unwrap_err().into_inner();
    assert!(!guard.is_consistent());
    guard.mark_consistent();
    drop(guard);
    assert_eq!(*lock.lock().unwrap(), 7);
    assert!(lock.holder().is_none());
}

#[test]
fn killed_holder_wakes_all_waiters_one_after_another() {
    let _dog = dog();
    let lock = Lock::new(0u64).unwrap();
    let holder = Child::spawn_and_stay(|| std::mem::forget(lock.lock().unwrap()));
    let waiters: Vec<Child> = (0..3)
        .map(|_| {
            Child::spawn(|| {
                let mut guard = lock.lock().unwrap_or_else(|died| died.into_inner());
                *guard += 1;
            })
        })
        .collect();
    waiters.iter().for_each(Child::wait_until_asleep);
    holder.kill();
    waiters.into_iter().for_each(Child::join);
    assert_eq!(*lock.lock().unwrap_err().into_inner(), 3);
}

#[test]
fn holder_killed_while_it_waits_for_another_lock_is_reported() {
    let _dog = dog();
    let (waited_for, held) = (Lock::new(0u64).unwrap(), Lock::new(0u64).unwrap());
    let guard = waited_for.lock().unwrap();
    let child = Child::spawn(|| {
        let _held = held.lock().unwrap();
        drop(waited_for.lock());
    });
    child.wait_until_asleep();
    child.kill();
    assert!(held.lock().is_err());
    drop(guard);
    assert!(waited_for.lock().is_ok(), "it never had this one");
}

#[test]
fn killed_waiters_disturb_nobody() {
    let _dog = dog();
    let lock = Lock::new(0u64).unwrap();
    let guard = lock.lock().unwrap();
    let doomed: Vec<Child> = (0..3).map(|_| Child::spawn(|| drop(lock.lock()))).collect();
    let waiter = Child::spawn(|| *lock.lock().unwrap() += 1);
    doomed.iter().chain([&waiter]).for_each(Child::wait_until_asleep);
    doomed.into_iter().for_each(Child::kill);
    drop(guard);
    waiter.join();
    assert_eq!(*lock.lock().unwrap(), 1);
}

#[test]
fn a_thread_that_ends_as_holder_is_a_dead_holder() {
    let _dog = dog();
    let lock = Lock::new(0u64).unwrap();
    thread::scope(|scope| scope.spawn(|| std::mem::forget(lock.lock().unwrap())).join().unwrap());
    assert!(lock.lock().is_err());
}

#[test]
fn panicking_holder_is_a_dead_holder() {
    let _dog = dog();
    let lock = Lock::new(0u64).unwrap();
    let panicked = std::panic::catch_unwind(|| {
        let _guard = lock.lock().unwrap();
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panicked.is_err());
    let guard = lock.lock().unwrap_err().into_inner();
    guard.mark_consistent();
    drop(guard);
    assert!(lock.lock().is_ok());
}

#[test]
fn guard_dropped_by_a_panic_that_began_before_does_not_poison() {
    let _dog = dog();
    struct LocksOnDrop<'a>(&'a Lock<u64>);
    impl Drop for LocksOnDrop<'_> {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let lock = Lock::new(0u64).unwrap();
    let panicked = std::panic::catch_unwind(|| {
        let _on_drop = LocksOnDrop(&lock);
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panicked.is_err());
    assert_eq!(*lock.lock().unwrap(), 1);
}

#[test]
fn timeouts_zero_short_and_huge() {
    let _dog = dog();
    let lock = Lock::new(0u64).unwrap();
    let guard = lock.lock().unwrap();
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            assert!(lock.lock_timeout(Duration::ZERO).unwrap().is_none());
            let begun = std::time::Instant::now();
            assert!(lock.lock_timeout(SOON).unwrap().is_none());
            assert!(begun.elapsed() >= SOON);
        });
        waits.join().unwrap();
        let waits = scope.spawn(|| assert!(lock.lock_timeout(Duration::MAX).unwrap().is_some()));
        drop(guard);
        waits.join().unwrap();
    });
    assert!(lock.lock_timeout(Duration::ZERO).unwrap().is_some());
}

#[test]
fn forked_child_holds_nothing_and_its_copy_of_the_guard_releases_nothing() {
    let _dog = dog();
    let lock = Lock::new(0u64).unwrap();
    let guard = lock.lock().unwrap();
    let mut copy = None;
    Child::spawn(|| {
        // SAFETY: as a fork that returns twice would leave it: a second guard in another process.
        copy = Some(unsafe { std::ptr::read(&guard) });
        drop(copy.take());
        assert!(lock.try_lock().unwrap().is_none());
    })
    .join();
    assert!(lock.is_locked());
    drop(guard);
    Child::spawn(|| *lock.lock().unwrap() += 1).join();
    assert_eq!(*lock.lock().unwrap(), 1);
}

#[test]
fn locking_twice_panics_rather_than_hangs() {
    let _dog = dog();
    let lock = Lock::new(0u64).unwrap();
    let _guard = lock.lock().unwrap();
    let message = std::panic::catch_unwind(|| drop(lock.lock())).unwrap_err();
    assert!(message.downcast_ref::<&str>().unwrap().contains("holds the lock already"));
    assert!(lock.try_lock().unwrap().is_none());
}

#[test]
fn clones_and_copies_handed_over_are_the_same_lock() {
    let _dog = dog();
    use proc_core::handover::{pack, unpack};
    let lock = Lock::new(5u64).unwrap();
    let parcel = pack(&lock).unwrap();
    let fds = parcel.fds().iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    let there: Lock<u64> = unpack(parcel.bytes(), fds).unwrap();
    let guard = there.lock().unwrap();
    assert!(lock.clone().try_lock().unwrap().is_none());
    drop(guard);
    drop(lock);
    assert_eq!(*there.lock().unwrap(), 5);
}

#[test]
fn forgotten_guard_keeps_the_memory_in_place() {
    let _dog = dog();
    let lock = Lock::new(0u64).unwrap();
    std::mem::forget(lock.lock().unwrap());
    drop(lock);
    // The kernel's list leads through the forgotten one.
    let other = Lock::new(0u64).unwrap();
    thread::scope(|scope| scope.spawn(|| std::mem::forget(other.lock().unwrap())).join().unwrap());
    assert!(other.lock().is_err());
}

#[test]
fn five_hundred_locks_of_one_holder_are_all_released() {
    let _dog = dog();
    let locks: Vec<Lock<u8>> = (0..500).map(|_| Lock::new(0).unwrap()).collect();
    let child = Child::spawn_and_stay(|| locks.iter().for_each(|lock| std::mem::forget(lock.lock().unwrap())));
    child.kill();
    assert!(locks.iter().all(|lock| lock.lock().is_err()));
}

#[test]
fn mapped_guard_reaches_a_part() {
    let _dog = dog();
    let lock = Lock::new((1u32, [2u8; 4])).unwrap();
    let mut byte = LockGuard::map(lock.lock().unwrap(), |pair| &mut pair.1[3]);
    *byte = 9;
    assert!(lock.is_locked());
    drop(byte);
    assert_eq!(lock.lock().unwrap().1, [2, 2, 2, 9]);
}

#[test]
fn robust_mutexes_of_the_c_library_are_good_neighbours() {
    let _dog = dog();
    let lock = || Lock::new(0u8).unwrap();
    let (a, b, c) = (lock(), lock(), lock());
    let (first, second) = (PthreadMutex::new(), PthreadMutex::new());
    let guard_a = a.lock().unwrap();
    first.lock();
    let guard_b = b.lock().unwrap();
    second.lock();
    let guard_c = c.lock().unwrap();
    first.unlock();
    drop(guard_b);
    second.unlock();
    drop(guard_a);
    drop(guard_c);
    thread::scope(|scope| {
        scope.spawn(|| {
            std::mem::forget(a.lock().unwrap());
            first.lock();
            std::mem::forget(b.lock().unwrap());
        });
    });
    assert!(a.lock().is_err());
    assert!(b.lock().is_err());
    assert_eq!(first.lock(), libc::EOWNERDEAD);
}

struct PthreadMutex(Box<std::cell::UnsafeCell<libc::pthread_mutex_t>>);

// SAFETY: that is what a mutex is for.
unsafe impl Sync for PthreadMutex {}

impl PthreadMutex {
    fn new() -> Self {
        let mutex = Box::new(std::cell::UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
        // SAFETY: zeros will be written over.
        let mut attributes: libc::pthread_mutexattr_t = unsafe { std::mem::zeroed() };
        // SAFETY: writable, and used as documented.
        unsafe { libc::pthread_mutexattr_init(&raw mut attributes) };
        // SAFETY: initialised above.
        unsafe { libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST) };
        // SAFETY: both are writable; the mutex never moves.
        unsafe { libc::pthread_mutex_init(mutex.get(), &raw const attributes) };
        Self(mutex)
    }

    fn lock(&self) -> i32 {
        // SAFETY: initialised in `new`.
        unsafe { libc::pthread_mutex_lock(self.0.get()) }
    }

    fn unlock(&self) {
        // SAFETY: held by this thread.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.0.get()) }, 0);
    }
}

mod embedded {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use proc_core::shm::Shared;
    use sync::{Plain, ShmSafe, process::InlineLock};

    use crate::util::{Child, dog};

    #[derive(Plain, Clone, Copy)]
    pub(super) struct Point(pub(super) i32, #[allow(dead_code)] [u8; 3]);

    #[derive(ShmSafe)]
    #[repr(C)]
    struct Mine {
        count: AtomicU32,
        pub(self) points: [InlineLock<Point>; 2],
        pair: InlineLock<(u64, f64)>,
    }

    #[test]
    fn holder_killed_inside_a_shared_struct_is_reported() {
        let _dog = dog();
        let point = || InlineLock::new(Point(0, [0; 3]));
        let mine = Mine { count: AtomicU32::new(0), points: [point(), point()], pair: InlineLock::new((1, 0.5)) };
        let mine = Shared::new(mine).unwrap();
        let child = Child::spawn(|| {
            mine.points[1].with(|point| {
                point.0 = 5;
                mine.count.store(1, Relaxed);
                loop {
                    std::thread::park();
                }
            })
        });
        while mine.count.load(Relaxed) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(mine.points[1].holder().unwrap().pid, child.pid());
        assert!(mine.points[0].with(|point| point.is_consistent()));
        child.kill();
        mine.points[1].with(|point| {
            assert!(!point.is_consistent() && point.0 == 5);
            point.mark_consistent();
        });
        assert!(mine.points[1].with(|point| point.is_consistent()));
        assert_eq!(mine.pair.with(|pair| pair.0), 1);
    }
}

#[test]
fn holders_of_every_start_method_are_reported() {
    use proc_core::{Process, StartMethod};
    use sync::process::Event;

    fn hold(lock: Lock<u64>, held: Event) {
        std::mem::forget(lock.lock().unwrap());
        held.set();
        loop {
            thread::park();
        }
    }
    let _dog = dog();
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let (lock, held) = (Lock::new(0u64).unwrap(), sync::process::Event::new().unwrap());
        let holder = Process::builder().start_method(method).spawn(hold, (lock.clone(), held.clone())).unwrap();
        held.wait().unwrap();
        assert_eq!(lock.holder().unwrap().pid, holder.pid());
        holder.kill().unwrap();
        assert!(lock.lock().is_err(), "{method:?}");
        holder.join().unwrap_err();
    }
}

#[test]
fn library_that_keeps_its_list_in_another_way_is_refused() {
    let _dog = dog();
    let lock = Lock::new(0u64).unwrap();
    let packed = proc_core::handover::pack(&lock).unwrap();
    Child::spawn(|| {
        let refuse = || {
            // SAFETY: as in a C library that has no list for this thread, which has locked nothing.
            unsafe { libc::syscall(libc::SYS_set_robust_list, std::ptr::null::<u8>(), 24) };
            let refused = Lock::new(0u64).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
            let fds = packed.fds().iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
            assert!(proc_core::handover::unpack::<Lock<u64>>(packed.bytes(), fds).is_err());
        };
        thread::scope(|scope| scope.spawn(refuse).join().unwrap());
    })
    .join();
}
