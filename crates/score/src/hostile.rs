//! A process that writes what it likes into a segment, while another one uses it: no panic, no SIGBUS, no hang, and timed calls
//! come back when their time is over.
//!
//! # Safety
//! Only atomics are written, inside the memory.
#![allow(unsafe_code)]

use std::{
    os::fd::OwnedFd,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use ipc::{Array, JoinableQueue, Queue, Value};
use proc_core::{Process, handover, shm::SharedMemory};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sync::process::{Barrier, Condvar, Event, Lock, RLock, RwLock, Semaphore};

use crate::{
    clock::time,
    random::Random,
    row::{Found, Plan},
    words::{RESULT, Words},
};

/// What the calls are given.
const LIMIT: Duration = Duration::from_millis(20);

/// What they may take beyond that, less the time in which others ran.
const GRACE: Duration = Duration::from_millis(200);

const MOST_KIB: u64 = 512 << 10;

/// One segment is used for so many calls; after that there is not much left to spoil.
const N_CALLS: u64 = 24;

type Message = (u64, String);

/// A kind of segment, and the calls on one.
struct Kind {
    name: &'static str,
    play: fn(&Words, &mut Random, &mut Calls),
}

const KINDS: &[Kind] = &[
    Kind { name: "queue", play: |words, random, calls| queue(words, random, calls, 4) },
    Kind { name: "growing queue", play: |words, random, calls| queue(words, random, calls, 0) },
    Kind { name: "joinable queue", play: joinable },
    Kind { name: "pipe", play: pipe },
    Kind { name: "lock", play: lock },
    Kind { name: "reentrant lock", play: rlock },
    Kind { name: "lock for readers and writers", play: rwlock },
    Kind { name: "condition", play: condition },
    Kind { name: "event, semaphore, barrier", play: others },
    Kind { name: "value and array", play: value },
];

/// How the calls went.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Calls {
    n: u64,
    n_changes: u64,
    longest: Duration,
    longest_name: String,
}

impl Calls {
    fn call<R>(&mut self, name: &str, call: impl FnOnce() -> R) -> R {
        let (result, took) = time(call);
        self.n += 1;
        if took > self.longest {
            self.longest = took;
            self.longest_name = name.to_owned();
        }
        result
    }
}

pub(crate) fn measure(plan: Plan) -> Result<Found, String> {
    let n_changes = plan.amount(20_000, 200_000);
    let (mut n_calls, mut n_all, mut longest, mut bad) = (0, 0, (Duration::ZERO, String::new()), Vec::new());
    for (number, kind) in KINDS.iter().enumerate() {
        let words = Words::new().map_err(|e| e.to_string())?;
        let user = Process::builder().spawn(play, (number, n_changes, words));
        let user = user.map_err(|e| format!("{}: {e}", kind.name))?;
        if let Err(why) = watch(&user) {
            bad.push(format!("{}: {why}", kind.name));
            let _ = user.kill();
            continue;
        }
        match user.join() {
            Ok(calls) => {
                eprintln!(
                    "    {}: {} changes, {} calls, {:?} at most, for {}",
                    kind.name, calls.n_changes, calls.n, calls.longest, calls.longest_name
                );
                if calls.n == 0 || calls.n_changes == 0 {
                    bad.push(format!("{}: nothing was called or changed", kind.name));
                }
                n_calls += calls.n;
                n_all += calls.n_changes;
                if calls.longest > LIMIT + GRACE {
                    bad.push(format!("{}: {} took {:?}", kind.name, calls.longest_name, calls.longest));
                }
                longest = longest.max((calls.longest, format!("{} of a {}", calls.longest_name, kind.name)));
            }
            Err(e) => bad.push(format!("{}: {e}", kind.name)),
        }
    }
    let ours = if bad.is_empty() {
        format!("{n_all} changes, {n_calls} calls, at most {:.0} ms", longest.0.as_secs_f64() * 1e3)
    } else {
        bad.join("\n")
    };
    Ok(Found::new(ours, bad.is_empty(), n_all >= 1_000_000))
}

/// Until it ends, which it must: no call is without a limit. And it takes no more memory than a few of its segments have.
fn watch(user: &Process<Calls>) -> Result<(), String> {
    let begun = Instant::now();
    while user.wait_timeout(Duration::from_millis(5)).map_err(|e| e.to_string())?.is_none() {
        let pid = user.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        if resident.unwrap_or(0) > MOST_KIB {
            return Err(format!("takes more than {MOST_KIB} KiB"));
        }
        if begun.elapsed() > Duration::from_secs(600) {
            return Err(format!("HANGS: {}", test_support::processes::whereabouts(pid.cast_signed())));
        }
    }
    Ok(())
}

/// Makes segments and uses them beside a writer, until so many changes have been made.
fn play(kind: usize, n_changes: u64, words: Words) -> Calls {
    let mut random = Random::new(n_changes + kind as u64);
    let mut calls = Calls::default();
    let begun = Instant::now();
    while calls.n_changes < n_changes && begun.elapsed() < Duration::from_secs(300) {
        (KINDS[kind].play)(&words, &mut random, &mut calls);
        calls.n_changes = words.get(RESULT);
    }
    calls
}

