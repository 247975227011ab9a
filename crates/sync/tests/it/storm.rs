//! Processes that are killed at random, by the hundred, in each of the roles that they can have when they die;
//! `SYNC_KILLS=10000` says how many of each. Only deaths of victims that really were in a role count for it.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use kernel::futex;
use proc_core::shm::Shared;
use sync::{
    OwnerDied,
    process::{Barrier, BoundedSemaphore, Condvar, Event, Lock, RLock, RwLock, Semaphore},
};

use crate::util::{Child, Dice, counter, dog};

/// How many are killed in each role.
fn n_kills() -> u64 {
    std::env::var("SYNC_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

const N_WORKERS: usize = 3;

/// Something that a worker is at again and again.
#[derive(Clone, Copy)]
enum Role {
    /// Is at it as long as it says so.
    At(&'static str),
    /// As `At`, and asleep; or just woken, or about to fall asleep.
    AsleepAt(&'static str),
}
use Role::{AsleepAt, At};

impl Role {
    /// Whether `victim`, which is stopped and says that it is in this role, is.
    fn is_that_of(self, victim: &Child) -> bool {
        match self {
            At(_) => true,
            AsleepAt(_) => victim.is_in_futex(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            At(name) | AsleepAt(name) => name,
        }
    }
}

/// What a worker is at: the number of its role.
struct Place<'a> {
    at: &'a AtomicU64,
    dice: RefCell<Dice>,
}

/// Between two roles.
const ELSEWHERE: u64 = u64::MAX;

impl<'a> Place<'a> {
    fn new(at: &'a AtomicU64) -> Self {
        Self { at, dice: RefCell::new(Dice::new()) }
    }

    /// Calls `work`, and is in the role until it returns.
    fn during<R>(&self, role: usize, work: impl FnOnce() -> R) -> R {
        self.at.store(role as u64, SeqCst);
        let result = work();
        self.at.store(ELSEWHERE, SeqCst);
        result
    }

    /// Takes some time, so that others who wait for this one fall asleep.
    fn linger(&self) {
        (0..self.dice.borrow_mut().roll(1_000)).for_each(|_| std::hint::spin_loop());
    }
}

/// How many rounds the workers have finished, and whether the driver waits for the next.
struct Rounds {
    finished: Shared<AtomicU32>,
    awaited: Shared<AtomicU32>,
}

impl Rounds {
    fn new() -> Self {
        let word = || Shared::new(AtomicU32::new(0)).unwrap();
        Self { finished: word(), awaited: word() }
    }

    fn finish(&self) {
        self.finished.fetch_add(1, SeqCst);
        if self.awaited.load(SeqCst) != 0 {
            futex::wake(&self.finished, 1);
        }
    }

    fn wait_for_one(&self) {
        let before = self.finished.load(SeqCst);
        self.awaited.store(1, SeqCst);
        while self.finished.load(SeqCst) == before {
            futex::wait(&self.finished, before, None);
        }
        self.awaited.store(0, SeqCst);
    }
}

/// A thread beside a storm may wait for ever for what a failed one does not bring any more.
struct EndsAllIfFailed;

impl Drop for EndsAllIfFailed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Keeps `work` running over and over in three processes, kills one of them at random, starts another in its place, and
/// so on, until enough have died in each of the roles: the next victim is one that says to be in a rare role, and
/// counts for the one in which it is found when it has been stopped. After every kill the rounds must go on.
fn storm<const N: usize>(roles: [Role; N], work: impl Fn(&Place<'_>)) {
    let _ends_all_if_failed = EndsAllIfFailed;
    let mut dice = Dice::new();
    let rounds = Rounds::new();
    let at = Shared::new([const { AtomicU64::new(ELSEWHERE) }; N_WORKERS]).unwrap();
    let spawn = |number: usize| {
        at[number].store(ELSEWHERE, SeqCst);
        Child::spawn(|| {
            let place = Place::new(&at[number]);
            loop {
                work(&place);
                rounds.finish();
            }
        })
    };
    let mut workers: Vec<Option<Child>> = (0..N_WORKERS).map(|number| Some(spawn(number))).collect();
    let (mut killed, mut n_others) = ([0; N], 0);
    // However long it takes in all: some of it must be done each minute.
    let mut dog = dog();
    while killed.iter().any(|n| *n < n_kills()) {
        if (killed.iter().sum::<u64>() + n_others) % 20 == 19 {
            dog = crate::util::dog();
        }
        dice.sleep_a_little();
        let first = dice.roll(N_WORKERS as u64) as usize;
        let n_killed = |number: &usize| killed.get(at[*number].load(SeqCst) as usize).copied().unwrap_or(u64::MAX);
        let number = (first..first + N_WORKERS).map(|number| number % N_WORKERS).min_by_key(n_killed).unwrap();
        let victim = workers[number].take().unwrap();
        victim.stop();
        let role = at[number].load(SeqCst) as usize;
        match killed.get_mut(role) {
            Some(n) if roles[role].is_that_of(&victim) => *n += 1,
            _ => n_others += 1,
        }
        victim.kill();
        rounds.wait_for_one();
        workers[number] = Some(spawn(number));
    }
    drop(dog);
    let said: Vec<_> = roles.iter().zip(killed).map(|(role, n)| format!("{n} {}", role.name())).collect();
    println!("killed {} and {n_others} at something else; none wedged", said.join(", "));
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

fn change(pair: &mut Pair, meanwhile: impl FnOnce()) {
    assert_eq!(pair.0, pair.1);
    pair.0 += 1;
    std::hint::black_box(&mut *pair);
    meanwhile();
    pair.1 += 1;
}

#[test]
fn holders_and_waiters_of_a_lock() {
    let lock = Lock::new(Pair::default()).unwrap();
    storm([AsleepAt("waiting"), At("holding")], |place| {
        let mut pair = place.during(0, || lock.lock()).unwrap_or_else(|died| {
            let mut pair = died.into_inner();
            pair.1 = pair.0;
            pair.mark_consistent();
            pair
        });
        place.during(1, || change(&mut pair, || place.linger()));
    });
}

#[test]
fn holders_and_waiters_of_a_recursive_lock() {
    let lock = RLock::new(Cell::new(0u64)).unwrap();
    storm([AsleepAt("waiting"), At("holding once"), At("holding twice")], |place| {
        let outer = repaired(place.during(0, || lock.lock()), |guard| guard.mark_consistent());
        place.during(1, || place.linger());
        let inner = lock.lock().unwrap();
        place.during(2, || place.linger());
        inner.set(outer.get() + 1);
    });
}

#[test]
fn readers_and_writers() {
    let lock = RwLock::new(Pair::default()).unwrap();
    storm([AsleepAt("waiting to write"), At("writing"), AsleepAt("waiting to read"), At("reading")], |place| {
        let mut pair = place.during(0, || lock.write()).unwrap_or_else(|died| {
            let mut pair = died.into_inner();
            pair.1 = pair.0;
            pair.mark_consistent();
            pair
        });
        place.during(1, || change(&mut pair, || place.linger()));
        drop(pair);
        if let Ok(pair) = place.during(2, || lock.read()) {
            place.during(3, || {
                place.linger();
                assert_eq!(pair.0, pair.1);
            });
        }
    });
}

#[test]
fn notifiers_and_waiters_of_a_condition() {
    let (lock, changed) = (Lock::new(0u64).unwrap(), Condvar::new().unwrap());
    // Everybody waits for somebody else to count on; the last resort is its own time-out, as the one who would have
    // notified it may be dead.
    storm([At("notifying"), AsleepAt("waiting")], |place| {
        let mut count = repaired(lock.lock(), |guard| guard.mark_consistent());
        *count += 1;
        let seen = *count;
        place.during(0, || changed.notify_all());
        let limit = Duration::from_millis(2);
        let wait = place.during(1, || changed.wait_timeout_while(count, limit, |count| *count == seen));
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
        storm([At("setting"), AsleepAt("waiting")], |place| {
            place.during(0, || event.set());
            event.clear();
            place.during(1, || event.wait_timeout(Duration::from_micros(100))).unwrap();
        });
        stop.store(1, SeqCst);
        let _dog = dog();
        while !waiter.is_finished() {
            event.set();
            event.clear();
        }
    });
}

/// Lets `work` run in processes that are killed, and `helper` over and over in a thread that is not.
fn storm_beside<const N: usize>(helper: impl Fn() + Sync, roles: [Role; N], work: impl Fn(&Place<'_>)) {
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
    storm_beside(release, [AsleepAt("waiting")], |place| {
        place.during(0, || semaphore.acquire()).forget();
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
        storm([At("releasing")], |place| {
            let before = taken.load(SeqCst);
            if place.during(0, || semaphore.release(1)).is_ok() {
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
    storm([AsleepAt("waiting")], |place| {
        if place.during(0, || barrier.wait()).is_err() {
            barrier.reset();
        }
    });
}
