//! Processes, or threads, that begin together and are timed together.

use std::{
    io,
    sync::atomic::{
        AtomicU64,
        Ordering::{AcqRel, Acquire},
    },
    thread,
    time::Duration,
};

use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use proc_core::{Process, shm::Shared};
use serde::{Serialize, de::DeserializeOwned};

/// From when to when somebody worked, on the clock that all processes share.
pub type Span = (u64, u64);

/// What goes from one to another, one way.
pub trait Lane: Sized {
    /// Puts message `n`; waits for room.
    fn put(&self, n: u64);
    /// Takes a message, looks at it, and says which it was; waits for one.
    fn get(&self) -> u64;
    /// Another handle to it.
    fn copy(&self) -> Self;
}

/// Where all of a crew wait for one another.
pub type Gate = Shared<AtomicU64>;

/// A gate for any number.
///
/// # Errors
/// If there is no memory.
pub fn gate() -> io::Result<Gate> {
    Gate::new(AtomicU64::new(0))
}

/// Waits until `n` have arrived.
pub fn arrive(gate: &AtomicU64, n: u64) {
    gate.fetch_add(1, AcqRel);
    while gate.load(Acquire) < n {
        thread::yield_now();
    }
}

/// Now, in nanoseconds.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every kernel has this clock");
    now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
}

/// Keeps the calling thread, and what it starts from now on, on the processor it is on.
///
/// # Errors
/// If the kernel does not let it.
pub fn stay_here() -> io::Result<()> {
    let mut here = CpuSet::new();
    here.set(sched_getcpu()?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &here)?)
}

/// From the first one's begin to the last one's end, in seconds.
pub fn elapsed(spans: &[Span]) -> f64 {
    let begin = spans.iter().map(|span| span.0).min().unwrap_or_default();
    let end = spans.iter().map(|span| span.1).max().unwrap_or_default();
    (end.saturating_sub(begin)) as f64 / 1e9
}

fn put_all<L: Lane>(lane: &L, gate: &AtomicU64, n_parties: u64, n: u64) -> Span {
    arrive(gate, n_parties);
    let begin = now();
    (0..n).for_each(|n| lane.put(n));
    (begin, now())
}

fn get_all<L: Lane>(lane: &L, gate: &AtomicU64, n_parties: u64, n: u64) -> Span {
    arrive(gate, n_parties);
    let begin = now();
    std::hint::black_box((0..n).fold(0_u64, |sum, _| sum.wrapping_add(lane.get())));
    (begin, now())
}

fn producer<L: Lane>(lane: L, gate: Gate, n_parties: u64, n: u64) -> Span {
    put_all(&lane, &gate, n_parties, n)
}

fn consumer<L: Lane>(lane: L, gate: Gate, n_parties: u64, n: u64) -> Span {
    get_all(&lane, &gate, n_parties, n)
}

/// How long it takes to pass `n` messages through `lane`, with so many processes on each side.
///
/// # Errors
/// If a process cannot be started, or dies.
pub fn processes<L>(lane: &L, n_each_side: u64, n: u64) -> io::Result<f64>
where
    L: Lane + Serialize + DeserializeOwned + 'static,
{
    let (gate, n_each) = (gate()?, n / n_each_side);
    let mut crew = Vec::new();
    for _ in 0..n_each_side {
        let args = || (lane.copy(), gate.clone(), 2 * n_each_side, n_each);
        crew.push(Process::spawn(consumer::<L>, args()).map_err(io::Error::other)?);
        crew.push(Process::spawn(producer::<L>, args()).map_err(io::Error::other)?);
    }
    let spans: Result<Vec<Span>, _> = crew.into_iter().map(Process::join).collect();
    Ok(elapsed(&spans.map_err(io::Error::other)?))
}

/// The same, between threads.
///
/// # Errors
/// If there is no memory.
pub fn threads<L: Lane + Send>(lane: &L, n_each_side: u64, n: u64) -> io::Result<f64> {
    let (gate, n_each) = (gate()?, n / n_each_side);
    let spans: Vec<Span> = thread::scope(|scope| {
        let mut crew = Vec::new();
        for _ in 0..n_each_side {
            for role in [put_all::<L>, get_all::<L>] {
                let (lane, gate) = (lane.copy(), gate.clone());
                crew.push(scope.spawn(move || role(&lane, &gate, 2 * n_each_side, n_each)));
            }
        }
        crew.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    Ok(elapsed(&spans))
}

/// Passes messages on until 0 comes.
fn echo<L: Lane>(there: L, back: L) {
    loop {
        let n = there.get();
        back.put(n);
        if n == 0 {
            break;
        }
    }
}

/// How many microseconds a message takes there and back, on average; with `pause` before each, so that both sides sleep.
fn ping<L: Lane>(there: &L, back: &L, n: u64, pause: Duration) -> f64 {
    let mut total = 0;
    let once = |n| {
        let begin = now();
        there.put(n);
        assert_eq!(back.get(), n);
        now() - begin
    };
    if pause.is_zero() {
        (1..=n / 10).for_each(|n| {
            once(n);
        });
        let begin = now();
        for n in 1..=n {
            there.put(n);
            assert_eq!(back.get(), n);
        }
        total += now() - begin;
    } else {
        for n in 1..=n {
            thread::sleep(pause);
            total += once(n);
        }
    }
    once(0);
    total as f64 / n as f64 / 1e3
}

/// A message's way to another process and back, in microseconds.
///
/// # Errors
/// If the process cannot be started, or dies.
pub fn round_trip_processes<L>(there: &L, back: &L, n: u64, pause: Duration) -> io::Result<f64>
where
    L: Lane + Serialize + DeserializeOwned + 'static,
{
    let other = Process::spawn(echo::<L>, (there.copy(), back.copy())).map_err(io::Error::other)?;
    let time = ping(there, back, n, pause);
    other.join().map_err(io::Error::other)?;
    Ok(time)
}

/// The same, to another thread.
pub fn round_trip_threads<L: Lane + Send>(there: &L, back: &L, n: u64, pause: Duration) -> f64 {
    thread::scope(|scope| {
        let (there_too, back_too) = (there.copy(), back.copy());
        scope.spawn(move || echo(there_too, back_too));
        ping(there, back, n, pause)
    })
}

/// How often per second two processes, or threads, manage `call` when both do nothing else; with each one's share.
pub fn share(counts: &[(u64, Span)]) -> (f64, f64) {
    let spans: Vec<Span> = counts.iter().map(|count| count.1).collect();
    let total: u64 = counts.iter().map(|count| count.0).sum();
    let least = counts.iter().map(|count| count.0).min().unwrap_or_default();
    (total as f64 / elapsed(&spans), least as f64 / total.max(1) as f64)
}
