use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use pool::{PoolError, ProcessPool, Task, TaskError, engine};
use proc_core::{CrashCause, Process, shm::Shared};
use test_support::watchdog;

const PATIENCE: Duration = Duration::from_secs(100);

fn double(n: u64) -> u64 {
    2 * n
}

#[test]
fn smoke() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    assert_eq!(pool.apply(double, (4,)).unwrap(), 8);
    assert_eq!(pool.apply(|a: String, b: String| a + &b, ("a".into(), "b".into())).unwrap(), "ab");
    let task = pool.apply_async(double, (1,));
    assert_eq!(task.get().unwrap(), 2);
    assert!(matches!(task.get(), Err(TaskError::Taken)));
    assert_eq!(pool.starmap(|a: u64, b: u64| a * b, [(1, 2), (3, 4)]).unwrap(), [2, 12]);
    let expected: Vec<u64> = (0..1000).map(double).collect();
    assert_eq!(pool.map(|n| n * 2, 0..1000_u64).unwrap(), expected);
    assert_eq!(pool.imap(double, 0..1000).collect::<Result<Vec<_>, _>>().unwrap(), expected);
    assert_eq!(pool.map_async(double, 0..1000).get().unwrap(), expected);
    let mut unordered = pool.imap_unordered(double, 0..1000).collect::<Result<Vec<_>, _>>().unwrap();
    unordered.sort();
    assert_eq!(unordered, expected);
    assert!(matches!(pool.join(), Err(PoolError::StillOpen)));
    pool.close();
    assert!(matches!(pool.apply(double, (1,)), Err(TaskError::Closed)));
    pool.join().unwrap();
}

#[test]
fn many_tiny_tasks() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let tasks: Vec<Task<u64>> = (0..20_000).map(|n| pool.apply_async(double, (n,))).collect();
    for (n, task) in tasks.iter().enumerate() {
        assert_eq!(task.get().unwrap(), 2 * n as u64);
    }
    let stats = pool.stats();
    assert_eq!((stats.done, stats.failed, stats.queued, stats.running), (20_000, 0, 0, 0));
}

/// Every task either runs, and has its result, or is recalled, and never runs.
#[test]
fn recalled_tasks_do_not_run_and_the_others_have_run_once() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let n_runs = Shared::new(AtomicU64::new(0)).unwrap();
    let count = |n_runs: Shared<AtomicU64>| {
        n_runs.fetch_add(1, SeqCst);
    };
    let tasks: Vec<Task<()>> = (0..5000).map(|_| pool.apply_async(count, (n_runs.clone(),))).collect();
    tasks[50].wait();
    let recalled: Vec<bool> = tasks.iter().rev().map(engine::recall).collect();
    let n_recalled = recalled.iter().filter(|is_recalled| **is_recalled).count() as u64;
    for (task, is_recalled) in tasks.iter().rev().zip(recalled) {
        assert_eq!(task.get(), if is_recalled { Err(TaskError::Cancelled) } else { Ok(()) });
    }
    assert_eq!(n_runs.load(SeqCst), 5000 - n_recalled);
    // No worker was killed for it.
    assert_eq!((pool.apply(double, (4,)), pool.stats().deaths.len()), (Ok(8), 0));
}

#[test]
fn running_task_is_not_recalled() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    let gate = Shared::new(AtomicU64::new(0)).unwrap();
    let wait = |gate: Shared<AtomicU64>| while gate.load(SeqCst) == 0 {};
    let tasks: Vec<Task<()>> = (0..3).map(|_| pool.apply_async(wait, (gate.clone(),))).collect();
    while !tasks[0].running() {
        std::thread::yield_now();
    }
    assert!(!engine::recall(&tasks[0]) && engine::recall(&tasks[1]) && !engine::recall(&tasks[1]));
    gate.store(1, SeqCst);
    assert_eq!((tasks[0].get(), tasks[1].get(), tasks[2].get()), (Ok(()), Err(TaskError::Cancelled), Ok(())));
    assert!(!engine::recall(&tasks[2]));
}

