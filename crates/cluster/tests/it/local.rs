//! The vocabulary of pools, on a cluster of this machine.

use std::{
    hint::black_box,
    pin::Pin,
    process::abort,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use cluster::ClusterPool;
use pool::{Executor, ProcessPool, TaskError, ThreadPool};
use proc_core::{CrashCause, CrashReport};
use serde::{Deserialize, Serialize};

use crate::support::local;

fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn smoke() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 2) else { return };
    assert_eq!(pool.apply(|a: u64, b: u64| a * b, (6, 7)), Ok(42));
    assert_eq!(pool.apply_async(|name: String| name + "!", ("hi".into(),)).get(), Ok("hi!".to_owned()));
    assert_eq!(pool.map(square, 0..100_u64).unwrap(), (0..100).map(square).collect::<Vec<_>>());
    assert_eq!(pool.starmap(|a: u8, b: u8| a + b, [(1, 2), (3, 4)]), Ok(vec![3, 7]));
    assert_eq!(pool.imap(square, 0..50_u64).collect::<Result<Vec<_>, _>>().unwrap()[49], 49 * 49);
    let mut unordered: Vec<_> = pool.imap_unordered(square, 0..50_u64).map(Result::unwrap).collect();
    unordered.sort_unstable();
    assert_eq!(unordered, (0..50).map(square).collect::<Vec<_>>());
    assert_eq!(pool.map_async(square, 0..10_u64).get().unwrap().len(), 10);
    assert_eq!(pool.hosts().len(), 2);
    pool.close();
    assert_eq!(pool.apply(square, (1,)), Err(TaskError::Closed));
    pool.join().unwrap();
    let stats = pool.stats();
    assert_eq!((stats.done, stats.failed, stats.queued, stats.running), (2 + 100 + 2 + 50 + 50 + 10, 1, 0, 0));
}

#[test]
fn each_failure_is_told_apart_and_costs_one_task() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    let panicked = pool.apply(|| -> u8 { panic!("nought") }, ());
    assert!(
        matches!(&panicked, Err(TaskError::Panicked { message, location, .. }) if message == "nought" && location.contains("local.rs")),
        "{panicked:?}"
    );
    let died = pool.apply(|| -> u8 { abort() }, ());
    assert!(matches!(died, Err(TaskError::WorkerDied { signal: Some(6), .. })), "{died:?}");
    let late = pool.task(|| thread::sleep(Duration::from_secs(60)), ()).timeout(Duration::from_millis(100)).submit();
    assert_eq!(late.get(), Err(TaskError::TimedOut));
    let hungry = pool.task(|| black_box(vec![1_u8; 1 << 30]).len(), ()).memory_limit(64 << 20).submit();
    assert_eq!(hungry.get(), Err(TaskError::MemoryLimit));
    let poison = pool.task(|| -> u8 { abort() }, ()).retries(2).name("poison").submit();
    assert_eq!((poison.name(), poison.get()), (Some("poison"), Err(TaskError::Quarantined)));
    let handle = pool.apply(|_: proc_core::Fd| (), (std::fs::File::open("/dev/null").unwrap().into(),));
    assert!(matches!(&handle, Err(TaskError::Encode(why)) if why.contains("Fd")), "{handle:?}");
    let back = pool.apply(|| proc_core::Fd::from(std::fs::File::open("/dev/null").unwrap()), ());
    assert!(matches!(&back, Err(TaskError::Encode(why)) if why.contains("handle")), "{back:?}");
    assert_eq!(pool.apply(square, (3,)), Ok(9));
}

fn recurse(n: u64) -> u64 {
    if n == u64::MAX { 0 } else { black_box(recurse(black_box(n + 1))) + 1 }
}

fn give_up() {
    abort()
}

