//! Processes that are killed at random, by the hundred; `SYNC_KILLS=10000` says how many.

use std::{
    cell::Cell,
    io::{Read, Seek, SeekFrom, Write},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use proc_core::shm::Shared;
use sync::{
    OwnerDied,
    process::{Barrier, Condvar, Event, Lock, RLock, RwLock, Semaphore},
};

use crate::util::{Child, dog_for};

/// How many are killed.
fn n_kills() -> u64 {
    std::env::var("SYNC_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

/// Random enough, and another sequence each time.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self(now.as_nanos() as u64 | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn sleep_a_little(&mut self) {
        std::thread::sleep(Duration::from_micros(self.roll(300)));
    }
}

/// Keeps `work` running over and over in three processes, kills one of them at random, starts another in its place,
/// and so on; `progress` counts rounds, and must go on after every kill.
fn storm(work: impl Fn(), progress: &AtomicU64) {
    let _dog = dog_for(Duration::from_secs(60 + n_kills() / 20));
    let mut dice = Dice::new();
    let spawn = || {
        Child::spawn(|| {
            loop {
                work();
                progress.fetch_add(1, SeqCst);
            }
        })
    };
    let mut workers: Vec<Child> = (0..3).map(|_| spawn()).collect();
    for _ in 0..n_kills() {
        dice.sleep_a_little();
        let victim = dice.roll(workers.len() as u64) as usize;
        workers.swap_remove(victim).kill();
        let before = progress.load(SeqCst);
        while progress.load(SeqCst) == before {
            std::thread::yield_now();
        }
        workers.push(spawn());
    }
}

fn repaired<G>(result: Result<G, OwnerDied<G>>, repair: impl FnOnce(&G)) -> G {
    result.unwrap_or_else(|died| {
        let guard = died.into_inner();
        repair(&guard);
        guard
    })
}

fn counter() -> Shared<AtomicU64> {
    Shared::new(AtomicU64::new(0)).unwrap()
}

#[test]
fn holders_and_waiters_of_a_lock() {
    let (lock, progress) = (Lock::new((0u64, 0u64)).unwrap(), counter());
    let work = || {
        let mut pair = lock.lock().unwrap_or_else(|died| {
            let mut pair = died.into_inner();
            pair.1 = pair.0;
            pair.mark_consistent();
            pair
        });
        assert_eq!(pair.0, pair.1);
        pair.0 += 1;
        std::hint::black_box(&mut *pair);
        pair.1 += 1;
    };
    storm(work, &progress);
}

#[test]
fn holders_and_waiters_of_a_recursive_lock() {
    let (lock, progress) = (RLock::new(Cell::new(0u64)).unwrap(), counter());
    let work = || {
        let outer = repaired(lock.lock(), |guard| guard.mark_consistent());
        let inner = lock.lock().unwrap();
        inner.set(outer.get() + 1);
    };
    storm(work, &progress);
}

#[test]
fn readers_and_writers() {
    let (lock, progress) = (RwLock::new((0u64, 0u64)).unwrap(), counter());
    let work = || {
        let mut pair = lock.write().unwrap_or_else(|died| {
            let mut pair = died.into_inner();
            pair.1 = pair.0;
            pair.mark_consistent();
            pair
        });
        assert_eq!(pair.0, pair.1);
        pair.0 += 1;
        std::hint::black_box(&mut *pair);
        pair.1 += 1;
        drop(pair);
        if let Ok(pair) = lock.read() {
            assert_eq!(pair.0, pair.1);
        }
    };
    storm(work, &progress);
}

#[test]
fn notifiers_and_waiters_of_a_condition() {
    let (lock, progress) = (Lock::new(0u64).unwrap(), counter());
    let changed = Condvar::new().unwrap();
    // Everybody waits for somebody else to count on; the last resort is its own time-out, as the one who would have
    // notified it may be dead.
    let work = || {
        let mut count = repaired(lock.lock(), |guard| guard.mark_consistent());
        *count += 1;
        let seen = *count;
        changed.notify_all();
        let wait = changed.wait_timeout_while(count, Duration::from_millis(2), |count| *count == seen);
        drop(wait.map_err(|died| died.into_inner().mark_consistent()));
    };
    storm(work, &progress);
}

#[test]
fn setters_and_waiters_of_an_event() {
    let (event, progress) = (Event::new().unwrap(), counter());
    let work = || {
        event.set();
        event.clear();
        event.wait_timeout(Duration::from_micros(100)).unwrap();
    };
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        // Nobody kills this one, and it has no time-out: a lost wake-up would be its last.
        let waiter = scope.spawn(|| {
            while stop.load(SeqCst) == 0 {
                event.wait().unwrap();
            }
        });
        storm(work, &progress);
        stop.store(1, SeqCst);
        let _dog = dog_for(Duration::from_secs(10));
        while !waiter.is_finished() {
            event.set();
            event.clear();
        }
    });
}

