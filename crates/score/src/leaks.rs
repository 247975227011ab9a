//! What is left of things that were made and dropped, or killed, again and again: nothing.

use std::{fs, os::unix::process::ExitStatusExt, time::Duration};

use ipc::{Array, Client, JoinableQueue, Listener, Manager, Queue, Value};
use pool::{ProcessPool, ThreadPool};
use proc_core::{
    Process, StartMethod,
    shm::{Shared, SharedMemory},
    supervisor::{ChildSpec, Supervisor},
};
use serde::{Deserialize, Serialize};
use sync::process::{Barrier, Condvar, Event, Lock, RLock, RwLock, Semaphore};

use crate::row::{Effort, Found, Plan};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Something that can be made and dropped.
struct Kind {
    name: &'static str,
    /// How many times as long it takes as what is quick: it is done so many times less often.
    cost: u64,
    cycle: fn() -> Outcome,
}

const KINDS: &[Kind] = &[
    Kind { name: "locks and the like", cost: 1, cycle: locks },
    Kind { name: "memory", cost: 1, cycle: memory },
    Kind { name: "queues", cost: 1, cycle: queues },
    Kind { name: "pipes", cost: 1, cycle: pipes },
    Kind { name: "listeners", cost: 2, cycle: listeners },
    Kind { name: "threads", cost: 1, cycle: threads },
    Kind { name: "processes", cost: 4, cycle: || process(StartMethod::ForkServer) },
    Kind { name: "processes by spawn", cost: 50, cycle: || process(StartMethod::Spawn) },
    Kind { name: "killed processes that held all", cost: 10, cycle: killed },
    Kind { name: "commands", cost: 20, cycle: command },
    Kind { name: "managers", cost: 20, cycle: manager },
    Kind { name: "supervisors", cost: 20, cycle: supervisor },
    Kind { name: "pools", cost: 50, cycle: pools },
];

/// The C library gives back the stack of each thread that has ended, and makes no heap for each that allocates. Else there are
/// as many of them in the end as threads have ever run at once, and that is a matter of chance.
const KEEP_NOTHING: &str = "glibc.pthread.stack_cache_size=0:glibc.malloc.arena_max=1";

/// What a process has that can leak.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct Belongings {
    descriptors: u64,
    maps: u64,
    children: u64,
    resident_kib: u64,
}

impl Belongings {
    fn now() -> std::io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find(|line| line.starts_with("VmRSS"));
        let kib = resident.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        Ok(Self {
            descriptors: fs::read_dir("/proc/self/fd")?.count() as u64,
            maps: fs::read_to_string("/proc/self/maps")?.lines().count() as u64,
            children: test_support::processes::all_children(std::process::id().cast_signed()).len() as u64,
            resident_kib: kib.unwrap_or(0),
        })
    }

    fn more_than(self, before: Self) -> Self {
        Self {
            descriptors: self.descriptors.saturating_sub(before.descriptors),
            maps: self.maps.saturating_sub(before.maps),
            children: self.children.saturating_sub(before.children),
            resident_kib: self.resident_kib.saturating_sub(before.resident_kib),
        }
    }

    fn leaks(self) -> bool {
        self.descriptors + self.maps + self.children > 0 || self.resident_kib >= 1024
    }
}

pub(crate) fn measure(plan: Plan) -> Result<Found, String> {
    let cycles = plan.amount(500, 100_000);
    let (mut n_cycles, mut leaks, mut most_kib) = (0, Vec::new(), 0);
    for (number, kind) in KINDS.iter().enumerate() {
        let n = (cycles / kind.cost).max(10);
        // A process of its own, so that what one kind keeps for good is no other's.
        let alone = Process::builder().start_method(StartMethod::Spawn).env("GLIBC_TUNABLES", KEEP_NOTHING);
        let more = alone.spawn(grown, (number, n)).and_then(Process::join);
        let more = more.map_err(|e| format!("{}: {e}", kind.name))?.map_err(|e| format!("{}: {e}", kind.name))?;
        eprintln!("    {n} {}: {more:?}", kind.name);
        n_cycles += n;
        most_kib = most_kib.max(more.resident_kib);
        if more.leaks() {
            leaks.push(format!("{}: {more:?}", kind.name));
        }
    }
    let is_met = leaks.is_empty();
    let ours = if is_met {
        format!("0, 0, 0, {most_kib} KiB at most; {} kinds, {n_cycles} cycles", KINDS.len())
    } else {
        leaks.join("\n")
    };
    Ok(Found::new(ours, is_met, plan.effort == Effort::Full))
}

