//! Pools that grow, shrink and replace workers while they run.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{SIGKILL, kill},
    unistd::Pid,
};
use pool::{PoolError, ProcessPool, TaskError};
use proc_core::{Process, Signal, shm::Shared};
use test_support::watchdog;

use crate::storm::under_fire;

const PATIENCE: Duration = Duration::from_secs(100);

type Gate = Shared<AtomicU64>;

fn gate() -> Gate {
    Shared::new(AtomicU64::new(0)).unwrap()
}

/// Says that it has begun, and returns its worker's pid once the gate is open.
fn wait_at(begun: Gate, gate: Gate) -> u32 {
    begun.fetch_add(1, SeqCst);
    while gate.load(SeqCst) == 0 {
        thread::yield_now();
    }
    std::process::id()
}

fn wait_for(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

fn pids(pool: &ProcessPool) -> HashSet<u32> {
    pool.stats().workers.into_iter().filter(|worker| !worker.leaving).filter_map(|worker| worker.pid).collect()
}

#[test]
fn a_pool_grows_while_it_runs() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    let (begun, open) = (gate(), gate());
    let tasks: Vec<_> = (0..4).map(|_| pool.apply_async(wait_at, (begun.clone(), open.clone()))).collect();
    wait_for(|| begun.load(SeqCst) == 1);
    pool.resize(4).unwrap();
    // With all four waiting at once there are four workers.
    wait_for(|| begun.load(SeqCst) == 4);
    assert_eq!((pool.n_workers(), pool.stats().n_workers, pool.stats().running), (4, 4, 4));
    open.store(1, SeqCst);
    let pids: HashSet<u32> = tasks.iter().map(|task| task.get().unwrap()).collect();
    assert_eq!((pids.len(), pool.stats().restarts), (4, 0));
}

#[test]
fn a_pool_that_shrinks_ends_what_it_has_begun() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(4).unwrap();
    let (begun, open) = (gate(), gate());
    let tasks: Vec<_> = (0..4).map(|_| pool.apply_async(wait_at, (begun.clone(), open.clone()))).collect();
    let behind: Vec<_> = (0..50).map(|n: u64| pool.apply_async(|n| n, (n,))).collect();
    wait_for(|| begun.load(SeqCst) == 4);
    pool.resize(1).unwrap();
    let stats = pool.stats();
    assert_eq!((stats.n_workers, stats.running, stats.queued), (1, 4, 50));
    assert_eq!(stats.workers.iter().filter(|worker| worker.leaving).count(), 3);
    open.store(1, SeqCst);
    let ran_by: HashSet<u32> = tasks.iter().map(|task| task.get().unwrap()).collect();
    assert_eq!(ran_by.len(), 4);
    assert!((0..).zip(&behind).all(|(n, task)| task.get() == Ok(n)));
    wait_for(|| pool.stats().workers.len() == 1);
    assert_eq!((pool.stats().restarts, pool.stats().deaths.len()), (0, 0));
    assert!(pids(&pool).is_subset(&ran_by), "the one that is left is one of them");
}

#[test]
fn a_surplus_worker_that_is_still_busy_stays_if_the_pool_grows_again() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(3).unwrap();
    let (begun, open) = (gate(), gate());
    let tasks: Vec<_> = (0..3).map(|_| pool.apply_async(wait_at, (begun.clone(), open.clone()))).collect();
    wait_for(|| begun.load(SeqCst) == 3);
    let before = pids(&pool);
    for n in [1, 2, 1, 3, 2, 3] {
        pool.resize(n).unwrap();
        assert_eq!((pids(&pool).len(), pool.stats().workers.len()), (n, 3), "nobody left, nobody came");
    }
    // A task is cancelled by where it is, wherever its worker has been moved.
    assert!(tasks[2].cancel());
    open.store(1, SeqCst);
    assert!(tasks[..2].iter().all(|task| before.contains(&task.get().unwrap())));
    wait_for(|| pids(&pool).len() == 3);
    assert_eq!(pids(&pool).intersection(&before).count(), 2);
}

