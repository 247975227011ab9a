//! Terms of one task, or of one map, beside those of its pool.

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pool::{Full, ProcessPool, TaskError, ThreadPool};
use proc_core::{Process, Signal, shm::Shared};
use serde::Deserialize;
use test_support::watchdog;

const PATIENCE: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(50);

fn double(n: u64) -> u64 {
    2 * n
}

fn hang() {
    loop {
        thread::park();
    }
}

fn nap(time: Duration) -> Duration {
    thread::sleep(time);
    time
}

fn die() {
    std::process::abort()
}

/// Takes so much memory for a moment.
fn take(mib: usize) -> usize {
    std::hint::black_box(vec![1_u8; mib << 20]).len() >> 20
}

/// Dies so many times in all.
fn die_first(times: u64, tries: Shared<AtomicU64>) -> u64 {
    let before = tries.fetch_add(1, SeqCst);
    if before < times {
        die();
    }
    before
}

fn tries() -> Shared<AtomicU64> {
    Shared::new(AtomicU64::new(0)).unwrap()
}

#[test]
fn a_tasks_own_timeout_counts_whatever_the_pools() {
    let _dog = watchdog(PATIENCE);
    let none = ProcessPool::new(2).unwrap();
    let patient = ProcessPool::builder().workers(2).task_timeout(PATIENCE).build().unwrap();
    let hasty = ProcessPool::builder().workers(2).task_timeout(SHORT).build().unwrap();
    for pool in [&none, &patient] {
        let late = pool.task(hang, ()).timeout(SHORT).submit();
        let beside: Vec<_> = (0..50).map(|n| pool.apply_async(double, (n,))).collect();
        assert_eq!(late.get(), Err(TaskError::TimedOut));
        assert!((0..).zip(&beside).all(|(n, task)| task.get() == Ok(2 * n)));
    }
    for time in [PATIENCE, Duration::MAX] {
        assert_eq!(hasty.task(nap, (4 * SHORT,)).timeout(time).submit().get(), Ok(4 * SHORT));
    }
    assert_eq!(hasty.task(hang, ()).name("as the pool says").submit().get(), Err(TaskError::TimedOut));
}

/// The service learns of a deadline that is nearer than what it sleeps for, also if another thread hands the task out.
#[test]
fn a_deadline_is_kept_behind_one_that_is_far_away() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    for _ in 0..10 {
        let first = pool.task(nap, (SHORT / 5,)).timeout(PATIENCE).submit();
        let second = pool.task(hang, ()).timeout(SHORT / 5).submit();
        let third = pool.task(nap, (SHORT / 5,)).timeout(PATIENCE).submit();
        assert_eq!(first.get(), Ok(SHORT / 5));
        assert_eq!(second.get(), Err(TaskError::TimedOut));
        assert_eq!(third.get(), Ok(SHORT / 5));
    }
    assert_eq!(pool.stats().restarts, 10);
}

#[test]
fn time_in_the_queue_does_not_count() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    let before = pool.apply_async(nap, (4 * SHORT,));
    let behind: Vec<_> = (0..20).map(|n| pool.task(double, (n,)).timeout(SHORT).submit()).collect();
    assert!(behind.iter().all(|task| task.get().is_ok()) && before.ready());
}

#[test]
fn a_tasks_own_retries_count_whatever_the_pools() {
    let _dog = watchdog(PATIENCE);
    let delay = Duration::from_millis(1);
    let never = ProcessPool::builder().workers(2).retry_delay(delay).build().unwrap();
    let often = ProcessPool::builder().workers(2).retries(5).retry_delay(delay).build().unwrap();
    for pool in [&never, &often] {
        assert_eq!(pool.task(die_first, (2, tries())).retries(2).submit().get(), Ok(2));
        let once = tries();
        let died = pool.task(die_first, (2, once.clone())).retries(0).submit().get();
        assert!(matches!(died, Err(TaskError::WorkerDied { signal: Some(6), .. })), "{died:?}");
        assert_eq!(once.load(SeqCst), 1);
        let twice = tries();
        assert_eq!(pool.task(die_first, (2, twice.clone())).retries(1).submit().get(), Err(TaskError::Quarantined));
        assert_eq!(twice.load(SeqCst), 2);
        // Each of them has the whole time.
        let stuck = pool.task(hang, ()).retries(3).timeout(SHORT).submit();
        assert_eq!(stuck.get(), Err(TaskError::TimedOut));
    }
    assert!(matches!(never.apply(die, ()), Err(TaskError::WorkerDied { .. })));
    assert_eq!(often.apply(die_first, (3, tries())), Ok(3));
}