fn kill_myself(signal: i32) {
    let me = nix::unistd::Pid::this();
    nix::sys::signal::kill(me, nix::sys::signal::Signal::try_from(signal).unwrap()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_crash_costs_one_task() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let before: Vec<_> = (0..100).map(|n| pool.apply_async(double, (n,))).collect();
    let killed = pool.apply_async(kill_myself, (9,));
    let aborted = pool.apply_async(|| -> () { std::process::abort() }, ());
    let exited = pool.apply_async(|| -> () { std::process::exit(3) }, ());
    let after: Vec<_> = (100..200).map(|n| pool.apply_async(double, (n,))).collect();
    for (n, task) in (0..).zip(before.iter().chain(&after)) {
        assert_eq!(task.get().unwrap(), 2 * n);
    }
    assert!(
        matches!(killed.get(), Err(TaskError::WorkerDied { signal: Some(9), pid, crash: None, code: None, task: None }) if pid > 0)
    );
    assert!(matches!(aborted.get(), Err(TaskError::WorkerDied { signal: Some(6), .. })));
    assert!(matches!(exited.get(), Err(TaskError::WorkerDied { signal: None, code: Some(3), .. })));
    let stats = pool.stats();
    assert_eq!((stats.done, stats.failed, stats.restarts), (200, 3, 3));
    let blamed: Vec<_> = stats.deaths.iter().filter_map(|death| death.task).collect();
    assert!([&killed, &aborted, &exited].iter().all(|task| blamed.contains(&task.id())));
}

#[test]
fn of_a_chunk_only_the_item_that_was_running_is_lost() {
    let _dog = watchdog(PATIENCE);
    let count = Shared::new(AtomicU64::new(0)).unwrap();
    let pool = ProcessPool::builder().workers(2).chunk_size(50).build().unwrap();
    let items = (0..200_u64).map(|n| (n, count.clone()));
    let results: Vec<_> = pool
        .imap(
            |(n, count): (u64, Shared<AtomicU64>)| {
                count.fetch_add(1, SeqCst);
                if n % 60 == 33 {
                    kill_myself(9);
                }
                n
            },
            items,
        )
        .collect();
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(value) => assert!(*value == n as u64 && n % 60 != 33),
            Err(e) => assert!(n % 60 == 33 && matches!(e, TaskError::WorkerDied { signal: Some(9), .. }), "{n}: {e}"),
        }
    }
    assert_eq!((results.len(), count.load(SeqCst)), (200, 200), "each item ran once");
}

#[test]
fn panics_and_values_that_do_not_travel_are_errors_of_their_task() {
    let _dog = watchdog(PATIENCE);
    #[derive(Debug)]
    struct Bad;
    impl serde::Serialize for Bad {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    impl<'de> serde::Deserialize<'de> for Bad {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("never"))
        }
    }
    #[derive(Debug, serde::Serialize)]
    struct OneWay(u8);
    impl<'de> serde::Deserialize<'de> for OneWay {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("one way"))
        }
    }
    let pool = ProcessPool::new(1).unwrap();
    let pid = pool.stats().workers[0].pid;
    let panic = pool.apply(|| -> () { panic!("number {}", 7) }, ());
    let Err(TaskError::Panicked { message, location, .. }) = panic else { panic!("{panic:?}") };
    assert!(message == "number 7" && location.contains("process.rs"), "{message} {location}");
    let odd = pool.apply(|| -> () { std::panic::panic_any(7_u8) }, ());
    assert!(matches!(odd, Err(TaskError::Panicked { .. })));
    assert!(matches!(pool.apply(|_: Bad| (), (Bad,)), Err(TaskError::Encode(_))));
    assert!(matches!(pool.apply(|| Bad, ()), Err(TaskError::Encode(_))));
    assert!(matches!(pool.apply(|| OneWay(1), ()), Err(TaskError::Encode(why)) if why.contains("one way")));
    let results: Vec<_> = pool.imap(|n: u8| if n == 2 { panic!("two") } else { n }, 0..5).collect();
    assert!(matches!(&results[2], Err(TaskError::Panicked { message, .. }) if message == "two"));
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 4);
    let some_bad = |n: u8| (n == 7).then_some(Bad);
    let error = pool.map_chunked(some_bad, 0..10, 4).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("value cannot be sent: the result for item 7 of the input: "), "{error}");
    let bad_items = (0..10).map(|n| (n == 6).then_some(Bad));
    let error = pool.map_chunked(|_: Option<Bad>| (), bad_items, 4).unwrap_err().to_string();
    assert!(error.starts_with("value cannot be sent: item 6 of the input: "), "{error}");
    let results: Vec<_> = pool.imap(|n: u8| (n == 2).then_some(Bad), 0..4).map(|r| r.is_ok()).collect();
    assert_eq!(results, [true, true, false, true]);
    assert_eq!((pool.stats().workers[0].pid, pool.stats().restarts), (pid, 0), "no worker died of it");
}

