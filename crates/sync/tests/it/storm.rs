//! Processes that are killed at random, by the hundred, in each of the roles that they can have when they die;
//! `SYNC_KILLS=10000` says how many of each.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use proc_core::shm::Shared;
use sync::{
    OwnerDied,
    process::{Barrier, BoundedSemaphore, Condvar, Event, Lock, RLock, RwLock, Semaphore},
};

use crate::util::{Child, Dice, counter, dog_for};

/// How many are killed in each role.
fn n_kills() -> u64 {
    std::env::var("SYNC_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

const N_WORKERS: usize = 3;

/// What a worker is at, said before it begins and read when it is dead.
struct Role<'a>(&'a AtomicU64);

impl Role<'_> {
    fn is(&self, role: usize) {
        self.0.store(role as u64, SeqCst);
    }
}

/// Keeps `work` running over and over in three processes, kills one of them at random, starts another in its place, and
/// so on, until enough have died in each of the roles: the next victim is one that is in a rare role now, and counts for
/// what it was at when it died. After every kill the rounds must go on.
fn storm<const N: usize>(roles: [&str; N], work: impl Fn(&Role<'_>)) {
    let mut dice = Dice::new();
    let progress = counter();
    let at = Shared::new([const { AtomicU64::new(0) }; N_WORKERS]).unwrap();
    let spawn = |place: usize| {
        let role = Role(&at[place]);
        role.is(N);
        Child::spawn(|| {
            loop {
                work(&role);
                role.is(N);
                progress.fetch_add(1, SeqCst);
            }
        })
    };
    let mut workers: Vec<Option<Child>> = (0..N_WORKERS).map(|place| Some(spawn(place))).collect();
    let mut killed = [0; N];
    // However long it takes in all, on a machine that is busy: some of it must be done each minute.
    let mut dog = dog_for(Duration::from_secs(60));
    let mut n_watched = 0;
    while killed.iter().any(|n| *n < n_kills()) {
        n_watched += 1;
        if n_watched % 20 == 0 {
            dog = dog_for(Duration::from_secs(60));
        }
        dice.sleep_a_little();
        let first = dice.roll(N_WORKERS as u64) as usize;
        let n_killed = |place: &usize| killed.get(at[*place].load(SeqCst) as usize).copied().unwrap_or(u64::MAX);
        let place = (first..first + N_WORKERS).map(|place| place % N_WORKERS).min_by_key(n_killed).unwrap();
        workers[place].take().unwrap().kill();
        if let Some(n) = killed.get_mut(at[place].load(SeqCst) as usize) {
            *n += 1;
        }
        let before = progress.load(SeqCst);
        for look in 1u32.. {
            if progress.load(SeqCst) != before {
                break;
            }
            // Somebody is at it on another CPU, most likely; if not, this one is needed.
            if look % 10_000 == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        workers[place] = Some(spawn(place));
    }
    drop(dog);
    let said: Vec<_> = roles.iter().zip(killed).map(|(role, n)| format!("{n} {role}")).collect();
    println!("killed {}; none wedged", said.join(", "));
}

fn repaired<G>(result: Result<G, OwnerDied<G>>, repair: impl FnOnce(&G)) -> G {
    result.unwrap_or_else(|died| {
        let guard = died.into_inner();
        repair(&guard);
        guard
    })
}

/// Two numbers that are the same whenever nobody is changing them.
type Pair = (u64, u64);

fn change(pair: &mut Pair) {
    assert_eq!(pair.0, pair.1);
    pair.0 += 1;
    std::hint::black_box(&mut *pair);
    pair.1 += 1;
}

#[test]
fn holders_and_waiters_of_a_lock() {
    let lock = Lock::new(Pair::default()).unwrap();
    storm(["waiting", "holding"], |role| {
        role.is(0);
        let mut pair = lock.lock().unwrap_or_else(|died| {
            let mut pair = died.into_inner();
            pair.1 = pair.0;
            pair.mark_consistent();
            pair
        });
        role.is(1);
        change(&mut pair);
    });
}

#[test]
fn holders_and_waiters_of_a_recursive_lock() {
    let lock = RLock::new(Cell::new(0u64)).unwrap();
    storm(["waiting", "holding once", "holding twice"], |role| {
        role.is(0);
        let outer = repaired(lock.lock(), |guard| guard.mark_consistent());
        role.is(1);
        let inner = lock.lock().unwrap();
        role.is(2);
        inner.set(outer.get() + 1);
    });
}

#[test]
fn readers_and_writers() {
    let lock = RwLock::new(Pair::default()).unwrap();
    storm(["waiting to write", "writing", "waiting to read", "reading"], |role| {
        role.is(0);
        let mut pair = lock.write().unwrap_or_else(|died| {
            let mut pair = died.into_inner();
            pair.1 = pair.0;
            pair.mark_consistent();
            pair
        });
        role.is(1);
        change(&mut pair);
        drop(pair);
        role.is(2);
        if let Ok(pair) = lock.read() {
            role.is(3);
            assert_eq!(pair.0, pair.1);
        }
    });
}

#[test]
fn notifiers_and_waiters_of_a_condition() {
    let (lock, changed) = (Lock::new(0u64).unwrap(), Condvar::new().unwrap());
    // Everybody waits for somebody else to count on; the last resort is its own time-out, as the one who would have
    // notified it may be dead.
    storm(["notifying", "waiting"], |role| {
        role.is(0);
        let mut count = repaired(lock.lock(), |guard| guard.mark_consistent());
        *count += 1;
        let seen = *count;
        changed.notify_all();
        role.is(1);
        let wait = changed.wait_timeout_while(count, Duration::from_millis(2), |count| *count == seen);
        drop(wait.map_err(|died| died.into_inner().mark_consistent()));
    });
}

#[test]
fn setters_and_waiters_of_an_event() {
    let event = Event::new().unwrap();
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        // Nobody kills this one, and it has no time-out: a lost wake-up would be its last.
        let waiter = scope.spawn(|| {
            while stop.load(SeqCst) == 0 {
                event.wait().unwrap();
            }
        });
        storm(["setting", "waiting"], |role| {
            role.is(0);
            event.set();
            event.clear();
            role.is(1);
            event.wait_timeout(Duration::from_micros(100)).unwrap();
        });
        stop.store(1, SeqCst);
        let _dog = dog_for(Duration::from_secs(10));
        while !waiter.is_finished() {
            event.set();
            event.clear();
        }
    });
}