#[test]
fn waiters_for_permits() {
    // Nobody holds a permit while it may be killed: the releaser is this process.
    let (semaphore, progress) = (Semaphore::new(0).unwrap(), counter());
    let taken = counter();
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while stop.load(SeqCst) == 0 {
                if semaphore.permits() < 4 {
                    semaphore.release(2).unwrap();
                }
                std::thread::yield_now();
            }
        });
        storm(
            || {
                semaphore.acquire().forget();
                taken.fetch_add(1, SeqCst);
            },
            &progress,
        );
        stop.store(1, SeqCst);
    });
    assert!(taken.load(SeqCst) >= progress.load(SeqCst));
}

#[test]
fn parties_of_a_barrier() {
    let (barrier, progress) = (Barrier::new(2).unwrap(), counter());
    let work = || {
        if barrier.wait_timeout(Duration::from_millis(200)).is_err() {
            barrier.reset();
        }
    };
    storm(work, &progress);
}

/// Eight buyers, two tickets, and a file for a database.
struct TicketOffice {
    file: std::fs::File,
    lock: Lock<()>,
    sold: Shared<AtomicU64>,
}

const TICKETS: u64 = 2;

impl TicketOffice {
    fn open() -> Self {
        let path =
            std::env::temp_dir().join(format!("tickets-{}-{:?}", std::process::id(), std::thread::current().id()));
        let mut options = std::fs::File::options();
        let mut file = options.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        write!(file, "{TICKETS}").unwrap();
        Self { file, lock: Lock::new(()).unwrap(), sold: counter() }
    }

    /// Looks, thinks, and buys; the sale counts from when it is in the file.
    fn buy(&self) {
        let mut text = String::new();
        (&self.file).seek(SeekFrom::Start(0)).unwrap();
        (&self.file).read_to_string(&mut text).unwrap();
        let left: u64 = text.parse().unwrap();
        std::thread::yield_now();
        if left > 0 {
            // The seat is given away when the office says so, and the number is written first: a buyer killed in
            // between loses a ticket, and never sells one twice.
            std::os::unix::fs::FileExt::write_all_at(&self.file, (left - 1).to_string().as_bytes(), 0).unwrap();
            self.sold.fetch_add(1, SeqCst);
        }
    }

    fn buy_with_lock(&self) {
        let _guard = repaired(self.lock.lock(), |guard| guard.mark_consistent());
        self.buy();
    }
}

#[test]
fn ticket_office_with_a_lock_never_oversells_though_buyers_are_killed() {
    let _dog = dog_for(Duration::from_secs(60 + n_kills() / 5));
    let mut dice = Dice::new();
    for _ in 0..n_kills() / 8 {
        let office = TicketOffice::open();
        let mut buyers: Vec<Child> = (0..8).map(|_| Child::spawn(|| office.buy_with_lock())).collect();
        let victim = dice.roll(8) as usize;
        dice.sleep_a_little();
        buyers.swap_remove(victim).kill();
        buyers.into_iter().for_each(Child::join);
        assert!(office.sold.load(SeqCst) <= TICKETS);
    }
}

#[test]
fn ticket_office_without_a_lock_oversells() {
    let _dog = dog_for(Duration::from_secs(60));
    let oversold = (0..500).any(|_| {
        let office = TicketOffice::open();
        let buyers: Vec<Child> = (0..8).map(|_| Child::spawn(|| office.buy())).collect();
        // Some may read while another writes: no number at all is as wrong as a wrong one.
        buyers.into_iter().for_each(|buyer| {
            buyer.end();
        });
        office.sold.load(SeqCst) > TICKETS
    });
    assert!(oversold);
}
