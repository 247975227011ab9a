use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use pool::{PoolError, ProcessPool, Task, TaskError};
use proc_core::shm::Shared;
use test_support::watchdog;

const PATIENCE: Duration = Duration::from_secs(30);

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
    assert!(matches!(killed.get(), Err(TaskError::WorkerDied { signal: Some(9), pid }) if pid > 0));
    assert!(matches!(aborted.get(), Err(TaskError::WorkerDied { signal: Some(6), .. })));
    assert!(matches!(exited.get(), Err(TaskError::WorkerDied { signal: None, .. })));
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
    let Err(TaskError::Panicked { message, location, backtrace }) = panic else { panic!("{panic:?}") };
    assert!(message == "number 7" && location.contains("process.rs") && backtrace.contains("call"), "{backtrace}");
    let odd = pool.apply(|| -> () { std::panic::panic_any(7_u8) }, ());
    assert!(matches!(odd, Err(TaskError::Panicked { .. })));
    assert!(matches!(pool.apply(|_: Bad| (), (Bad,)), Err(TaskError::Encode(_))));
    assert!(matches!(pool.apply(|| Bad, ()), Err(TaskError::Encode(_))));
    assert!(matches!(pool.apply(|| OneWay(1), ()), Err(TaskError::Decode(_))));
    let results: Vec<_> = pool.imap(|n: u8| if n == 2 { panic!("two") } else { n }, 0..5).collect();
    assert!(matches!(&results[2], Err(TaskError::Panicked { message, .. }) if message == "two"));
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 4);
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
