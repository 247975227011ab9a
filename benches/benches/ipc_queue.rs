//! Messages a second from process to process: ours beside channels between threads, a pipe, and a bare ring in shared
//! memory, which has no types, no errors and no crash safety, and so is the limit.
//!
//! `cargo bench -p benches --bench ipc_queue [-- ROUNDS]`. The variants take turns; only ratios of one run mean
//! anything. Two CPUs at least, and nothing else on them.

use std::{
    hint::{black_box, spin_loop},
    io::{Read, Write},
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
    time::Instant,
};

use benches::measure::{Samples, human};
use ipc::Queue;
use proc_core::{Process, shm::Shared};

const CAPACITY: usize = 1024;
const NUMBERS: u64 = 1_000_000;

/// Where the sides of a measurement wait for each other: ready, go, done.
type Gate = Shared<[AtomicU64; 3]>;

fn ready(gate: &Gate) {
    gate[0].fetch_add(1, Release);
    while gate[1].load(Acquire) == 0 {
        thread::yield_now();
    }
}

/// Messages a second between processes that `put` and `get`, each of which does its `share`.
fn processes<C: Clone + serde::Serialize>(
    channel: &C,
    n_pairs: u64,
    messages: u64,
    put: impl Fn(C, Gate, u64) -> Process<()>,
    get: impl Fn(C, Gate, u64) -> Process<()>,
) -> f64 {
    let gate = Shared::new([const { AtomicU64::new(0) }; 3]).expect("memory for three words");
    let share = messages / n_pairs;
    let all: Vec<_> = (0..n_pairs)
        .flat_map(|_| [put(channel.clone(), gate.clone(), share), get(channel.clone(), gate.clone(), share)])
        .collect();
    while gate[0].load(Acquire) < 2 * n_pairs {
        thread::yield_now();
    }
    let begun = Instant::now();
    gate[1].store(1, Release);
    while gate[2].load(Acquire) < n_pairs {
        thread::sleep(std::time::Duration::from_micros(200));
    }
    let time = begun.elapsed();
    for process in all {
        process.join().expect("nothing panics");
    }
    (share * n_pairs) as f64 / time.as_secs_f64()
}

/// Takes care that taking is not optimised away.
fn took<R>(message: R) {
    let _ = black_box(message);
}

macro_rules! start {
    ($function:expr) => {
        |channel, gate, share| Process::spawn($function, (channel, gate, share)).expect("a process can be started")
    };
}

fn ours(n_pairs: u64) -> f64 {
    fn put(queue: Queue<u64>, gate: Gate, share: u64) {
        ready(&gate);
        (0..share).for_each(|n| queue.put(n).expect("open"));
    }
    fn get(queue: Queue<u64>, gate: Gate, share: u64) {
        ready(&gate);
        (0..share).for_each(|_| took(queue.get()));
        gate[2].fetch_add(1, Release);
    }
    let queue = Queue::new(CAPACITY).expect("memory for a queue");
    processes(&queue, n_pairs, NUMBERS, start!(put), start!(get))
}

fn ours_in_batches(n_pairs: u64) -> f64 {
    fn put(queue: Queue<u64>, gate: Gate, share: u64) {
        ready(&gate);
        (0..share / 64).for_each(|_| queue.put_many(0..64).expect("open"));
    }
    fn get(queue: Queue<u64>, gate: Gate, share: u64) {
        ready(&gate);
        let mut left = share as usize / 64 * 64;
        while left > 0 {
            left -= black_box(queue.get_many(left.min(64))).expect("open").len();
        }
        gate[2].fetch_add(1, Release);
    }
    let queue = Queue::new(CAPACITY).expect("memory for a queue");
    processes(&queue, n_pairs, NUMBERS, start!(put), start!(get))
}

/// A ring with a counter in each slot, after Vyukov: counters for both ends, then pairs of turn and number.
type Ring = Shared<[AtomicU64; 64 + 2 * CAPACITY]>;
const TAIL: usize = 16;
const HEAD: usize = 32;

fn wait(spins: &mut u32) {
    *spins += 1;
    if spins.is_multiple_of(2000) { thread::yield_now() } else { spin_loop() }
}