#[test]
fn a_surplus_worker_that_is_killed_loses_nothing_but_its_task() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let (begun, open) = (gate(), gate());
    let both: Vec<_> = (0..2)
        .map(|n| pool.task(wait_at, (begun.clone(), open.clone())).retries(n).name(format!("{n}")).submit())
        .collect();
    wait_for(|| begun.load(SeqCst) == 2);
    pool.resize(1).unwrap();
    let behind: Vec<_> = (0..20).map(|n: u64| pool.apply_async(|n| n, (n,))).collect();
    for worker in pool.stats().workers {
        kill(Pid::from_raw(worker.pid.unwrap().cast_signed()), SIGKILL).unwrap();
    }
    assert!(matches!(both[0].get(), Err(TaskError::WorkerDied { signal: Some(9), .. })));
    open.store(1, SeqCst);
    assert!(both[1].get().is_ok() && (0..).zip(&behind).all(|(n, task)| task.get() == Ok(n)));
    let mut names: Vec<_> = pool.stats().deaths.into_iter().filter_map(|death| death.name).collect();
    names.sort();
    assert_eq!((names, pool.stats().workers.len(), pool.stats().restarts), (vec!["0".into(), "1".into()], 1, 1));
}

#[test]
fn a_size_is_refused_where_there_is_none() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    assert_eq!(pool.resize(0), Err(PoolError::Setting("workers")));
    pool.close();
    assert_eq!(pool.resize(2), Err(PoolError::Closed));
    pool.join().unwrap();
    assert_eq!((pool.resize(2), pool.n_workers()), (Err(PoolError::Closed), 1));
}

#[test]
fn a_pool_closes_and_terminates_with_surplus_workers() {
    let _dog = watchdog(PATIENCE);
    for is_closed in [true, false] {
        let pool = ProcessPool::new(3).unwrap();
        let (begun, open) = (gate(), gate());
        let tasks: Vec<_> = (0..6).map(|_| pool.apply_async(wait_at, (begun.clone(), open.clone()))).collect();
        wait_for(|| begun.load(SeqCst) == 3);
        pool.resize(1).unwrap();
        if is_closed {
            pool.close();
            open.store(1, SeqCst);
        } else {
            pool.terminate();
        }
        pool.join().unwrap();
        assert!(tasks.iter().all(|task| if is_closed {
            task.get().is_ok()
        } else {
            task.get() == Err(TaskError::Cancelled)
        }));
        assert_eq!(pool.stats().workers.len(), 0);
    }
}

#[test]
fn a_smaller_pool_keeps_the_workers_that_it_has() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(2).idle_timeout(Duration::from_millis(20)).build().unwrap();
    let (begun, open) = (gate(), gate());
    let task = pool.apply_async(wait_at, (begun.clone(), open.clone()));
    wait_for(|| begun.load(SeqCst) == 1 && pool.stats().workers.len() == 1);
    // Whichever of the two it is, the other one rests.
    pool.resize(1).unwrap();
    assert_eq!(pids(&pool).len(), 1, "the one that is there stays");
    open.store(1, SeqCst);
    task.get().unwrap();
    assert_eq!(pool.map(|n: u64| n, 0..9).unwrap().len(), 9);
}

const N: usize = 8_000;
type Marks = Shared<[AtomicU8; N]>;
static MARKS: std::sync::OnceLock<Marks> = std::sync::OnceLock::new();

fn new_marks() -> Marks {
    Shared::new([const { AtomicU8::new(0) }; N]).unwrap()
}

/// Counts each run of each task.
fn run(n: usize) -> usize {
    MARKS.get().unwrap()[n].fetch_add(1, SeqCst);
    (0..200).fold(n, |x, _| std::hint::black_box(x))
}

/// Has other sizes again and again, by two threads at once, while `work` runs.
fn resized<R>(pool: &ProcessPool, work: impl FnOnce() -> R) -> R {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in [1_u64, 7] {
            let over = &over;
            scope.spawn(move || {
                let mut random = seed;
                while !over.load(SeqCst) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    pool.resize((random >> 33) as usize % 4 + 1).unwrap();
                    thread::sleep(Duration::from_micros((random >> 40) % 3000));
                }
            });
        }
        let result = work();
        over.store(true, SeqCst);
        result
    })
}

