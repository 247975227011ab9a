//! What the processes of a round share, what each of them does with it, and what must hold when all have ended.

use std::{io, time::Duration};

use ipc::{JoinableQueue, PutTimeoutError, Queue, TryGetError, TryPutError};
use serde::{Deserialize, Serialize};
use sync::{
    OwnerDied,
    process::{Barrier, Condvar, Event, Lock, RwLock, Semaphore},
};

use super::{
    Sum,
    books::{ACKNOWLEDGED, BEGUN, Books, ERRAND, FINISHED, FINISHING, GIVEN_BACK, JOINABLE, TAKEN, Word},
    random::Random,
};
use crate::{cast::patience, operation::Verdict};

const CAPACITY: u64 = 16;

/// How long a process waits for something that may not come.
pub(super) const SOON: Duration = Duration::from_micros(300);

/// How many messages go at a time at most.
const BURST: u64 = 64;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct World {
    pub(super) books: Books,
    queue: Queue<u64>,
    joinable: JoinableQueue<u64>,
    empty: Queue<u64>,
    pair: Lock<[u64; 2]>,
    rows: RwLock<[u64; 2]>,
    condition: Condvar,
    event: Event,
    permits: Semaphore,
    barrier: Barrier,
}

/// The guard, repaired if its last owner died.
fn mended<G: std::ops::DerefMut<Target = [u64; 2]>>(
    result: Result<Option<G>, OwnerDied<G>>,
    mark: fn(&G),
) -> Option<(G, bool)> {
    match result {
        Ok(guard) => guard.map(|guard| (guard, false)),
        Err(died) => {
            let mut guard = died.into_inner();
            guard[1] = guard[0];
            mark(&guard);
            Some((guard, true))
        }
    }
}

