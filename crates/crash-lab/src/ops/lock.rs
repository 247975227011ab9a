//! `sync::process::{Lock, RLock, RwLock}`: the next one is told at once that the holder died, and only then.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sync::{
    OwnerDied, Plain,
    process::{Lock, LockGuard, RLock, RwLock, RwLockWriteGuard},
};
use test_support::step::Mark;

use crate::{
    cast::patience,
    ledger::Ledger,
    operation::{Operation, Role, Row, Verdict},
};

/// Counters: changes begun and changes done; the holder may let go.
pub(super) const BEGUN: usize = 0;
pub(super) const DONE: usize = 1;
pub(super) const LET_GO: usize = 2;

pub(crate) fn operations() -> Vec<Box<dyn Row>> {
    vec![
        changing::<Lock<Pair>>("lock/lock+unlock", How::Wait),
        changing::<Lock<Pair>>("lock/try_lock", How::Try),
        blocked::<Lock<Pair>>("lock/lock-blocked", lock_and_unlock),
        timeout::<Lock<Pair>>("lock/lock_timeout"),
        changing::<Nested>("lock/nested", How::Wait),
        blocked::<Nested>("lock/nested-blocked", lock_and_unlock),
        changing::<RLock<Cell<Pair>>>("rlock/lock+unlock", How::Wait),
        blocked::<RLock<Cell<Pair>>>("rlock/lock-blocked", lock_and_unlock),
        timeout::<RLock<Cell<Pair>>>("rlock/lock_timeout"),
        changing::<RwLock<Pair>>("rwlock/write", How::Wait),
        changing::<RwLock<Pair>>("rwlock/try_write", How::Try),
        blocked::<RwLock<Pair>>("rwlock/write-blocked", lock_and_unlock),
        blocked::<RwLock<Pair>>("rwlock/read-blocked", |lock, _, _, mark| mark.window(|| drop(lock.read()))),
        timeout::<RwLock<Pair>>("rwlock/write_timeout"),
        changing::<Downgraded>("rwlock/downgrade", How::Wait),
        read(),
    ]
}

/// Two numbers that are equal whenever the lock is free.
pub(super) type Pair = [u64; 2];

#[derive(Clone, Copy)]
pub(super) enum How {
    Wait,
    Try,
    Within(Duration),
}

impl How {
    fn enter<T: Plain>(self, lock: &Lock<T>) -> Result<Option<LockGuard<'_, T>>, OwnerDied<LockGuard<'_, T>>> {
        match self {
            Self::Wait => lock.lock().map(Some),
            Self::Try => lock.try_lock(),
            Self::Within(limit) => lock.lock_timeout(limit),
        }
    }
}

/// What whoever got in found.
pub(super) struct Entered {
    pub(super) owner_died: bool,
    pub(super) before: Pair,
}

/// A lock that one can hold.
pub(super) trait Exclusive: Serialize + DeserializeOwned + Sync + 'static {
    fn make() -> Self;
    /// Enters, mends what a dead holder left, and adds one to both numbers, one after the other. `None` if somebody
    /// else is in.
    fn enter(&self, how: How) -> Option<Entered>;
    /// Enters a sound lock and stays until the guard is dropped.
    fn hold(&self) -> impl Sized;
    /// Enters a fresh lock and stays.
    fn enter_for_good(&self) {
        std::mem::forget(self.hold());
    }
}

fn change_pair(pair: &mut Pair) {
    pair[0] += 1;
    std::hint::black_box(&mut *pair);
    pair[1] += 1;
}

macro_rules! exclusive {
    ($type:ty, $wait:ident, $try:ident, $within:ident) => {
        impl Exclusive for $type {
            fn make() -> Self {
                Self::new([0, 0]).expect("there is memory for a lock")
            }

            fn enter(&self, how: How) -> Option<Entered> {
                let entered = match how {
                    How::Wait => self.$wait().map(Some).map_err(OwnerDied::into_inner),
                    How::Try => self.$try().map_err(OwnerDied::into_inner),
                    How::Within(limit) => self.$within(limit).map_err(OwnerDied::into_inner),
                };
                let owner_died = entered.is_err();
                let mut guard = entered.unwrap_or_else(Some)?;
                let before = *guard;
                if owner_died {
                    guard[1] = guard[0];
                    guard.mark_consistent();
                }
                change_pair(&mut guard);
                Some(Entered { owner_died, before })
            }

            fn hold(&self) -> impl Sized {
                self.$wait().expect("nobody has died")
            }
        }
    };
}

exclusive!(Lock<Pair>, lock, try_lock, lock_timeout);
exclusive!(RwLock<Pair>, write, try_write, write_timeout);

impl Exclusive for RLock<Cell<Pair>> {
    fn make() -> Self {
        Self::new(Cell::new([0, 0])).expect("there is memory for a lock")
    }