/// A process that scribbles as long as it lives.
struct Writer(Process<()>);

impl Writer {
    /// On all the memory of `thing`.
    fn at<T: Serialize + DeserializeOwned>(thing: &T, words: &Words, random: &mut Random) -> Self {
        let parcel = handover::pack(thing).expect("handles can be handed over");
        let copies = parcel.fds().into_iter().map(|fd| fd.try_clone_to_owned().expect("descriptors are not short"));
        let memories: Vec<_> = copies.filter_map(|fd: OwnedFd| SharedMemory::from_fd(fd).ok()).collect();
        let before = words.get(RESULT);
        let writer = Process::builder().daemon(true).spawn(scribble, (memories, words.clone(), random.below(u64::MAX)));
        let writer = Self(writer.expect("a process can be started"));
        while words.get(RESULT) == before && writer.0.is_alive() {
            std::thread::yield_now();
        }
        writer
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scribble(memories: Vec<SharedMemory>, words: Words, seed: u64) {
    let mut random = Random::new(seed);
    loop {
        let memory = &memories[random.below(memories.len() as u64) as usize];
        // Headers lie at the begin.
        let reach = [256, 2048, memory.len()][random.below(3) as usize].min(memory.len());
        let word = word_at(memory, random.below(reach as u64 / 8) as usize);
        let value = match random.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => random.below(256),
            3 => (random.below(1 << 40) << 16) | random.below(256),
            4 => word.load(Relaxed) ^ (1 << random.below(64)),
            _ => random.below(u64::MAX),
        };
        let half = u64::from(u32::MAX) << (32 * random.below(2));
        match random.below(3) {
            0 => drop(word.fetch_add(value % 9, Relaxed)),
            1 => word.store((word.load(Relaxed) & half) | (value & !half), Relaxed),
            _ => word.store(value, Relaxed),
        }
        words.at(RESULT).fetch_add(1, Relaxed);
        if random.below(32) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(200)));
        }
    }
}

fn word_at(memory: &SharedMemory, at: usize) -> &AtomicU64 {
    assert!(at < memory.len() / size_of::<AtomicU64>());
    // SAFETY: in bounds, by the check above.
    let place = unsafe { memory.as_ptr().cast::<AtomicU64>().add(at) };
    // SAFETY: as above, and aligned; any bits are an atomic integer.
    unsafe { place.as_ref() }
}

fn text(random: &mut Random, most: u64) -> String {
    "x".repeat(random.below(most) as usize)
}

fn again<T: Serialize + DeserializeOwned>(handle: &T) -> Option<T> {
    handover::pack_owned(handle).ok()?.unpack().ok()
}

fn queue(words: &Words, random: &mut Random, calls: &mut Calls, maxsize: usize) {
    let Ok(queue) = Queue::<Message>::builder().maxsize(maxsize).max_message_bytes(1 << 20).build() else { return };
    let _writer = Writer::at(&queue, words, random);
    for n in 0..N_CALLS {
        let short = (n, text(random, 500));
        match random.below(9) {
            0 => drop(calls.call("try_put", || queue.try_put(short))),
            1 => drop(calls.call("put_timeout", || queue.put_timeout(short, LIMIT))),
            2 => drop(calls.call("put_timeout, long", || queue.put_timeout((n, "l".repeat(70_000)), LIMIT))),
            3 => drop(calls.call("try_get", || queue.try_get())),
            4 | 5 => drop(calls.call("get_timeout", || queue.get_timeout(LIMIT))),
            6 => drop(calls.call("len", || (queue.len(), queue.is_full(), queue.is_empty()))),
            7 => drop(calls.call("attach", || again(&queue).map(|queue| queue.try_get()))),
            _ => drop(calls.call("drain", || queue.drain().take(20).count())),
        }
    }
    calls.call("drop", || drop(queue));
}

fn joinable(words: &Words, random: &mut Random, calls: &mut Calls) {
    let Ok(queue) = JoinableQueue::<Message>::builder().maxsize(4).max_deliveries(9).build_joinable() else { return };
    let _writer = Writer::at(&queue, words, random);
    let mut held = Vec::new();
    for n in 0..N_CALLS {
        let short = (n, text(random, 500));
        match random.below(8) {
            0 => drop(calls.call("put_timeout", || queue.put_timeout(short, LIMIT))),
            1 => drop(calls.call("try_put", || queue.try_put(short))),
            2 | 3 => held.extend(calls.call("get_timeout", || queue.get_timeout(LIMIT))),
            4 => drop(calls.call("task_done", || held.pop().map(ipc::joinable::Item::task_done))),
            5 => drop(calls.call("give back", || held.pop())),
            6 => drop(calls.call("join_timeout", || queue.join_timeout(LIMIT))),
            _ => drop(calls.call("dead_letters", || queue.dead_letters())),
        }
    }
    calls.call("drop", || drop((held, queue)));
}

