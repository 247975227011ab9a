//! Tasks that mean harm, or do some.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use kernel::identity::ProcessId;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pool::{ProcessPool, Task, TaskError};
use proc_core::{Process, shm::Shared};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use test_support::watchdog;

const PATIENCE: Duration = Duration::from_secs(100);

fn double(n: u64) -> u64 {
    2 * n
}

fn hang() {
    loop {
        std::thread::park();
    }
}

#[test]
fn what_a_task_forks_ends_with_its_worker() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    let forks = || {
        let child = Process::fork(hang).unwrap();
        let pid = child.pid();
        std::mem::forget(child);
        pid
    };
    let pid = pool.apply(forks, ()).unwrap();
    let child = ProcessId::of(pid).unwrap();
    assert_eq!(pool.apply(double, (3,)).unwrap(), 6);
    drop(pool);
    while child.is_alive() {
        std::thread::yield_now();
    }
}

#[test]
fn a_worker_without_descriptors_harms_no_other_task() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let close_all = || (3..1024).filter(|fd| nix::unistd::close(*fd).is_ok()).count();
    assert!(pool.apply(close_all, ()).unwrap() > 0);
    let tasks: Vec<_> = (0..200).map(|n| pool.apply_async(double, (n,))).collect();
    assert!((0..).zip(&tasks).all(|(n, task)| task.get().unwrap() == 2 * n));
    // What does not fit a slot goes through a descriptor.
    let large: Vec<_> = (0..10).map(|_| pool.apply_async(|| "x".repeat(1000), ()).get()).collect();
    assert!(large.iter().all(|r| matches!(r, Ok(_) | Err(TaskError::WorkerDied { .. } | TaskError::Encode(_)))));
    assert_eq!(pool.apply(double, (3,)).unwrap(), 6);
    while pool.stats().restarts == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn arguments_that_a_worker_without_descriptors_cannot_read_are_read_by_its_successor() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    let closes = pool.apply_async(|| (3..1024).filter(|fd| nix::unistd::close(*fd).is_ok()).count(), ());
    let large: Vec<_> = (0..20).map(|n| pool.apply_async(|text: String| text.len(), ("x".repeat(1000 + n),))).collect();
    assert!(closes.get().unwrap() > 0);
    assert!((1000..).zip(&large).all(|(len, task)| task.get().unwrap() == len));
    assert_eq!(pool.map(double, 0..10_000).unwrap().len(), 10_000);
    let stats = pool.stats();
    assert_eq!((stats.restarts, stats.failed), (1, 0));
}

fn stop_myself() {
    nix::sys::signal::raise(nix::sys::signal::SIGSTOP).unwrap();
}

#[test]
fn a_stopped_worker_is_late_like_any_other() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(2).task_timeout(Duration::from_secs(1)).build().unwrap();
    let stopped = pool.apply_async(stop_myself, ());
    let others: Vec<_> = (0..100).map(|n| pool.apply_async(double, (n,))).collect();
    assert!(others.iter().all(|task| task.get().is_ok()));
    assert!(matches!(stopped.get(), Err(TaskError::TimedOut)));
    assert_eq!(pool.apply(double, (3,)).unwrap(), 6);
}

#[test]
fn a_stopped_worker_holds_up_neither_the_others_nor_the_end() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let stopped: Task<()> = pool.apply_async(stop_myself, ());
    let others: Vec<_> = (0..100).map(|n| pool.apply_async(double, (n,))).collect();
    assert!(others.iter().all(|task| task.get().is_ok()));
    assert!(!stopped.ready());
    drop(pool);
    assert!(matches!(stopped.get(), Err(TaskError::Cancelled)));
}

#[test]
fn a_task_that_exits_with_success_has_no_result() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    let exited = pool.apply(|| -> () { std::process::exit(0) }, ());
    assert!(matches!(exited, Err(TaskError::WorkerDied { signal: None, .. })));
    let results: Vec<_> = pool.imap(|n: u64| if n == 4 { std::process::exit(0) } else { n }, 0..9).collect();
    assert!(results.iter().enumerate().all(|(n, result)| result.is_ok() == (n != 4)));
}