#[test]
fn idle_workers_that_are_killed_are_replaced() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    for n in 0..20 {
        let pid = pool.stats().workers[n % 2].pid.unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::SIGKILL).unwrap();
        while pool.stats().restarts == n as u64 || pool.stats().workers.len() < 2 {
            std::thread::yield_now();
        }
        assert_eq!(pool.map(double, 0..4).unwrap(), [0, 2, 4, 6]);
    }
}

#[test]
fn results_of_a_hundred_megabytes() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let big = pool.apply(|n: usize| String::from_utf8(vec![b'x'; n]).unwrap(), (100_000_000,)).unwrap();
    assert_eq!(pool.apply(|s: String| s.len(), (big,)).unwrap(), 100_000_000);
    let results: Vec<_> = pool.imap(|n| "y".repeat(n), [10, 100_000, 10, 70_000]).map(|r| r.unwrap().len()).collect();
    assert_eq!(results, [10, 100_000, 10, 70_000]);
}

#[test]
fn a_late_task_is_killed_and_its_neighbours_are_not() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(1).task_timeout(Duration::from_secs(1)).build().unwrap();
    let stuck: Task<()> = pool.apply_async(
        || -> () {
            loop {
                std::thread::park()
            }
        },
        (),
    );
    let quick: Vec<_> = (0..50).map(|n| pool.apply_async(double, (n,))).collect();
    assert!(matches!(stuck.get(), Err(TaskError::TimedOut)));
    assert!(quick.iter().all(|task| task.get().is_ok()));
    assert_eq!(pool.stats().restarts, 1);
    let results: Vec<_> = pool
        .imap_unordered(
            |n: u32| {
                if n == 3 {
                    loop {
                        std::thread::park()
                    }
                } else {
                    n
                }
            },
            0..10,
        )
        .map(|result| result.map_err(|e| matches!(e, TaskError::TimedOut)))
        .collect();
    assert_eq!(results.iter().filter(|r| **r == Err(true)).count(), 1);
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 9);
}

#[test]
fn nobody_waits_behind_a_long_task() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    // Short ones first, so that the pool believes in short tasks and hands out many at a time.
    pool.map(double, 0..10_000).unwrap();
    (0..2000).map(|n| pool.apply_async(double, (n,))).collect::<Vec<_>>().iter().for_each(|t| t.wait());
    let gate = Shared::new(AtomicU64::new(0)).unwrap();
    let wait_at = |gate: Shared<AtomicU64>| {
        while gate.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
    };
    let long = pool.apply_async(wait_at, (gate.clone(),));
    let short: Vec<_> = (0..100).map(|n| pool.apply_async(double, (n,))).collect();
    assert!(short.iter().all(|task| task.get().is_ok()));
    assert!(!long.ready());
    gate.store(1, SeqCst);
    long.get().unwrap();
}