#[test]
fn storms_of_sizes_lose_and_repeat_nothing() {
    let _dog = watchdog(PATIENCE);
    let marks = new_marks();
    let pool = ProcessPool::builder()
        .workers(2)
        .initializer(|marks: Marks| drop(MARKS.set(marks)), (marks.clone(),))
        .build()
        .unwrap();
    let singles = resized(&pool, || {
        let tasks: Vec<_> = (0..N).map(|n| pool.apply_async(run, (n,))).collect();
        tasks.iter().map(|task| task.get().unwrap()).collect::<Vec<_>>()
    });
    assert!(singles.into_iter().eq(0..N) && marks.iter().all(|mark| mark.swap(0, SeqCst) == 1));
    let mapped: Vec<_> = resized(&pool, || pool.imap(run, 0..N).map(Result::unwrap).collect());
    assert!(mapped.into_iter().eq(0..N) && marks.iter().all(|mark| mark.swap(0, SeqCst) == 1));
    assert_eq!((pool.stats().restarts, pool.stats().deaths.len()), (0, 0));
    // With kills in between a task may be lost with its worker, and none runs twice.
    let (results, kills) = under_fire(&pool, Duration::from_millis(4), |_| {
        resized(&pool, || {
            let tasks: Vec<_> = (0..N).map(|n| pool.apply_async(run, (n,))).collect();
            tasks.iter().map(|task| task.get()).collect::<Vec<_>>()
        })
    });
    let mut n_lost = 0;
    for (n, result) in results.iter().enumerate() {
        let ran = marks[n].load(SeqCst);
        match result {
            Ok(value) => assert_eq!((*value, ran), (n, 1)),
            Err(TaskError::WorkerDied { signal: Some(9), .. }) => {
                n_lost += 1;
                assert!(ran <= 1);
            }
            Err(e) => panic!("{n}: {e}"),
        }
    }
    assert!(n_lost <= kills, "{n_lost} lost by {kills} kills");
    let size = pool.n_workers();
    wait_for(|| pool.stats().workers.len() == size);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn terms_hold_in_a_storm_of_kills_and_sizes() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(3).retry_delay(Duration::from_micros(100)).build().unwrap();
    let work = |n: u64| {
        if n % 101 == 100 {
            loop {
                thread::park();
            }
        }
        (0..2000).fold(n, |x, _| std::hint::black_box(x))
    };
    under_fire(&pool, Duration::from_millis(6), |_| {
        resized(&pool, || {
            let submit = |n: u64| {
                let task =
                    pool.task(work, (n,)).name(n.to_string()).retries(if n.is_multiple_of(2) { 100_000 } else { 0 });
                let time = if n % 101 == 100 { Duration::from_millis(20) } else { PATIENCE };
                let task = task.timeout(time);
                if n.is_multiple_of(3) { task.memory_limit(64 << 20) } else { task }.submit()
            };
            let tasks: Vec<_> = (0..3000).map(submit).collect();
            for (n, task) in (0_u64..).zip(&tasks) {
                match task.get() {
                    Ok(value) => assert!(value == n && n % 101 != 100),
                    Err(TaskError::TimedOut) => assert_eq!(n % 101, 100),
                    Err(TaskError::WorkerDied { signal: Some(9), task, .. }) => {
                        assert!(n % 2 == 1 && task == Some(n.to_string()), "{n}: {task:?}");
                    }
                    Err(e) => panic!("{n}: {e}"),
                }
            }
        })
    });
}

#[test]
fn sizes_may_change_while_the_pool_is_closed() {
    let _dog = watchdog(PATIENCE);
    for round in 0..20 {
        let pool = ProcessPool::new(2).unwrap();
        let tasks: Vec<_> = (0..200).map(|n: u64| pool.apply_async(|n| n, (n,))).collect();
        thread::scope(|scope| {
            scope.spawn(|| while (1..4).all(|n| pool.resize(n).is_ok()) {});
            if round % 2 == 0 {
                pool.close()
            } else {
                pool.terminate()
            }
            pool.join().unwrap();
        });
        let fine = |end: Result<u64, TaskError>, n| {
            if round % 2 == 0 { end == Ok(n) } else { [Ok(n), Err(TaskError::Cancelled)].contains(&end) }
        };
        assert!((0..).zip(&tasks).all(|(n, task)| fine(task.get(), n)));
    }
}

