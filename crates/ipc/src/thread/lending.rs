//! Items on loan, and what is left to be done.

use parking_lot::{Condvar, Mutex};

use super::{
    monitor::Monitor,
    shelf::{Shelf, ShelfEntry},
    wakers::Wakers,
};

/// The waiting items of a [`JoinableQueue`](super::JoinableQueue), and the count of those that are not dealt with.
pub(super) struct Lending<T> {
    pub(super) monitor: Monitor<Shelf<T>>,
    max_deliveries: u8,
    pub(super) unfinished: Mutex<usize>,
    pub(super) all_done: Condvar,
    pub(super) joiners: Wakers,
    pub(super) dead_letters: Mutex<Vec<T>>,
}

impl<T> Lending<T> {
    pub(super) fn new(maxsize: usize, max_deliveries: u8, shelf: Shelf<T>) -> Self {
        Self {
            monitor: Monitor::new(maxsize, shelf),
            max_deliveries,
            unfinished: Mutex::new(0),
            all_done: Condvar::new(),
            joiners: Wakers::default(),
            dead_letters: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn begin(&self, n: usize) {
        *self.unfinished.lock() += n;
    }

    pub(super) fn finish(&self, n: usize) {
        let mut unfinished = self.unfinished.lock();
        *unfinished -= n;
        if *unfinished == 0 {
            self.all_done.notify_all();
            drop(unfinished);
            self.joiners.wake_all();
        }
    }

    /// Takes an item back that was not dealt with.
    pub(super) fn take_back(&self, entry: ShelfEntry<T>) {
        if entry.deliveries < self.max_deliveries {
            self.monitor.amend(|shelf| shelf.put_back(entry));
        } else {
            self.dead_letters.lock().push(entry.value);
            self.finish(1);
        }
    }
}