#[test]
fn retries_run_a_task_again_and_quarantine_ends_them() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(2).retries(2).retry_delay(Duration::from_millis(1)).build().unwrap();
    let tries = Shared::new(AtomicU64::new(0)).unwrap();
    let third_time = |tries: Shared<AtomicU64>| {
        if tries.fetch_add(1, SeqCst) < 2 {
            kill_myself(9);
        }
        "survived".to_owned()
    };
    let task = pool.apply_async(third_time, (tries.clone(),));
    let poison = pool.apply_async(kill_myself, (11,));
    assert_eq!(task.get().unwrap(), "survived");
    assert!(matches!(poison.get(), Err(TaskError::Quarantined)));
    let stats = pool.stats();
    assert_eq!((tries.load(SeqCst), stats.retried, stats.failed, stats.done), (3, 4, 1, 1));
    let results: Vec<_> = pool
        .imap(
            |n: u8| {
                if n == 5 {
                    kill_myself(9)
                }
            },
            0..20,
        )
        .collect();
    assert!(results.iter().enumerate().all(|(n, r)| r.is_ok() != (n == 5)));
    assert!(matches!(results[5], Err(TaskError::Quarantined)));
}

#[test]
fn a_task_that_is_given_up_leaves_the_crash_of_each_attempt() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(1).retries(1).retry_delay(Duration::from_millis(1)).build().unwrap();
    let poison = pool.apply_async(|| -> () { std::process::abort() }, ());
    assert!(matches!(poison.get(), Err(TaskError::Quarantined)));
    let deaths = pool.stats().deaths;
    assert_eq!(deaths.len(), 2);
    assert!(deaths.iter().all(|death| death.crash.as_ref().is_some_and(|crash| crash.signal() == 6)));
}

/// A panic under a limit is told as one, and never hangs. What std needs to print a backtrace, tens of megabytes, may be
/// more than the task has.
#[test]
fn a_panic_under_a_memory_limit_is_a_panic() {
    let _dog = watchdog(PATIENCE);
    fn in_a_pool(mib: u64, fill: usize) -> String {
        let pool = ProcessPool::builder().workers(1).memory_limit(mib << 20).build().unwrap();
        let fail = |fill: usize| -> u8 { panic!("bad input {}", std::hint::black_box(vec![1_u8; fill << 20]).len()) };
        pool.apply(fail, (fill,)).unwrap_err().to_string()
    }
    for (mib, fill) in [(16, 0), (64, 0), (64, 60), (256, 0)] {
        for setting in [None, Some("0"), Some("1")] {
            let host = Process::builder().env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE");
            let host = setting.into_iter().fold(host, |host, setting| host.env("RUST_BACKTRACE", setting));
            let told = host.spawn(in_a_pool, (mib, fill)).unwrap().join().unwrap();
            let may_exceed = fill > 0 || (mib == 16 && setting == Some("1"));
            let is_told = told.contains("bad input") || (may_exceed && told.contains("memory limit"));
            assert!(is_told, "{mib} MiB, {fill} filled, {setting:?}: {told}");
        }
    }
}

#[test]
fn memory_is_limited_while_the_task_runs() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(1).memory_limit(64 << 20).build().unwrap();
    let take = |mib: usize| std::hint::black_box(vec![1_u8; mib << 20]).len();
    for _ in 0..10 {
        assert_eq!(pool.apply(take, (32,)).unwrap(), 32 << 20);
    }
    assert!(matches!(pool.apply(take, (256,)), Err(TaskError::MemoryLimit)));
    assert_eq!(pool.apply(take, (32,)).unwrap(), 32 << 20);
    // An abort of another cause is one, with the limit on, too.
    let abort = pool.apply(|| -> () { std::process::abort() }, ());
    let Err(TaskError::WorkerDied { signal: Some(6), crash: Some(crash), .. }) = abort else { panic!("{abort:?}") };
    assert_eq!(crash.cause(), CrashCause::Abort);
}