    fn enter(&self, how: How) -> Option<Entered> {
        let entered = match how {
            How::Wait => self.lock().map(Some).map_err(OwnerDied::into_inner),
            How::Try => self.try_lock().map_err(OwnerDied::into_inner),
            How::Within(limit) => self.lock_timeout(limit).map_err(OwnerDied::into_inner),
        };
        let owner_died = entered.is_err();
        let guard = entered.unwrap_or_else(Some)?;
        let before = guard.get();
        if owner_died {
            guard.set([before[0], before[0]]);
            guard.mark_consistent();
        }
        // Once more, by the same thread.
        let again = self.lock().expect("it is in order now");
        let mut pair = again.get();
        change_pair(&mut pair);
        again.set(pair);
        Some(Entered { owner_died, before })
    }

    fn hold(&self) -> impl Sized {
        self.lock().expect("nobody has died")
    }
}

/// Whose writers go on as readers.
#[derive(Serialize, Deserialize)]
struct Downgraded(RwLock<Pair>);

impl Exclusive for Downgraded {
    fn make() -> Self {
        Self(Exclusive::make())
    }

    fn enter(&self, how: How) -> Option<Entered> {
        let entered = match how {
            How::Wait => self.0.write().map(Some).map_err(OwnerDied::into_inner),
            How::Try => self.0.try_write().map_err(OwnerDied::into_inner),
            How::Within(limit) => self.0.write_timeout(limit).map_err(OwnerDied::into_inner),
        };
        let owner_died = entered.is_err();
        let mut writer = entered.unwrap_or_else(Some)?;
        let before = *writer;
        if owner_died {
            writer[1] = writer[0];
            writer.mark_consistent();
        }
        change_pair(&mut writer);
        let written = *writer;
        let reader = RwLockWriteGuard::downgrade(writer);
        assert!(*reader == written, "nobody writes beside a reader");
        Some(Entered { owner_died, before })
    }

    fn hold(&self) -> impl Sized {
        self.0.write().expect("nobody has died")
    }
}

/// A lock inside another one, and a third inside both; given up in the order in which they were acquired.
#[derive(Serialize, Deserialize)]
struct Nested {
    outer: Lock<u64>,
    pair: Lock<Pair>,
    inner: Lock<u64>,
}

impl Nested {
    /// Of the two that protect nothing.
    fn enter_one(lock: &Lock<u64>, how: How) -> Option<LockGuard<'_, u64>> {
        how.enter(lock).unwrap_or_else(|died| {
            died.get_ref().mark_consistent();
            Some(died.into_inner())
        })
    }
}

impl Exclusive for Nested {
    fn make() -> Self {
        let lock = || Lock::new(0).expect("there is memory for a lock");
        Self { outer: lock(), pair: Exclusive::make(), inner: lock() }
    }

    fn enter(&self, how: How) -> Option<Entered> {
        let outer = Self::enter_one(&self.outer, how)?;
        let entered = how.enter(&self.pair).map_err(OwnerDied::into_inner);
        let owner_died = entered.is_err();
        let mut pair = entered.unwrap_or_else(Some)?;
        let before = *pair;
        if owner_died {
            pair[1] = pair[0];
            pair.mark_consistent();
        }
        let inner = Self::enter_one(&self.inner, how)?;
        change_pair(&mut pair);
        drop(outer);
        drop(pair);
        drop(inner);
        Some(Entered { owner_died, before })
    }

    fn hold(&self) -> impl Sized {
        let hold = |lock| Self::enter_one(lock, How::Wait);
        (hold(&self.outer), self.pair.lock().expect("nobody has died"), hold(&self.inner))
    }
}

pub(super) fn world<L: Exclusive>(state: &str, _: &Ledger) -> L {
    let lock = L::make();
    if state == "held" {
        lock.enter_for_good();
    }
    if state == "poisoned" {
        std::thread::scope(|scope| {
            scope.spawn(|| lock.enter_for_good()).join().expect("a thread that ends as a holder");
        });
    }
    lock
}

fn changing<L: Exclusive>(name: &'static str, how: How) -> Box<dyn Row> {
    let states: &[&str] = &["free", "poisoned"];
    let victim: fn(&L, &Ledger, &str, &Mark) = match how {
        How::Try => |lock, ledger, _, mark| {
            mark.window(|| {
                ledger.add(BEGUN);
                assert!(lock.enter(How::Try).is_some(), "nobody else is in");
                ledger.add(DONE);
            });
        },
        _ => lock_and_unlock,
    };
    let operation = Operation::new(name, states, world::<L>, victim, survive);
    let operation = operation.recoverer(lock_and_unlock).with(Role::Arrival, arrive).with(Role::Bystander, stand_by);
    operation.boxed()
}

