//! Pools beside their peers: tasks that do nothing, one task's round trip, and a map over many small items.
//!
//! Ratios within one run count; absolute times belong to their machine. The Python peers are in `benches/python`.

use std::{hint::black_box, sync::mpsc, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput};
use pool::{ProcessPool, ThreadPool};
use rayon::prelude::*;

const N_WORKERS: usize = 2;
const N_TASKS: u64 = 20_000;
const N_ITEMS: u64 = 1_000_000;

fn nothing(n: u64) -> u64 {
    n
}

/// About 100 ns of arithmetic; never inlined, for it is up to twice as fast in some loops as in others.
#[inline(never)]
fn item(n: u64) -> u64 {
    (0..105).fold(n | 1, |x, _| black_box(x.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17)))
}

fn rayon_pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(N_WORKERS).build().expect("threads can be started")
}

/// Gives all tasks, then takes all results through a handle each.
fn tasks(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool/tasks");
    group.throughput(Throughput::Elements(N_TASKS));
    let processes = ProcessPool::new(N_WORKERS).expect("processes can be started");
    group.bench_function("ProcessPool", |b| {
        b.iter(|| {
            let tasks: Vec<_> = (0..N_TASKS).map(|n| processes.apply_async(nothing, (n,))).collect();
            tasks.iter().map(|task| task.get().expect("nothing fails")).sum::<u64>()
        });
    });
    let threads = ThreadPool::new(N_WORKERS).expect("threads can be started");
    group.bench_function("ThreadPool", |b| {
        b.iter(|| {
            let tasks: Vec<_> = (0..N_TASKS).map(|n| threads.apply_async(nothing, (n,))).collect();
            tasks.iter().map(|task| task.get().expect("nothing fails")).sum::<u64>()
        });
    });
    let rayon = rayon_pool();
    group.bench_function("rayon, a channel each", |b| {
        b.iter(|| {
            let give = |n| {
                let (sender, receiver) = mpsc::sync_channel(1);
                rayon.spawn(move || sender.send(nothing(n)).expect("somebody listens"));
                receiver
            };
            let tasks: Vec<_> = (0..N_TASKS).map(give).collect();
            tasks.iter().map(|task| task.recv().expect("nothing fails")).sum::<u64>()
        });
    });
    let threadpool = threadpool::ThreadPool::new(N_WORKERS);
    group.bench_function("threadpool, one channel", |b| {
        b.iter(|| {
            let (sender, receiver) = mpsc::channel();
            for n in 0..N_TASKS {
                let sender = sender.clone();
                threadpool.execute(move || sender.send(nothing(n)).expect("somebody listens"));
            }
            drop(sender);
            receiver.iter().sum::<u64>()
        });
    });
    group.throughput(Throughput::Elements(N_TASKS / 100));
    let procspawn = procspawn::Pool::new(N_WORKERS).expect("processes can be started");
    group.sample_size(10).bench_function("procspawn", |b| {
        b.iter(|| {
            let tasks: Vec<_> =
                (0..N_TASKS / 100).map(|n| procspawn::spawn!(in procspawn, (n) || nothing(n))).collect();
            tasks.into_iter().map(|task| task.join().expect("nothing fails")).sum::<u64>()
        });
    });
    group.finish();
}

fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool/round trip");
    let processes = ProcessPool::new(N_WORKERS).expect("processes can be started");
    let threads = ThreadPool::new(N_WORKERS).expect("threads can be started");
    let rayon = rayon_pool();
    // Between busy sides, and with everybody asleep at the start of each.
    for pause in [Duration::ZERO, Duration::from_millis(1)] {
        let timed = |b: &mut criterion::Bencher<'_>, once: &dyn Fn() -> u64| {
            b.iter_custom(|n| {
                (0..n)
                    .map(|_| {
                        if !pause.is_zero() {
                            std::thread::sleep(pause);
                        }
                        let begun = std::time::Instant::now();
                        black_box(once());
                        begun.elapsed()
                    })
                    .sum()
            });
        };
        let state = if pause.is_zero() { "busy" } else { "idle" };
        group.bench_function(BenchmarkId::new("ProcessPool", state), |b| {
            timed(b, &|| processes.apply(nothing, (1,)).expect("nothing fails"));
        });
        group.bench_function(BenchmarkId::new("ThreadPool", state), |b| {
            timed(b, &|| threads.apply(nothing, (1,)).expect("nothing fails"));
        });
        group.bench_function(BenchmarkId::new("rayon install", state), |b| timed(b, &|| rayon.install(|| nothing(1))));
    }
    group.finish();
}

fn map(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool/map");
    group.throughput(Throughput::Elements(N_ITEMS)).sample_size(10).measurement_time(Duration::from_secs(2));
    group.bench_function("serial", |b| b.iter(|| (0..N_ITEMS).map(item).collect::<Vec<_>>()));
    let rayon = rayon_pool();
    group.bench_function("rayon par_iter", |b| {
        b.iter(|| rayon.install(|| (0..N_ITEMS).into_par_iter().map(item).collect::<Vec<_>>()));
    });
    let threads = ThreadPool::new(N_WORKERS).expect("threads can be started");
    group.bench_function("ThreadPool", |b| b.iter(|| threads.map(item, 0..N_ITEMS).expect("nothing fails")));
    let processes = ProcessPool::new(N_WORKERS).expect("processes can be started");
    group.bench_function("ProcessPool", |b| b.iter(|| processes.map(item, 0..N_ITEMS).expect("nothing fails")));
    group.finish();
}

fn main() {
    procspawn::init();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    tasks(&mut criterion);
    round_trip(&mut criterion);
    map(&mut criterion);
    criterion.final_summary();
}