#[test]
fn a_worker_that_crashes_says_where() {
    let _dog = watchdog(PATIENCE);
    fn recurse(n: u64) -> u64 {
        let room = std::hint::black_box([n; 64]);
        if n == u64::MAX { 0 } else { recurse(n + 1) + room[7] }
    }
    let pool = ProcessPool::new(2).unwrap();
    let error = pool.apply(recurse, (0,)).unwrap_err();
    let TaskError::WorkerDied { crash: Some(crash), .. } = &error else { panic!("{error:?}") };
    assert_eq!(crash.cause(), CrashCause::StackOverflow);
    assert!(
        crash.frames().iter().any(|frame| frame.function().is_some_and(|name| name.ends_with("recurse"))),
        "{crash}"
    );
    assert!(error.to_string().ends_with("stack overflow"), "{error}");
    // Each item of a map has its own.
    let results: Vec<_> = pool.imap(|n: u64| if n == 3 { recurse(0) } else { n }, 0..5).collect();
    assert!(matches!(&results[3], Err(TaskError::WorkerDied { crash: Some(_), .. })), "{results:?}");
    assert!(results.iter().filter(|result| result.is_ok()).count() == 4);
}

#[test]
fn workers_are_replaced_after_so_many_tasks() {
    let _dog = watchdog(PATIENCE);
    let none = ProcessPool::builder().max_tasks_per_child(0).build();
    assert!(matches!(none, Err(PoolError::Setting("max_tasks_per_child"))));
    let pool = ProcessPool::builder().workers(2).max_tasks_per_child(10).chunk_size(3).build().unwrap();
    let pid = |_: u32| std::process::id();
    let longest = |mut pids: Vec<u32>| {
        pids.sort();
        pids.chunk_by(|a, b| a == b).map(<[u32]>::len).max().unwrap()
    };
    let tasks: Vec<_> = (0..200).map(|n| pool.apply_async(pid, (n,))).collect();
    assert_eq!(longest(tasks.iter().map(|t| t.get().unwrap()).collect()), 10);
    // A chunk of a map is one task, as in Python.
    assert_eq!(longest(pool.map(pid, 0..300).unwrap()), 30);
    assert_eq!(pool.stats().failed, 0);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn initializers_run_in_every_worker_or_break_the_pool() {
    let _dog = watchdog(PATIENCE);
    static PLACE: AtomicU64 = AtomicU64::new(0);
    let pool = ProcessPool::builder().workers(2).initializer(|n: u64| PLACE.store(n, SeqCst), (7,)).build().unwrap();
    assert!(pool.map(|_: u8| PLACE.load(SeqCst), 0..20).unwrap().iter().all(|n| *n == 7));
    assert_eq!(PLACE.load(SeqCst), 0);
    let panics = ProcessPool::builder().workers(2).initializer(|| panic!("not today"), ()).build().unwrap_err();
    assert!(matches!(panics, PoolError::Initializer(why) if why.contains("not today")));
    let dies = ProcessPool::builder().workers(2).initializer(|| std::process::abort(), ()).build().unwrap_err();
    assert!(matches!(dies, PoolError::RestartStorm(why) if why.contains("signal 6")));
    // One that fails only later: the pool breaks, and says so to everybody.
    let good = Shared::new(AtomicU64::new(1)).unwrap();
    let check = |good: Shared<AtomicU64>| assert_eq!(good.load(SeqCst), 1, "went bad");
    let pool = ProcessPool::builder().workers(1).initializer(check, (good.clone(),)).build().unwrap();
    good.store(0, SeqCst);
    let victim = pool.apply_async(kill_myself, (9,));
    let queued = pool.apply_async(double, (1,));
    assert!(matches!(victim.get(), Err(TaskError::WorkerDied { .. })));
    assert!(matches!(queued.get(), Err(TaskError::Broken(PoolError::Initializer(_)))));
    assert!(matches!(pool.apply(double, (1,)), Err(TaskError::Broken(_))));
    assert!(matches!(pool.join(), Err(PoolError::Initializer(_))));
}

#[test]
fn cancelled_tasks_do_not_run_or_are_killed() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(1).unwrap();
    let gate = Shared::new(AtomicU64::new(0)).unwrap();
    let stuck: Task<()> = pool.apply_async(
        |gate: Shared<AtomicU64>| {
            gate.store(1, SeqCst);
            loop {
                std::thread::park();
            }
        },
        (gate.clone(),),
    );
    let queued: Vec<_> = (0..10)
        .map(|_| pool.apply_async(|gate: Shared<AtomicU64>| gate.fetch_add(1, SeqCst), (gate.clone(),)))
        .collect();
    while gate.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert!(queued.iter().step_by(2).all(|task| task.cancel()));
    assert!(matches!(stuck.get_timeout(Duration::ZERO), Err(TaskError::TimedOut)));
    assert!(stuck.cancel() && !stuck.cancel());
    assert!(matches!(stuck.get(), Err(TaskError::Cancelled)));
    for (n, task) in queued.iter().enumerate() {
        assert!(matches!((n % 2, task.get()), (0, Err(TaskError::Cancelled)) | (1, Ok(_))));
    }
    assert_eq!(gate.load(SeqCst), 6);
}