/// Lets `work` run in processes that are killed, and `helper` over and over in a thread that is not.
fn storm_beside<const N: usize>(helper: impl Fn() + Sync, roles: [&str; N], work: impl Fn(&Role<'_>)) {
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while stop.load(SeqCst) == 0 {
                helper();
            }
        });
        storm(roles, work);
        stop.store(1, SeqCst);
    });
}

#[test]
fn waiters_for_permits() {
    // Nobody holds a permit while it may be killed: that one would be gone.
    let (semaphore, taken) = (Semaphore::new(0).unwrap(), counter());
    let release = || {
        if semaphore.permits() < 4 {
            semaphore.release(2).unwrap();
        }
        std::thread::yield_now();
    };
    storm_beside(release, ["waiting"], |role| {
        role.is(0);
        semaphore.acquire().forget();
        taken.fetch_add(1, SeqCst);
    });
    assert!(taken.load(SeqCst) >= n_kills());
}

#[test]
fn releasers_of_permits() {
    // A permit that was released when its releaser died wakes who waits for it, who has no time-out.
    let (semaphore, taken) = (BoundedSemaphore::new(4).unwrap(), counter());
    let stop = AtomicU64::new(0);
    (0..4).for_each(|_| semaphore.acquire().forget());
    std::thread::scope(|scope| {
        let taker = scope.spawn(|| {
            while stop.load(SeqCst) == 0 {
                semaphore.acquire().forget();
                taken.fetch_add(1, SeqCst);
            }
        });
        storm(["releasing"], |role| {
            role.is(0);
            let before = taken.load(SeqCst);
            if semaphore.release(1).is_ok() {
                while taken.load(SeqCst) == before {
                    std::thread::yield_now();
                }
            }
        });
        stop.store(1, SeqCst);
        let _ = semaphore.release(1);
        taker.join().unwrap();
    });
}

#[test]
fn parties_of_a_barrier() {
    // Of three, two can always meet; nobody has a time-out.
    let barrier = Barrier::new(2).unwrap();
    storm(["waiting"], |role| {
        role.is(0);
        if barrier.wait().is_err() {
            barrier.reset();
        }
    });
}
