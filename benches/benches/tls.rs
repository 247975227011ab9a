//! A value of a thread's own: ours beside std's and the `thread_local` crate's.
//!
//! std's belong to a static and are here for scale; what ours answers to is the crate, which has values per object too.

use std::{cell::Cell, hint::black_box, thread, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use thread_local::ThreadLocal;
use tls::{Key, Local, Locals};

thread_local! {
    static STD_CONST: Cell<u64> = const { Cell::new(0) };
    static STD_LAZY: Cell<u64> = Cell::new(std::process::id().into());
}
static PEER: ThreadLocal<Cell<u64>> = ThreadLocal::new();
static OURS: Local<Cell<u64>> = Local::new(|| Cell::new(0));
static BAG: Locals = Locals::new();
const COUNT: Key<u64> = Key::new("count");

fn add(cell: &Cell<u64>) {
    cell.set(black_box(cell.get() + 1));
}

fn in_a_new_thread<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|s| s.spawn(f).join()).expect("nothing panics")
}

fn access(c: &mut Criterion) {
    let mut group = c.benchmark_group("tls/access");
    group.bench_function("std, const", |b| b.iter(|| STD_CONST.with(add)));
    group.bench_function("std, lazy", |b| b.iter(|| STD_LAZY.with(add)));
    group.bench_function("thread_local crate", |b| b.iter(|| add(PEER.get_or(|| Cell::new(0)))));
    group.bench_function("ours", |b| b.iter(|| OURS.with(add)));
    group.bench_function("ours, in the place of an ended thread", |b| {
        let value = Local::new(|| Cell::new(0));
        in_a_new_thread(|| value.with(add));
        b.iter_custom(|n| {
            in_a_new_thread(|| {
                let begun = Instant::now();
                (0..n).for_each(|_| value.with(add));
                begun.elapsed()
            })
        });
    });
    group.finish();

    BAG.set(COUNT, 0);
    let mut group = c.benchmark_group("tls/bag");
    group.bench_function("ours", |b| b.iter(|| BAG.with_mut(COUNT, |count| *count = black_box(*count + 1))));
    group.finish();
}

fn first_access(c: &mut Criterion) {
    let mut group = c.benchmark_group("tls/first access of a fresh object");
    group.bench_function("thread_local crate", |b| {
        b.iter(|| ThreadLocal::new().get_or(|| Cell::new(0)).set(1));
    });
    group.bench_function("ours", |b| {
        b.iter(|| Local::new(|| Cell::new(0)).with(|cell| cell.set(1)));
    });
    group.finish();
}

criterion_group!(benches, access, first_access);
criterion_main!(benches);