#[test]
fn every_way_down_ends() {
    let _dog = watchdog(PATIENCE);
    let hang = || -> () {
        loop {
            std::thread::park()
        }
    };
    let pids = |pool: &ProcessPool| pool.stats().workers.iter().filter_map(|w| w.pid).collect::<Vec<_>>();
    let gone =
        |pids: Vec<u32>| pids.iter().all(|pid| kernel::identity::ProcessId::of(*pid).is_none_or(|id| !id.is_alive()));

    let pool = ProcessPool::new(2).unwrap();
    let workers = pids(&pool);
    let tasks: Vec<_> = (0..500).map(|n| pool.apply_async(double, (n,))).collect();
    pool.close();
    pool.join().unwrap();
    assert!(tasks.iter().all(|task| task.ready() && task.get().is_ok()) && gone(workers));

    let pool = ProcessPool::new(2).unwrap();
    let workers = pids(&pool);
    let tasks: Vec<_> = (0..10).map(|_| pool.apply_async(hang, ())).collect();
    pool.terminate();
    assert!(tasks.iter().all(|task| matches!(task.get(), Err(TaskError::Cancelled))));
    pool.join().unwrap();
    assert!(gone(workers));

    let pool = ProcessPool::new(2).unwrap();
    let workers = pids(&pool);
    let task = pool.apply_async(hang, ());
    drop(pool);
    assert!(matches!(task.get(), Err(TaskError::Cancelled)) && gone(workers));

    // Closed while a worker dies and another task is retried.
    let pool = ProcessPool::builder().workers(2).retries(1).build().unwrap();
    let poison = pool.apply_async(kill_myself, (9,));
    let tasks: Vec<_> = (0..100).map(|n| pool.apply_async(double, (n,))).collect();
    pool.close();
    pool.join().unwrap();
    assert!(matches!(poison.get(), Err(TaskError::Quarantined)));
    assert!(tasks.iter().all(|task| task.get().is_ok()));
}

#[test]
fn pools_in_pools() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let nested = |n: u64| {
        let pool = ProcessPool::new(2).unwrap();
        pool.map(double, 0..n).unwrap().into_iter().sum::<u64>()
    };
    let tasks: Vec<_> = [10, 20].map(|n| pool.apply_async(nested, (n,))).into();
    assert_eq!(tasks.iter().map(|t| t.get().unwrap()).collect::<Vec<_>>(), [90, 380]);
}

#[test]
fn many_threads_share_a_pool() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    std::thread::scope(|scope| {
        for t in 0..4_u64 {
            let pool = &pool;
            scope.spawn(move || {
                for n in 0..500 {
                    assert_eq!(pool.apply(double, (n + t,)).unwrap(), 2 * (n + t));
                }
                assert_eq!(pool.map(double, 0..5000).unwrap().len(), 5000);
            });
        }
    });
}