/// An owner that is stopped while its pool has changed its size finds everything in order.
#[test]
fn a_stopped_owner_goes_on_with_the_size_that_it_wanted() {
    let _dog = watchdog(PATIENCE);
    let open = gate();
    let ready = gate();
    let owner = |ready: Gate, open: Gate| {
        let pool = ProcessPool::new(1).unwrap();
        let begun = gate();
        let tasks: Vec<_> = (0..3).map(|_| pool.apply_async(wait_at, (begun.clone(), open.clone()))).collect();
        wait_for(|| begun.load(SeqCst) == 1);
        pool.resize(3).unwrap();
        pool.resize(2).unwrap();
        ready.store(1, SeqCst);
        let n_workers: HashSet<u32> = tasks.iter().map(|task| task.get().unwrap()).collect();
        wait_for(|| pool.stats().workers.len() == 2);
        n_workers.len()
    };
    let owner = Process::spawn(owner, (ready.clone(), open.clone())).unwrap();
    wait_for(|| ready.load(SeqCst) == 1);
    owner.signal(Signal::SIGSTOP).unwrap();
    open.store(1, SeqCst);
    thread::sleep(Duration::from_millis(100));
    owner.signal(Signal::SIGCONT).unwrap();
    assert!((1..=3).contains(&owner.join().unwrap()));
}

/// Leaks so many MiB, and tells in which process.
fn leak(mib: usize) -> u32 {
    std::mem::forget(std::hint::black_box(vec![1_u8; mib << 20]));
    std::process::id()
}

#[test]
fn a_worker_that_leaks_is_replaced_between_two_tasks() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(1).recycle_above(64 << 20).build().unwrap();
    let pids: Vec<u32> = (0..12).map(|_| pool.apply(leak, (30,)).unwrap()).collect();
    // Three tasks take it above the mark.
    let runs: Vec<usize> = pids.chunk_by(|a, b| a == b).map(<[u32]>::len).collect();
    assert!(runs.iter().all(|run| (1..=3).contains(run)) && runs.len() >= 4, "{runs:?}");
    // One may have been begun while it was found out.
    assert!(runs.contains(&3) || runs.contains(&2), "{runs:?}");
    assert_eq!(pool.stats().deaths.len(), 0);
    wait_for(|| pool.stats().restarts >= runs.len() as u64 - 1 && pool.stats().workers.len() == 1);
    // What is given back between tasks is no leak.
    let pid = pool.apply(leak, (1,)).unwrap();
    let frugal: HashSet<u32> = (0..20)
        .map(|_| {
            let work = || {
                drop(std::hint::black_box(vec![1_u8; 48 << 20]));
                std::process::id()
            };
            pool.apply(work, ()).unwrap()
        })
        .collect();
    assert_eq!(frugal, HashSet::from([pid]));
}

/// The owner is stopped while the worker leaks, so that it has begun the next task when it is found out.
#[test]
fn a_worker_is_replaced_before_it_has_ended() {
    let _dog = watchdog(PATIENCE);
    let [given, leaks, may_leak, stuck, may_end] = [(); 5].map(|()| gate());
    let owner = |given: Gate, leaks: Gate, may_leak: Gate, stuck: Gate, may_end: Gate| {
        let pool = ProcessPool::builder().workers(1).recycle_above(64 << 20).build().unwrap();
        // Short ones first, so that the pool believes in short tasks and gives a worker several at a time.
        let short: Vec<_> = (0..2000).map(|n: u64| pool.apply_async(|n| n, (n,))).collect();
        short.iter().for_each(|task| task.wait());
        let leak_at = |begun: Gate, gate: Gate| {
            wait_at(begun, gate);
            leak(100)
        };
        let first = pool.apply_async(leak_at, (leaks, may_leak));
        let second = pool.apply_async(wait_at, (stuck, may_end.clone()));
        given.store(1, SeqCst);
        let old = first.get().unwrap();
        let new = pool.apply(std::process::id, ()).unwrap();
        let while_both_are_there = (pool.stats().workers.len(), second.ready());
        may_end.store(1, SeqCst);
        let is_old = second.get().unwrap() == old;
        wait_for(|| pool.stats().workers.len() == 1);
        (old != new, is_old, while_both_are_there, pool.stats().restarts)
    };
    let args = (given.clone(), leaks.clone(), may_leak.clone(), stuck.clone(), may_end);
    let owner = Process::spawn(owner, args).unwrap();
    wait_for(|| given.load(SeqCst) + leaks.load(SeqCst) == 2);
    owner.signal(Signal::SIGSTOP).unwrap();
    may_leak.store(1, SeqCst);
    wait_for(|| stuck.load(SeqCst) == 1);
    owner.signal(Signal::SIGCONT).unwrap();
    assert_eq!(owner.join().unwrap(), (true, true, (2, false), 1));
}

