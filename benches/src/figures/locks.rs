//! Locking and unlocking: alone, and two who do nothing else.

use std::{
    io,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Relaxed},
        },
    },
    time::Duration,
};

use proc_core::{Process, shm::Shared};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    crew::{self, Gate, Lane, Span, arrive, gate, now, share},
    figure::{Figure, Plan, Side},
    limits::{Bare, FutexMutex, FutexWord, PosixSemaphore, Pthread},
    peers::Flock,
    python,
    run::nanoseconds,
};

#[derive(Clone, Serialize, Deserialize)]
struct Ours(sync::process::Lock<u64>);

impl Bare for Ours {
    #[inline]
    fn pass(&self) {
        *self.0.lock().expect("nobody dies") += 1;
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct OursAgain(sync::process::RLock<u64>);

impl Bare for OursAgain {
    #[inline]
    fn pass(&self) {
        std::hint::black_box(*self.0.lock().expect("nobody dies"));
    }
}

struct Reader(sync::process::RwLock<u64>);

impl Bare for Reader {
    #[inline]
    fn pass(&self) {
        std::hint::black_box(*self.0.read().expect("nobody dies"));
    }
}

struct Writer(sync::process::RwLock<u64>);

impl Bare for Writer {
    #[inline]
    fn pass(&self) {
        *self.0.write().expect("nobody dies") += 1;
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Permits(sync::process::Semaphore);

impl Bare for Permits {
    #[inline]
    fn pass(&self) {
        drop(self.0.acquire());
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Add(Shared<AtomicU64>);

impl Bare for Add {
    #[inline]
    fn pass(&self) {
        self.0.fetch_add(1, AcqRel);
    }
}

struct Threads(sync::thread::Lock<u64>);

impl Bare for Threads {
    #[inline]
    fn pass(&self) {
        *self.0.lock() += 1;
    }
}

struct ParkingLot(parking_lot::Mutex<u64>);

impl Bare for ParkingLot {
    #[inline]
    fn pass(&self) {
        *self.0.lock() += 1;
    }
}

struct Std(std::sync::Mutex<u64>);

impl Bare for Std {
    #[inline]
    fn pass(&self) {
        *self.0.lock().expect("nobody panics") += 1;
    }
}

/// How often it passes within `length`, when there is another one.
fn count(lock: &impl Bare, gate: &AtomicU64, length: Duration) -> (u64, Span) {
    arrive(gate, 2);
    let begin = now();
    let end = begin + length.as_nanos() as u64;
    let mut n = 0;
    while now() < end {
        (0..256).for_each(|_| lock.pass());
        n += 256;
    }
    (n, (begin, now()))
}

fn contender<L: Bare>(lock: L, gate: Gate, length: Duration) -> (u64, Span) {
    count(&lock, &gate, length)
}

fn processes<L>(lock: &L, length: Duration) -> io::Result<(f64, f64)>
where
    L: Bare + Clone + Serialize + DeserializeOwned + 'static,
{
    let gate = gate()?;
    let two = [(); 2].map(|()| Process::spawn(contender::<L>, (lock.clone(), gate.clone(), length)));
    let counts: Result<Vec<_>, _> = two.into_iter().map(|process| process?.join()).collect();
    Ok(share(&counts.map_err(io::Error::other)?))
}

fn threads<L: Bare + Send + Sync>(lock: &L, length: Duration) -> io::Result<(f64, f64)> {
    let gate = gate()?;
    let counts: Vec<_> = std::thread::scope(|scope| {
        let two = [(); 2].map(|()| scope.spawn(|| count(lock, &gate, length)));
        two.map(|thread| thread.join().expect("it does not panic")).into()
    });
    Ok(share(&counts))
}

/// The figures of this area.
pub fn plans() -> Vec<Plan> {
    vec![
        Plan::new("sync", "lock, alone", alone),
        Plan::new("sync", "lock, two contending", |name| contended(Figure::rate(name, "op/s"), |found| found.0)),
        Plan::new("sync", "lock, share of the weaker of two", |name| {
            contended(Figure::rate(name, "of all"), |found| found.1)
        }),
        Plan::new("sync", "lock, wake", wake),
    ]
}

fn alone(name: String) -> io::Result<Figure> {
    fn add(figure: Figure, side: Side, name: &str, lock: impl Bare + 'static) -> Figure {
        figure.case(side, name, nanoseconds(move || lock.pass()))
    }
    let figure = Figure::cost(name, "ns");
    let figure = add(figure, Side::Ours, "Lock", Ours(sync::process::Lock::new(0)?));
    let figure = add(figure, Side::Ours, "RLock", OursAgain(sync::process::RLock::new(0)?));
    let figure = add(figure, Side::Ours, "RwLock, read", Reader(sync::process::RwLock::new(0)?));
    let figure = add(figure, Side::Ours, "RwLock, write", Writer(sync::process::RwLock::new(0)?));
    let figure = add(figure, Side::Ours, "Semaphore", Permits(sync::process::Semaphore::new(1)?));
    let figure = add(figure, Side::Ours, "thread::Lock", Threads(sync::thread::Lock::new(0)));
    let figure = add(figure, Side::Limit, "atomic add", Add(Shared::new(AtomicU64::new(0))?));
    let figure = add(figure, Side::Limit, "futex mutex", FutexMutex::new()?);
    let figure = add(figure, Side::Rust, "parking_lot (threads)", ParkingLot(parking_lot::Mutex::new(0)));
    let figure = add(figure, Side::Rust, "std Mutex (threads)", Std(std::sync::Mutex::new(0)));
    let figure = add(figure, Side::C, "pthread shared", Pthread::new(false)?);
    let figure = add(figure, Side::C, "pthread shared, robust", Pthread::new(true)?);
    let figure = add(figure, Side::C, "POSIX semaphore", PosixSemaphore::new()?);
    let figure = add(figure, Side::C, "flock", Flock::new()?);
    Ok(python::add(figure, &[("lock", "Python Lock"), ("rlock", "Python RLock")]))
}

fn contended(figure: Figure, part: fn((f64, f64)) -> f64) -> io::Result<Figure> {
    fn of_processes<L>(figure: Figure, side: Side, name: &str, part: fn((f64, f64)) -> f64, lock: L) -> Figure
    where
        L: Bare + Clone + Serialize + DeserializeOwned + 'static,
    {
        figure.case(side, name, move |length| processes(&lock, length).map(part))
    }
    let figure = of_processes(figure, Side::Ours, "Lock", part, Ours(sync::process::Lock::new(0)?));
    let figure = of_processes(figure, Side::Ours, "Semaphore", part, Permits(sync::process::Semaphore::new(1)?));
    let figure = of_processes(figure, Side::Limit, "atomic add", part, Add(Shared::new(AtomicU64::new(0))?));
    let figure = of_processes(figure, Side::Limit, "futex mutex", part, FutexMutex::new()?);
    let (ours, parking_lot, std) = (
        Arc::new(Threads(sync::thread::Lock::new(0))),
        ParkingLot(parking_lot::Mutex::new(0)),
        Std(std::sync::Mutex::new(0)),
    );
    let figure = figure
        .case(Side::Ours, "thread::Lock", move |length| threads(&*ours, length).map(part))
        .case(Side::Rust, "parking_lot (threads)", move |length| threads(&parking_lot, length).map(part))
        .case(Side::Rust, "std Mutex (threads)", move |length| threads(&std, length).map(part));
    let figure = of_processes(figure, Side::C, "pthread shared", part, Pthread::new(false)?);
    let figure = of_processes(figure, Side::C, "pthread shared, robust", part, Pthread::new(true)?);
    let figure = of_processes(figure, Side::C, "flock", part, Flock::new()?);
    Ok(of_processes(figure, Side::C, "POSIX semaphore", part, PosixSemaphore::new()?))
}

/// A number, and a semaphore that says it is there.
#[derive(Serialize, Deserialize)]
struct Announced<S> {
    number: Shared<AtomicU64>,
    semaphore: S,
}

trait Announce: Clone {
    fn announce(&self);
    fn wait(&self);
}

impl Announce for sync::process::Semaphore {
    fn announce(&self) {
        self.release(1).expect("never so many");
    }
    fn wait(&self) {
        self.acquire().forget();
    }
}

impl Announce for PosixSemaphore {
    fn announce(&self) {
        self.post();
    }
    fn wait(&self) {
        self.wait();
    }
}

impl<S: Announce> Lane for Announced<S> {
    fn put(&self, n: u64) {
        self.number.store(n, Relaxed);
        self.semaphore.announce();
    }
    fn get(&self) -> u64 {
        self.semaphore.wait();
        self.number.load(Relaxed)
    }
    fn copy(&self) -> Self {
        Self { number: self.number.clone(), semaphore: self.semaphore.clone() }
    }
}

/// A number that a condition variable announces; 0 where there is none.
#[derive(Serialize, Deserialize)]
struct Conditional(sync::process::Lock<u64>, sync::process::Condvar);

impl Lane for Conditional {
    fn put(&self, n: u64) {
        *self.0.lock().expect("nobody dies") = n + 1;
        self.1.notify_one();
    }
    fn get(&self) -> u64 {
        let lock = self.0.lock().expect("nobody dies");
        let mut number = self.1.wait_while(lock, |number| *number == 0).expect("nobody dies");
        std::mem::take(&mut *number) - 1
    }
    fn copy(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }
}

/// To wake a process that has slept for a while, and be woken by it: there and back.
fn wake(name: String) -> io::Result<Figure> {
    const PAUSE: Duration = Duration::from_millis(1);
    fn add<L>(figure: Figure, side: Side, name: &str, make: impl Fn() -> io::Result<L>) -> io::Result<Figure>
    where
        L: Lane + Serialize + DeserializeOwned + 'static,
    {
        let (there, back) = (make()?, make()?);
        Ok(figure.case(side, name, move |length| {
            let n = (length.as_micros() / (PAUSE.as_micros() + 150)).max(10) as u64;
            crew::round_trip_processes(&there, &back, n, PAUSE)
        }))
    }
    let number = || Shared::new(AtomicU64::new(0));
    let figure = add(Figure::cost(name, "µs"), Side::Ours, "Semaphore", || {
        Ok(Announced { number: number()?, semaphore: sync::process::Semaphore::new(0)? })
    })?;
    let figure = add(figure, Side::Ours, "Lock + Condvar", || {
        Ok(Conditional(sync::process::Lock::new(0)?, sync::process::Condvar::new()?))
    })?;
    let figure = add(figure, Side::Limit, "raw futex", FutexWord::new)?;
    let figure = add(figure, Side::C, "POSIX semaphore", || {
        let semaphore = PosixSemaphore::new()?;
        // It is made with a permit, as a lock.
        semaphore.wait();
        Ok(Announced { number: number()?, semaphore })
    })?;
    Ok(python::add(figure, &[("wake_up", "Python Semaphore")]))
}