fn bare_ring(n_pairs: u64) -> f64 {
    fn put(ring: Ring, gate: Gate, share: u64) {
        ready(&gate);
        let mut spins = 0;
        for n in 0..share {
            loop {
                let at = ring[TAIL].load(Relaxed);
                let slot = 64 + 2 * (at as usize % CAPACITY);
                let turn = ring[slot].load(Acquire);
                if turn == at && ring[TAIL].compare_exchange_weak(at, at + 1, Relaxed, Relaxed).is_ok() {
                    ring[slot + 1].store(n, Relaxed);
                    ring[slot].store(at + 1, Release);
                    break;
                }
                if turn < at {
                    wait(&mut spins);
                }
            }
        }
    }
    fn get(ring: Ring, gate: Gate, share: u64) {
        ready(&gate);
        let mut spins = 0;
        for _ in 0..share {
            loop {
                let at = ring[HEAD].load(Relaxed);
                let slot = 64 + 2 * (at as usize % CAPACITY);
                let turn = ring[slot].load(Acquire);
                if turn == at + 1 && ring[HEAD].compare_exchange_weak(at, at + 1, Relaxed, Relaxed).is_ok() {
                    black_box(ring[slot + 1].load(Relaxed));
                    ring[slot].store(at + CAPACITY as u64, Release);
                    break;
                }
                if turn < at + 1 {
                    wait(&mut spins);
                }
            }
        }
        gate[2].fetch_add(1, Release);
    }
    let ring: Ring = Shared::new([const { AtomicU64::new(0) }; 64 + 2 * CAPACITY]).expect("memory for a ring");
    (0..CAPACITY).for_each(|n| ring[64 + 2 * n].store(n as u64, Relaxed));
    processes(&ring, n_pairs, NUMBERS, start!(put), start!(get))
}

/// Messages a second between threads.
fn threads<S: Clone + Send, R: Clone + Send>(
    channel: (S, R),
    n_pairs: u64,
    put: impl Fn(&S, u64) + Sync,
    get: impl Fn(&R) + Sync,
) -> f64 {
    let share = NUMBERS / n_pairs;
    let (sender, receiver) = channel;
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..n_pairs {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            let (put, get) = (&put, &get);
            scope.spawn(move || (0..share).for_each(|n| put(&sender, n)));
            scope.spawn(move || (0..share).for_each(|_| get(&receiver)));
        }
    });
    (share * n_pairs) as f64 / begun.elapsed().as_secs_f64()
}

fn crossbeam(n_pairs: u64) -> f64 {
    let send = |sender: &crossbeam_channel::Sender<u64>, n| sender.send(n).expect("open");
    threads(crossbeam_channel::bounded(CAPACITY), n_pairs, send, |receiver| took(receiver.recv()))
}

fn kanal(n_pairs: u64) -> f64 {
    let send = |sender: &kanal::Sender<u64>, n| sender.send(n).expect("open");
    threads(kanal::bounded(CAPACITY), n_pairs, send, |receiver| took(receiver.recv()))
}

fn flume(n_pairs: u64) -> f64 {
    let send = |sender: &flume::Sender<u64>, n| sender.send(n).expect("open");
    threads(flume::bounded(CAPACITY), n_pairs, send, |receiver| took(receiver.recv()))
}

/// 8 bytes a call; between threads, which is the same to the kernel.
fn pipe(_n_pairs: u64) -> f64 {
    let messages = NUMBERS / 10;
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || (0..messages).for_each(|n| writer.write_all(&n.to_ne_bytes()).expect("open")));
        (0..messages).for_each(|_| reader.read_exact(&mut [0; 8]).expect("open"));
    });
    messages as f64 / begun.elapsed().as_secs_f64()
}