/// Encodes, or not, as it says.
#[derive(Debug, PartialEq)]
struct Moody(bool);

impl Serialize for Moody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 { serializer.serialize_bool(true) } else { Err(ser::Error::custom("not now")) }
    }
}

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? { Ok(Self(true)) } else { Err(de::Error::custom("never sent")) }
    }
}

#[test]
fn a_chunk_of_which_many_items_fail_is_worked_on_to_its_end() {
    let _dog = watchdog(PATIENCE);
    let runs = Shared::new(AtomicU64::new(0)).unwrap();
    let pool = ProcessPool::builder().workers(2).chunk_size(150).build().unwrap();
    let moody = |(n, runs): (u64, Shared<AtomicU64>)| {
        runs.fetch_add(1, SeqCst);
        Moody(n.is_multiple_of(3))
    };
    let results: Vec<_> = pool.imap(moody, (0..600).map(|n| (n, runs.clone()))).collect();
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(value) => assert!(*value == Moody(true) && n.is_multiple_of(3)),
            Err(e) => assert!(!n.is_multiple_of(3) && matches!(e, TaskError::Encode(_)), "{n}: {e}"),
        }
    }
    assert_eq!((results.len(), runs.load(SeqCst)), (600, 600), "each item ran once");
    assert!(matches!(pool.map(|n: u64| n, 0..10).as_deref(), Ok([0, .., 9])));
}

#[test]
fn results_larger_than_a_stream_come_in_several_rounds() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let text = |n: usize| n.to_string().repeat(n % 700);
    let texts = pool.map(text, 0..20_000).unwrap();
    assert!(texts.iter().enumerate().all(|(n, got)| *got == text(n)));
}

#[test]
fn a_payload_that_panics_again_is_one_error() {
    let _dog = watchdog(PATIENCE);
    struct Again;
    impl Drop for Again {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("in drop");
            }
        }
    }
    let pool = ProcessPool::new(1).unwrap();
    let odd = pool.apply(|| -> () { std::panic::panic_any(Again) }, ());
    assert!(matches!(odd, Err(TaskError::Panicked { .. })));
    let results: Vec<_> = pool.imap(|n: u8| if n == 1 { std::panic::panic_any(Again) } else { n }, 0..3).collect();
    assert!(matches!(&results[..], [Ok(0), Err(TaskError::Panicked { .. }), Ok(2)]));
    // On the pool's thread for callbacks, and on this one.
    let called_back = pool.apply_async_with(double, (2,), |_| std::panic::panic_any(Again));
    called_back.wait();
    called_back.on_done(|_| std::panic::panic_any(Again));
    assert_eq!(called_back.get().unwrap(), 4);
}

#[test]
fn infinite_input_is_read_only_as_far_as_needed() {
    let _dog = watchdog(PATIENCE);
    let read = std::sync::Arc::new(AtomicU32::new(0));
    let count = read.clone();
    let pool = ProcessPool::builder().workers(2).window(8).build().unwrap();
    let input = (0_u64..).inspect(move |_| {
        count.fetch_add(1, SeqCst);
    });
    let first: Vec<_> = pool.imap(double, input).take(20).map(Result::unwrap).collect();
    assert_eq!(first, (0..20).map(double).collect::<Vec<_>>());
    assert!(read.load(SeqCst) <= 28, "{read:?}");
}

#[test]
fn a_task_that_raises_its_memory_limit_is_found() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(1).memory_limit(16 << 20).build().unwrap();
    let greedy = || {
        let (_, hard) = getrlimit(Resource::RLIMIT_DATA).unwrap();
        setrlimit(Resource::RLIMIT_DATA, hard, hard).unwrap();
        let taken = std::hint::black_box(vec![1_u8; 64 << 20]);
        hang();
        drop(taken);
    };
    let behind: Vec<_> = (0..5).map(|n| pool.apply_async(double, (n,))).collect();
    assert!(matches!(pool.apply(greedy, ()), Err(TaskError::MemoryLimit)));
    assert!(behind.iter().all(|task| task.get().is_ok()));
    assert_eq!(pool.apply(double, (3,)).unwrap(), 6);
}

