//! What a process that has a queue's memory, and writes what it likes into it, can do to the others.
//!
//! # Safety
//! Only atomics are written, inside the control memory.
#![allow(unsafe_code)]

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use kernel::{handover, shm::SharedMemory};

use super::{
    layout::HEADER_BYTES,
    ring::{Ring, Side},
    *,
};
use crate::JoinableQueue;

/// A process that has the queue's memory, and writes what it likes where it likes.
struct Scribbler {
    memory: SharedMemory,
    places: Vec<(usize, usize)>,
    seed: u64,
}

impl Scribbler {
    fn new<Q: Serialize + DeserializeOwned>(queue: &Q, raw: &Raw, seed: u64) -> Self {
        let geometry = raw.segment.geometry;
        let slots = geometry.ring.capacity as usize * size_of::<layout::Slot>();
        let mut places = vec![
            (0, HEADER_BYTES),
            (128, 1664),
            (HEADER_BYTES, 512),
            (geometry.slots_at, slots),
            (geometry.slots_at, slots),
        ];
        places.extend(geometry.classes.iter().map(|class| (class.records_at, 512)));
        let (memory, _no_store): (_, Option<u8>) = handover::pack_owned(queue).unwrap().unpack().unwrap();
        Self { memory, places, seed }
    }

    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 24
    }

    fn scribble(&mut self) {
        let place = self.random() as usize % self.places.len();
        let (start, len) = self.places[place];
        let at = start + self.random() as usize % len / 8 * 8;
        let value = match self.random() % 5 {
            0 => 0,
            1 => u64::MAX,
            2 => self.random() % 256,
            3 => (self.random() << 16) | (self.random() % 256),
            _ => (self.random() << 40) | self.random(),
        };
        let half = u64::from(u32::MAX) << (32 * (self.random() % 2));
        let how = self.random() % 3;
        let word = word_at(&self.memory, at);
        match how {
            0 => drop(word.fetch_add(value % 9, Relaxed)),
            1 => drop(word.fetch_update(Relaxed, Relaxed, |old| Some((old & half) | (value & !half)))),
            _ => word.store(value, Relaxed),
        }
    }
}

fn word_at(memory: &SharedMemory, at: usize) -> &AtomicU64 {
    assert!(at + 8 <= memory.len() && at.is_multiple_of(8));
    // SAFETY: in bounds, by the check above.
    let place = unsafe { memory.as_ptr().add(at) };
    // SAFETY: as above, and aligned; any bits are an atomic integer.
    unsafe { place.cast().as_ref() }
}

const SOON: Duration = Duration::from_millis(1);
/// Far beyond what any operation with a time limit takes, on the slowest machine.
const HANG: Duration = Duration::from_secs(20);

fn in_time<R>(what: &str, operation: impl FnOnce() -> R) -> R {
    let begun = Instant::now();
    let result = operation();
    assert!(begun.elapsed() < HANG, "{what} hung");
    result
}

/// Uses a queue in every way there is; whatever it answers is right, if it answers.
fn use_queue(queue: &Queue<(u32, String)>, n: u32) {
    let message = || (n, "x".repeat(n as usize * 37 % 900));
    match n % 9 {
        0 => drop(in_time("try_put", || queue.try_put(message()))),
        1 => drop(in_time("put_timeout", || queue.put_timeout(message(), SOON))),
        2 => drop(in_time("try_get", || queue.try_get())),
        3 => drop(in_time("get_timeout", || queue.get_timeout(SOON))),
        4 => drop(in_time("len", || (queue.len(), queue.is_full(), queue.is_empty()))),
        5 => drop(in_time("clone", || handover::pack_owned(queue).unwrap().unpack::<Queue<u8>>())),
        6 => drop(in_time("drain", || queue.drain().take(20).count())),
        7 => drop(in_time("garbage", || (queue.raw.collect_garbage(true), queue.raw.sweep_the_dead()))),
        _ => drop(in_time("bytes", || queue.raw.put_bytes(&[1; 70_000], Patience::For(SOON)).is_ok())),
    }
}