#[test]
fn a_tasks_own_memory_limit_counts_whatever_the_pools() {
    let _dog = watchdog(PATIENCE);
    let none = ProcessPool::new(1).unwrap();
    let narrow = ProcessPool::builder().workers(1).memory_limit(16 << 20).build().unwrap();
    let wide = ProcessPool::builder().workers(1).memory_limit(1 << 30).build().unwrap();
    for pool in [&none, &narrow, &wide] {
        assert_eq!(pool.task(take, (32,)).memory_limit(64 << 20).submit().get(), Ok(32));
        assert_eq!(pool.task(take, (128,)).memory_limit(64 << 20).submit().get(), Err(TaskError::MemoryLimit));
        assert_eq!(pool.task(take, (128,)).memory_limit(u64::MAX).submit().get(), Ok(128));
    }
    assert_eq!(narrow.apply(take, (32,)), Err(TaskError::MemoryLimit));
    // What a worker was limited to for one task is over with the next, in the same worker.
    let limit_of_data = || getrlimit(Resource::RLIMIT_DATA).unwrap();
    let before = none.apply(limit_of_data, ()).unwrap();
    let pid = none.apply(std::process::id, ()).unwrap();
    let during = none.task(limit_of_data, ()).memory_limit(64 << 20).submit().get().unwrap();
    assert_eq!((none.apply(limit_of_data, ()).unwrap(), none.apply(std::process::id, ()).unwrap()), (before, pid));
    assert!(during.0 < before.0 && during.1 == before.1, "{during:?} of {before:?}");
}

#[test]
fn a_task_that_raises_its_own_limit_is_found() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    let greedy = || {
        let (_, hard) = getrlimit(Resource::RLIMIT_DATA).unwrap();
        setrlimit(Resource::RLIMIT_DATA, hard, hard).unwrap();
        let taken = std::hint::black_box(vec![1_u8; 64 << 20]);
        hang();
        drop(taken);
    };
    // What another task, without a limit, has left behind is not taken for this one's.
    let leak = || std::mem::forget(std::hint::black_box(vec![1_u8; 64 << 20]));
    assert_eq!(pool.task(take, (1,)).memory_limit(8 << 20).submit().get(), Ok(1));
    pool.apply(leak, ()).unwrap();
    assert_eq!(pool.task(nap, (6 * SHORT,)).memory_limit(8 << 20).submit().get(), Ok(6 * SHORT));
    assert_eq!(pool.task(greedy, ()).memory_limit(16 << 20).submit().get(), Err(TaskError::MemoryLimit));
    assert_eq!(pool.stats().restarts, 1);
}

#[test]
fn a_name_is_told_wherever_its_task_is() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let stuck = pool.task(hang, ()).name("stuck").submit();
    while pool.stats().running == 0 {
        thread::yield_now();
    }
    let running: Vec<_> = pool.stats().workers.into_iter().filter_map(|worker| worker.task).collect();
    assert_eq!((running, stuck.name()), (vec!["stuck".to_owned()], Some("stuck")));
    assert!(format!("{stuck:?}").contains("stuck") && stuck.cancel());
    let error = pool.task(die, ()).name("input \"7\"").submit().get().unwrap_err();
    let TaskError::WorkerDied { task: Some(name), .. } = &error else { panic!("{error:?}") };
    assert_eq!(name, "input \"7\"");
    assert!(error.to_string().contains("while running the task \"input \\\"7\\\"\": "), "{error}");
    pool.apply(die, ()).unwrap_err();
    let names: Vec<_> = pool.stats().deaths.into_iter().map(|death| death.name).collect();
    assert!(names.contains(&Some("input \"7\"".into())) && names.contains(&None), "{names:?}");
    let all = pool.tasks(double, 0..3).name("all").map_async();
    assert_eq!((all.name(), all.get()), (Some("all"), Ok(vec![0, 2, 4])));
    assert_eq!(pool.apply_async(double, (1,)).name(), None);
}

#[test]
fn a_map_has_terms_of_its_own() {
    let _dog = watchdog(PATIENCE);
    let delay = Duration::from_millis(1);
    let pool = ProcessPool::builder().workers(2).retry_delay(delay).build().unwrap();
    let sometimes = |n: u64| {
        if n % 5 == 3 {
            hang();
        }
        n
    };
    let results: Vec<_> = pool.tasks(sometimes, 0..10).timeout(SHORT).imap().collect();
    for (n, result) in (0..).zip(results) {
        assert_eq!(result, if n % 5 == 3 { Err(TaskError::TimedOut) } else { Ok(n) });
    }
    // Of a chunk, what ended in time is there.
    let results: Vec<_> = pool.tasks(sometimes, 0..10).timeout(SHORT).chunk_size(10).imap_unordered().collect();
    assert_eq!(results.iter().filter(|result| **result == Err(TaskError::TimedOut)).count(), 2);
    assert_eq!(results.iter().flatten().count(), 8);
    assert_eq!(pool.tasks(sometimes, 0..10).timeout(SHORT).map(), Err(TaskError::TimedOut));
    // Each item has its tries.
    let (even, odd) = (tries(), tries());
    let items = (0..20).map(|n| (n, if n % 2 == 0 { even.clone() } else { odd.clone() }));
    let results = pool.tasks(|(n, tries)| die_first(n % 2 * 2, tries), items).retries(2).chunk_size(7).map().unwrap();
    assert_eq!((results.len(), even.load(SeqCst), odd.load(SeqCst)), (20, 10, 12));
    let results: Vec<_> = pool.tasks(take, [1, 128, 2]).memory_limit(64 << 20).chunk_size(1).imap().collect();
    assert_eq!(results, [Ok(1), Err(TaskError::MemoryLimit), Ok(2)]);
    let expected: Vec<u64> = (0..500).map(double).collect();
    assert_eq!(pool.tasks(double, 0..500).map_async().get().unwrap(), expected);
    assert_eq!(pool.tasks(double, 0..500).window(1).imap().collect::<Result<Vec<_>, _>>().unwrap(), expected);
}

