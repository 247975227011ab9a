//! Memory that another process writes to between any two operations of this one.

use std::{
    os::fd::OwnedFd,
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use ipc::{Array, JoinableQueue, Queue, Value};
use lane::OwnerLane;
use nix::sys::eventfd::{EfdFlags, EventFd};
use proc_core::{handover, shm::SharedMemory};
use serde::{Serialize, de::DeserializeOwned};
use sync::process::{Barrier, Condvar, Event, Lock, RLock, RwLock, Semaphore};

use crate::input::Input;

/// The memory that a handle shares.
fn memory_of<T: Serialize + DeserializeOwned>(handle: &T) -> SharedMemory {
    let parcel = handover::pack(handle).expect("handles can be handed over");
    let copies = parcel.fds().into_iter().map(|fd| fd.try_clone_to_owned().expect("descriptors are not short"));
    copies.filter_map(|fd: OwnedFd| SharedMemory::from_fd(fd).ok()).next().expect("a handle has memory")
}

/// A byte or a word anywhere, but more often near the begin, where the headers are.
fn scribble(memory: &SharedMemory, input: &mut Input<'_>) {
    let how = input.byte();
    let place = input.number() as usize & 0xff_ffff;
    let place = match how % 4 {
        0 => place % memory.len().min(512),
        1 => place % memory.len().min(8192),
        _ => place % memory.len(),
    };
    let value = input.number();
    if how & 0x80 == 0 && place / 8 * 8 + 8 <= memory.len() {
        // SAFETY: inside the block.
        let word = unsafe { memory.as_ptr().add(place / 8 * 8) };
        // SAFETY: aligned, inside the block; any bits are a word.
        unsafe { word.cast::<AtomicU64>().as_ref() }.store(value, Relaxed);
    } else {
        // SAFETY: inside the block.
        let byte = unsafe { memory.as_ptr().add(place) };
        // SAFETY: inside the block; any bits are a byte.
        unsafe { byte.cast::<AtomicU8>().as_ref() }.store(value as u8, Relaxed);
    }
}

/// Lets the input choose between scribbling and one of `n` operations, until it ends.
fn play(memory: &SharedMemory, mut input: Input<'_>, n: u8, mut operation: impl FnMut(u8, u64)) {
    while input.goes_on() {
        let choice = input.byte() % (2 * n);
        if choice < n {
            let number = input.number();
            operation(choice, number);
        } else {
            scribble(memory, &mut input);
        }
    }
}

const SOON: Duration = Duration::from_millis(1);

pub(crate) fn pipe(input: Input<'_>) {
    let (a, b) = ipc::pipe::<(u64, String)>().expect("there is memory");
    let text = |n: u64| "t".repeat((n % 300) as usize);
    play(&memory_of(&a), input, 10, |choice, n| match choice {
        0 => drop(a.try_send(&(n, text(n)))),
        1 => drop(b.try_send(&(n, text(n)))),
        2 => drop(a.try_recv()),
        3 => drop(b.try_recv()),
        4 => drop(a.recv_timeout(SOON)),
        5 => drop(a.send_timeout(&(n, "l".repeat(70_000)), SOON)),
        6 => drop(b.poll(Some(Duration::ZERO))),
        // Another user of the same end begins with what stands there.
        7 => drop(again(&a).map(|a| (a.try_send(&(n, text(n))), a.try_recv()))),
        8 => drop(again(&b).map(|b| b.try_recv())),
        _ => drop(b.try_recv()),
    });
}

fn again<T: Serialize + serde::de::DeserializeOwned>(handle: &T) -> Option<T> {
    let parcel = handover::pack(handle).expect("handles can be handed over");
    let fds = parcel.fds().into_iter().map(|fd| fd.try_clone_to_owned().expect("descriptors are not short")).collect();
    handover::unpack(parcel.bytes(), fds).ok()
}

pub(crate) fn queue(mut input: Input<'_>) {
    let maxsize = usize::from(input.byte() % 9);
    let Ok(queue) = Queue::<(u64, String)>::new(maxsize) else { return };
    let text = |n: u64| "t".repeat((n % 500) as usize);
    play(&memory_of(&queue), input, 10, |choice, n| match choice {
        0 | 1 => drop(queue.try_put((n, text(n)))),
        2 | 3 => drop(queue.try_get()),
        4 => drop(queue.get_timeout(SOON)),
        5 => drop(queue.put_timeout((n, text(n)), SOON)),
        6 => drop((queue.len(), queue.is_full(), queue.is_empty())),
        7 => drop(queue.try_put((n, "l".repeat(20_000)))),
        8 => drop(again(&queue).map(|queue| (queue.try_put((n, text(n))), queue.try_get()))),
        _ => drop(queue.try_get()),
    });
}

pub(crate) fn joinable(input: Input<'_>) {
    let Ok(queue) = JoinableQueue::<(u64, String)>::new(4) else { return };
    let mut held = Vec::new();
    play(&memory_of(&queue), input, 8, |choice, n| match choice {
        0 | 1 => drop(queue.try_put((n, "j".into()))),
        2 | 3 => held.extend(queue.try_get()),
        4 => drop(held.pop().map(|item| item.task_done())),
        5 => drop(held.pop()),
        6 => drop(queue.join_timeout(SOON)),
        _ => drop(again(&queue).map(|queue| queue.try_get().map(drop))),
    });
}

/// Only what takes it in: a lock whose word was made to name a thread that lives waits for that one, as it must.
pub(crate) fn value(input: Input<'_>) {
    let value = Value::<u64>::new(7).expect("there is memory");
    play(&memory_of(&value), input, 1, |_, _| drop(again(&value)));
}

pub(crate) fn array(input: Input<'_>) {
    let array = Array::<u64>::new(40).expect("there is memory");
    play(&memory_of(&array), input, 2, |choice, _| match choice {
        0 => assert_eq!(array.len(), 40),
        _ => drop(again(&array).map(|array| array.len())),
    });
}

/// Each lock takes itself in, and is tried; none waits.
pub(crate) fn locks(mut input: Input<'_>) {
    let which = input.byte();
    let lock = Lock::new(1_u64).expect("there is memory");
    let reentrant = RLock::new(1_u64).expect("there is memory");
    let shared = RwLock::new(1_u64).expect("there is memory");
    let (event, permits) = (Event::new().expect("there is memory"), Semaphore::new(1).expect("there is memory"));
    let (barrier, condition) = (Barrier::new(2).expect("there is memory"), Condvar::new().expect("there is memory"));
    match which % 7 {
        0 => play(&memory_of(&lock), input, 2, |choice, _| match choice {
            0 => drop(lock.try_lock().is_ok()),
            _ => drop(again(&lock).map(|lock| lock.try_lock().is_ok())),
        }),
        1 => play(&memory_of(&reentrant), input, 1, |_, _| drop(reentrant.try_lock())),
        2 => play(&memory_of(&shared), input, 3, |choice, _| match choice {
            0 => drop(shared.try_read().is_ok()),
            1 => drop(shared.try_write().is_ok()),
            _ => drop(again(&shared).map(|shared| shared.try_read().is_ok())),
        }),
        3 => play(&memory_of(&event), input, 3, |choice, _| match choice {
            0 => event.set(),
            1 => event.clear(),
            _ => drop(event.wait_timeout(Duration::ZERO)),
        }),
        4 => play(&memory_of(&permits), input, 2, |choice, n| match choice {
            0 => drop(permits.try_acquire()),
            _ => drop(permits.release(n as u32)),
        }),
        5 => play(&memory_of(&barrier), input, 3, |choice, _| match choice {
            0 => drop(barrier.wait_timeout(Duration::ZERO)),
            1 => barrier.reset(),
            _ => drop((barrier.n_waiting(), barrier.parties())),
        }),
        _ => play(&memory_of(&condition), input, 2, |choice, _| match choice {
            0 => drop(condition.notify_one()),
            _ => drop(condition.notify_all()),
        }),
    }
}

pub(crate) fn lane(input: Input<'_>) {
    let bell: OwnedFd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).expect("descriptors are not short").into();
    let (mut owner, handle) = OwnerLane::new(bell).expect("there is memory");
    let mut worker = handle.open().expect("it is a lane");
    let memory = memory_of(&handle);
    let mut arena = Vec::new();
    play(&memory, input, 8, |choice, n| {
        arena.clear();
        match choice {
            0 | 1 => drop(owner.push(n as u32, None, &vec![1; (n % 3000) as usize])),
            2 | 3 => {
                // So that a claim does not wait for a task.
                owner.stop();
                if let Some(mut claim) = worker.claim() {
                    let _ = claim.read(&mut arena);
                    let _ = claim.finish(n as u32, &vec![2; (n % 3000) as usize]);
                }
            }
            4 | 5 => drop(owner.poll(&mut arena)),
            6 => drop((owner.recall(n as usize % 4), owner.slots().count(), owner.has_finished())),
            _ => drop(OwnerLane::adopt(&handle).map(|mut owner| owner.poll(&mut arena).is_some())),
        }
    });
}

pub(crate) fn shm(mut input: Input<'_>) {
    let len = (input.number() % (1 << 16)) as usize;
    let name = String::from_utf8_lossy(input.rest()).into_owned();
    if let Ok(memory) = SharedMemory::create(&name, len) {
        let other = SharedMemory::open(&name).expect("it has just been made");
        assert_eq!(other.len(), memory.len());
        return;
    }
    drop(SharedMemory::open(&name));
}
