//! A structure of one's own in shared memory, whose writer is killed after each of its instructions in turn: whoever comes
//! after it finds the old state or the new one, and can go on.
//!
//! A program with one thread, as `Victim` forks: a test of this kind has `harness = false`.

use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use proc_core::shm::Shared;
use sync::ShmSafe;
use test_support::step::{Stop, Victim};

/// Two numbers that belong together. Who sets them writes where nobody reads, and then says in one store which are valid.
#[derive(ShmSafe, Default)]
#[repr(C)]
struct Pair {
    current: AtomicUsize,
    slots: [[AtomicU64; 2]; 2],
}

impl Pair {
    fn set(&self, numbers: [u64; 2]) {
        let next = 1 - self.current.load(Relaxed) % 2;
        let [first, second] = &self.slots[next];
        first.store(numbers[0], Relaxed);
        second.store(numbers[1], Relaxed);
        self.current.store(next, Release);
    }

    fn get(&self) -> [u64; 2] {
        self.slots[self.current.load(Acquire) % 2].each_ref().map(|slot| slot.load(Relaxed))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut n_old, mut n_new) = (0, 0);
    for n_steps in 0.. {
        let pair = Shared::new(Pair::default())?;
        let mut victim = Victim::start(|mark| mark.window(|| pair.set([1, 1])))?;
        let stop = (0..n_steps).map(|_| victim.step()).find(|stop| *stop != Stop::Stopped);
        victim.kill();

        match pair.get() {
            [0, 0] => n_old += 1,
            [1, 1] => n_new += 1,
            torn => return Err(format!("killed after {n_steps} instructions: {torn:?}").into()),
        }
        pair.set([2, 2]);
        assert_eq!(pair.get(), [2, 2], "killed after {n_steps} instructions");
        if stop.is_some() {
            break;
        }
    }
    println!(
        "killed after each instruction: the old state {} times, then the new one: {}",
        n_old,
        n_old > 0 && n_new > 0
    );
    Ok(())
}