#[test]
fn a_pool_of_threads_keeps_names_and_sizes() {
    let _dog = watchdog(PATIENCE);
    let pool = ThreadPool::builder().workers(1).max_pending(1).build().unwrap();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let first = pool.task(move || wait.recv().unwrap(), ()).name("first").submit();
    let refused = pool.task(double, (2,)).name("second").try_submit();
    let Err(Full(f, args)) = refused else { panic!("{refused:?}") };
    go.send(()).unwrap();
    assert_eq!((first.name(), first.get()), (Some("first"), Ok(())));
    assert_eq!(pool.task(f, args).submit().get(), Ok(4));
    assert_eq!(pool.tasks(double, 0..9).chunk_size(2).name("many").map_async().name(), Some("many"));
    assert_eq!(pool.tasks(double, 0..3).chunk_size(2).map().unwrap(), [0, 2, 4]);
    assert_eq!(pool.tasks(double, 0..3).window(1).imap().collect::<Result<Vec<_>, _>>().unwrap(), [0, 2, 4]);
    assert_eq!(pool.tasks(double, 0..3).imap_unordered().flatten().sum::<u64>(), 6);
    // A thread that waits for a named task of its own pool runs it itself.
    let pool = std::sync::Arc::new(ThreadPool::new(1).unwrap());
    let inner = pool.clone();
    assert_eq!(pool.apply(move || inner.task(double, (4,)).name("inner").submit().get(), ()).unwrap(), Ok(8));
}

#[test]
fn a_full_pool_gives_the_task_back() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(1).max_pending(1).build().unwrap();
    let first = pool.task(hang, ()).submit();
    let refused = pool.task(double, (2,)).retries(1).try_submit();
    let Err(Full(_, args)) = refused else { panic!("{refused:?}") };
    assert_eq!(args, (2,));
    assert!(first.cancel());
    assert_eq!(pool.task(double, args).submit().get(), Ok(4));
}

/// A [`TaskError`] as who reads a log sees it.
#[derive(Debug, PartialEq, Deserialize)]
enum Told {
    Panicked { message: String, location: String, backtrace: String },
    WorkerDied { pid: u32, signal: Option<i32>, code: Option<i32>, crash: Option<String>, task: Option<String> },
    TimedOut,
    Broken(String),
}

#[test]
fn what_went_wrong_can_be_written_down() {
    let _dog = watchdog(PATIENCE);
    let told = |error: &TaskError| {
        let mut bytes = Vec::new();
        wire::encode_named(error, &mut bytes).unwrap();
        wire::decode::<Told>(&bytes).unwrap()
    };
    let pool = ProcessPool::new(1).unwrap();
    let died = told(&pool.task(die, ()).name("x").submit().get().unwrap_err());
    let Told::WorkerDied { pid: 2.., signal: Some(6), code: None, crash: Some(crash), task: Some(task) } = died else {
        panic!("{died:?}")
    };
    assert!(crash.contains("die") && task == "x", "{crash}");
    let panicked = told(&pool.apply(|| -> () { panic!("so") }, ()).unwrap_err());
    let Told::Panicked { message, location, backtrace: _ } = panicked else { panic!("{panicked:?}") };
    assert!(message == "so" && location.contains("terms.rs"), "{location}");
    assert_eq!(told(&TaskError::TimedOut), Told::TimedOut);
    let broken = TaskError::Broken(pool::PoolError::Setting("workers"));
    assert_eq!(told(&broken), Told::Broken("workers must not be 0".into()));
}

/// An owner that is stopped beyond a task's deadline does not kill what has ended meanwhile, nor who comes after it.
#[test]
fn a_stopped_owner_takes_what_ended_in_time() {
    let _dog = watchdog(PATIENCE);
    let begun = tries();
    let owner = |begun: Shared<AtomicU64>| {
        let pool = ProcessPool::new(1).unwrap();
        let first = move |begun: Shared<AtomicU64>| {
            begun.store(1, SeqCst);
            nap(SHORT)
        };
        let first = pool.task(first, (begun,)).timeout(4 * SHORT).submit();
        let second = pool.task(nap, (SHORT,)).timeout(PATIENCE).submit();
        assert_eq!((first.get(), second.get()), (Ok(SHORT), Ok(SHORT)));
        pool.stats().restarts
    };
    let owner = Process::spawn(owner, (begun.clone(),)).unwrap();
    while begun.load(SeqCst) == 0 {
        thread::yield_now();
    }
    owner.signal(Signal::SIGSTOP).unwrap();
    thread::sleep(10 * SHORT);
    owner.signal(Signal::SIGCONT).unwrap();
    assert_eq!(owner.join().unwrap(), 0);
}