fn pipe(words: &Words, random: &mut Random, calls: &mut Calls) {
    let Ok((a, b)) = ipc::pipe::<Message>() else { return };
    let _writer = Writer::at(&a, words, random);
    for n in 0..N_CALLS {
        let short = (n, text(random, 300));
        match random.below(8) {
            0 => drop(calls.call("try_send", || a.try_send(&short))),
            1 => drop(calls.call("send_timeout", || b.send_timeout(&short, LIMIT))),
            2 => drop(calls.call("send_timeout, long", || a.send_timeout(&(n, "l".repeat(70_000)), LIMIT))),
            3 => drop(calls.call("try_recv", || b.try_recv())),
            4 | 5 => drop(calls.call("recv_timeout", || b.recv_timeout(LIMIT))),
            6 => drop(calls.call("poll", || a.poll(Some(LIMIT)))),
            _ => drop(calls.call("recv_timeout, back", || a.recv_timeout(LIMIT))),
        }
    }
    calls.call("drop", || drop((a, b)));
}

fn lock(words: &Words, random: &mut Random, calls: &mut Calls) {
    let Ok(lock) = Lock::new(0_u64) else { return };
    let _writer = Writer::at(&lock, words, random);
    for _ in 0..N_CALLS {
        calls.call("lock_timeout", || {
            drop(lock.lock_timeout(LIMIT).map(|guard| guard.map(|mut n| *n = n.wrapping_add(1))))
        });
        calls.call("try_lock", || drop(lock.try_lock()));
    }
    calls.call("attach", || drop(again(&lock)));
}

fn rlock(words: &Words, random: &mut Random, calls: &mut Calls) {
    let Ok(lock) = RLock::new(0_u64) else { return };
    let _writer = Writer::at(&lock, words, random);
    for _ in 0..N_CALLS {
        calls.call("lock_timeout", || {
            drop(lock.lock_timeout(LIMIT).map(|outer| (lock.try_lock().is_ok(), outer.is_some())))
        });
    }
}

fn rwlock(words: &Words, random: &mut Random, calls: &mut Calls) {
    let Ok(lock) = RwLock::new(0_u64) else { return };
    let _writer = Writer::at(&lock, words, random);
    for _ in 0..N_CALLS {
        calls.call("read_timeout", || drop(lock.read_timeout(LIMIT)));
        calls.call("write_timeout", || drop(lock.write_timeout(LIMIT)));
    }
}

fn condition(words: &Words, random: &mut Random, calls: &mut Calls) {
    // Only the condition is written to: a lock is another one's segment.
    let (Ok(lock), Ok(condition)) = (Lock::new(0_u64), Condvar::new()) else { return };
    let _writer = Writer::at(&condition, words, random);
    for _ in 0..N_CALLS {
        calls.call("wait_timeout", || drop(lock.lock().map(|guard| condition.wait_timeout(guard, LIMIT).is_ok())));
        calls.call("notify_all", || (condition.notify_one(), condition.notify_all()));
    }
}

fn others(words: &Words, random: &mut Random, calls: &mut Calls) {
    let (Ok(event), Ok(semaphore), Ok(barrier)) = (Event::new(), Semaphore::new(1), Barrier::new(2)) else { return };
    let all = (event, semaphore, barrier);
    let _writer = Writer::at(&all, words, random);
    let (event, semaphore, barrier) = &all;
    for n in 0..N_CALLS {
        match n % 6 {
            0 => drop(calls.call("Event::wait_timeout", || event.wait_timeout(LIMIT))),
            1 => calls.call("Event::set", || event.set()),
            2 => drop(calls.call("Semaphore::acquire_timeout", || semaphore.acquire_timeout(LIMIT).is_some())),
            3 => drop(calls.call("Semaphore::release", || semaphore.release(1))),
            4 => drop(calls.call("Barrier::wait_timeout", || barrier.wait_timeout(LIMIT))),
            _ => calls.call("Barrier::n_waiting", || drop(vec![barrier.n_waiting(), barrier.parties()])),
        }
    }
}

fn value(words: &Words, random: &mut Random, calls: &mut Calls) {
    let (Ok(value), Ok(array)) = (Value::<u64>::new(7), Array::<u64>::new(40)) else { return };
    let all = (value, array);
    let _writer = Writer::at(&all, words, random);
    let (value, array) = &all;
    for n in 0..N_CALLS {
        match n % 4 {
            0 => drop(calls.call("Value::lock_timeout", || value.lock_timeout(LIMIT).is_ok())),
            1 => drop(calls.call("Array::lock_timeout", || array.lock_timeout(LIMIT).is_ok())),
            2 => drop(calls.call("attach", || again(value))),
            _ => drop(calls.call("attach an array", || again(array).map(|array| array.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_writer_harms_nobody() {
        let _dog = test_support::watchdog(Duration::from_secs(300));
        for (number, kind) in KINDS.iter().enumerate() {
            let user = Process::spawn(play, (number, 300, Words::new().unwrap())).unwrap();
            watch(&user).unwrap();
            let calls = user.join();
            assert!(calls.as_ref().is_ok_and(|calls| calls.n > 0), "{}: {calls:?}", kind.name);
        }
    }
}