/// What `n` cycles leave, after some that fill what is kept for good.
fn grown(kind: usize, n: u64) -> Result<Belongings, String> {
    let kind = &KINDS[kind];
    let run = |n: u64| (0..n).try_for_each(|_| (kind.cycle)().map_err(|e| e.to_string()));
    let now = || Belongings::now().map_err(|e| e.to_string());
    run(n / 10 + 10)?;
    let before = now()?;
    run(n)?;
    // What is given back by another thread is given back soon; one that helped those who block leaves after two idle seconds.
    let mut more = now()?.more_than(before);
    for _ in 0..1000 {
        if !more.leaks() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        more = now()?.more_than(before);
    }
    Ok(more)
}

fn locks() -> Outcome {
    *Lock::new(0)?.lock()? += 1;
    drop(RLock::new(0)?.lock()?);
    drop(RwLock::new(0)?.write()?);
    drop(Semaphore::new(1)?.acquire());
    Event::new()?.set();
    Barrier::new(1)?.wait()?;
    Condvar::new()?.notify_all();
    Ok(())
}

fn memory() -> Outcome {
    drop(SharedMemory::new(100_000)?);
    drop(Shared::new(std::sync::atomic::AtomicU64::new(1))?);
    let name = format!("score-leaks-{}", std::process::id());
    let _other = (SharedMemory::create(&name, 5000)?, SharedMemory::open(&name)?);
    Value::<u64>::new(1)?.set(2);
    Array::<u64>::new(100)?.set(1, 2);
    Ok(())
}

fn queues() -> Outcome {
    let queue = Queue::new(4)?;
    queue.put((1_u64, "x".repeat(2000)))?;
    queue.put((2, String::new()))?;
    queue.get()?;
    let growing = Queue::new(0)?;
    growing.put_many(0..100_u64)?;
    let joinable = JoinableQueue::new(2)?;
    joinable.put(5_u64)?;
    joinable.get()?.task_done();
    // A message that holds a handle, and stays where it is.
    let of_handles = Queue::new(2)?;
    of_handles.put(growing)?;
    Ok(())
}

fn pipes() -> Outcome {
    let (a, b) = ipc::pipe::<Queue<u64>>()?;
    a.send(&Queue::new(1)?)?;
    b.recv()?;
    a.send(&Queue::new(1)?)?;
    let (tx, rx) = ipc::channel::<u64>()?;
    tx.send(&1)?;
    rx.recv()?;
    Ok(())
}

fn listeners() -> Outcome {
    let address = ipc::Address::Abstract(format!("score-leaks-{}", std::process::id()).into_bytes());
    let listener = Listener::<u64>::bind(address.clone())?;
    // It is welcomed by the accept.
    let client = std::thread::spawn(|| Client::connect::<u64>(address));
    let server = listener.accept()?;
    client.join().map_err(|_| "the client panicked")??.send(&1)?;
    server.recv()?;
    Ok(())
}

fn threads() -> Outcome {
    proc_core::thread::spawn(|| ()).join()?;
    let pool = ThreadPool::new(1)?;
    pool.apply(|| (), ())?;
    Ok(())
}

fn process(method: StartMethod) -> Outcome {
    Ok(Process::builder().start_method(method).spawn(|| (), ())?.join()?)
}

#[derive(Serialize, Deserialize)]
struct Held {
    lock: Lock<u64>,
    queue: Queue<Vec<u64>>,
    joinable: JoinableQueue<u64>,
    begun: Event,
}

fn hold(held: Held) {
    let _guard = held.lock.lock();
    let _item = held.joinable.get();
    let _loan = held.queue.get();
    held.begun.set();
    loop {
        std::thread::park();
    }
}

fn killed() -> Outcome {
    let held =
        Held { lock: Lock::new(0)?, queue: Queue::new(4)?, joinable: JoinableQueue::new(4)?, begun: Event::new()? };
    held.queue.put_many([vec![1; 1000], vec![2; 1000]])?;
    held.joinable.put(1)?;
    let begun = held.begun.clone();
    let process = Process::builder().spawn(hold, (held,))?;
    begun.wait()?;
    process.kill()?;
    let status = process.wait()?;
    if status.signal() == Some(libc::SIGKILL) { Ok(()) } else { Err(status.to_string().into()) }
}

fn command() -> Outcome {
    proc_core::command::run(["true"])?;
    Ok(())
}

fn manager() -> Outcome {
    let manager = Manager::new()?;
    manager.counter(0)?.increment()?;
    manager.dict()?.insert(1_u64, "one".to_owned())?;
    Ok(())
}

fn wait_for_ever() {
    loop {
        std::thread::park();
    }
}

fn supervisor() -> Outcome {
    let supervisor = Supervisor::builder().child(ChildSpec::new("a", wait_for_ever, ())).start()?;
    supervisor.stop()?;
    Ok(())
}

fn pools() -> Outcome {
    let pool = ProcessPool::new(2)?;
    pool.map(|n: u64| n + 1, 0..10)?;
    Ok(())
}