/// Messages of `len` bytes: copied in and out, or (`loan`) written and read in place.
fn bytes(len: usize, inside: bool, loan: bool) -> f64 {
    fn put(queue: Queue<()>, gate: Gate, share: u64, len: usize, loan: bool) {
        let message = vec![1; len];
        ready(&gate);
        for _ in 0..share {
            if loan {
                let mut loan = queue.loan(len).expect("memory");
                loan.fill(1);
                loan.send().expect("open");
            } else {
                queue.put_bytes(&message).expect("open");
            }
        }
    }
    fn get(queue: Queue<()>, gate: Gate, share: u64, loan: bool) {
        ready(&gate);
        for _ in 0..share {
            if loan { took(queue.get_loan().expect("open").last()) } else { took(queue.get_bytes()) }
        }
        gate[2].fetch_add(1, Release);
    }
    let builder = Queue::<()>::builder().maxsize(if len > 100_000 { 16 } else { CAPACITY });
    let queue = if inside { builder.message_bytes(len) } else { builder }.build().expect("memory for a queue");
    let messages = (200_000_000 / len as u64).clamp(300, 200_000);
    let put = |queue, gate, share| Process::spawn(put, (queue, gate, share, len, loan)).expect("a process");
    let get = |queue, gate, share| Process::spawn(get, (queue, gate, share, loan)).expect("a process");
    processes(&queue, 1, messages, put, get)
}

fn copied(len: usize) -> f64 {
    let (from, mut to) = (vec![1u8; len], vec![0u8; len]);
    let messages = (400_000_000 / len).clamp(300, 1_000_000);
    let begun = Instant::now();
    for _ in 0..messages {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    }
    messages as f64 / begun.elapsed().as_secs_f64()
}

/// Round trips a second, 8 bytes each way, both sides busy.
fn round_trips() -> f64 {
    fn echo(there: Queue<u64>, back: Queue<u64>) {
        there.iter().for_each(|n| back.put(n).expect("open"));
    }
    let (there, back) = (Queue::new(16).expect("memory"), Queue::new(16).expect("memory"));
    let child = Process::spawn(echo, (there.clone(), back.clone())).expect("a process can be started");
    let turn = |n| {
        there.put(n).expect("open");
        back.get().expect("open")
    };
    (0..100).for_each(|n| took(turn(n)));
    let begun = Instant::now();
    (0..20_000).for_each(|n| took(turn(n)));
    let rate = 20_000.0 / begun.elapsed().as_secs_f64();
    there.close();
    child.join().expect("nothing panics");
    rate
}

type Variant = (&'static str, Box<dyn Fn() -> f64>);

fn compare(title: &str, n_rounds: usize, variants: Vec<Variant>) {
    let mut rates = vec![Vec::new(); variants.len()];
    for _ in 0..n_rounds {
        for ((_, run), rates) in variants.iter().zip(&mut rates) {
            rates.push(run());
        }
    }
    println!("\n{title}, a second{:>w$}  middle half", "median", w = 44 - title.len().min(34));
    for ((name, _), rates) in variants.iter().zip(rates) {
        let rates = Samples::new(rates);
        let (low, high) = (human(rates.quantile(0.25)), human(rates.quantile(0.75)));
        println!("  {name:<42}{:>10}  {low}..{high}", human(rates.median()));
    }
}

fn main() {
    let n_rounds = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(7);
    for n_pairs in [1, 2] {
        let variants: Vec<Variant> = vec![
            ("ours, processes", Box::new(move || ours(n_pairs))),
            ("ours, put_many and get_many of 64", Box::new(move || ours_in_batches(n_pairs))),
            ("bare ring, processes", Box::new(move || bare_ring(n_pairs))),
            ("crossbeam bounded, threads", Box::new(move || crossbeam(n_pairs))),
            ("kanal bounded, threads", Box::new(move || kanal(n_pairs))),
            ("flume bounded, threads", Box::new(move || flume(n_pairs))),
            ("pipe", Box::new(move || pipe(n_pairs))),
        ];
        compare(&format!("8 bytes, {n_pairs} to {n_pairs}"), n_rounds, variants);
    }
    for len in [256, 4096, 1 << 20] {
        let mut variants: Vec<Variant> = vec![
            ("ours, beside the ring", Box::new(move || bytes(len, false, false))),
            ("ours, loan", Box::new(move || bytes(len, false, true))),
            ("copied once in one thread", Box::new(move || copied(len))),
        ];
        if len <= 4096 {
            variants.insert(1, ("ours, message_bytes said", Box::new(move || bytes(len, true, false))));
        }
        compare(&format!("{len} bytes, 1 to 1"), n_rounds, variants);
    }
    compare("round trips of 8 bytes", n_rounds, vec![("ours", Box::new(round_trips))]);
}
