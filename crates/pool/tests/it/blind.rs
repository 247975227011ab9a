//! Pools whose workers, or whose owner, cannot see anybody in `/proc`: workers are stopped and killed all the time, and
//! each task is done, its result told once, and nothing is garbled.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use pool::ProcessPool;
use proc_core::{Process, shm::Shared};
use test_support::{hosts, processes::Child, watchdog};

const LIMIT: Duration = Duration::from_secs(120);
const TASKS: u32 = 400;

/// Those that do not make another process of the caller.
fn ways() -> impl Iterator<Item = (&'static str, usize)> {
    let ways = hosts::BLIND.iter().enumerate().map(|(way, (name, _))| (*name, way));
    ways.filter(|(name, _)| !name.contains("pid namespace"))
}

/// How often a task was begun. Workers are given it when they start: tasks' handles are looked for in `/proc`.
static BEGUN: OnceLock<Shared<AtomicU32>> = OnceLock::new();

fn become_blind(way: Option<usize>, begun: Shared<AtomicU32>) {
    BEGUN.set(begun).unwrap();
    if let Some(way) = way {
        hosts::BLIND[way].1();
    }
}

/// Long enough for a worker to be stopped or killed amid it.
fn work(n: u32) -> Vec<u32> {
    BEGUN.get().unwrap().fetch_add(1, Relaxed);
    result(n)
}

fn result(n: u32) -> Vec<u32> {
    (0..n % 3000).map(|i| i ^ n).collect()
}

fn pool(way: Option<usize>, begun: &Shared<AtomicU32>) -> ProcessPool {
    let pool = ProcessPool::builder().workers(3).retries(100);
    pool.initializer(become_blind, (way, begun.clone())).build().unwrap()
}

/// Has a pool do its tasks while its workers are stopped and killed in turn.
fn storm(pool: &ProcessPool, name: &str, begun: &Shared<AtomicU32>) {
    let is_over = AtomicBool::new(false);
    let results: Vec<_> = thread::scope(|s| {
        s.spawn(|| {
            let mut done_before = 0;
            for round in (0..).take_while(|_| !is_over.load(Relaxed)) {
                for worker in pool.stats().workers {
                    let Some(worker) = worker.pid.and_then(Child::of) else { continue };
                    worker.signal(Signal::SIGSTOP);
                    thread::sleep(Duration::from_millis(5));
                    // Not twice without a task done between: on a busy machine each worker could be killed before it has
                    // done one, until the retries are used up.
                    let done = pool.stats().done;
                    let is_deadly = round % 10 == 9 && done > done_before;
                    worker.signal(if is_deadly { Signal::SIGKILL } else { Signal::SIGCONT });
                    done_before = if is_deadly { done } else { done_before };
                }
            }
        });
        let tasks: Vec<_> = (0..TASKS).map(|n| pool.apply_async(work, (n,))).collect();
        let results = tasks.into_iter().map(|task| task.get()).collect();
        is_over.store(true, Relaxed);
        results
    });
    for (n, result) in (0..).zip(results) {
        assert!(result.unwrap() == self::result(n), "{name}: task {n}");
    }
    assert!(begun.load(Relaxed) >= TASKS, "{name}");
}

#[test]
fn blind_workers_do_each_task() {
    let _dog = watchdog(LIMIT);
    if !hosts::is_root() {
        return;
    }
    for (name, way) in ways() {
        let begun = Shared::new(AtomicU32::new(0)).unwrap();
        let pool = pool(Some(way), &begun);
        storm(&pool, name, &begun);
        pool.close();
        pool.join().unwrap();
    }
}

fn own_a_pool(way: usize) {
    let begun = Shared::new(AtomicU32::new(0)).unwrap();
    let pool = pool(None, &begun);
    assert_eq!(pool.apply(work, (5,)).unwrap(), result(5));
    // With its rights, or it could not kill what it starts.
    match hosts::BLIND[way].0 {
        "beside an empty /proc" => hosts::empty_proc(),
        _ => hosts::empty_root(),
    }
    storm(&pool, "blind owner", &begun);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn a_blind_owner_has_each_task_done() {
    let _dog = watchdog(LIMIT);
    if !hosts::is_root() {
        return;
    }
    for way in [1, 2] {
        Process::spawn(own_a_pool, (way,)).unwrap().join().unwrap();
    }
}

fn hang() {
    loop {
        thread::park();
    }
}

/// A pool whose workers were started before their owner gave up its rights, and cannot be killed by it any more.
fn own_privileged_workers() {
    let pool = ProcessPool::builder().workers(2).task_timeout(Duration::from_millis(50)).retries(0).build().unwrap();
    assert_eq!(pool.map(result, 0..10).unwrap().len(), 10);
    hosts::become_nobody();
    let hung = [pool.apply_async(hang, ()), pool.apply_async(hang, ()), pool.apply_async(hang, ())];
    for task in hung {
        assert!(matches!(task.get(), Err(pool::TaskError::TimedOut)));
    }
    assert_eq!(pool.map(result, 0..10).unwrap().len(), 10);
    let users = pool.apply(|| nix::unistd::getuid().as_raw(), ()).unwrap();
    assert_eq!(users, 65534);
    pool.terminate();
    pool.join().unwrap();
}

#[test]
fn workers_with_more_rights_than_their_owner_hold_nobody_up() {
    let _dog = watchdog(LIMIT);
    if hosts::is_root() {
        Process::spawn(own_privileged_workers, ()).unwrap().join().unwrap();
    }
}