#[test]
fn scribbled_memory_gives_errors_and_nothing_worse() {
    for seed in 0..150 {
        let queue = Queue::builder().maxsize(1 + seed as usize % 9).max_message_bytes(1 << 20).build().unwrap();
        let mut scribbler = Scribbler::new(&queue, &queue.raw, seed);
        // Between the operations first, beside them then.
        for n in 0..60 {
            if n % 4 == 0 {
                scribbler.scribble();
            }
            use_queue(&queue, n);
        }
        let over = AtomicBool::new(false);
        let fresh = Queue::builder().maxsize(1 + seed as usize % 9).max_message_bytes(1 << 20).build().unwrap();
        let mut scribbler = Scribbler::new(&fresh, &fresh.raw, seed);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    scribbler.scribble();
                    thread::yield_now();
                }
            });
            for n in 0..60 {
                use_queue(&fresh, n);
            }
            over.store(true, Relaxed);
        });
    }
}

/// A queue without a limit has addresses for gigabytes, and memory behind few of them: what it says of its own length must not
/// have its users fill the rest.
#[test]
fn forged_lengths_take_no_memory() {
    type Forgery = fn(&Raw);
    let forgeries: [(&str, Forgery); 3] = [
        ("records", |raw| raw.segment.header().pools.iter().for_each(|pool| pool.high.store(u32::MAX, Relaxed))),
        ("slots", |raw| raw.segment.header().reserved_slots.store(u32::MAX, Relaxed)),
        ("a hint", |raw| raw.hint(Side::Space).store(raw.positions().after(0, u32::MAX >> 4), Relaxed)),
    ];
    for (what, forge) in forgeries {
        let queue = Queue::builder().max_message_bytes(1 << 20).build().unwrap();
        forge(&queue.raw);
        for n in 0..45 {
            use_queue(&queue, n);
            assert!(queue.raw.reserved_slots() < 4 << 20, "{what}: so many slots are looked through");
        }
        let blocks = queue.raw.blocks().map_or(0, Iterator::count);
        let mib = queue.raw.segment.memory_bytes().unwrap() >> 20;
        assert!(blocks < 1 << 20 && mib < 64, "forged {what}: {blocks} blocks, {mib} MiB");
    }
}

#[test]
fn scribbled_leases_give_errors_and_nothing_worse() {
    for seed in 0..150 {
        let queue = Queue::<(u32, String)>::builder().maxsize(1 + seed as usize % 9).max_message_bytes(1 << 20);
        let queue: JoinableQueue<_> = queue.build_joinable().unwrap();
        let mut scribbler = Scribbler::new(&queue, queue.raw(), seed);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    scribbler.scribble();
                    thread::sleep(Duration::from_micros(seed % 50));
                }
            });
            for n in 0..60u32 {
                let message = || (n, "x".repeat(n as usize * 37 % 900));
                match n % 6 {
                    0 => drop(in_time("try_put", || queue.try_put(message()))),
                    1 => drop(in_time("put_timeout", || queue.put_timeout(message(), SOON))),
                    2 => drop(in_time("try_get", || queue.try_get().map(|item| item.task_done()))),
                    3 => drop(in_time("get_timeout", || queue.get_timeout(SOON).map(drop))),
                    4 => drop(in_time("join", || (queue.join_timeout(SOON), queue.unfinished()))),
                    _ => drop(in_time("garbage", || (queue.raw().collect_garbage(true), queue.dead_letters()))),
                }
            }
            over.store(true, Relaxed);
        });
    }
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    for at in [0, 8, 16, 24, 32] {
        let queue = Queue::<u8>::new(4).unwrap();
        let parts = handover::pack_owned(&queue).unwrap().unpack();
        let (memory, _no_store): (SharedMemory, Option<u8>) = parts.unwrap();
        word_at(&memory, at).fetch_add(1 << 30, Relaxed);
        let attached = handover::pack_owned(&queue).unwrap().unpack::<Queue<u8>>();
        assert!(attached.is_err(), "a changed word at {at} was not noticed");
    }
}

#[test]
fn a_place_that_does_not_exist_ends_a_sweep() {
    let queue = Queue::<u8>::new(1).unwrap();
    queue.put_bytes(&[1; 600]).unwrap();
    queue.get_bytes().unwrap();
    let block =
        queue.raw.blocks().unwrap().find(|block| queue.raw.segment.record(*block).len.load(Relaxed) == 600).unwrap();
    let state = &queue.raw.segment.record(block).state;
    state.second.store(1 | 1 << 60, Relaxed);
    state.first.store(word::BlockState::InRing.to_word(), Relaxed);
    queue.raw.collect_garbage(false);
    assert_eq!(state.first.load(Relaxed), 0);
}