/// Panics in the process that made it: when it comes back there, and when it is dropped there.
#[derive(Serialize)]
struct Bomb {
    home: u32,
}

impl Bomb {
    fn new() -> Self {
        Self { home: std::process::id() }
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (home,) = <(u32,)>::deserialize(deserializer)?;
        assert_ne!(home, std::process::id(), "home again");
        Ok(Self { home })
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(self.home != std::process::id() || std::thread::panicking(), "dropped at home");
    }
}

#[test]
fn values_that_panic_in_the_owner_cost_only_their_task() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let comes_back = pool.apply_async(|bomb: Bomb| bomb, (Bomb::new(),));
    assert!(matches!(comes_back.get(), Err(TaskError::Decode(why)) if why.contains("home again")));
    assert_eq!(pool.apply(|bomb: Bomb| bomb.home, (Bomb::new(),)).unwrap(), std::process::id());
    let mapped = pool.map_async(|bomb: Bomb| bomb, (0..5).map(|_| Bomb::new()));
    assert!(matches!(mapped.get(), Err(TaskError::Decode(why)) if why.contains("home again")));
    assert_eq!(pool.map(double, 0..3).unwrap(), [0, 2, 4]);
    pool.close();
    pool.join().unwrap();
}

/// Panics where it is dropped in the process that wanted it.
#[derive(Serialize, Deserialize)]
struct Unwanted {
    home: u32,
}

impl Drop for Unwanted {
    fn drop(&mut self) {
        assert!(self.home != std::process::id() || std::thread::panicking(), "dropped at home");
    }
}

fn unwanted(home: u32) -> Unwanted {
    Unwanted { home }
}

fn unwanted_but_for_one((home, n): (u32, u64)) -> Unwanted {
    assert_ne!(n, 5, "that one");
    Unwanted { home }
}

/// It is dropped by the pool, which has other tasks to care for.
#[test]
fn result_that_nobody_takes_may_panic_in_its_drop() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let home = std::process::id();
    (0..100).for_each(|_| drop(pool.apply_async(unwanted, (home,))));
    let cancelled: Vec<_> = (0..100).map(|_| pool.apply_async(unwanted, (home,))).collect();
    cancelled.iter().for_each(|task| _ = task.cancel());
    drop(pool.map_async(unwanted, vec![home; 100]));
    drop(pool.imap_unordered(unwanted, vec![home; 100]));
    // What other items gave is dropped with the first failure.
    let failed = pool.map_async(unwanted_but_for_one, (0..100).map(move |n| (home, n)));
    assert!(matches!(failed.get(), Err(TaskError::Panicked { .. })));
    assert_eq!(pool.map(double, 0..3), Ok(vec![0, 2, 4]));
    pool.close();
    pool.join().unwrap();
}

/// A value that its worker's stack carries, and that of the thread which waits for it does not.
#[test]
fn a_result_nested_too_deeply_for_its_owner_is_an_error() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Nested(Option<Box<Nested>>);
    fn nested(depth: usize) -> Nested {
        (0..depth).fold(Nested(None), |inner, _| Nested(Some(Box::new(inner))))
    }
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    let run = move || {
        assert!(pool.apply(nested, (50,)).is_ok() && pool.map(nested, [50, 50]).is_ok());
        // Who decodes them, this thread or the pool's own, has more stack or less. A value is kept from its drop, which
        // has no guard.
        let single = pool.apply(nested, (5_000,)).map(std::mem::forget);
        let mapped = pool.map(nested, [1, 5_000]).map(std::mem::forget);
        assert!(pool.apply(nested, (50,)).is_ok());
        [single, mapped]
    };
    let results = std::thread::Builder::new().stack_size(256 * 1024).spawn(run).unwrap().join().unwrap();
    for error in results.into_iter().filter_map(Result::err) {
        assert!(error.to_string().contains("nested too deeply"), "{error}");
    }
}