#[test]
fn crash_report_of_a_worker_arrives_with_the_names_of_its_functions() {
    let Some((_dog, pool)) = local(ClusterPool::builder().chunk_size(40), 1) else { return };
    let is_in = |crash: &CrashReport, function: &str| {
        crash.frames().iter().any(|frame| frame.function().is_some_and(|name| name.ends_with(function)))
    };
    let died = pool.apply(recurse, (0,));
    let Err(TaskError::WorkerDied { pid, signal: Some(11), crash: Some(crash), .. }) = &died else {
        panic!("{died:?}")
    };
    assert_eq!((crash.cause(), crash.signal()), (CrashCause::StackOverflow, 11));
    assert!(crash.address().is_some() && is_in(crash, "::recurse"), "{crash}");
    assert_ne!(*pid, std::process::id());
    assert!(died.unwrap_err().to_string().contains("stack overflow"));
    let died = pool.apply(give_up, ());
    let Err(TaskError::WorkerDied { signal: Some(6), crash: Some(crash), .. }) = &died else { panic!("{died:?}") };
    assert!(crash.cause() == CrashCause::Abort && is_in(crash, "::give_up"), "{crash}");
    // Of one task's many calls, the first ones have theirs.
    let many: Vec<_> = pool
        .imap(
            |n: u8| {
                if n < 20 {
                    give_up()
                }
            },
            0..40,
        )
        .collect();
    let has_report =
        |result: &&Result<(), TaskError>| matches!(result, Err(TaskError::WorkerDied { crash: Some(_), .. }));
    assert_eq!(many.iter().filter(|result| result.is_err()).count(), 20);
    assert_eq!(many.iter().filter(has_report).count(), 16);
}

/// A number that most others are no such number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Even(u8);

impl TryFrom<u8> for Even {
    type Error = String;

    fn try_from(n: u8) -> Result<Self, String> {
        if n.is_multiple_of(2) { Ok(Self(n)) } else { Err(format!("{n} is odd")) }
    }
}

impl From<Even> for u8 {
    fn from(even: Even) -> Self {
        even.0
    }
}

#[test]
fn values_that_cannot_be_read_are_told_apart() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    assert_eq!(pool.apply(|even: Even| even, (Even(2),)), Ok(Even(2)));
    let odd = pool.apply(|| (Even(2), Even(3)).1, ());
    assert!(
        matches!(&odd, Err(TaskError::Decode(why) | TaskError::Encode(why)) if why.contains("3 is odd")),
        "{odd:?}"
    );
    let odd = pool.apply(|even: Even| even, (Even(3),));
    assert!(
        matches!(&odd, Err(TaskError::Decode(why) | TaskError::Encode(why)) if why.contains("3 is odd")),
        "{odd:?}"
    );
    let mut task = pool.apply_async(square, (3,));
    let mut context = Context::from_waker(Waker::noop());
    task.wait();
    assert_eq!(Pin::new(&mut task).poll(&mut context), Poll::Ready(Ok(9)));
    assert_eq!(task.get(), Err(TaskError::Taken));
}

/// Panics where it is dropped in the process that wanted it.
#[derive(Serialize, Deserialize)]
struct Unwanted {
    home: u32,
}

impl Drop for Unwanted {
    fn drop(&mut self) {
        assert!(self.home != std::process::id() || thread::panicking(), "dropped at home");
    }
}

#[test]
fn result_that_nobody_takes_may_panic_in_its_drop() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 2) else { return };
    let home = std::process::id();
    (0..100).for_each(|_| drop(pool.apply_async(|home| Unwanted { home }, (home,))));
    drop(pool.map_async(|home| Unwanted { home }, vec![home; 100]));
    assert_eq!(pool.apply_async(square, (7,)).get_timeout(Duration::from_secs(60)), Ok(49));
    pool.close();
    pool.join().unwrap();
}

