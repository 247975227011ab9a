//! The operations, each with a judgement of its own.

use std::{
    error::Error,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::Duration,
};

use ipc::{JoinableQueue, Queue};
use pool::{ProcessPool, TaskError};
use proc_core::{ForkServer, Process, ProcessHandle, StartMethod, preloaded, shm::Shared};
use sync::process::Lock;

type Outcome = Result<(), Box<dyn Error>>;
/// With what there is to say.
pub(crate) type Figures = Result<String, Box<dyn Error>>;

pub(crate) type Operation = fn() -> Figures;

pub(crate) const OPERATIONS: &[(&str, Operation)] = &[
    // First: it needs a process with one thread.
    ("start by Fork", || start(StartMethod::Fork)),
    ("start by ForkServer", || start(StartMethod::ForkServer)),
    ("start by Spawn", || start(StartMethod::Spawn)),
    ("lock", lock),
    ("queue, kills", queue),
    ("joinable, kills", joinable),
    ("pool tasks, kills", pool_tasks),
    ("memory limit", memory_limit),
    ("preload", preload),
];

const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn check(is_right: bool, otherwise: impl Into<String>) -> Outcome {
    if is_right { Ok(()) } else { Err(otherwise.into().into()) }
}

fn start(method: StartMethod) -> Figures {
    for n in 0..5 {
        let process = Process::builder().start_method(method).spawn(|n: u32| n + 1, (n,))?;
        check(process.join()? == n + 1, "another value")?;
    }
    Ok(String::new())
}

fn hold(lock: Lock<u32>, holds: Shared<AtomicU32>) {
    let _guard = lock.lock().unwrap();
    holds.store(1, SeqCst);
    loop {
        std::thread::park();
    }
}

fn count(lock: Lock<u32>) {
    for _ in 0..200 {
        *lock.lock().unwrap() += 1;
    }
}

/// Two processes count, and a holder is killed.
fn lock() -> Figures {
    let lock = Lock::new(0_u32)?;
    let two = [Process::spawn(count, (lock.clone(),))?, Process::spawn(count, (lock.clone(),))?];
    for process in two {
        process.join()?;
    }
    check(*lock.lock().map_err(|e| e.to_string())? == 400, "a lost count")?;
    let holds = Shared::new(AtomicU32::new(0))?;
    let holder = Process::builder().daemon(true).spawn(hold, (lock.clone(), holds.clone()))?;
    while holds.load(SeqCst) == 0 {
        check(holder.is_alive(), "the holder has ended")?;
        std::thread::yield_now();
    }
    check(matches!(lock.lock_timeout(Duration::from_millis(50)), Ok(None)), "locked beside its holder")?;
    holder.kill()?;
    holder.wait().or_else(lost_status)?;
    let is_told = lock.lock_timeout(LIMIT).is_err();
    check(is_told, "its holder's death was not told")?;
    Ok(String::new())
}

/// Where SIGCHLD is ignored, there is no status.
fn lost_status(e: proc_core::ProcessError) -> Result<std::process::ExitStatus, proc_core::ProcessError> {
    if matches!(e, proc_core::ProcessError::StatusLost { .. }) { Ok(Default::default()) } else { Err(e) }
}

/// The most that a storm can have.
const MOST_KILLS: u32 = 5_000;

