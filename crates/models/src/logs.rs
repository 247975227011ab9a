//! The doorbell by which children wake the thread of their owner that reads their records.

#[path = "../../proc-core/src/logs/bell.rs"]
mod bell;

use std::sync::atomic::Ordering::Relaxed;

use loom::{sync::Arc, thread};

use self::bell::Bell;
use crate::{
    explore, platform,
    platform::{AtomicU32, AtomicU64},
};

/// An owner's bell, and what each of two children has published: a record more each time.
struct Logs {
    bell: Bell,
    tails: [AtomicU64; 2],
}

impl Logs {
    fn new() -> Arc<Self> {
        let bell = Bell(AtomicU32::new(0));
        bell.reset();
        Arc::new(Self { bell, tails: [AtomicU64::new(0), AtomicU64::new(0)] })
    }

    fn n_published(&self) -> u64 {
        self.tails.iter().map(|tail| tail.load(Relaxed)).sum()
    }

    fn log(&self, child: usize) {
        let tail = &self.tails[child];
        tail.store(tail.load(Relaxed) + 1, Relaxed);
        self.bell.ring();
    }

    /// As the owner's thread reads, until there were so many records.
    fn read_all(&self, n: u64) {
        let mut n_read = 0;
        while n_read < n {
            self.bell.sleep(|| self.n_published() > n_read);
            n_read = self.n_published();
        }
    }
}

/// An owner that slept on would be a deadlock.
#[test]
fn an_owner_wakes_for_every_record_of_two_children() {
    explore(2, || {
        let logs = Logs::new();
        let children = [0, 1].map(|child| {
            let logs = Arc::clone(&logs);
            thread::spawn(move || (0..2).for_each(|_| logs.log(child)))
        });
        logs.read_all(4);
        children.into_iter().for_each(|child| child.join().unwrap());
    });
}
