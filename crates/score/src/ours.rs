//! The subject on this side.

use std::{
    fs, hint,
    sync::{OnceLock, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use ipc::{JoinableQueue, Queue};
use pool::{ProcessPool, Task, TaskError};
use proc_core::{Process, ProcessError, Resource};
use sync::process::{Condvar, Event, Lock, RwLock, Semaphore};

use crate::{
    clock::time,
    subject::Scenario,
    words::{COUNTS, INSIDE, PIDS, RESULT, Words},
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Runs until it is killed. What it cannot do ends it, which the driver sees.
pub(crate) fn subject(words: Words, scenario: Scenario) {
    let outcome = match scenario {
        Scenario::Lock => lock(&words),
        Scenario::Producers => queue(&words, true),
        Scenario::Consumers => queue(&words, false),
        Scenario::Join => join(&words),
        Scenario::Pool => pool(&words),
        Scenario::IdlePool => idle_pool(&words),
        Scenario::Owner => owner(&words),
        Scenario::Stopped => stopped(&words),
        Scenario::Queues => queues(&words),
    };
    outcome.expect("the subject can do what it is for");
}

/// Keeps workers at work; each order is the number of one to be replaced.
fn crew(words: &Words, n: usize, start: impl Fn(usize) -> Result<Process<()>, ProcessError>) -> Outcome {
    let mut workers = Vec::new();
    for number in 0..n {
        workers.push(start(number)?);
        words.set(PIDS + number, workers[number].pid().into());
    }
    loop {
        words.done();
        let number = words.next_order() as usize;
        workers[number] = start(number)?;
        words.set(PIDS + number, workers[number].pid().into());
    }
}

fn worker() -> proc_core::Builder {
    Process::builder().daemon(true)
}

fn lock(words: &Words) -> Outcome {
    let lock = Lock::new(0)?;
    crew(words, 2, |number| worker().spawn(lock_for_ever, (words.clone(), lock.clone(), number)))
}

fn lock_for_ever(words: Words, lock: Lock<u64>, number: usize) {
    loop {
        let mut guard = lock.lock().unwrap_or_else(|died| {
            let guard = died.into_inner();
            guard.mark_consistent();
            guard
        });
        words.set(INSIDE, number as u64 + 1);
        *guard += 1;
        words.at(COUNTS + number).fetch_add(1, SeqCst);
        words.set(INSIDE, 0);
    }
}

const MESSAGE: usize = 100;

fn queue(words: &Words, two_put: bool) -> Outcome {
    let queue = Queue::new(64)?;
    crew(words, 3, |number| {
        let args = (words.clone(), queue.clone(), number);
        if (number < 2) == two_put { worker().spawn(put_for_ever, args) } else { worker().spawn(get_for_ever, args) }
    })
}

fn put_for_ever(words: Words, queue: Queue<Vec<u8>>, number: usize) {
    while queue.put(vec![1; MESSAGE]).is_ok() {
        words.at(COUNTS + number).fetch_add(1, SeqCst);
    }
}

fn get_for_ever(words: Words, queue: Queue<Vec<u8>>, number: usize) {
    while queue.get().is_ok_and(|message| message.len() == MESSAGE) {
        words.at(COUNTS + number).fetch_add(1, SeqCst);
    }
}

/// An order comes when the victim is dead, and is done when `join` has returned; `RESULT` has the microseconds that it took,
/// less those in which this thread could have run and others did.
fn join(words: &Words) -> Outcome {
    let queue = JoinableQueue::builder().maxsize(8).max_deliveries(255).build_joinable()?;
    let _other = worker().spawn(finish_for_ever, (words.clone(), queue.clone()))?;
    loop {
        words.set(INSIDE, 0);
        while words.get(COUNTS) == 0 {
            std::thread::yield_now();
        }
        let victim = worker().spawn(take_and_keep, (words.clone(), queue.clone()))?;
        words.set(PIDS, victim.pid().into());
        words.done();
        words.next_order();
        let (joined, took) = time(|| queue.join());
        joined?;
        words.set(RESULT, took.as_micros() as u64);
    }
}

/// Takes only while the victim has its item, and says when it does not.
fn finish_for_ever(words: Words, queue: JoinableQueue<u64>) {
    loop {
        let may_take = words.get(INSIDE) == 1;
        words.set(COUNTS, u64::from(!may_take));
        if !may_take {
            std::thread::sleep(Duration::from_micros(100));
        } else if let Ok(item) = queue.get_timeout(Duration::from_millis(1)) {
            item.task_done();
        }
    }
}

fn take_and_keep(words: Words, queue: JoinableQueue<u64>) {
    if queue.put(7).is_ok()
        && let Ok(_item) = queue.get()
    {
        words.set(INSIDE, 1);
        loop {
            std::thread::park();
        }
    }
}

static WORDS: OnceLock<Words> = OnceLock::new();

/// Some 300 microseconds of work.
fn task(n: u64) -> u64 {
    if let Some(words) = WORDS.get() {
        words.set(INSIDE, std::process::id().into());
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(300) {
        hint::spin_loop();
    }
    n
}

fn pool_of(words: &Words, n: usize) -> Result<ProcessPool, pool::PoolError> {
    ProcessPool::builder().workers(n).initializer(|words: Words| drop(WORDS.set(words)), (words.clone(),)).build()
}

/// How long a batch may take before what has no result is said to never have one.
const NEVER: Duration = Duration::from_secs(3);

/// How many tasks came to a right result, failed, and came to no end.
fn results(tasks: &[Task<u64>]) -> [u64; 3] {
    let end = Instant::now() + NEVER;
    let mut counts = [0; 3];
    for (n, task) in (0..).zip(tasks) {
        let result = task.get_timeout(end.saturating_duration_since(Instant::now()));
        counts[match result {
            Ok(value) if value == n => 0,
            Err(TaskError::TimedOut) if !task.ready() => 2,
            _ => 1,
        }] += 1;
    }
    counts
}

fn pool(words: &Words) -> Outcome {
    let pool = pool_of(words, 2)?;
    pool.apply(task, (0,))?;
    loop {
        words.done();
        words.next_order();
        let tasks: Vec<_> = (0..40).map(|n| pool.apply_async(task, (n,))).collect();
        for (place, count) in results(&tasks).into_iter().enumerate() {
            words.set(RESULT + place, count);
        }
    }
}

/// Order 0: pids of all workers, once there are two and the death before this order is made good. Order 1: whether the pool is usable.
fn idle_pool(words: &Words) -> Outcome {
    let pool = pool_of(words, 2)?;
    pool.map(task, 0..40)?;
    let mut n_deaths = 0;
    loop {
        words.done();
        if words.next_order() == 0 {
            loop {
                let stats = pool.stats();
                let pids: Vec<u32> = stats.workers.iter().filter_map(|worker| worker.pid).collect();
                if stats.restarts >= n_deaths && pids.len() == 2 {
                    n_deaths = stats.restarts + 1;
                    (0..).zip(pids).for_each(|(number, pid)| words.set(PIDS + number, pid.into()));
                    break;
                }
                std::thread::sleep(Duration::from_micros(100));
            }
        } else {
            let tasks: Vec<_> = (0..4).map(|n| pool.apply_async(task, (n,))).collect();
            words.set(RESULT, u64::from(results(&tasks)[0] == 4));
        }
    }
}

fn owner(words: &Words) -> Outcome {
    let pool = pool_of(words, 4)?;
    let queue = Queue::<Vec<u8>>::new(64)?;
    let _putter = worker().spawn(put_for_ever, (words.clone(), queue.clone(), 0))?;
    let _taker = Process::builder().spawn(get_for_ever, (words.clone(), queue, 1))?;
    let manager = ipc::Manager::new()?;
    manager.counter(0)?.increment()?;
    words.done();
    loop {
        pool.map(task, 0..100)?;
    }
}

/// What three workers use, and this process in between.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Things {
    lock: Lock<u64>,
    shared: RwLock<u64>,
    semaphore: Semaphore,
    condition: Condvar,
    event: Event,
    queue: Queue<u64>,
    full: Queue<u64>,
    joinable: JoinableQueue<u64>,
}

const SOON: Duration = Duration::from_millis(2);

fn mended<G>(result: Result<Option<G>, sync::OwnerDied<G>>) -> Option<G> {
    result.unwrap_or_else(|died| Some(died.into_inner()))
}

fn use_for_ever(words: Words, things: Things, number: usize) {
    let mut turn = 0_u64;
    loop {
        turn += 1;
        match turn % 8 {
            0 => drop(mended(things.lock.lock_timeout(SOON)).map(|mut n| *n += 1)),
            1 => drop(mended(things.shared.write_timeout(SOON)).map(|mut n| *n += 1)),
            2 => drop(mended(things.shared.read_timeout(SOON)).map(|n| *n)),
            3 => drop(things.semaphore.acquire_timeout(SOON)),
            4 => drop(things.queue.put_timeout(turn, SOON)),
            5 => drop(things.queue.get_timeout(SOON)),
            6 => drop(things.joinable.put_timeout(turn, SOON)),
            _ => drop(things.joinable.get_timeout(SOON).map(ipc::joinable::Item::task_done)),
        }
        words.at(COUNTS + number).fetch_add(1, SeqCst);
    }
}

/// Each order is a round of timed calls; then `RESULT` has how many they were, and how many were late: by more than 50
/// milliseconds, less the time that this thread could have run and others did.
fn stopped(words: &Words) -> Outcome {
    let things = Things {
        lock: Lock::new(0)?,
        shared: RwLock::new(0)?,
        semaphore: Semaphore::new(1)?,
        condition: Condvar::new()?,
        event: Event::new()?,
        queue: Queue::new(4)?,
        full: Queue::new(1)?,
        joinable: JoinableQueue::builder().maxsize(4).max_deliveries(255).build_joinable()?,
    };
    things.full.put(0)?;
    let mut workers = Vec::new();
    for number in 0..3 {
        workers.push(worker().spawn(use_for_ever, (words.clone(), things.clone(), number))?);
        words.set(PIDS + number, workers[number].pid().into());
    }
    let calls: [&dyn Fn(); 12] = [
        &|| drop(mended(things.lock.lock_timeout(SOON))),
        &|| drop(mended(things.shared.write_timeout(SOON))),
        &|| drop(mended(things.shared.read_timeout(SOON))),
        &|| drop(things.semaphore.acquire_timeout(SOON)),
        &|| drop(things.event.wait_timeout(SOON)),
        &|| drop(things.queue.put_timeout(0, SOON)),
        &|| drop(things.queue.get_timeout(SOON)),
        &|| drop(things.full.put_timeout(0, SOON)),
        &|| drop(things.joinable.put_timeout(0, SOON)),
        &|| drop(things.joinable.get_timeout(SOON).map(ipc::joinable::Item::task_done)),
        &|| drop(things.joinable.join_timeout(SOON)),
        &|| {
            if let Some(guard) = mended(things.lock.lock_timeout(SOON)) {
                drop(things.condition.wait_timeout(guard, SOON));
            }
        },
    ];
    loop {
        words.done();
        words.next_order();
        let mut n_late = 0;
        for (number, call) in (1..).zip(calls) {
            words.set(RESULT + 2, number);
            let ((), took) = time(call);
            n_late += u64::from(took > 2 * SOON + Duration::from_millis(50));
        }
        words.set(RESULT, calls.len() as u64);
        words.set(RESULT + 1, n_late);
    }
}

fn queues(words: &Words) -> Outcome {
    let n_open = || fs::read_dir("/proc/self/fd").map(Iterator::count);
    let n_before = n_open()?;
    let queues = (0..100).map(|_| Queue::<u64>::new(16)).collect::<Result<Vec<_>, _>>()?;
    words.set(RESULT, (n_open()? - n_before) as u64);
    drop(queues);
    let as_many_as_can_be = || (0..).map_while(|_| Queue::<u64>::new(16).ok()).collect::<Vec<_>>().len() as u64;
    let limited = Process::builder().limit(Resource::OpenFiles, 1024).spawn(as_many_as_can_be, ())?;
    words.set(RESULT + 1, limited.join()?);
    words.done();
    loop {
        words.next_order();
        words.done();
    }
}