/// The victim sleeps until the holder lets go; in the state "held-waiters" beside others that do.
fn blocked<L: Exclusive>(name: &'static str, victim: fn(&L, &Ledger, &str, &Mark)) -> Box<dyn Row> {
    let states: &[&str] = &["held-waiter", "held-waiters"];
    let operation = Operation::new(name, states, world::<L>, victim, |lock, ledger, state| {
        ledger.add(LET_GO);
        arrive(lock, ledger, state)?;
        if !ledger.all_wake_up(patience() / 2) {
            return Err("WEDGED: somebody sleeps on beside a free lock".into());
        }
        survive(lock, ledger, state)
    });
    let operation = operation.with(Role::Holder, |lock: &L, ledger, _| {
        lock.enter_for_good();
        // The end of this process lets go, and those who sleep are told of a death.
        if ledger.comes(LET_GO, 3 * patience()) { Ok(()) } else { Err("nobody told the holder to let go".into()) }
    });
    let operation = operation.with(Role::Helper, |_, ledger, _| {
        ledger.add(LET_GO);
        Ok(())
    });
    let operation = operation.with(Role::Waiter, |lock, ledger, state| {
        ledger.falls_asleep();
        arrive(lock, ledger, state)?;
        ledger.wakes_up();
        Ok(())
    });
    operation.recoverer(lock_and_unlock).boxed()
}

fn timeout<L: Exclusive>(name: &'static str) -> Box<dyn Row> {
    let victim: fn(&L, &Ledger, &str, &Mark) = |lock, _, _, mark| {
        mark.window(|| assert!(lock.enter(How::Within(Duration::from_millis(2))).is_none(), "it is held"));
    };
    let operation = Operation::new(name, &["held"], world::<L>, victim, |lock, _, _| {
        let entered = lock.enter(How::Try).or_else(|| lock.enter(How::Within(Duration::from_millis(1))));
        if entered.is_none() { Ok(()) } else { Err("two are in".into()) }
    });
    operation.recoverer(victim).boxed()
}

fn lock_and_unlock<L: Exclusive>(lock: &L, ledger: &Ledger, _: &str, mark: &Mark) {
    mark.window(|| change(lock, ledger));
}

pub(super) fn change<L: Exclusive>(lock: &L, ledger: &Ledger) {
    ledger.add(BEGUN);
    lock.enter(How::Wait);
    ledger.add(DONE);
}

pub(super) fn arrive<L: Exclusive>(lock: &L, ledger: &Ledger, _: &str) -> Verdict {
    ledger.add(BEGUN);
    lock.enter(How::Within(patience() / 2)).ok_or("WEDGED: nobody is in, and nobody can get in")?;
    ledger.add(DONE);
    Ok(())
}

/// Comes back in time, in or not.
fn stand_by<L: Exclusive>(lock: &L, ledger: &Ledger, _: &str) -> Verdict {
    let begun = Instant::now();
    let limit = Duration::from_millis(20);
    ledger.add(BEGUN);
    if lock.enter(How::Within(limit)).is_some() {
        ledger.add(DONE);
    }
    if begun.elapsed() < limit + patience() / 4 { Ok(()) } else { Err(format!("took {:?}", begun.elapsed())) }
}

/// Gets in at once; is told of the death if the data may be half changed; and is not told twice.
pub(super) fn survive<L: Exclusive>(lock: &L, ledger: &Ledger, _: &str) -> Verdict {
    let entered = lock.enter(How::Try).ok_or("WEDGED: the dead hold the lock")?;
    let [a, b] = entered.before;
    if a != b && !entered.owner_died {
        return Err(format!("({a}, {b}) and not a word of the dead holder"));
    }
    let (begun, done) = (ledger.get(BEGUN), ledger.get(DONE));
    if a < done || a > begun {
        return Err(format!("{a} changes of {begun} begun and {done} done"));
    }
    let again = lock.enter(How::Wait).ok_or("nobody is in, and the lock is held")?;
    if again.owner_died || again.before != [a + 1; 2] {
        return Err(format!("after the repair: {:?}, owner died: {}", again.before, again.owner_died));
    }
    Ok(())
}

/// A reader leaves no trace.
fn read() -> Box<dyn Row> {
    let victim: fn(&RwLock<Pair>, &Ledger, &str, &Mark) = |lock, _, _, mark| {
        mark.window(|| drop(lock.read().expect("no writer died")));
    };
    let operation = Operation::new("rwlock/read", &["free"], world::<RwLock<Pair>>, victim, |lock, ledger, state| {
        let entered = lock.enter(How::Try).ok_or("WEDGED: a dead reader keeps writers out")?;
        ledger.add(BEGUN);
        ledger.add(DONE);
        if entered.owner_died {
            return Err("a dead reader is taken for a dead writer".into());
        }
        read_once(lock)?;
        survive(lock, ledger, state)
    });
    let operation = operation.recoverer(victim).with(Role::Arrival, arrive).with(Role::Bystander, stand_by);
    operation.boxed()
}

fn read_once(lock: &RwLock<Pair>) -> Verdict {
    match lock.read_timeout(patience() / 2) {
        Ok(Some(pair)) if pair[0] == pair[1] => Ok(()),
        Ok(Some(pair)) => Err(format!("TORN: {:?}", *pair)),
        Ok(None) => Err("WEDGED: a reader cannot get in".into()),
        Err(_) => Err("a dead reader is taken for a dead writer".into()),
    }
}