#[test]
fn callbacks_may_block_panic_and_use_the_pool() {
    let _dog = watchdog(PATIENCE);
    let pool = std::sync::Arc::new(ProcessPool::new(1).unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    let inside = pool.clone();
    let task = pool.apply_async_with(double, (4,), move |result| {
        let more = inside.apply(double, (*result.as_ref().unwrap(),)).unwrap();
        tell.send(more).unwrap();
        panic!("dropped");
    });
    assert_eq!(task.get().unwrap(), 8);
    assert_eq!(told.recv().unwrap(), 16);
    assert_eq!(pool.apply(double, (1,)).unwrap(), 2);
}

#[test]
fn idle_workers_leave_and_come_back() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(3).idle_timeout(Duration::from_millis(20)).build().unwrap();
    for round in 0..3 {
        while !pool.stats().workers.is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(pool.apply(double, (round,)).unwrap(), 2 * round);
        assert_eq!(pool.map(double, 0..100).unwrap().len(), 100);
    }
    // Three tasks that wait for each other need all three.
    let met = Shared::new(AtomicU64::new(0)).unwrap();
    let meet = |met: Shared<AtomicU64>| {
        met.fetch_add(1, SeqCst);
        while met.load(SeqCst) < 3 {
            std::thread::yield_now();
        }
    };
    let tasks: Vec<_> = (0..3).map(|_| pool.apply_async(meet, (met.clone(),))).collect();
    assert!(tasks.iter().all(|task| task.get().is_ok()));
    assert!(pool.stats().deaths.is_empty());
}

#[test]
fn a_task_with_a_callback_does_not_wait_behind_a_long_one() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    (0..2000).map(|n| pool.apply_async(double, (n,))).collect::<Vec<_>>().iter().for_each(|t| t.wait());
    let gate = Shared::new(AtomicU64::new(0)).unwrap();
    let wait_at = |gate: Shared<AtomicU64>| {
        while gate.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
    };
    let long = pool.apply_async(wait_at, (gate.clone(),));
    // Nobody waits for these: it is up to the pool to see that one of them stands behind the long one.
    let (tell, told) = std::sync::mpsc::channel();
    for n in 0..10 {
        let tell = tell.clone();
        drop(pool.apply_async_with(double, (n,), move |result| tell.send(*result.as_ref().unwrap()).unwrap()));
    }
    let mut results: Vec<_> = (0..10).map(|_| told.recv().unwrap()).collect();
    results.sort();
    assert_eq!(results, (0..10).map(double).collect::<Vec<_>>());
    assert!(!long.ready());
    gate.store(1, SeqCst);
    long.get().unwrap();
}

/// A single short one, which to put behind the other costs less than to wake who sleeps: until that takes long.
#[test]
fn a_short_task_does_not_stay_behind_a_long_one() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    for round in 1..30 {
        (0..500).map(|n| pool.apply_async(double, (n,))).collect::<Vec<_>>().iter().for_each(|t| t.wait());
        let gate = Shared::new(AtomicU64::new(0)).unwrap();
        let wait_at = |gate: Shared<AtomicU64>| {
            while gate.load(SeqCst) == 0 {
                std::thread::yield_now();
            }
        };
        let long = pool.apply_async(wait_at, (gate.clone(),));
        let tell = tell.clone();
        drop(pool.apply_async_with(double, (round,), move |result| tell.send(*result.as_ref().unwrap()).unwrap()));
        assert_eq!(told.recv(), Ok(double(round)));
        assert!(!long.ready());
        gate.store(1, SeqCst);
        long.get().unwrap();
    }
}

#[test]
fn a_window_bounds_a_map_without_cutting_it_short() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(2).window(8).chunk_size(3).build().unwrap();
    let expected: Vec<u64> = (0..100).map(double).collect();
    assert_eq!(pool.map(double, 0..100).unwrap(), expected);
    assert_eq!(pool.imap(double, 0..100).collect::<Result<Vec<_>, _>>().unwrap(), expected);
}

#[test]
fn the_panic_of_a_task_is_no_initializers_after_terminate() {
    let _dog = watchdog(Duration::from_secs(60));
    for round in 0..200_u64 {
        let pool = ProcessPool::new(2).unwrap();
        let tasks: Vec<_> =
            (0..8).map(|n| pool.apply_async(|n: u64| -> u64 { resume_unwind(Box::new(n)) }, (n,))).collect();
        assert!(tasks[round as usize % 4].get().is_err());
        pool.terminate();
        assert!(matches!(pool.join(), Ok(())), "in round {round}");
    }
}
