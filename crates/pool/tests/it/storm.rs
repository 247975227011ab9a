//! Workers killed at random while everything is in motion.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::SIGKILL;
use pool::{ProcessPool, TaskError};
use proc_core::shm::Shared;
use test_support::{processes::Child, watchdog};

/// Kills a random worker again and again while `work` runs; returns how many it killed.
pub(super) fn under_fire<R>(pool: &ProcessPool, pause: Duration, work: impl FnOnce(&AtomicU64) -> R) -> (R, u64) {
    let over = AtomicBool::new(false);
    let kills = AtomicU64::new(0);
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = 0x9E37_79B9_7F4A_7C15_u64;
            while !over.load(SeqCst) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let pids: Vec<_> = pool.stats().workers.iter().filter_map(|w| w.pid).collect();
                if let Some(pid) = pids.get((random >> 33) as usize % pids.len().max(1))
                    && Child::of(*pid).is_some_and(|worker| worker.signal(SIGKILL))
                {
                    kills.fetch_add(1, SeqCst);
                }
                thread::sleep(pause * ((random >> 40) as u32 % 3));
            }
        });
        let result = work(&kills);
        over.store(true, SeqCst);
        result
    });
    let kills = kills.load(SeqCst);
    assert!(kills > 0, "the storm has killed nobody");
    (result, kills)
}

const N: usize = 20_000;
type Marks = Shared<[AtomicU8; N]>;

#[test]
fn tasks_run_at_most_once_and_every_one_ends() {
    let _dog = watchdog(Duration::from_secs(100));
    static MARKS: std::sync::OnceLock<Marks> = std::sync::OnceLock::new();
    let marks: Marks = Shared::new([const { AtomicU8::new(0) }; N]).unwrap();
    let pool = ProcessPool::builder()
        .workers(3)
        .initializer(|marks: Marks| drop(MARKS.set(marks)), (marks.clone(),))
        .build()
        .unwrap();
    let run = |n: usize| {
        let ran = MARKS.get().unwrap()[n].fetch_add(1, SeqCst);
        assert_eq!(ran, 0);
        (0..200).fold(n, |x, _| std::hint::black_box(x))
    };
    let (results, kills) = under_fire(&pool, Duration::from_millis(4), |_| {
        let tasks: Vec<_> = (0..N).map(|n| pool.apply_async(run, (n,))).collect();
        tasks.iter().map(|task| task.get()).collect::<Vec<_>>()
    });
    check(&results, &marks, kills);
    marks.iter().for_each(|mark| mark.store(0, SeqCst));
    let (results, kills) = under_fire(&pool, Duration::from_millis(4), |_| pool.imap(run, 0..N).collect::<Vec<_>>());
    check(&results, &marks, kills);
}

fn check(results: &[Result<usize, TaskError>], marks: &Marks, kills: u64) {
    let mut n_lost = 0;
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(value) => assert_eq!((*value, marks[n].load(SeqCst)), (n, 1)),
            Err(TaskError::WorkerDied { signal: Some(9), .. }) => {
                n_lost += 1;
                assert!(marks[n].load(SeqCst) <= 1);
            }
            Err(e) => panic!("{n}: {e}"),
        }
    }
    assert!(results.len() == N && n_lost <= kills, "{n_lost} lost by {kills} kills");
    println!("{kills} kills cost {n_lost} of {N} tasks");
}

#[test]
fn with_retries_nothing_is_lost() {
    let _dog = watchdog(Duration::from_secs(100));
    let pool = ProcessPool::builder().workers(3).retries(1000).retry_delay(Duration::from_micros(100)).build().unwrap();
    let square = |n: u64| (0..500).fold(n, |x, _| std::hint::black_box(x)) * n;
    let ((), kills) = under_fire(&pool, Duration::from_millis(3), |_| {
        let mut seen: Vec<_> = pool.imap_unordered(square, 0..100_000).map(|r| r.unwrap()).collect();
        seen.sort();
        assert!(seen.iter().enumerate().all(|(n, square)| *square == (n * n) as u64));
    });
    println!("{kills} kills");
    pool.close();
    pool.join().unwrap();
}

#[test]
#[ignore = "takes a minute: a thousand kills among a million tasks, a thousand idle workers"]
fn a_thousand_kills() {
    let _dog = watchdog(Duration::from_secs(600));
    let pool = ProcessPool::new(2).unwrap();
    let work = |n: u64| (0..2000).fold(n, |x, _| std::hint::black_box(x));
    let ((ended, lost), kills) = under_fire(&pool, Duration::from_millis(8), |kills| {
        let (mut ended, mut lost) = (0_u64, 0_u64);
        while ended < 1_000_000 || kills.load(SeqCst) < 1000 {
            let tasks: Vec<_> = (0..10_000).map(|n| pool.apply_async(work, (n,))).collect();
            for task in tasks {
                ended += 1;
                match task.get() {
                    Ok(_) => {}
                    Err(TaskError::WorkerDied { .. }) => lost += 1,
                    Err(e) => panic!("{e}"),
                }
            }
        }
        (ended, lost)
    });
    println!("{kills} kills cost {lost} of {ended} tasks");
    assert!(lost <= kills);
    let mut times = Vec::new();
    for n in 0..1000 {
        let before = pool.stats();
        let pid = before.workers[n % before.workers.len()].pid.unwrap();
        let begun = Instant::now();
        assert!(Child::of(pid).is_some_and(|worker| worker.signal(SIGKILL)));
        while pool.stats().restarts == before.restarts || pool.stats().workers.len() < 2 {
            thread::yield_now();
        }
        times.push(begun.elapsed());
    }
    times.sort();
    let at = |percent| times[times.len() * percent / 100];
    println!("1000 idle workers killed: full size after {:?}, p99 {:?}, at most {:?}", at(50), at(99), times[999]);
    assert_eq!(pool.apply(work, (5,)).unwrap(), 5);
}
