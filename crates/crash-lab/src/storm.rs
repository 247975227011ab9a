//! SIGKILL and SIGSTOP at random times, in many processes that use the same queues and lock, on a busy machine.
//!
//! Each round has a world of its own. Workers put, get, give back, finish and lock at random; some are killed and
//! replaced, some are stopped and go on. At the end of a round the rest comes to an end by itself, and the books must
//! balance: an acknowledged message came once, or is still there, or was in the hands of a process that was killed in
//! the middle of a `get`; an item of the joinable queue is never lost.

use std::{
    io,
    process::ExitCode,
    sync::atomic::{
        AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    time::{Duration, Instant},
};

use ipc::{JoinableQueue, PutTimeoutError, Queue, TryGetError, TryPutError};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use proc_core::shm::Shared;
use serde::{Deserialize, Serialize};
use sync::process::Lock;

use crate::{
    cast::{Actor, patience},
    ledger::Ledger,
    operation::Verdict,
    world::{Instance, Template},
};

pub(crate) const HELP: &str = "\
usage: cargo xtask crash storm [--kills N] [--stops N] [--busy N] [--seed N]

Kills and stops processes at random times in their use of a queue, a joinable queue and a lock, beside N busy processes
(1,000 kills, 1,000 stops and 20 busy processes if not given), and checks that nothing is wedged or lost.
";

const CAPACITY: u64 = 16;
const N_WORKERS: usize = 6;

/// Values in one round: the words of the books.
const N_VALUES: usize = 1 << 17;

/// Bits of a value's word: the put was begun, has returned, has given the value back; it is the joinable queue's; its
/// end was begun, and has returned. Above: how often it was taken out.
const BEGUN: u64 = 1;
const ACKNOWLEDGED: u64 = 2;
const GIVEN_BACK: u64 = 4;
const JOINABLE: u64 = 8;
const FINISHING: u64 = 16;
const FINISHED: u64 = 32;
const TAKEN: u64 = 1 << 8;

/// Words beside those of the values: the next value, takers that began and came back, changes under the lock that were
/// begun and done, and whether the round is over.
const NEXT: usize = N_VALUES;
const TAKERS: usize = NEXT + 1;
const RETURNED: usize = NEXT + 2;
const LOCKING: usize = NEXT + 3;
const LOCKED: usize = NEXT + 4;
const OVER: usize = NEXT + 5;

type Books = [AtomicU64; N_VALUES + 8];

#[derive(Serialize, Deserialize)]
struct World {
    queue: Queue<u64>,
    joinable: JoinableQueue<u64>,
    pair: Lock<[u64; 2]>,
    books: Shared<Books>,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    n_kills: u64,
    n_stops: u64,
    n_busy: u64,
    seed: u64,
}

#[derive(Debug, Default)]
struct Sum {
    n_rounds: u64,
    n_kills: u64,
    n_stops: u64,
    n_messages: u64,
    n_in_hand: u64,
    n_missing: u64,
}

/// Runs the storm that `args` ask for.
pub(crate) fn run(args: impl Iterator<Item = String>) -> ExitCode {
    let plan = match Plan::parse(args) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!("{message}\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    let begun = Instant::now();
    let mut sum = Sum::default();
    let verdict = storm(plan, &mut sum);
    println!(
        "{} kills and {} stops beside {} busy processes, in {} rounds: {} messages, {} in the hands of killed takers, {} of \
         them gone, {:.0} s",
        sum.n_kills,
        sum.n_stops,
        plan.n_busy,
        sum.n_rounds,
        sum.n_messages,
        sum.n_in_hand,
        sum.n_missing,
        begun.elapsed().as_secs_f64()
    );
    match verdict {
        Ok(()) => {
            println!("nothing wedged, nothing lost beyond that, nothing twice");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("FAILED in round {} (seed {}): {why}", sum.n_rounds, plan.seed);
            ExitCode::FAILURE
        }
    }
}

impl Plan {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { n_kills: 1000, n_stops: 1000, n_busy: 20, seed: 1 };
        while let Some(arg) = args.next() {
            let number = match arg.as_str() {
                "--kills" => &mut plan.n_kills,
                "--stops" => &mut plan.n_stops,
                "--busy" => &mut plan.n_busy,
                "--seed" => &mut plan.seed,
                other => return Err(format!("there is no option {other}")),
            };
            *number = args.next().and_then(|n| n.parse().ok()).ok_or("how many?")?;
        }
        Ok(plan)
    }
}

fn storm(plan: Plan, sum: &mut Sum) -> Verdict {
    let mut random = Random::new(plan.seed);
    let text = |e: io::Error| e.to_string();
    // They end with this process, or when they are dropped.
    let _busy = (0..plan.n_busy)
        .map(|_| {
            Actor::start(|| {
                loop {
                    std::hint::spin_loop();
                }
            })
        })
        .collect::<io::Result<Vec<_>>>()
        .map_err(text)?;
    while sum.n_kills < plan.n_kills || sum.n_stops < plan.n_stops {
        round(plan, sum, &mut random)?;
        sum.n_rounds += 1;
    }
    Ok(())
}

fn round(plan: Plan, sum: &mut Sum, random: &mut Random) -> Verdict {
    let text = |e: io::Error| e.to_string();
    let template = Template::new(World::new().map_err(text)?, Ledger::new().map_err(text)?).map_err(text)?;
    let stage = template.original().map_err(text)?;
    let (world, _) = stage.enter::<World>().map_err(text)?;
    let mut start = || worker(&stage, random.next());
    let mut workers = (0..N_WORKERS).map(|_| start()).collect::<io::Result<Vec<_>>>().map_err(text)?;
    // A round ends with its values, or with its share of the storm.
    for _ in 0..200 {
        if world.books[NEXT].load(SeqCst) as usize >= N_VALUES {
            break;
        }
        std::thread::sleep(Duration::from_micros(random.below(2000)));
        let victim = random.below(N_WORKERS as u64) as usize;
        let is_kill = sum.n_kills < plan.n_kills && (sum.n_stops >= plan.n_stops || random.below(2) == 0);
        if is_kill {
            let next = worker(&stage, random.next()).map_err(text)?;
            std::mem::replace(&mut workers[victim], next).end()?;
            sum.n_kills += 1;
        } else if sum.n_stops < plan.n_stops {
            let pid = Pid::from_raw(workers[victim].pid());
            kill(pid, Signal::SIGSTOP).map_err(|e| e.to_string())?;
            std::thread::sleep(Duration::from_micros(random.below(3000)));
            kill(pid, Signal::SIGCONT).map_err(|e| e.to_string())?;
            sum.n_stops += 1;
        } else {
            break;
        }
    }
    world.books[OVER].store(1, SeqCst);
    for worker in workers {
        worker.verdict(2 * patience())?;
    }
    world.balance(sum)
}

fn worker(stage: &Instance, seed: u64) -> io::Result<Actor> {
    Actor::start(|| {
        let (world, _) = stage.enter::<World>().map_err(|e| e.to_string())?;
        let mut random = Random::new(seed);
        while world.books[OVER].load(Relaxed) == 0 {
            world.do_something(&mut random)?;
        }
        Ok(())
    })
}

const SOON: Duration = Duration::from_micros(300);

impl World {
    fn new() -> io::Result<Self> {
        Ok(Self {
            queue: Queue::new(CAPACITY as usize)?,
            joinable: JoinableQueue::builder().maxsize(CAPACITY as usize).max_deliveries(255).build_joinable()?,
            pair: Lock::new([0; 2])?,
            books: Shared::new([const { AtomicU64::new(0) }; N_VALUES + 8])?,
        })
    }

    fn do_something(&self, random: &mut Random) -> Verdict {
        match random.below(10) {
            0..3 => self.put(),
            3..6 => self.get(random.below(2) == 0),
            6 => self.put_item(),
            7 | 8 => self.deal_with_item(random.below(4) == 0),
            _ => self.change_pair(),
        }
    }

    fn new_value(&self) -> Option<u64> {
        let value = self.books[NEXT].fetch_add(1, SeqCst);
        ((value as usize) < N_VALUES).then_some(value)
    }

    fn note(&self, value: u64, what: u64) -> u64 {
        self.books[value as usize].fetch_or(what, SeqCst)
    }

    fn put(&self) -> Verdict {
        let Some(value) = self.new_value() else { return Ok(()) };
        self.note(value, BEGUN);
        match self.queue.put_timeout(value, SOON) {
            Ok(()) => self.note(value, ACKNOWLEDGED),
            Err(PutTimeoutError::TimedOut(_)) => self.note(value, GIVEN_BACK),
            Err(e) => return Err(format!("put: {e}")),
        };
        Ok(())
    }

    fn get(&self, waits: bool) -> Verdict {
        self.books[TAKERS].fetch_add(1, SeqCst);
        let got = if waits { self.queue.get_timeout(SOON).ok() } else { self.queue.try_get().ok() };
        if let Some(value) = got {
            let word = self.books.get(value as usize).ok_or_else(|| format!("{value:#x} came out of the queue"))?;
            word.fetch_add(TAKEN, SeqCst);
        }
        self.books[RETURNED].fetch_add(1, SeqCst);
        Ok(())
    }

    fn put_item(&self) -> Verdict {
        let Some(value) = self.new_value() else { return Ok(()) };
        self.note(value, BEGUN | JOINABLE);
        match self.joinable.put_timeout(value, SOON) {
            Ok(()) => self.note(value, ACKNOWLEDGED),
            Err(PutTimeoutError::TimedOut(_)) => self.note(value, GIVEN_BACK),
            Err(e) => return Err(format!("put of an item: {e}")),
        };
        Ok(())
    }

    fn deal_with_item(&self, gives_back: bool) -> Verdict {
        let Ok(item) = self.joinable.get_timeout(SOON) else { return Ok(()) };
        let value = *item;
        if self.books[value as usize].load(SeqCst) & FINISHED != 0 {
            return Err(format!("item {value} was finished, and came again"));
        }
        if !gives_back {
            self.note(value, FINISHING);
            item.task_done();
            self.note(value, FINISHED);
        }
        Ok(())
    }

    fn change_pair(&self) -> Verdict {
        let mut pair = match self.pair.lock_timeout(SOON) {
            Ok(Some(guard)) => guard,
            Ok(None) => return Ok(()),
            Err(died) => {
                let mut guard = died.into_inner();
                guard[1] = guard[0];
                guard.mark_consistent();
                return Ok(());
            }
        };
        if pair[0] != pair[1] {
            return Err(format!("{:?}, and no holder was reported dead", *pair));
        }
        self.books[LOCKING].fetch_add(1, SeqCst);
        pair[0] += 1;
        std::hint::black_box(&mut pair);
        pair[1] += 1;
        drop(pair);
        self.books[LOCKED].fetch_add(1, SeqCst);
        Ok(())
    }

    /// When all workers have ended.
    fn balance(&self, sum: &mut Sum) -> Verdict {
        let mut rest = vec![0u64; N_VALUES];
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
        let in_hand = self.books[TAKERS].load(SeqCst) - self.books[RETURNED].load(SeqCst);
        let mut n_missing = 0;
        for (value, n_left) in rest.into_iter().enumerate() {
            let word = self.books[value].load(SeqCst);
            let n_out = word / TAKEN + n_left;
            sum.n_messages += u64::from(word & ACKNOWLEDGED != 0);
            let has = |bits: u64| word & bits == bits;
            let is_wrong = if has(JOINABLE) {
                let is_lost = has(ACKNOWLEDGED) && !has(FINISHING) && n_left == 0;
                is_lost || has(FINISHED) && n_left > 0 || has(GIVEN_BACK) && n_left > 0 || n_left > 1
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
        let pair = *self.pair.lock().unwrap_or_else(|died| {
            let mut guard = died.into_inner();
            guard[1] = guard[0];
            guard.mark_consistent();
            guard
        });
        let (begun, done) = (self.books[LOCKING].load(SeqCst), self.books[LOCKED].load(SeqCst));
        if pair[0] != pair[1] || !(done..=begun).contains(&pair[0]) {
            return Err(format!("{pair:?} after {done} of {begun} changes"));
        }
        for value in 0..CAPACITY {
            self.queue.try_put(value).map_err(|e| format!("room for {value} of {CAPACITY}: {e}"))?;
        }
        if !matches!(self.queue.try_put(0), Err(TryPutError::Full(0))) {
            return Err("a full queue takes more".into());
        }
        if self.queue.drain().eq(0..CAPACITY) { Ok(()) } else { Err("a full queue does not give what it took".into()) }
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn balance(happens: impl FnOnce(&World) + Send) -> Verdict {
        let life = || {
            let world = World::new().unwrap();
            for _ in 0..3 {
                world.put().unwrap();
                world.put_item().unwrap();
            }
            happens(&world);
            world.balance(&mut Sum::default())
        };
        // The books are made on the stack: more than a test's thread has.
        let thread = std::thread::Builder::new().stack_size(1 << 24);
        std::thread::scope(|scope| thread.spawn_scoped(scope, life).unwrap().join().unwrap())
    }

    #[test]
    fn books_that_do_not_balance_are_found() {
        assert_eq!(balance(|_| ()), Ok(()));
        // Taken by a process that was killed.
        let in_hand = |world: &World| {
            world.books[TAKERS].fetch_add(1, SeqCst);
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
    }
}