#[test]
fn one_item_of_a_map_fails_alone() {
    let Some((_dog, pool)) = local(ClusterPool::builder().chunk_size(10), 2) else { return };
    let odd = |n: u64| match n {
        13 => abort(),
        17 => panic!("seventeen"),
        n => n,
    };
    let results: Vec<_> = pool.imap(odd, 0..30_u64).collect();
    for (n, result) in results.iter().enumerate() {
        match n {
            13 => assert!(matches!(result, Err(TaskError::WorkerDied { signal: Some(6), .. })), "{result:?}"),
            17 => assert!(matches!(result, Err(TaskError::Panicked { .. })), "{result:?}"),
            n => assert_eq!(*result, Ok(n as u64)),
        }
    }
    assert_eq!(results.len(), 30);
}

#[test]
fn cancelled_and_terminated_tasks_end_at_once_and_make_room() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    let long = pool.apply_async(|| thread::sleep(Duration::from_secs(600)), ());
    let waiting = pool.apply_async(|| thread::sleep(Duration::from_secs(600)), ());
    assert!(waiting.cancel() && !waiting.cancel());
    assert!(long.cancel());
    assert_eq!((long.get(), waiting.get()), (Err(TaskError::Cancelled), Err(TaskError::Cancelled)));
    assert_eq!(pool.apply(square, (3,)), Ok(9));
    // More than an agent has in hand: those that are still to come do not run either.
    let many: Vec<_> = (0..20).map(|_| pool.apply_async(|| thread::sleep(Duration::from_secs(600)), ())).collect();
    assert!(many.iter().all(|task| task.cancel()));
    assert_eq!(pool.apply(square, (3,)), Ok(9));
    let long = pool.apply_async(|| thread::sleep(Duration::from_secs(600)), ());
    pool.terminate();
    assert_eq!(long.get(), Err(TaskError::Cancelled));
    pool.join().unwrap();
}

#[test]
fn threads_share_a_pool() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    let sum = || pool.map(square, 0..10_u64).unwrap().iter().sum::<u64>();
    let sums = thread::scope(|scope| [(); 3].map(|()| scope.spawn(sum)).map(|thread| thread.join().unwrap()));
    assert_eq!(sums, [285; 3]);
}

#[test]
fn all_three_pools_run_the_same_function() {
    fn sum(pool: &impl Executor) -> u64 {
        let squares: u64 = pool.map(square, 0..20_u64).unwrap().iter().sum();
        squares
            + pool.apply(square, (100,)).unwrap()
            + pool.imap_unordered(square, [1_u64]).map(Result::unwrap).sum::<u64>()
    }
    let expected = 2470 + 10_000 + 1;
    assert_eq!(sum(&ThreadPool::new(2).unwrap()), expected);
    assert_eq!(sum(&ProcessPool::new(2).unwrap()), expected);
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    assert_eq!(sum(&pool), expected);
}

#[test]
fn callbacks_are_called_before_the_result_is_there() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    let (told, tells) = std::sync::mpsc::channel();
    let task = pool.apply_async(square, (4_u64,));
    task.on_done(move |result| told.send(result.clone()).unwrap());
    assert_eq!(task.get(), Ok(16));
    assert_eq!(tells.recv().unwrap(), Ok(16));
}

#[test]
fn values_of_many_megabytes_go_both_ways() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 2) else { return };
    for n_bytes in [100 << 10, 200 << 10, 3 << 20, 20 << 20] {
        let sent: Vec<u8> = (0..=255).cycle().take(n_bytes).collect();
        let back = pool
            .apply(
                |mut bytes: Vec<u8>| {
                    bytes.reverse();
                    bytes
                },
                (sent.clone(),),
            )
            .unwrap();
        assert!(back.iter().rev().eq(&sent), "{n_bytes}");
    }
    let texts = pool.map(|n: usize| "x".repeat(n), (0..40).map(|n| n * 20_000)).unwrap();
    assert!(texts.iter().enumerate().all(|(n, text)| text.len() == n * 20_000));
    assert_eq!(pool.n_resubmitted(), 0);
}
