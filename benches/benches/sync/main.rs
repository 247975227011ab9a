//! Locks beside their peers: alone, with two at it, and how long it takes to wake somebody.
//!
//! Ratios within one run count; absolute times belong to their machine, and contended ones to its moods: a busy
//! neighbour makes a contended lock look uncontended. The Python peers are in `benches/python`.

mod posix;

use std::{
    cell::Cell,
    hint::black_box,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use criterion::Criterion;
use posix::{Child, Mutex, RobustMutex, Semaphore, fork};
use proc_core::shm::Shared;
use sync::{process, thread};

const MADE: &str = "memory for a lock";
const ALIVE: &str = "nobody dies here";

/// Lock and unlock, with nobody else about.
fn alone(c: &mut Criterion) {
    let mut group = c.benchmark_group("sync/alone");
    let peer = parking_lot::Mutex::new(0u64);
    group.bench_function("parking_lot", |b| b.iter(|| *black_box(&peer).lock() += 1));
    let peer = std::sync::Mutex::new(0u64);
    group.bench_function("std", |b| b.iter(|| *black_box(&peer).lock().expect(ALIVE) += 1));
    let ours = thread::Lock::new(0u64);
    group.bench_function("thread::Lock", |b| b.iter(|| *black_box(&ours).lock() += 1));
    let ours = process::Lock::new(0u64).expect(MADE);
    group.bench_function("process::Lock", |b| b.iter(|| *black_box(&ours).lock().expect(ALIVE) += 1));
    let ours = process::RLock::new(Cell::new(0u64)).expect(MADE);
    group.bench_function("process::RLock", |b| {
        b.iter(|| {
            let guard = black_box(&ours).lock().expect(ALIVE);
            guard.set(guard.get() + 1);
        });
    });
    let ours = process::RwLock::new(0u64).expect(MADE);
    group.bench_function("process::RwLock, read", |b| b.iter(|| *black_box(&ours).read().expect(ALIVE)));
    group.bench_function("process::RwLock, write", |b| b.iter(|| *black_box(&ours).write().expect(ALIVE) += 1));
    let ours = process::Semaphore::new(1).expect(MADE);
    group.bench_function("process::Semaphore", |b| b.iter(|| drop(black_box(&ours).acquire())));
    let peer = Mutex::new();
    group.bench_function("pthread, shared", |b| b.iter(|| black_box(&peer).with(|| ())));
    let peer = RobustMutex::new();
    group.bench_function("pthread, shared and robust", |b| b.iter(|| black_box(&peer).with(|| ())));
    let peer = Semaphore::new(1);
    group.bench_function("POSIX semaphore", |b| b.iter(|| black_box(&peer).with(|| ())));
    group.finish();
}

/// Runs `work` in two processes until they have done it `n` times together; says how long that took, and how many per
/// cent of it the slower one did.
fn contend(n: u64, work: impl Fn()) -> (Duration, u64) {
    let counts = Shared::new([AtomicU64::new(0), AtomicU64::new(0)]).expect(MADE);
    let stop = Shared::new(AtomicU32::new(0)).expect(MADE);
    let run = |me: usize| {
        while stop.load(Relaxed) == 0 {
            work();
            counts[me].fetch_add(1, Relaxed);
        }
    };
    let total = || counts[0].load(Relaxed) + counts[1].load(Relaxed);
    let children = [fork(|| run(0)), fork(|| run(1))];
    while counts.iter().any(|count| count.load(Relaxed) == 0) {
        std::thread::sleep(Duration::from_micros(50));
    }
    let (begun, before) = (Instant::now(), total());
    while total() - before < n {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (took, done) = (begun.elapsed(), total() - before);
    stop.store(1, Relaxed);
    children.into_iter().for_each(Child::join);
    let (a, b) = (counts[0].load(Relaxed), counts[1].load(Relaxed));
    (took.mul_f64(n as f64 / done as f64), 100 * a.min(b) / (a + b))
}

/// Lock and unlock, two processes at it all the time.
fn contended(c: &mut Criterion) {
    let mut group = c.benchmark_group("sync/contended");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(2));
    let mut shares = Vec::new();
    let mut bench = |name: &'static str, work: &dyn Fn()| {
        let mut least = 100;
        group.bench_function(name, |b| {
            b.iter_custom(|n| {
                // Long enough for the start of the two not to count.
                let rounds = n.max(200_000);
                let (took, share) = contend(rounds, work);
                least = least.min(share);
                took.mul_f64(n as f64 / rounds as f64)
            });
        });
        shares.push((name, least));
    };
    let ours = process::Lock::new(0u64).expect(MADE);
    bench("process::Lock", &|| *ours.lock().expect(ALIVE) += 1);
    let ours = process::Semaphore::new(1).expect(MADE);
    bench("process::Semaphore", &|| drop(ours.acquire()));
    let peer = Mutex::new();
    bench("pthread, shared", &|| peer.with(|| ()));
    let peer = RobustMutex::new();
    bench("pthread, shared and robust", &|| peer.with(|| ()));
    let peer = Semaphore::new(1);
    bench("POSIX semaphore", &|| peer.with(|| ()));
    let count = Shared::new(AtomicU64::new(0)).expect(MADE);
    bench("no lock, an atomic addition", &|| {
        count.fetch_add(1, Relaxed);
    });
    group.finish();
    for (name, share) in shares {
        println!("sync/contended/{name}: the slower side had a share of {share} % or more");
    }
}

/// Wakes a process and is woken by it, which sleeps in between.
fn wake_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("sync/wake, there and back");
    let (there, back) = (process::Semaphore::new(0).expect(MADE), process::Semaphore::new(0).expect(MADE));
    let child = fork(|| {
        loop {
            there.acquire().forget();
            back.release(1).expect("never so many");
        }
    });
    group.bench_function("process::Semaphore", |b| {
        b.iter(|| {
            there.release(1).expect("never so many");
            back.acquire().forget();
        });
    });
    drop(child);
    let (there, back) = (Semaphore::new(0), Semaphore::new(0));
    let child = fork(|| {
        loop {
            there.wait();
            back.post();
        }
    });
    group.bench_function("POSIX semaphore", |b| {
        b.iter(|| {
            there.post();
            back.wait();
        });
    });
    drop(child);
    let (turn, changed) = (process::Lock::new(0u64).expect(MADE), process::Condvar::new().expect(MADE));
    let play = |parity: u64| {
        let mut turn = changed.wait_while(turn.lock().expect(ALIVE), |turn| *turn % 2 != parity).expect(ALIVE);
        *turn += 1;
        drop(turn);
        changed.notify_one();
    };
    let child = fork(|| {
        loop {
            play(1);
        }
    });
    group.bench_function("process::Condvar", |b| b.iter(|| play(0)));
    drop(child);
    let words = Shared::new([AtomicU32::new(0), AtomicU32::new(0)]).expect(MADE);
    let ping = |word: usize| {
        words[word].fetch_add(1, Relaxed);
        proc_core::futex::wake(&words[word], 1);
    };
    let pong = |word: usize, seen: u32| {
        while words[word].load(Relaxed) == seen {
            proc_core::futex::wait(&words[word], seen, None);
        }
    };
    let child = fork(|| {
        for round in 0.. {
            pong(0, round);
            ping(1);
        }
    });
    let mut round = 0;
    group.bench_function("raw futexes", |b| {
        b.iter(|| {
            ping(0);
            pong(1, round);
            round += 1;
        });
    });
    drop(child);
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    alone(&mut criterion);
    contended(&mut criterion);
    wake_up(&mut criterion);
    criterion.final_summary();
}