/// How many kills each storm has: as many as `HOSTS_KILLS` says, else 30.
pub(crate) fn n_kills() -> u32 {
    std::env::var("HOSTS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(30).min(MOST_KILLS)
}

const N_PRODUCERS: u32 = 3;
/// By each producer, for each kill: a kill comes at every sixteenth item, in the mean.
const EACH: u32 = 12;
type Marks = Shared<[AtomicU32; (MOST_KILLS * EACH * N_PRODUCERS) as usize]>;

fn marks() -> std::io::Result<Marks> {
    Shared::new([const { AtomicU32::new(0) }; (MOST_KILLS * EACH * N_PRODUCERS) as usize])
}

/// Goes on where one that was killed has stopped: `put` says what is in the queue for sure.
fn produce(queue: Queue<u32>, put: Marks, tried: Marks, numbers: (u32, u32)) {
    for n in numbers.0..numbers.1 {
        if tried[n as usize].swap(1, SeqCst) == 0 && queue.put(n).is_ok() {
            put[n as usize].store(1, SeqCst);
        }
    }
}

/// Producers are killed again and again: what was put for sure comes once, everything else at most once.
fn queue() -> Figures {
    let queue: Queue<u32> = Queue::new(16)?;
    let (put, tried) = (marks()?, marks()?);
    let (n_kills, each) = (n_kills(), n_kills() * EACH);
    let start = |producer| {
        let process = Process::builder().daemon(true);
        let numbers = (producer * each, (producer + 1) * each);
        process.spawn(produce, (queue.clone(), put.clone(), tried.clone(), numbers)).map(|p| ProcessHandle::clone(&p))
    };
    let mut producers = (0..N_PRODUCERS).map(start).collect::<Result<Vec<_>, _>>()?;
    let mut got = vec![0_u32; (each * N_PRODUCERS) as usize];
    let (mut n_killed, mut random) = (0, 9_u32);
    loop {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let victim = (random >> 16) as usize % producers.len();
        if n_killed < n_kills && random >> 28 == 0 {
            producers[victim].kill()?;
            producers[victim].wait().or_else(lost_status)?;
            producers[victim] = start(victim as u32)?;
            n_killed += 1;
        }
        match queue.get_timeout(Duration::from_millis(20)) {
            Ok(n) => got[n as usize] += 1,
            Err(_) if producers.iter().all(|producer| !producer.is_alive()) && queue.is_empty() => break,
            Err(_) => {}
        }
    }
    let lost = (0..got.len()).filter(|n| put[*n].load(SeqCst) == 1 && got[*n] == 0).count();
    let twice = got.iter().filter(|n| **n > 1).count();
    let figures = format!(": {n_killed} kills, {lost} lost, {twice} twice");
    check((n_killed, lost, twice) == (n_kills, 0, 0), &*figures)?;
    Ok(figures)
}

const ITEMS_A_KILL: u32 = 20;
const N_CONSUMERS: u32 = 3;

struct Leases {
    holder: [AtomicU32; (ITEMS_A_KILL * MOST_KILLS) as usize],
    done: [AtomicU32; (ITEMS_A_KILL * MOST_KILLS) as usize],
    /// Those that have been killed, by their numbers.
    killed: [AtomicU32; (MOST_KILLS + N_CONSUMERS + 1) as usize],
    stolen: AtomicU32,
}

// SAFETY: atomics only, all zeros at first.
unsafe impl proc_core::shm::ShmSafe for Leases {}

fn consume(queue: JoinableQueue<u32>, leases: Shared<Leases>, number: u32) {
    while let Ok(item) = queue.get() {
        let n = *item as usize;
        let before = leases.holder[n].swap(number, SeqCst);
        if before != 0 && leases.killed[before as usize].load(SeqCst) == 0 {
            leases.stolen.fetch_add(1, SeqCst);
        }
        leases.done[n].store(1, SeqCst);
        leases.holder[n].store(0, SeqCst);
        item.task_done();
    }
}

/// Consumers are killed again and again: each item is done, and none is given to another one while its consumer lives.
fn joinable() -> Figures {
    let n_kills = n_kills();
    let queue = JoinableQueue::builder().maxsize(1000).max_deliveries(250).build_joinable()?;
    let leases = Shared::new(Leases {
        holder: [const { AtomicU32::new(0) }; (ITEMS_A_KILL * MOST_KILLS) as usize],
        done: [const { AtomicU32::new(0) }; (ITEMS_A_KILL * MOST_KILLS) as usize],
        killed: [const { AtomicU32::new(0) }; (MOST_KILLS + N_CONSUMERS + 1) as usize],
        stolen: AtomicU32::new(0),
    })?;
    let mut next = 0;
    let mut start = || {
        next += 1;
        let process = Process::builder().daemon(true).spawn(consume, (queue.clone(), leases.clone(), next))?;
        Ok::<_, proc_core::ProcessError>((next, ProcessHandle::clone(&process)))
    };
    let mut consumers = [start()?, start()?, start()?];
    for kill in 0..n_kills {
        for n in kill * ITEMS_A_KILL..(kill + 1) * ITEMS_A_KILL {
            queue.put(n)?;
        }
        let victim = (kill % N_CONSUMERS) as usize;
        let (number, consumer) = &consumers[victim];
        leases.killed[*number as usize].store(1, SeqCst);
        consumer.kill()?;
        consumer.wait().or_else(lost_status)?;
        consumers[victim] = start()?;
    }
    let is_done = queue.join_timeout(LIMIT)?;
    queue.close();
    for (_, consumer) in &consumers {
        consumer.wait().or_else(lost_status)?;
    }
    let items = &leases.done[..(n_kills * ITEMS_A_KILL) as usize];
    let lost = items.iter().filter(|done| done.load(SeqCst) == 0).count();
    let stolen = leases.stolen.load(SeqCst);
    let figures = format!(": {n_kills} kills, {lost} lost, {stolen} twice");
    check(is_done && (lost, stolen) == (0, 0), &*figures)?;
    Ok(figures)
}

fn work(n: u32) -> u32 {
    n * 2
}

/// Tasks, while workers are killed.
fn pool_tasks() -> Figures {
    let pool = ProcessPool::builder().workers(2).retries(100).build()?;
    let mut n_killed = 0;
    while n_killed < n_kills() {
        let tasks: Vec<_> = (0..40).map(|n| pool.apply_async(work, (n,))).collect();
        for worker in pool.stats().workers {
            let Some(pid) = worker.pid else { continue };
            let killed =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::SIGKILL);
            n_killed += u32::from(killed.is_ok());
        }
        for (n, task) in (0..).zip(tasks) {
            check(task.get()? == work(n), "another result")?;
        }
    }
    pool.close();
    pool.join()?;
    Ok(format!(": {n_killed} kills"))
}

/// A task may take so much, and tries to take four times as much.
const MAY_TAKE: usize = 16 << 20;

/// The task that takes too much ends so, and no other.
fn memory_limit() -> Figures {
    let pool = ProcessPool::builder().workers(1).memory_limit(MAY_TAKE as u64).build()?;
    let take = |n: usize| std::hint::black_box(vec![1_u8; n]).len();
    check(pool.apply(take, (MAY_TAKE / 4,))? == MAY_TAKE / 4, "another value")?;
    let too_much = pool.apply(take, (MAY_TAKE * 4,));
    check(too_much == Err(TaskError::MemoryLimit), format!("took four times its limit: {too_much:?}"))?;
    check(pool.apply(take, (MAY_TAKE / 4,))? == MAY_TAKE / 4, "another value after it")?;
    Ok(String::new())
}

/// Children find what their fork server has loaded.
fn preload() -> Figures {
    let server = ForkServer::builder().preload(|n: u64| (0..n).collect::<Vec<u64>>(), (1000,)).build()?;
    for n in 0..3 {
        let at = |n: usize| preloaded::<Vec<u64>>().and_then(|loaded| loaded.get(n).copied());
        let process = Process::builder().fork_server(&server).spawn(at, (n,))?;
        check(process.join()? == Some(n as u64), "another value")?;
    }
    Ok(String::new())
}