#[test]
fn a_mark_below_what_a_worker_has_costs_a_worker_a_task() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(2).recycle_above(1).build().unwrap();
    let tasks: Vec<_> = (0..100).map(|n: u64| pool.apply_async(|n| (n, std::process::id()), (n,))).collect();
    let mut pids = HashSet::new();
    for (n, task) in (0..).zip(&tasks) {
        let (value, pid) = task.get().unwrap();
        assert_eq!(value, n);
        pids.insert(pid);
    }
    assert!(pids.len() > 10, "{}", pids.len());
    assert!(pool.stats().workers.len() <= 4);
    assert_eq!((pool.stats().done, pool.stats().deaths.len()), (100, 0));
    let refused = ProcessPool::builder().recycle_above(0).build();
    assert_eq!(refused.err(), Some(PoolError::Setting("recycle_above")));
}

#[test]
fn leaky_maps_in_a_storm_of_kills_and_sizes() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(3).recycle_above(24 << 20).retries(1000).chunk_size(5);
    let pool = pool.retry_delay(Duration::from_micros(100)).build().unwrap();
    let work = |n: u64| {
        leak(1);
        n
    };
    let (results, kills) = under_fire(&pool, Duration::from_millis(5), |_| {
        resized(&pool, || pool.imap(work, 0..1000).collect::<Result<Vec<_>, _>>())
    });
    assert!(results.unwrap().into_iter().eq(0..1000));
    assert!(pool.stats().restarts > 0 && kills > 0);
}

/// Whatever makes workers come and go, all of it at once; each task ends in the way that its terms allow.
#[test]
fn everything_that_replaces_workers_at_once() {
    let _dog = watchdog(PATIENCE);
    let work = |n: u64| match n % 50 {
        13 => loop {
            thread::park();
        },
        26 => std::process::abort(),
        39 => {
            leak(30);
            n
        }
        _ => (0..500).fold(n, |x, _| std::hint::black_box(x)),
    };
    for round in 0..2 {
        let pool = ProcessPool::builder()
            .workers(2)
            .idle_timeout(Duration::from_millis(2))
            .max_tasks_per_child(40)
            .recycle_above(64 << 20)
            .retries(100_000)
            .retry_delay(Duration::from_micros(100))
            .build()
            .unwrap();
        let ((), _kills) = under_fire(&pool, Duration::from_millis(10), |_| {
            resized(&pool, || {
                let submit = |n: u64| {
                    let task =
                        pool.task(work, (n,)).timeout(Duration::from_millis(if n % 50 == 13 { 5 } else { 90_000 }));
                    // One that kills its worker each time is not tried for ever.
                    if n % 50 == 26 { task.retries(0) } else { task }.submit()
                };
                let tasks: Vec<_> = (0..500).map(submit).collect();
                let cancelled: Vec<_> = (0..500).step_by(7).filter(|n| tasks[*n].cancel()).collect();
                let half: Vec<_> =
                    pool.tasks(|n: u64| n, 0..).chunk_size(3).imap().take(300).map(Result::unwrap).collect();
                assert!(half.into_iter().eq(0..300));
                for (n, task) in (0_u64..).zip(&tasks) {
                    match task.get() {
                        Ok(value) => assert!(value == n && ![13, 26].contains(&(n % 50)), "{n}"),
                        Err(TaskError::Cancelled) => assert!(cancelled.contains(&(n as usize)), "{n}"),
                        Err(TaskError::TimedOut) => assert_eq!(n % 50, 13),
                        Err(TaskError::WorkerDied { .. }) => assert_eq!(n % 50, 26),
                        Err(e) => panic!("{n}: {e}"),
                    }
                    // Twice the largest size, and those that are being killed.
                    assert!(pool.stats().workers.len() <= 16);
                }
            });
        });
        if round % 2 == 0 {
            pool.close();
            pool.join().unwrap();
        }
    }
}