impl World {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            books: Books::new()?,
            queue: Queue::new(CAPACITY as usize)?,
            joinable: JoinableQueue::builder().maxsize(CAPACITY as usize).max_deliveries(255).build_joinable()?,
            empty: Queue::new(1)?,
            pair: Lock::new([0; 2])?,
            rows: RwLock::new([0; 2])?,
            condition: Condvar::new()?,
            event: Event::new()?,
            permits: Semaphore::new(0)?,
            barrier: Barrier::new(3)?,
        })
    }

    /// One of what processes do with what they share, at random.
    pub(super) fn do_something(&self, random: &mut Random) -> Verdict {
        match random.below(12) {
            0..3 => self.put(random.below(BURST)),
            3..6 => self.get(random.below(BURST), random.below(2) == 0),
            6 => self.put_item(),
            7 | 8 => self.deal_with_item(random.below(4) == 0),
            9 => self.change_pair(),
            10 => self.change_rows(random.below(3) == 0),
            _ => self.wait(random.below(6)),
        }
    }

    pub(super) fn put(&self, n: u64) -> Verdict {
        for _ in 0..=n {
            let Some(value) = self.books.new_value(BEGUN) else { return Ok(()) };
            match self.queue.put_timeout(value, SOON) {
                Ok(()) => self.books.note(value, ACKNOWLEDGED),
                Err(PutTimeoutError::TimedOut(_)) => {
                    self.books.note(value, GIVEN_BACK);
                    break;
                }
                Err(e) => return Err(format!("put: {e}")),
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, n: u64, waits: bool) -> Verdict {
        for _ in 0..=n {
            self.books.count(Word::Takers);
            let got = if waits { self.queue.get_timeout(SOON).ok() } else { self.queue.try_get().ok() };
            if let Some(value) = got
                && !self.books.take(value)
            {
                return Err(format!("{value:#x} came out of the queue"));
            }
            self.books.count(Word::Returned);
            if got.is_none() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn put_item(&self) -> Verdict {
        let Some(value) = self.books.new_value(BEGUN | JOINABLE) else { return Ok(()) };
        match self.joinable.put_timeout(value, SOON) {
            Ok(()) => self.books.note(value, ACKNOWLEDGED),
            Err(PutTimeoutError::TimedOut(_)) => self.books.note(value, GIVEN_BACK),
            Err(e) => return Err(format!("put of an item: {e}")),
        }
        Ok(())
    }

    pub(super) fn deal_with_item(&self, gives_back: bool) -> Verdict {
        let Ok(item) = self.joinable.get_timeout(SOON) else { return Ok(()) };
        let value = *item;
        if self.books.of(value) & FINISHED != 0 {
            return Err(format!("item {value} was finished, and came again"));
        }
        if !gives_back {
            self.books.note(value, FINISHING);
            item.task_done();
            self.books.note(value, FINISHED);
        }
        Ok(())
    }

    pub(super) fn change_pair(&self) -> Verdict {
        match mended(self.pair.lock_timeout(SOON), |guard| guard.mark_consistent()) {
            Some((guard, false)) => self.change(guard, Word::Locking, Word::Locked),
            _ => Ok(()),
        }
    }

    pub(super) fn change_rows(&self, writes: bool) -> Verdict {
        if writes {
            return match mended(self.rows.write_timeout(SOON), |guard| guard.mark_consistent()) {
                Some((guard, false)) => self.change(guard, Word::Writing, Word::Written),
                _ => Ok(()),
            };
        }
        match self.rows.read_timeout(SOON) {
            Ok(Some(rows)) if rows[0] != rows[1] => Err(format!("read {:?}, and no writer was reported dead", *rows)),
            _ => Ok(()),
        }
    }

    fn change(&self, mut pair: impl std::ops::DerefMut<Target = [u64; 2]>, begun: Word, done: Word) -> Verdict {
        if pair[0] != pair[1] {
            return Err(format!("{:?}, and no holder was reported dead", *pair));
        }
        self.books.count(begun);
        pair[0] += 1;
        std::hint::black_box(&mut *pair);
        pair[1] += 1;
        drop(pair);
        self.books.count(done);
        Ok(())
    }

    /// Waits in one of the other ways, or wakes those that do.
    pub(super) fn wait(&self, how: u64) -> Verdict {
        match how {
            0 => {
                if let Some((guard, _)) = mended(self.pair.lock_timeout(SOON), |guard| guard.mark_consistent()) {
                    drop(self.condition.wait_timeout(guard, SOON));
                }
                self.condition.notify_all();
            }
            1 => {
                drop(self.event.wait_timeout(SOON));
                self.event.set();
                self.event.clear();
            }
            2 => self.pass_permit()?,
            3 => {
                if self.barrier.wait_timeout(SOON).is_err() {
                    self.barrier.reset();
                }
            }
            4 => {
                if self.empty.get_timeout(SOON).is_ok() {
                    return Err("something came out of a queue that nobody puts into".into());
                }
            }
            _ => drop(self.joinable.join_timeout(SOON)),
        }
        Ok(())
    }

    fn pass_permit(&self) -> Verdict {
        self.books.count(Word::Acquiring);
        match self.permits.acquire_timeout(SOON) {
            Some(permit) => {
                permit.forget();
                self.books.count(Word::Acquired);
            }
            None => self.books.count(Word::Refused),
        }
        self.books.count(Word::Releasing);
        self.permits.release(1).map_err(|e| e.to_string())?;
        self.books.count(Word::Released);
        Ok(())
    }

    /// When all processes have ended.
    pub(super) fn balance(&self, sum: &mut Sum) -> Verdict {
        let books = &self.books;
        if books.get(Word::Wrong) > 0 {
            return Err("a daemon or a supervisor's child has found something wrong".into());
        }
        let n_values = books.n_values();
        let mut rest = vec![0u64; n_values as usize];
        let mut is_there = |value: u64| rest.get_mut(value as usize).map(|n| *n += 1).ok_or(format!("{value:#x} came"));
        loop {
            match self.queue.try_get() {
                Ok(value) => is_there(value)?,
                Err(TryGetError::Empty) => break,
                Err(e) => return Err(format!("get: {e}")),
            }
        }
        while self.joinable.unfinished() > 0 {
            let item = self.joinable.get_timeout(patience()).map_err(|e| format!("WEDGED: an unfinished item: {e}"))?;
            is_there(*item)?;
            item.task_done();
        }
        if !self.joinable.join_timeout(patience()).map_err(|e| e.to_string())? {
            return Err("WEDGED: nothing is unfinished, and join waits".into());
        }
        for value in self.joinable.dead_letters().map_err(|e| e.to_string())? {
            is_there(value)?;
        }
        let in_hand = books.get(Word::Takers) - books.get(Word::Returned);
        let mut n_missing = 0;
        for (value, n_left) in (0..).zip(rest) {
            let word = books.of(value);
            let n_out = word / TAKEN + n_left;
            sum.n_messages += u64::from(word & ACKNOWLEDGED != 0);
            let has = |bits: u64| word & bits == bits;
            let is_wrong = if has(JOINABLE) {
                let is_lost = has(ACKNOWLEDGED) && !has(FINISHING) && n_left == 0;
                is_lost || has(FINISHED) && n_left > 0 || has(GIVEN_BACK) && n_left > 0 || n_left > 1
            } else if has(ERRAND) {
                n_out > 1 || has(ACKNOWLEDGED) && n_out == 0
            } else {
                n_missing += u64::from(has(ACKNOWLEDGED) && n_out == 0);
                n_out > 1 || n_out > 0 && (!has(BEGUN) || has(GIVEN_BACK))
            };
            if is_wrong {
                return Err(format!("value {value}: {word:#b}, and {n_left} times in the rest"));
            }
        }
        sum.n_in_hand += in_hand;
        sum.n_missing += n_missing;
        if n_missing > in_hand {
            return Err(format!("{n_missing} messages are lost, and {in_hand} takers were killed"));
        }
        self.works_on()
    }

    fn works_on(&self) -> Verdict {
        let books = &self.books;
        let wedged = |what: &str| format!("WEDGED: {what}");
        let pair = mended(self.pair.lock_timeout(patience()), |guard| guard.mark_consistent());
        let pair = *pair.ok_or_else(|| wedged("the lock"))?.0;
        self.counted(pair, Word::Locking, Word::Locked)?;
        let rows = mended(self.rows.write_timeout(patience()), |guard| guard.mark_consistent());
        let rows = *rows.ok_or_else(|| wedged("the lock for readers and writers"))?.0;
        self.counted(rows, Word::Writing, Word::Written)?;
        let (acquired, in_flight) = (books.get(Word::Acquired), self.acquisitions_in_flight());
        let permits = u64::from(self.permits.permits()) + acquired;
        if !(books.get(Word::Released).saturating_sub(in_flight)..=books.get(Word::Releasing)).contains(&permits) {
            return Err(format!("{permits} permits where {} were released", books.get(Word::Released)));
        }
        self.event.set();
        if !self.event.wait_timeout(patience()).is_ok_and(|is_set| is_set) {
            return Err(wedged("an event that is set"));
        }
        self.condition.notify_all();
        for value in 0..CAPACITY {
            self.queue.try_put(value).map_err(|e| format!("room for {value} of {CAPACITY}: {e}"))?;
        }
        if !matches!(self.queue.try_put(0), Err(TryPutError::Full(0))) {
            return Err("a full queue takes more".into());
        }
        if self.queue.drain().eq(0..CAPACITY) { Ok(()) } else { Err("a full queue does not give what it took".into()) }
    }

    /// Of killed processes.
    fn acquisitions_in_flight(&self) -> u64 {
        let books = &self.books;
        books.get(Word::Acquiring) - books.get(Word::Acquired) - books.get(Word::Refused)
    }

    fn counted(&self, pair: [u64; 2], begun: Word, done: Word) -> Verdict {
        let (begun, done) = (self.books.get(begun), self.books.get(done));
        if pair[0] == pair[1] && (done..=begun).contains(&pair[0]) {
            Ok(())
        } else {
            Err(format!("{pair:?} after {done} of {begun} changes"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn balance(happens: impl FnOnce(&World)) -> Verdict {
        let world = World::new().unwrap();
        for _ in 0..3 {
            world.put(0).unwrap();
            world.put_item().unwrap();
        }
        happens(&world);
        world.balance(&mut Sum::default())
    }

    #[test]
    fn books_that_do_not_balance_are_found() {
        assert_eq!(balance(|_| ()), Ok(()));
        // Taken by a process that was killed.
        let in_hand = |world: &World| {
            world.books.count(Word::Takers);
            world.queue.get().unwrap();
        };
        assert_eq!(balance(in_hand), Ok(()));
        let lost = balance(|world| drop(world.queue.get()));
        assert!(lost.as_ref().is_err_and(|why| why.contains("1 messages are lost")), "{lost:?}");
        let twice = balance(|world| world.queue.put(world.queue.get().unwrap() + 2).unwrap());
        assert!(twice.as_ref().is_err_and(|why| why.contains("value 2:")), "{twice:?}");
        let lost_item = balance(|world| world.joinable.get().unwrap().task_done());
        assert!(lost_item.as_ref().is_err_and(|why| why.contains("value 1:")), "{lost_item:?}");
        let torn = balance(|world| world.pair.lock().unwrap()[0] = 1);
        assert!(torn.as_ref().is_err_and(|why| why.contains("[1, 0]")), "{torn:?}");
        let errand = |runs: u64| {
            balance(|world| {
                let value = world.books.new_value(BEGUN | ERRAND).unwrap();
                assert!((0..runs).all(|_| world.books.take(value)));
                world.books.note(value, ACKNOWLEDGED);
            })
        };
        assert_eq!(errand(1), Ok(()));
        assert!(errand(0).is_err() && errand(2).is_err());
        let made = balance(|world| world.permits.release(1).unwrap());
        assert!(made.as_ref().is_err_and(|why| why.contains("1 permits where 0")), "{made:?}");
    }
}
